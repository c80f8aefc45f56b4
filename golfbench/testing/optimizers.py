"""Checks of optimizers: on quadratic bowls, where the minimum is known, and on ethanol under MMFF94."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch

from golfbench.minimization import Point, StoppingRule, minimize
from golfbench.molecules import Molecule
from golfbench.oracles.as_model import OracleModel
from golfbench.oracles.opening import open_oracle
from golfbench.seeds import derived
from golfbench.specs import ComponentRef
from golfbench.testing.results import Check, CheckSkipped, Finding, check
from golfbench.testing.samples import sample
from golfbench.testing.subject import Subject

CHECKS: list[Check] = []
#: Curvatures of the bowls, Hartree/Å²: a bend, a C-C stretch, the stiffest stretch of a drug molecule (a C=O bond).
STIFFNESS = (0.3, 1.5, 5.0)
BOWL_STEPS = 400
#: Share of the largest force that may remain.
REMAINING_IN_BOWL = 1e-3
ETHANOL_STEPS = 200
REMAINING_IN_ETHANOL = 0.1
#: Paths that must be the same, Å. Bit-identical paths are possible: the suite's own optimizers have them.
PATH_TOLERANCE = 1e-9
_PATH_STEPS = 6
_SLOTS, _ATOMS = 4, 12
_MADE_OF = ("O", "CCO", "CC(F)F", "CO")


class Bowl:
    """A molecule in a quadratic bowl that moves and rotates with it: E = ½ Σ k_i |x_i − R x₀_i − t|².

    Rotation R and translation t are those with the lowest energy (weighted superposition, Kabsch 1976): as for every
    molecule, neither place nor orientation changes the energy, and optimizers in internal coordinates may rely on it.

    Args:
        smiles: The molecule; it starts about 0.2 Å away from x₀.
        stiffness: k, Hartree/Å², one for all atoms or one each, (n_atoms,).
    """

    def __init__(self, smiles: str, stiffness: Any) -> None:
        self.molecule = sample(smiles)
        self._bottom = self.molecule.positions
        self._stiffness = np.broadcast_to(stiffness, len(self._bottom))[:, None]
        shift = derived(3, "bowl", smiles).normal(scale=0.2, size=self._bottom.shape)
        self.start = self._bottom + shift

    def energy_forces(self, positions: Any) -> tuple[float, Any]:
        """Return energy (Hartree) and forces (n_atoms, 3) (Hartree/Å) at positions (n_atoms, 3), Å."""
        if not np.isfinite(positions).all():
            return np.nan, np.full_like(positions, np.nan)
        k = self._stiffness
        centre, origin = ((k * x).sum(0) / k.sum() for x in (positions, self._bottom))
        u, _, vt = np.linalg.svd((k * (self._bottom - origin)).T @ (positions - centre))
        u[:, -1] *= np.sign(np.linalg.det(u @ vt))
        # The derivatives with respect to R and t vanish, so that the forces are those of a bowl at rest.
        away = positions - centre - (self._bottom - origin) @ u @ vt
        return float((k * away**2).sum()) / 2, -k * away


def _bowls() -> list[Bowl]:
    """Return a bowl of each stiffness and one that is stiff for some atoms and soft for others."""
    uneven = np.geomspace(STIFFNESS[0], STIFFNESS[-1], len(sample(_MADE_OF[3])))
    return [Bowl(smiles, k) for smiles, k in zip(_MADE_OF, (*STIFFNESS, uneven), strict=True)]


class Walk:
    """An optimizer that is called step by step and slot by slot.

    Args:
        optimizer: A fresh one.

    Attributes:
        positions: (slots, atoms, 3), Å, zero where there is no atom.
    """

    def __init__(self, optimizer: Any) -> None:
        self._optimizer = optimizer
        optimizer.allocate(_SLOTS, _ATOMS, torch.device("cpu"))
        self.positions = torch.zeros(_SLOTS, _ATOMS, 3, dtype=torch.float64)
        self._bowls: dict[int, Bowl] = {}

    def admit(self, slot: int, bowl: Bowl) -> None:
        """Start a bowl's molecule in a slot."""
        self.positions[slot] = 0.0
        self.positions[slot, : len(bowl.molecule)] = torch.from_numpy(bowl.start)
        self._bowls[slot] = bowl
        self._optimizer.admit(slot, bowl.molecule.at(bowl.start))

    def ask(self, slots: Sequence[int], broken: Sequence[int] = ()) -> tuple[list[torch.Tensor], torch.Tensor]:
        """Return what the optimizer is given for these slots, and its displacements; forces in ``broken`` are NaN."""
        rows = list(slots)
        positions, energies = self.positions[rows], torch.zeros(len(rows), dtype=torch.float64)
        forces = torch.zeros_like(positions)
        for row, slot in enumerate(rows):
            bowl = self._bowls[slot]
            size = len(bowl.molecule)
            energy, bowl_forces = bowl.energy_forces(positions[row, :size].numpy())
            energies[row], forces[row, :size] = energy, torch.from_numpy(np.asarray(bowl_forces))
            if slot in broken:
                energies[row], forces[row, :size] = torch.nan, torch.nan
        given = [torch.tensor(rows), positions, energies, forces]
        return given, self._optimizer.step(*given)

    def step(self, slots: Sequence[int], broken: Sequence[int] = (), share: float = 1.0) -> None:
        """Move the molecules in these slots, by that share of what is proposed."""
        _, displacements = self.ask(slots, broken)
        self.positions[list(slots)] += share * displacements

    def largest_force(self, slot: int) -> float:
        """Return the largest force of an atom in a slot, Hartree/Å."""
        bowl = self._bowls[slot]
        _, forces = bowl.energy_forces(self.positions[slot, : len(bowl.molecule)].numpy())
        return float(np.linalg.norm(forces, axis=1).max())


