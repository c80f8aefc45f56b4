"""Any golfbench model as an ASE calculator: ``atoms.calc = GolfbenchCalculator("gfn2-xtb")``.

Imported on request only, so that nothing else waits for ASE's calculators.
"""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from ase import Atoms
from ase.calculators.calculator import Calculator, all_changes

from golfbench.batches import make_batch
from golfbench.chemistry import from_ase
from golfbench.contracts import Evaluation, Model, device_of
from golfbench.errors import CheckpointError, ConfigurationError, GolfbenchError
from golfbench.learning import checkpoint as checkpoints
from golfbench.learning.opening import load_potential, open_fixed_model
from golfbench.molecules import Molecule, check_molecule
from golfbench.registry import registry
from golfbench.specs import ModelSpec
from golfbench.states import looks_like_state
from golfbench.units import HARTREE_TO_EV


class GolfbenchCalculator(Calculator):
    """Energies and forces of a golfbench model in ASE's units, eV and eV/Å.

    Charge, multiplicity and SMILES of the atoms are the ones given here, else those that the atoms say (``charge``,
    ``multiplicity`` and ``smiles`` in ``atoms.info``, initial charges and magnetic moments, and the spellings of other
    programs, see ``golfbench.states``), else those that follow from the SMILES, else a neutral singlet. Force fields
    need the SMILES; its atoms must be in the order of the atoms, hydrogens last (see ``golfbench.chemistry``).

    Args:
        model: Name of an oracle or a fixed model, with parameters (``mmff94``, ``psi4:method=hf``), or an open model.
        checkpoint: A trained model instead, as ``golfbench run`` writes it.
        device: Where the weights of the checkpoint live.
        charge: Total charge, e.
        multiplicity: 2S + 1.
        smiles: SMILES of the atoms.

    Raises:
        ConfigurationError: If there is not one of ``model`` and ``checkpoint``, or no such model that is not trained.
        ComponentMissingError: If what the model needs is not installed.
        CheckpointError: If the checkpoint is damaged.
    """

    name = "golfbench"
    implemented_properties: list[str] = ["energy", "free_energy", "forces"]  # noqa: RUF012 - the type is ASE's
    ignored_changes: set[str] = {"cell", "initial_charges", "initial_magmoms"}  # noqa: RUF012 - the type is ASE's

    def __init__(
        self,
        model: str | Model | None = None,
        *,
        checkpoint: str | Path | None = None,
        device: str = "cpu",
        charge: int | None = None,
        multiplicity: int | None = None,
        smiles: str | None = None,
    ) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        if (model is None) == (checkpoint is None):
            raise ConfigurationError("GolfbenchCalculator takes a model or a checkpoint, one of them")
        self._sees_charge = True
        self._model: Model
        if checkpoint is not None:
            self._model, self._sees_charge = _load(Path(checkpoint), device)
        elif isinstance(model, str):
            self._model = open_fixed_model(model)
        elif model is not None:
            self._model = model
        given = {"charge": charge, "multiplicity": multiplicity, "smiles": smiles}
        self._given: dict[str, Any] = {key: value for key, value in given.items() if value is not None}

    def check_state(self, atoms: Atoms, tol: float = 1e-15) -> list[str]:
        """Return what has changed since the last calculation, ``atoms.info`` included."""
        changes: list[str] = super().check_state(atoms, tol=tol)  # type: ignore[no-untyped-call]
        if self.atoms is not None and _told(atoms) != _told(self.atoms):
            changes.append("info")
        return changes

    def calculate(
        self,
        atoms: Atoms | None = None,
        properties: Sequence[str] = ("energy",),
        system_changes: Sequence[str] = all_changes,
    ) -> None:
        """Compute energy and forces.

        Raises:
            MoleculeError: If the atoms are periodic or cannot be a molecule (overlaps, electrons, elements), or what
                they say of charge and spin is not understood.
            OracleError: What an oracle says of the molecule; ``kind`` says why.
            GolfbenchError: If the model gives no finite energy and forces.
        """
        super().calculate(atoms, properties, system_changes)  # type: ignore[no-untyped-call]
        assert self.atoms is not None
        molecule = self._molecule(self.atoms)
        check_molecule(molecule, owner=self.name)
        evaluation = self._evaluate(molecule)
        for error in evaluation.errors.values():
            raise error
        energy, forces = float(evaluation.energies[0]), evaluation.forces.cpu().numpy()
        if not (np.isfinite(energy) and np.isfinite(forces).all()):
            raise GolfbenchError(f"{molecule.id}: the model gave an energy or forces that are not finite")
        energy *= HARTREE_TO_EV
        self.results = {"energy": energy, "free_energy": energy, "forces": forces * HARTREE_TO_EV}

    def _molecule(self, atoms: Atoms) -> Molecule:
        """Return the molecule of atoms; what was given to the calculator counts more than what the atoms say."""
        described = atoms.copy()
        if "smiles" in self._given:
            described.info["smiles"] = self._given["smiles"]
        molecule = from_ase(described, charge=self._given.get("charge"), multiplicity=self._given.get("multiplicity"))
        if not self._sees_charge and (molecule.charge, molecule.multiplicity) != (0, 1):
            state = f"charge {molecule.charge:+d} and multiplicity {molecule.multiplicity}"
            warnings.warn(f"{molecule.id}: the model does not see {state}", stacklevel=2)
        return molecule

    def _evaluate(self, molecule: Molecule) -> Evaluation:
        device = device_of(self._model)
        try:
            return self._model.energy_forces(make_batch([molecule], self._model.cutoff, device))
        except GolfbenchError:
            raise
        except Exception as error:
            raise GolfbenchError(f"{molecule.id}: {type(error).__name__}: {error}") from error


def _told(atoms: Atoms) -> dict[str, str]:
    """Return what the atoms say of the molecule: ``atoms.info``, where ASE does not look, and sums of columns."""
    info = {key: repr(value) for key, value in atoms.info.items() if key == "smiles" or looks_like_state(key)}
    sums = {key: round(float(values.sum()), 3) for key, values in atoms.arrays.items() if looks_like_state(key)}
    return info | {key: f"sum {total}" for key, total in sums.items() if total}


def _load(path: Path, device: str) -> tuple[Model, bool]:
    """Return the potential of a checkpoint, and whether it tells charge states apart."""
    if "model" not in checkpoints.load(path)[1]:
        raise CheckpointError(f"checkpoint {path} holds no model: it is the state of an unfinished training")
    potential, header = load_potential(path, device)
    return potential, registry().find(ModelSpec, header["model"]).charged
