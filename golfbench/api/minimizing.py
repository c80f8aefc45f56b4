"""``golfbench.minimize``: molecules in memory to minima of a model, judged by an oracle where one is named."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from itertools import chain
from pathlib import Path
from typing import Any

from ase.calculators.calculator import Calculator
from ase.constraints import FixAtoms

from golfbench.api.frames import frame_of
from golfbench.api.molecules import Start, in_python, listed, starts_of
from golfbench.ase import model_of
from golfbench.benchmark.records import Status
from golfbench.constraints import Constraint
from golfbench.contracts import Model
from golfbench.errors import ConfigurationError, MoleculeError
from golfbench.molecule_files.constraints import Constraints
from golfbench.molecule_files.driver import Driver, open_driver
from golfbench.molecule_files.input_molecules import EndPoint, InputMolecule, Notes, Pending, Reading, Unusable
from golfbench.molecule_files.library import Job, minimize_library
from golfbench.molecule_files.minimizing import stopping_rule
from golfbench.molecule_files.oracle_walks import Verification
from golfbench.molecule_files.output import open_output
from golfbench.molecule_files.ranking import Ranking, rank
from golfbench.molecule_files.rows import OwnRow, Verdict
from golfbench.molecule_files.teaching import learn_library
from golfbench.molecule_files.verifying import verify_library
from golfbench.molecules import check_molecule
from golfbench.runs.baseline import Permission
from golfbench.runs.grid import check_device

#: Told how many molecules are done, of how many.
Progress = Callable[[int, int], None]
#: What walks when nothing is given, as on the command line.
DEFAULT_MODEL, DEFAULT_OPTIMIZER = "gfn2-xtb", "rfo-internal"


@dataclass(frozen=True, slots=True)
class Minimized:
    """What became of one molecule.

    Attributes:
        row: Status, energies, steps, calls and what failed; the fields of ``minimize --json``.
        given: Which of the things that were given it is from, counted from 0.
    """

    row: OwnRow
    given: int
    _end: EndPoint | None = field(repr=False)
    _start: Start = field(repr=False)

    @property
    def id(self) -> str:
        """Its name."""
        return self.row.unique_id or self.row.id

    @property
    def status(self) -> Status | Verdict:
        """What became of it; a text such as ``converged``."""
        return self.row.status

    @property
    def converged(self) -> bool:
        """Whether it is where it was to go, with the bonds that it had.

        By the model's largest force, or by the oracle's where that was given a budget: then it is verified.
        """
        return self.row.status in (Status.CONVERGED, Verdict.VERIFIED)

    @property
    def verified(self) -> bool:
        """Whether the oracle's largest force is below the threshold at the end point, and the bonds are the same."""
        return self.row.status is Verdict.VERIFIED

    @property
    def molecule(self) -> Any:
        """The end point, as the kind of thing that was given.

        Raises:
            MoleculeError: If it has none, with the reason.
        """
        if self._end is None:
            raise MoleculeError(f"{self.row.id}: no end point, it is {self.row.status}: {self.row.error_message or ''}")
        return self._start.back(self._end)

    def facts(self) -> dict[str, Any]:
        """Return what a frame has of it, by column."""
        return {"given": self.given, **self.row.model_dump(mode="json")}


@dataclass(frozen=True, slots=True)
class Minimization(Sequence[Minimized]):
    """What became of all molecules, in their order.

    Attributes:
        items: One for each conformer that was walked, and for what was no molecule.
        model: The model.
        method: Level of theory of its energies.
        optimizer: The optimizer.
        oracle: Who judged the end points; ``None`` where nobody did.
        notes: What had to be assumed and what a person should know, a sentence each.
    """

    items: tuple[Minimized, ...]
    model: str
    method: str
    optimizer: str
    oracle: str | None = None
    notes: tuple[str, ...] = ()

    def __len__(self) -> int:
        return len(self.items)

    def __getitem__(self, place: Any) -> Any:
        return self.items[place]

    @property
    def failures(self) -> list[Minimized]:
        """Those that have not converged; with a budget for the oracle, those that are not verified."""
        return [item for item in self.items if not item.converged]

    def frame(self) -> Any:
        """Return a ``pandas.DataFrame``, one row a molecule, units in the names of the columns.

        Raises:
            ComponentMissingError: If pandas is not installed.
        """
        return frame_of(item.facts() for item in self.items)