class Bench:
    """Makes fresh optimizers.

    Args:
        subject: The component.
    """

    def __init__(self, subject: Subject) -> None:
        self.subject = subject

    def walk(self) -> Walk:
        """Return a walk of a fresh optimizer."""
        return Walk(self.subject.create())

    def alone(self, bowl: Bowl, slot: int = 0) -> torch.Tensor:
        """Return the path of a bowl's molecule alone in a fresh optimizer, (steps, atoms, 3), Å."""
        walk = self.walk()
        walk.admit(slot, bowl)
        return self.path(walk, slot, lambda: walk.step([slot]))

    @staticmethod
    def path(walk: Walk, slot: int, step: Callable[[], None]) -> torch.Tensor:
        """Return the path of a slot's molecule when ``step`` is called again and again, (steps, atoms, 3), Å."""
        places = []
        for _ in range(_PATH_STEPS):
            step()
            places.append(walk.positions[slot].clone())
        return torch.stack(places)


def _apart(paths: Sequence[tuple[torch.Tensor, torch.Tensor]]) -> Finding:
    worst = max(float((a - b).abs().max()) for a, b in paths)
    return Finding(worst if worst == worst else float("inf"), PATH_TOLERANCE, "Å")


@check(CHECKS)
def shapes(bench: Bench) -> Finding:
    """Displacements are float64, as many as the positions, finite, and exactly zero for padding."""
    walk, problems = bench.walk(), []
    for slot, bowl in enumerate(_bowls()):
        walk.admit(slot, bowl)
    for _ in range(3):
        given, moves = walk.ask(range(_SLOTS))
        if moves.shape != given[1].shape or moves.dtype != torch.float64:
            return Finding.of_problems(
                [f"{tuple(moves.shape)} {moves.dtype}, not {tuple(given[1].shape)} torch.float64"]
            )
        walk.positions += moves
    if not torch.isfinite(moves).all():
        problems.append("not finite")
    padding = [s for s, bowl in enumerate(_bowls()) if walk.positions[s, len(bowl.molecule) :].any()]
    problems += [f"padding of slot {slot} moved" for slot in padding]
    return Finding.of_problems(problems)


@check(CHECKS, "shapes")
def input_untouched(bench: Bench) -> Finding:
    """Slots, positions, energies and forces that were given are as they were."""
    walk, changed = bench.walk(), set()
    for slot, bowl in enumerate(_bowls()):
        walk.admit(slot, bowl)
    for _ in range(3):
        before, _ = walk.ask(range(_SLOTS))
        kept = [t.clone() for t in before]
        walk._optimizer.step(*before)
        names = ("slots", "positions", "energies", "forces")
        changed |= {n for n, a, b in zip(names, before, kept, strict=True) if not torch.equal(a, b)}
    return Finding.of_problems(sorted(changed), "changed tensors")


@check(CHECKS, "input-untouched")
def repeatable(bench: Bench) -> Finding:
    """Two fresh optimizers take the same path."""
    return _apart([(bench.alone(bowl), bench.alone(bowl)) for bowl in _bowls()])


