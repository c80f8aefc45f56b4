"""golfbench and ASE: any model as a calculator, any optimizer as ASE's, any calculator as a model.

``atoms.calc = GolfbenchCalculator("gfn2-xtb")``; ``GolfbenchOptimizer(atoms).run(fmax=0.02)``, with any calculator.

Imported on request only, since ASE's calculators take time to import.
"""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from ase import Atoms
from ase.calculators.calculator import Calculator, all_changes
from ase.constraints import FixAtoms
from ase.optimize.optimize import Optimizer as AseOptimizer

from golfbench.batches import make_batch
from golfbench.chemistry import from_ase, to_ase
from golfbench.constraints import Constraint
from golfbench.contracts import Evaluation, FloatArray, Model, Optimizer, TakesConstraints, device_of
from golfbench.errors import CheckpointError, ConfigurationError, GolfbenchError, OracleError
from golfbench.learning import checkpoint as checkpoints
from golfbench.learning.opening import load_potential, open_fixed_model
from golfbench.molecules import Molecule, check_molecule
from golfbench.oracles.as_model import OracleModel
from golfbench.registry import registry
from golfbench.specs import ModelSpec, OptimizerSpec
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
        ConfigurationError: If not exactly one of ``model`` and ``checkpoint`` is given, or there is no such fixed
            model.
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
        """Return the molecule of atoms; arguments of the calculator take precedence over the atoms."""
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


class GolfbenchOptimizer(AseOptimizer):
    """A golfbench optimizer that moves ASE atoms, with any calculator.

    It is used as ASE's own are: ``run(fmax, steps)``, ``irun``, ``attach``, a log file, a trajectory. ``FixAtoms``
    is respected; optimizers that know constraints (``rfo-internal``) use it. ``golfbench.minimize``, which takes a
    calculator as its model, walks many molecules in a batch.

    Args:
        atoms: A molecule with a calculator; not periodic.
        optimizer: Name of the optimizer, with parameters.
        logfile: As ASE has it; ``-`` is the standard output.
        trajectory: As ASE has it.
        append_trajectory: As ASE has it.

    Raises:
        ConfigurationError: If there is no such optimizer, or ``atoms`` is a filter of a cell.
        MoleculeError: If the atoms are periodic, or what they say of charge and spin is not understood.
    """

    def __init__(
        self,
        atoms: Atoms,
        optimizer: str = "rfo-internal",
        *,
        logfile: Any = None,
        trajectory: Any = None,
        append_trajectory: bool = False,
    ) -> None:
        given: object = atoms
        if not isinstance(given, Atoms):
            kind = type(given).__name__
            raise ConfigurationError(f"GolfbenchOptimizer moves ase.Atoms, not {kind}: molecules have no cell to relax")
        self._engine: Optimizer = registry().component(OptimizerSpec, optimizer).create()
        molecule = from_ase(atoms)
        self._engine.allocate(1, len(molecule), torch.device("cpu"))
        self._engine.admit(0, molecule)
        self._held = _fixed(atoms)
        if self._held is not None and isinstance(self._engine, TakesConstraints):
            self._engine.constrain(0, self._held)
        super().__init__(atoms, logfile=logfile, trajectory=trajectory, append_trajectory=append_trajectory)

    def step(self, forces: FloatArray | None = None) -> None:
        """Move the atoms once.

        Args:
            forces: (n_atoms, 3), eV/Å, where they are known already.
        """
        atoms = self.atoms
        found = atoms.get_forces() if forces is None else forces
        energy = torch.tensor([atoms.get_potential_energy() / HARTREE_TO_EV], dtype=torch.float64)
        before: FloatArray = atoms.get_positions()
        slots, positions = torch.tensor([0]), torch.tensor(before[None], dtype=torch.float64)
        move = self._engine.step(slots, positions, energy, torch.tensor(found[None] / HARTREE_TO_EV))
        there = before + move[0].numpy()
        atoms.set_positions(there if self._held is None else self._held.settled(before, there))


def _fixed(atoms: Atoms) -> Constraint | None:
    """Return the atoms that ``FixAtoms`` holds; ``None`` where it holds none."""
    held = [constraint.get_indices() for constraint in atoms.constraints if isinstance(constraint, FixAtoms)]
    if not held:
        return None
    fixed = np.unique(np.concatenate(held)).astype(np.int64)
    return Constraint(atoms.get_positions(), fixed, np.empty((0, 4), dtype=np.int64), np.zeros(len(atoms)))


def model_of(calculator: Calculator) -> Model:
    """Return an ASE calculator as a model that molecules walk on; it is asked for one molecule after the other."""
    return OracleModel.of(_AsOracle(calculator), type(calculator).__name__)


class _AsOracle:
    """An ASE calculator that labels molecules; see ``contracts.Oracle``."""

    def __init__(self, calculator: Calculator) -> None:
        self._calculator, self.version = calculator, type(calculator).__name__

    def label(self, molecule: Molecule) -> tuple[float, FloatArray]:
        atoms = to_ase(molecule)
        atoms.calc = self._calculator
        try:
            energy, forces = atoms.get_potential_energy(force_consistent=True), atoms.get_forces()
        except OracleError:
            raise
        except Exception as error:
            raise OracleError(f"{molecule.id}: {type(error).__name__}: {error}") from error
        return energy / HARTREE_TO_EV, forces / HARTREE_TO_EV