def minimize(
    molecules: Any,
    *,
    model: str | Model | Calculator | None = None,
    checkpoint: str | Path | None = None,
    optimizer: str = DEFAULT_OPTIMIZER,
    oracle: str | None = None,
    budget: int | None = None,
    learn: bool = False,
    force_max: float = 0.02,
    max_steps: int = 500,
    check_minima: bool = False,
    fix_atoms: Sequence[int] = (),
    fix_heavy: bool = False,
    freeze_torsions: Sequence[Sequence[int]] = (),
    conformers: int = 1,
    seed: int = 0,
    charge: int | None = None,
    multiplicity: int | None = None,
    device: str = "cpu",
    workers: int | None = None,
    unsafe: bool = False,
    progress: Progress | None = None,
) -> Minimization:
    """Minimize molecules on a model; let an oracle judge the end points, or finish the walks.

    Energies that rank are the oracle's where it was asked; labels that this machine knows already cost no call. A
    molecule that cannot be understood, that the model does not take or that fails stops no other: its item says why.

    Args:
        molecules: One or several, also mixed: RDKit molecules (every conformer is a start; without conformers they are
            made), ASE atoms (``FixAtoms`` holds), SMILES, ``pathlib.Path`` of files, tuples of arrays (atomic numbers
            (n,), positions (n, 3) in Å), ``golfbench.molecules.Molecule``. Results are the same kind; SMILES and files
            with bonds give RDKit molecules, other files ASE atoms.
        model: Gives energies and forces: name of an oracle or model with parameters, an open model, or an ASE
            calculator; GFN2-xTB if not given.
        checkpoint: A trained model instead; the file says which.
        optimizer: Geometry optimizer, with parameters.
        oracle: Judges where the walks on the model end: energy and largest force.
        budget: Labels of the oracle, for all molecules together: its own forces finish the walks, from the model's
            second derivatives.
        learn: The model learns from every label, so that later molecules need fewer of them. An open model is trained
            in place.
        force_max: Converged when no atom's force is above this, eV/Å.
        max_steps: Optimizer steps allowed.
        check_minima: Test that end points are minima, and walk on from saddles.
        fix_atoms: Atoms that do not move, counted from 0 in the order of what was given.
        fix_heavy: Move hydrogens only.
        freeze_torsions: Four atoms each whose torsion stays as it is, counted from 0.
        conformers: Conformers made of each SMILES, by ETKDGv3.
        seed: Seed of the conformers.
        charge: Total charge of atoms and arrays that do not say it; bonds say it themselves.
        multiplicity: 2S + 1 of what does not say it.
        device: Where networks live.
        workers: Oracle calls at a time; 2 if not given.
        unsafe: Allow a checkpoint that can run code when it is read.
        progress: Told how many molecules are done, of how many; with an oracle, when that is done with them.

    Raises:
        ConfigurationError: For an unknown name or parameter, or something that is no molecule of any kind.
        ComponentMissingError: If what the model, the optimizer or the oracle needs is not installed.
        CheckpointError: If the checkpoint is damaged.
    """
    if (model is not None) and not isinstance(model, str) and checkpoint is not None:
        raise ConfigurationError("give an open model or a checkpoint, not both")
    rule, constraints = stopping_rule(force_max, max_steps), _constraints(fix_atoms, fix_heavy, freeze_torsions)
    verification = _verification(oracle, budget, learn)
    check_device(device)
    reading, ends = Reading(conformers, seed, charge, multiplicity), Notes()
    starts = list(starts_of(listed(molecules), reading))
    held = _held(starts, constraints)
    if check_minima and held:
        raise ConfigurationError("check_minima tests all directions, so that nothing may be constrained with it")
    told: list[str] = []
    with _opened(model, checkpoint, Permission(unsafe, told.append), device) as driver:
        job = Job(
            driver.name,
            None,
            DEFAULT_MODEL,
            optimizer,
            rule,
            device=device,
            check_minima=check_minima,
            constraints=held,
            verification=verification,
            gives_ends=True,
        )
        found = _done(_InMemory([start.read for start in starts]), job, driver, ends, workers, progress)
    items = [Minimized(row, starts[place].given, end, starts[place]) for place, row, end in found]
    notes = map(in_python, (*told, *reading.notes.lines(), *ends.lines()))
    return Minimization(tuple(items), driver.name, driver.method, optimizer, oracle, tuple(notes))


def _verification(oracle: str | None, budget: int | None, learn: bool) -> Verification | None:
    """Return what the oracle is asked, once it is known that it can be."""
    if oracle is None:
        if budget is not None or learn:
            raise ConfigurationError(f"{'learn' if budget is None else 'budget'} needs an oracle: give oracle=, too")
        return None
    if learn and budget is None:
        raise ConfigurationError("learn=True learns from the labels of a walk: give budget=, too")
    verification = Verification(oracle, budget, learn)
    verification.check()
    return verification


