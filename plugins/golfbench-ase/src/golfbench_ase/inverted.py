"""Optimizers of other libraries as ``golfbench.contracts.Optimizer``: their loop, called step by step.

A library's optimizer owns its loop and asks for forces; here the driver owns the loop and asks for the next
displacement. So the library runs in a thread, one for each molecule in flight, and is handed a function ``measure`` in
place of an engine: it passes the positions to ``step``, which returns the way there as displacement, and waits until
the driver has measured. At any time one thread runs and all others wait.

Each place that the library asks about is one force call of the driver, those of line searches and rejected steps
included. To ask again about the same place costs nothing, as with any calculator that remembers its last result. A
library cannot be told that the model failed where it asked and that the driver took another step: it starts again
there.
"""

from __future__ import annotations

import math
import threading
import weakref
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from queue import SimpleQueue
from typing import Any

import numpy as np
import torch
from ase import Atoms
from ase.calculators.calculator import Calculator, all_changes

from golfbench.contracts import FloatArray
from golfbench.errors import MoleculeError
from golfbench.imports import contained
from golfbench.molecules import Molecule
from golfbench.units import HARTREE_TO_EV

#: Energy (Hartree) and forces (n_atoms, 3) (Hartree/Å) at positions (n_atoms, 3), Å.
Measure = Callable[[FloatArray], tuple[float, FloatArray]]
#: Minimizes a molecule with forces from ``Measure`` and never stops by itself.
Library = Callable[[Molecule, Measure], object]

#: A place this near (Å) to the one that the library asked about is that place: units were converted on the way.
SAME_PLACE = 1e-10
#: Below this force (Hartree/Å) a molecule stays where it is and the library is not asked: what is left is rounding, on
#: which quasi-Newton updates break down. Every threshold of convergence is far above it.
RESTING_FORCE = 1e-9
#: Calls for the same positions, after which a library counts as no longer moving.
REPEATS = 1000
#: How long an ended library may take to finish what it is doing, s.
PATIENCE_S = 10.0


class Ended(BaseException):
    """Raised in the library's thread when its molecule has left."""


class _Channel:
    """What the thread of a library and the driver share."""

    def __init__(self) -> None:
        self.questions: SimpleQueue[FloatArray | BaseException] = SimpleQueue()
        self.answers: SimpleQueue[tuple[float, FloatArray] | None] = SimpleQueue()
        self.ended = False
        self._place: FloatArray | None = None
        self._known: tuple[float, FloatArray] = math.nan, np.empty(0)
        self._repeats = 0

    def measure(self, positions: FloatArray) -> tuple[float, FloatArray]:
        """Return energy and forces at ``positions``, see ``Measure``; runs in the library's thread.

        Raises:
            Ended: If the molecule has left.
            RuntimeError: If the library asks about the same place again and again.
        """
        place = np.array(positions, dtype=np.float64)
        if self._place is not None and np.array_equal(place, self._place):
            self._repeats += 1
            if self._repeats > REPEATS:
                raise RuntimeError("it no longer moves")
        else:
            self._place, self._repeats, self._known = place, 0, self._ask(place)
        energy, forces = self._known
        return energy, forces.copy()

    def _ask(self, place: FloatArray) -> tuple[float, FloatArray]:
        answer = None
        if not self.ended:
            self.questions.put(place)
            answer = self.answers.get()
        if answer is None:
            raise Ended
        return answer


def _serve(library: Library, molecule: Molecule, channel: _Channel) -> None:
    """Run a library until its molecule leaves; any other end is a last question."""
    try:
        library(molecule, channel.measure)
    except Ended:
        pass
    except BaseException as error:  # noqa: BLE001 - a library may even call sys.exit: it ends one molecule, no more
        channel.questions.put(error)
    else:
        channel.questions.put(RuntimeError("it stopped by itself"))


def _near(positions: FloatArray, *places: FloatArray | None) -> bool:
    return any(place is not None and float(np.abs(place - positions).max()) < SAME_PLACE for place in places)


