"""The order of atoms: files from elsewhere have their own, a ``Molecule`` has that of its SMILES."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
from rdkit import Chem
from rdkit.Chem import rdDetermineBonds
from rdkit.rdBase import BlockLogs

from golfbench.chemistry import charge_and_multiplicity, mol_from_smiles, stereo_contradictions
from golfbench.contracts import FloatArray
from golfbench.errors import MoleculeError
from golfbench.molecules import Molecule
from golfbench.stereo import with_stereo_of

IntArray = npt.NDArray[np.int64]
#: Mappings of the atoms of a file to those of a SMILES that are tried to find the right stereochemistry.
MOST_MATCHES = 1000


def in_order(
    id: str, smiles: str, numbers: IntArray, positions: FloatArray, bonded: Chem.Mol | None = None
) -> tuple[Molecule, IntArray]:
    """Find the atoms of a SMILES in a geometry whose atoms are in any order.

    Among equivalent ways the first is taken that has the stereochemistry of the
    SMILES. If none has it, the geometry is another stereoisomer, and the molecule gets the SMILES of the geometry.

    Args:
        id: Name of the molecule.
        smiles: Its SMILES, with or without hydrogens in it.
        numbers: (n,) atomic numbers.
        positions: (n, 3), Å.
        bonded: Its bonds, where they are known; else they are taken from the distances.

    Returns:
        The molecule, and for each of its atoms the index that it has in the file.

    Raises:
        MoleculeError: If the geometry is another molecule than the SMILES.
    """
    with BlockLogs():
        plain = mol_from_smiles(smiles)
        found = bonded or _bonded(numbers, positions)
    charge, multiplicity = charge_and_multiplicity(smiles)
    first: tuple[Molecule, IntArray] | None = None
    matches = _skeleton(found).GetSubstructMatches(_skeleton(plain), uniquify=False, maxMatches=MOST_MATCHES)
    for match in matches if len(numbers) == plain.GetNumAtoms() else ():
        order = _with_hydrogens(plain, found, match)
        molecule = Molecule(id, numbers[order], positions[order], charge, multiplicity, smiles)
        if not stereo_contradictions(molecule):
            return molecule, order
        first = first or (molecule, order)
    if first is None:
        raise MoleculeError(f"{id}: the geometry is not the molecule of its SMILES '{smiles}'")
    renamed = _named_by_geometry(first[0])
    return first if renamed == smiles else in_order(id, renamed, numbers, positions, bonded)


def _named_by_geometry(molecule: Molecule) -> str:
    """Return a SMILES with the stereochemistry of the positions."""
    mol = mol_from_smiles(str(molecule.smiles))
    with BlockLogs():
        Chem.RemoveStereochemistry(mol)
        return str(Chem.MolToSmiles(Chem.RemoveHs(with_stereo_of(mol, molecule.positions))))


def _bonded(numbers: IntArray, positions: FloatArray) -> Chem.Mol:
    """Return a molecule with single bonds where atoms are near."""
    mol = Chem.RWMol()
    for number in numbers.tolist():
        atom = Chem.Atom(number)
        atom.SetNoImplicit(True)
        mol.AddAtom(atom)
    conformer = Chem.Conformer(len(numbers))
    conformer.SetPositions(np.ascontiguousarray(positions, dtype=np.float64))
    mol.AddConformer(conformer)
    rdDetermineBonds.DetermineConnectivity(mol)
    return mol.GetMol()


def _skeleton(mol: Chem.Mol) -> Chem.Mol:
    """Return the heavy atoms with single bonds; the number of hydrogens of each is written as its isotope.

    Hydrogen molecules and protons have no skeleton. Indices are those of the heavy atoms in their order.
    """
    heavy = [atom for atom in mol.GetAtoms() if atom.GetAtomicNum() > 1]
    index = {atom.GetIdx(): k for k, atom in enumerate(heavy)}
    skeleton = Chem.RWMol()
    for atom in heavy:
        bare = Chem.Atom(atom.GetAtomicNum())
        bare.SetNoImplicit(True)
        bare.SetIsotope(1 + sum(n.GetAtomicNum() == 1 for n in atom.GetNeighbors()))
        skeleton.AddAtom(bare)
    for bond in mol.GetBonds():
        ends = (bond.GetBeginAtomIdx(), bond.GetEndAtomIdx())
        if ends[0] in index and ends[1] in index:
            skeleton.AddBond(index[ends[0]], index[ends[1]], Chem.BondType.SINGLE)
    return skeleton.GetMol()


def _with_hydrogens(plain: Chem.Mol, found: Chem.Mol, match: tuple[int, ...]) -> IntArray:
    """Return for each atom of ``plain`` its index in ``found``, where ``match`` says it for the heavy atoms."""
    order = np.full(plain.GetNumAtoms(), -1, dtype=np.int64)
    there, here = ([atom for atom in mol.GetAtoms() if atom.GetAtomicNum() > 1] for mol in (plain, found))
    for atom, k in zip(there, match, strict=True):
        order[atom.GetIdx()] = here[k].GetIdx()
        for mine, its in zip(_hydrogens(atom), _hydrogens(here[k]), strict=True):
            order[mine] = its
    return order


def _hydrogens(atom: Chem.Atom) -> list[int]:
    return [neighbour.GetIdx() for neighbour in atom.GetNeighbors() if neighbour.GetAtomicNum() == 1]
