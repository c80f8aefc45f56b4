"""MMFF94 (Halgren 1996) and UFF (Rappé et al. 1992) through RDKit, in Hartree and Hartree/Å.

A force field is built once for each SMILES and evaluated at the positions of each call. A label depends on the
molecule alone: all nonbonded pairs are included, however far apart they were when the field was built, and all
fragments of a molecule interact. For one fragment the numbers are those of RDKit's default settings.
"""

from __future__ import annotations

from collections import OrderedDict
from typing import Any

import numpy as np
import rdkit
from rdkit import Chem
from rdkit.Chem import rdForceFieldHelpers
from rdkit.rdBase import BlockLogs

from golfbench.chemistry import check_topology, rdkit_mol
from golfbench.contracts import FloatArray
from golfbench.errors import OracleError
from golfbench.molecules import Molecule
from golfbench.units import KCAL_MOL_TO_HARTREE

#: Force fields kept per oracle; one of a 38-atom molecule takes 55 kB.
CACHED_FIELDS = 1024
#: Nonbonded cutoff: none.
_EVERYTHING = 1e6


class _ForceField:
    """What the two force fields share: look-up by SMILES, units."""

    name: str

    def __init__(self) -> None:
        # with each field its molecule: RDKit's field points into the conformer and does not keep it alive
        self._fields: OrderedDict[str, tuple[Any, Chem.Mol]] = OrderedDict()

    @property
    def version(self) -> str:
        """Version of RDKit."""
        return f"rdkit {rdkit.__version__}"

    def label(self, molecule: Molecule) -> tuple[float, FloatArray]:
        """Return energy (Hartree) and forces (n_atoms, 3) (Hartree/Å).

        Raises:
            OracleError: Kind ``input`` when the force field has no parameters for the molecule.
            MoleculeError: If the molecule has no SMILES, or another one's.
        """
        field, _mol = self._field(molecule)
        positions = molecule.positions.ravel().tolist()
        # the energy comes first: CalcGrad goes on with the distances that the last CalcEnergy computed
        energy = field.CalcEnergy(positions)
        gradient = np.array(field.CalcGrad(positions)).reshape(-1, 3)
        return energy * KCAL_MOL_TO_HARTREE, gradient * -KCAL_MOL_TO_HARTREE

    def energy(self, molecule: Molecule) -> float:
        """Return the energy (Hartree) alone; a decision by the surrogate needs no forces.

        Raises:
            OracleError: As for ``label``.
            MoleculeError: As for ``label``.
        """
        field, _mol = self._field(molecule)
        energy: float = field.CalcEnergy(molecule.positions.ravel().tolist())
        return energy * KCAL_MOL_TO_HARTREE

    def _field(self, molecule: Molecule) -> tuple[Any, Chem.Mol]:
        smiles = check_topology(molecule)
        if smiles in self._fields:
            self._fields.move_to_end(smiles)
            return self._fields[smiles]
        mol = rdkit_mol(molecule)
        with BlockLogs():
            field = self._build(mol)
        if field is None:
            raise OracleError(f"{molecule.id}: {self.name} has no parameters for some atom of '{smiles}'", "input")
        if self._reusable(mol):
            self._fields[smiles] = field, mol
            if len(self._fields) > CACHED_FIELDS:
                self._fields.popitem(last=False)
        return field, mol

    def _build(self, mol: Chem.Mol) -> Any:
        """Return RDKit's force field of a molecule with one conformer, ``None`` when it has no parameters."""
        raise NotImplementedError

    def _reusable(self, mol: Chem.Mol) -> bool:
        """Tell whether the terms of the field depend on the bonds alone, not on the conformation."""
        return True


class Mmff94(_ForceField):
    """MMFF94 as RDKit implements it (Tosco, Stiefl and Landrum 2014, doi 10.1186/s13321-014-0037-3)."""

    name = "MMFF94"

    def _build(self, mol: Chem.Mol) -> Any:
        properties = rdForceFieldHelpers.MMFFGetMoleculeProperties(mol)
        if properties is None:
            return None
        return rdForceFieldHelpers.MMFFGetMoleculeForceField(
            mol, properties, nonBondedThresh=_EVERYTHING, ignoreInterfragInteractions=False
        )


class Uff(_ForceField):
    """UFF as RDKit implements it."""

    name = "UFF"

    def _build(self, mol: Chem.Mol) -> Any:
        if not rdForceFieldHelpers.UFFHasAllMoleculeParams(mol):
            return None
        return rdForceFieldHelpers.UFFGetMoleculeForceField(
            mol, vdwThresh=_EVERYTHING, ignoreInterfragInteractions=False
        )

    def _reusable(self, mol: Chem.Mol) -> bool:
        # around a trigonal bipyramidal atom the conformation decides which neighbours are axial
        return all(atom.GetHybridization() != Chem.HybridizationType.SP3D for atom in mol.GetAtoms())