class _Walk:
    """One molecule and the library that moves it."""

    def __init__(self, library: Library, molecule: Molecule) -> None:
        self.size = len(molecule)
        self._library, self._molecule = library, molecule
        self._channel = _Channel()
        self._thread: threading.Thread | None = None
        self._target: FloatArray | None = None
        self._answered: FloatArray | None = None
        self._numbers: Any = np.random.RandomState(0).get_state()
        self._failure = ""

    def move(self, positions: FloatArray, energy: float, forces: FloatArray) -> FloatArray:
        """Return the displacement (n_atoms, 3), Å, after a measurement at ``positions``.

        Raises:
            MoleculeError: If the library has failed.
        """
        usable = all(np.isfinite(values).all() for values in (positions, energy, forces))
        if not usable or np.linalg.norm(forces, axis=1).max() < RESTING_FORCE:
            return np.zeros_like(positions)
        with self._own_random_numbers():
            if self._target is not None and not _near(positions, self._target, self._answered):
                self._begin_anew()
            self._start(positions)
            if _near(positions, self._target):
                self._target, self._answered = None, positions
                self._channel.answers.put((energy, forces))
                self._wait()
        if self._target is None:
            raise MoleculeError(f"{self._molecule.id}: the optimizer failed: {self._failure}")
        return self._target - positions

    def end(self) -> None:
        """End the library's thread."""
        self._channel.ended = True
        if self._thread is not None:
            self._channel.answers.put(None)
            self._thread.join(PATIENCE_S)

    def _start(self, positions: FloatArray) -> None:
        if self._thread is None:
            arguments = self._library, self._molecule.at(positions), self._channel
            # A daemon: it must not keep the interpreter from ending, when even the finalizer cannot reach it.
            self._thread = threading.Thread(target=_serve, args=arguments, name="golfbench-optimizer", daemon=True)
            self._thread.start()
        if self._target is None and not self._failure:  # the first question, or the wait for one was interrupted
            self._wait()

    def _begin_anew(self) -> None:
        self.end()
        self._channel, self._thread, self._target, self._answered = _Channel(), None, None, None

    def _wait(self) -> None:
        """Wait for the library's next question."""
        question = self._channel.questions.get()
        if isinstance(question, BaseException):
            self._failure = " ".join(f"{type(question).__name__}: {question}".split())
        else:
            self._target = question

    @contextmanager
    def _own_random_numbers(self) -> Iterator[None]:
        """Give the library NumPy's global random numbers as if this molecule were alone in the process."""
        np.random.set_state(self._numbers)
        yield
        self._numbers = np.random.get_state()


def _end(walks: list[_Walk | None]) -> None:
    for walk in walks:
        if walk is not None:
            walk.end()


class InvertedOptimizer:
    """A library's optimizer, one instance for each molecule; see ``golfbench.contracts.Optimizer``.

    A library that raises, stops by itself or no longer moves makes ``step`` raise. To ask again, with the same
    positions, for those beside it gives them the displacements that they would have got. Threads end when another
    molecule is admitted to their slot, when this object is no longer referenced, and before the interpreter ends.

    Args:
        library: Minimizes one molecule, from its positions on, with the forces that it is given.
    """

    def __init__(self, library: Library) -> None:
        self._library = library
        self._walks: list[_Walk | None] = []
        weakref.finalize(self, _end, self._walks)

    def allocate(self, slots: int, atoms: int, device: torch.device) -> None:
        """Make room for ``slots`` molecules."""
        _end(self._walks)
        self._walks[:] = [None] * slots

    def admit(self, slot: int, molecule: Molecule) -> None:
        """End the library that is at work in ``slot``; the next one begins at the first step."""
        _end([self._walks[slot]])
        self._walks[slot] = _Walk(self._library, molecule)

    def step(
        self, slots: torch.Tensor, positions: torch.Tensor, energies: torch.Tensor, forces: torch.Tensor
    ) -> torch.Tensor:
        """Return displacements (m, atoms, 3), Å, to where each library wants to know the forces next.

        Zero for a molecule with an energy, force or position that is not finite or with forces below
        ``RESTING_FORCE``.

        Raises:
            MoleculeError: If the library of one of the molecules has failed; the text says why.
        """
        moves = torch.zeros_like(positions)
        with contained():
            for row, slot in enumerate(slots.tolist()):
                walk = self._walks[slot]
                assert walk is not None
                place, pull = (values[row, : walk.size].numpy(force=True).copy() for values in (positions, forces))
                moves[row, : walk.size] = torch.from_numpy(walk.move(place, float(energies[row]), pull))
        return moves


class _MeasuringCalculator(Calculator):
    """An ASE calculator that asks ``Measure``, in eV and eV/Å."""

    implemented_properties: list[str] = ["energy", "free_energy", "forces"]  # noqa: RUF012 - the type is ASE's

    def __init__(self, measure: Measure) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self._measure = measure

    def check_state(self, atoms: Atoms, tol: float = 0.0) -> list[str]:
        """Call everything changed: ``measure`` remembers, and must see a library that no longer moves."""
        return list(all_changes)

    def calculate(self, atoms: Any = None, properties: Any = None, system_changes: Any = all_changes) -> None:
        """Fill ``results`` for ``atoms``."""
        energy, forces = self._measure(atoms.positions)
        energy *= HARTREE_TO_EV
        self.results = {"energy": energy, "free_energy": energy, "forces": forces * HARTREE_TO_EV}


def measured_atoms(molecule: Molecule, measure: Measure) -> Atoms:
    """Return a molecule as ASE's atoms with a calculator that asks ``measure``."""
    return Atoms(molecule.numbers, molecule.positions, calculator=_MeasuringCalculator(measure))