@check(CHECKS, "repeatable")
def batch_equals_single(bench: Bench) -> Finding:
    """A molecule takes the same path alone, among others, and in another slot with the rows in another order."""
    bowls, pairs = _bowls(), []
    for order in ((0, 1, 2, 3), (2, 0, 3, 1)):
        walk = bench.walk()
        for slot in range(_SLOTS):
            walk.admit(slot, bowls[order[slot]])
        rows = [order[slot] for slot in range(_SLOTS)]
        places = []
        for _ in range(_PATH_STEPS):
            walk.step(rows)
            places.append(walk.positions.clone())
        together = torch.stack(places)
        pairs += [(together[:, slot], bench.alone(bowls[order[slot]])) for slot in range(_SLOTS)]
    return _apart(pairs)


@check(CHECKS, "batch-equals-single")
def admission(bench: Bench) -> Finding:
    """A molecule that is admitted to a used slot takes the same path as in a fresh optimizer."""
    first, second = _bowls()[1:3]
    walk = bench.walk()
    walk.admit(0, first)
    for _ in range(_PATH_STEPS):
        walk.step([0])
    walk.admit(0, second)
    return _apart([(bench.path(walk, 0, lambda: walk.step([0])), bench.alone(second))])


@check(CHECKS, "batch-equals-single")
def waiting(bench: Bench) -> Finding:
    """A molecule that is left out of some steps goes on as if they had not been."""
    first, second = _bowls()[1:3]
    walk = bench.walk()
    walk.admit(0, first)
    walk.admit(1, second)

    def both_but_one_more_often() -> None:
        walk.step([0, 1])
        walk.step([0])

    return _apart([(bench.path(walk, 1, both_but_one_more_often), bench.alone(second))])


@check(CHECKS, "batch-equals-single")
def bad_neighbour(bench: Bench) -> Finding:
    """Forces that are not finite move no other molecule off its path, and the slot works again for the next one."""
    bowls = _bowls()
    walk = bench.walk()
    for slot in (0, 1):
        walk.admit(slot, bowls[slot])
    path = bench.path(walk, 0, lambda: walk.step([0, 1], broken=[1]))
    walk.admit(1, bowls[2])
    after = bench.path(walk, 1, lambda: walk.step([1]))
    return _apart([(path, bench.alone(bowls[0])), (after, bench.alone(bowls[2]))])


@check(CHECKS, "repeatable")
def bowls(bench: Bench) -> Finding:
    """It reaches the bottom of quadratic bowls, soft, stiff and uneven."""
    return _to_the_bottom(bench, lambda step: 1.0)


@check(CHECKS, "bowls")
def shortened_steps(bench: Bench) -> Finding:
    """It reaches the bottom of the bowls also when some steps are cut short, as where the model fails beyond."""
    return _to_the_bottom(bench, lambda step: 1 / 4 if step % 7 == 3 else 1.0)


def _to_the_bottom(bench: Bench, share: Callable[[int], float]) -> Finding:
    walk = bench.walk()
    for slot, bowl in enumerate(_bowls()):
        walk.admit(slot, bowl)
    first = [walk.largest_force(slot) for slot in range(_SLOTS)]
    for step in range(BOWL_STEPS):
        walk.step(range(_SLOTS), share=share(step))
    shares = [walk.largest_force(slot) / start for slot, start in enumerate(first)]
    names = (*(f"{k} Hartree/Å²" for k in STIFFNESS), "uneven")
    worst = int(np.argmax(shares))
    detail = f"largest in the bowl of {names[worst]}, after {BOWL_STEPS} steps"
    return Finding(shares[worst], REMAINING_IN_BOWL, "of the first force", detail)


@check(CHECKS, "repeatable")
def ethanol(bench: Bench) -> Finding:
    """It lowers the energy of ethanol under MMFF94."""
    found = bench.subject.registry
    if not found.has("oracle", "mmff94"):
        raise CheckSkipped("mmff94 is not installed (pip install golfbench-rdkit)")
    model = OracleModel.of(open_oracle(ComponentRef("mmff94"), found), "MMFF94")
    molecule: Molecule = sample("CCO")
    points: list[Point] = []
    rule = StoppingRule(force_max=0.0, max_steps=ETHANOL_STEPS)

    def watch(point: Point) -> bool:
        points.append(point)
        return False

    list(minimize(model, [molecule], bench.subject.create(), rule, watch))
    first, last = points[0], points[-1]
    if not last.energy < first.energy:
        return Finding(float("inf"), REMAINING_IN_ETHANOL, "of the first force", "the energy did not fall")
    detail = f"after {last.step} steps"
    return Finding(last.force_max / first.force_max, REMAINING_IN_ETHANOL, "of the first force", detail)