@dataclass(frozen=True, slots=True)
class _InMemory:
    """Molecules in memory as records that are read; see ``molecule_files.reading.Records``."""

    inputs: Sequence[InputMolecule | Unusable]

    def pending(self) -> Iterator[Pending]:
        """Yield each."""
        for given in self.inputs:
            yield partial(_one, given)

    again = pending


def _one(given: InputMolecule | Unusable, reading: Reading) -> Iterator[InputMolecule | Unusable]:
    yield given


def _done(
    inputs: _InMemory, job: Job, driver: Driver, ends: Notes, workers: int | None, progress: Progress | None
) -> list[tuple[int, OwnRow, EndPoint | None]]:
    """Do all that is asked; return all in their order, with unique names and energies above the lowest conformer."""
    found: dict[int, EndPoint | None] = {}
    finished: set[int] = set()
    tell = progress or (lambda done, total: None)
    with open_output(None, False) as kept:
        if job.verification is not None and job.verification.learn:
            walks = [learn_library(inputs, job, driver, kept, ends, workers)]
        else:
            walks = [minimize_library(inputs, job, driver, kept, ends)]
            if job.verification is not None:
                walks.append(verify_library(inputs, job, driver, kept, workers))
        for one in chain.from_iterable(walks):
            found[one.place] = one.end
            if job.verification is None or one.end is None or one.row.oracle_labels is not None:
                finished.add(one.place)
                tell(len(finished), len(inputs.inputs))
        if len(finished) < len(inputs.inputs):  # the oracle does not look at walks that failed on the model
            tell(len(inputs.inputs), len(inputs.inputs))
        rank(kept, Ranking())
        rows = list(kept.rows())
    done = []
    for row in rows:
        message = None if row.error_message is None else in_python(row.error_message)
        place = row.record - 1
        done.append((place, row.model_copy(update={"error_message": message}), found.get(place)))
    return done


@contextmanager
def _opened(
    model: str | Model | Calculator | None, checkpoint: str | Path | None, permission: Permission, device: str
) -> Iterator[Driver]:
    if model is None or isinstance(model, str):
        path = None if checkpoint is None else Path(checkpoint)
        with open_driver(model, path, DEFAULT_MODEL, permission=permission, device=device) as driver:
            yield driver
        return
    name = type(model).__name__
    if isinstance(model, Calculator):
        model = model_of(model)
    if not isinstance(model, Model):
        raise ConfigurationError(f"model: a name, an open golfbench model or an ASE calculator is expected, not {name}")
    yield Driver(name, f"as {name}", model, partial(check_molecule, owner=name), sees_charge=True)


def _constraints(fixed: Sequence[int], heavy: bool, torsions: Sequence[Sequence[int]]) -> Constraints:
    """Return constraints of atoms that are counted from 0; those that people write count from 1."""
    for atoms in torsions:
        if len(atoms) != 4 or len(set(atoms)) != 4:
            raise ConfigurationError(f"a torsion is four different atoms, not {tuple(atoms)}")
    if negative := [atom for atoms in (fixed, *torsions) for atom in atoms if atom < 0]:
        raise ConfigurationError(f"atoms are counted from 0, there is no atom {negative[0]}")
    four = tuple(tuple(int(atom) + 1 for atom in atoms) for atoms in torsions)
    return Constraints(tuple(int(atom) + 1 for atom in fixed), heavy, four)


@dataclass(frozen=True, slots=True)
class _WithAse(Constraints):
    """Constraints of the call, and those that ASE atoms carry."""

    def __bool__(self) -> bool:
        return True

    def of(self, read: InputMolecule) -> Constraint | None:
        """Return what does not move in a molecule.

        Raises:
            MoleculeError: If its atoms carry another constraint than ``FixAtoms``.
        """
        carried = [] if read.atoms is None else read.atoms.constraints
        if other := next((c for c in carried if not isinstance(c, FixAtoms)), None):
            kind = type(other).__name__
            raise MoleculeError(
                f"{read.molecule.id}: ASE's constraint {kind} is not understood: FixAtoms is, and freeze_torsions"
            )
        fixed = {int(atom) + 1 for constraint in carried for atom in constraint.get_indices()}
        return Constraints(tuple(sorted({*self.fixed, *fixed})), self.heavy, self.torsions, self.springs).of(read)


def _held(starts: Sequence[Start], constraints: Constraints) -> Constraints:
    """Return the constraints of the call, and with them those of ASE atoms where there are any."""
    carried = (
        s.read.atoms.constraints for s in starts if isinstance(s.read, InputMolecule) and s.read.atoms is not None
    )
    if not any(carried):
        return constraints
    return _WithAse(constraints.fixed, constraints.heavy, constraints.torsions, constraints.springs)
