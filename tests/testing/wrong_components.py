"""Wrong oracles, selections, datasets and executors: what the specs of ``wrong_plugin`` name."""

import random
from concurrent.futures import ThreadPoolExecutor

import numpy as np
from ase.data import covalent_radii

from golfbench.contracts import Decision
from golfbench.errors import OracleError
from golfbench.units import BOHR_TO_ANGSTROM, HARTREE_TO_EV

DEPTH, WIDTH = 0.15, 2.0


class Morse:
    """A sound oracle: a Morse potential between all pairs, times ``energy_factor`` and ``force_factor``."""

    version = "morse 1"

    def __init__(self, energy_factor=1.0, force_factor=1.0):
        self.energy_factor, self.force_factor = energy_factor, force_factor

    def label(self, molecule):
        n = len(molecule)
        vectors = molecule.positions[:, None] - molecule.positions
        distances = np.linalg.norm(vectors, axis=-1) + np.eye(n)
        radii = covalent_radii[molecule.numbers]
        decay = np.exp(-WIDTH * (distances - radii[:, None] - radii)) * (1 - np.eye(n))
        energy = DEPTH * (decay**2 - 2 * decay).sum() / 2
        slopes = 2 * DEPTH * WIDTH * (decay - decay**2) / distances
        return self.energy_factor * energy, -self.force_factor * (slopes[..., None] * vectors).sum(axis=1)


def sound():
    return Morse()


def flipped():
    return Morse(force_factor=-1.0)


def energies_in_ev():
    return Morse(energy_factor=HARTREE_TO_EV)


def all_in_ev():
    return Morse(HARTREE_TO_EV, HARTREE_TO_EV)


def per_bohr():
    return Morse(force_factor=BOHR_TO_ANGSTROM)


class Stateful(Morse):
    calls = 0

    def label(self, molecule):
        energy, forces = super().label(molecule)
        self.calls += 1
        return energy + 1e-6 * self.calls, forces


class Linear(Morse):
    """Adds w · x with constant forces -w, where w depends on ``weights``."""

    def label(self, molecule):
        energy, forces = super().label(molecule)
        weights = self.weights(molecule)
        return energy + (weights * molecule.positions).sum(), forces - weights


class Ordered(Linear):
    """Pulls the first atom towards the last: invariant to all but the order."""

    def label(self, molecule):
        energy, forces = Morse.label(self, molecule)
        vector = molecule.positions[0] - molecule.positions[-1]
        forces[0] -= 0.02 * vector
        forces[-1] += 0.02 * vector
        return energy + 0.01 * vector @ vector, forces


def ordered():
    return Ordered()


class Oriented(Linear):
    """An electric field along x acts on charges that add up to zero."""

    def weights(self, molecule):
        charges = molecule.numbers - molecule.numbers.mean()
        return 0.01 * charges[:, None] * np.array([1.0, 0.0, 0.0])


def oriented():
    return Oriented()


class NoSulfur(Morse):
    def label(self, molecule):
        if 16 in molecule.numbers:
            raise OracleError(f"{molecule.id}: no parameters for S", "input")
        return super().label(molecule)


class ChargeBlind(Morse):
    def label(self, molecule):
        if molecule.charge:
            raise OracleError(f"{molecule.id}: charges are not implemented")
        return super().label(molecule)


class Mutating(Morse):
    def label(self, molecule):
        molecule.positions[:] -= molecule.positions.mean(axis=0)
        return super().label(molecule)


def noisy():
    random.seed(1)
    np.seterr(all="raise")
    return Morse()


def never_made():
    raise ValueError("no licence file")


def unkempt(level):
    return Morse()


class Rule:
    def begin(self, molecule, rng):
        self.rng = rng
        return type(self)()


class LabelsNan(Rule):
    """Labels the last state, whatever it is."""

    def observe(self, state):
        return Decision((state,) if state.last else (), end=state.last)


class FirstState(Rule):
    def observe(self, state):
        return Decision((state,) if np.isfinite(state.energy) else (), end=True)


class Dice(Rule):
    def observe(self, state):
        lucky = np.isfinite(state.energy) and random.random() < 0.5
        return Decision((state,) if lucky else (), end=lucky or state.last)


class Inventing(Rule):
    def observe(self, state):
        made_up = type(state)(99, state.positions + 1.0, -1.0, state.forces)
        return Decision((made_up,) if state.last else (), end=state.last)


class Endless(Rule):
    def observe(self, state):
        return Decision((state,) if state.last and np.isfinite(state.energy) else ())


class Peeking(Rule):
    """Says that it needs no surrogate, and uses one when it is there."""

    def observe(self, state):
        done = state.last or (state.surrogate_energy is not None and state.surrogate_energy < 0.025)
        return Decision((state,) if done and np.isfinite(state.energy) else (), end=done)


class RoundRule:
    """Chooses the largest forces first: sound."""

    def choose(self, round):
        return self.best(round)[: round.budget]

    def best(self, round):
        return np.argsort([-c.state.force_max for c in round.candidates], kind="stable").tolist()


class OutOfRange(RoundRule):
    def choose(self, round):
        return [len(round.candidates)]


class Twice(RoundRule):
    def choose(self, round):
        return self.best(round)[:1] * 2


class Stingy(RoundRule):
    """Chooses nothing when everything may be had."""

    def choose(self, round):
        return self.best(round)[: round.budget] if round.budget < len(round.candidates) else []


class RoundDice(RoundRule):
    def choose(self, round):
        return random.sample(range(len(round.candidates)), min(round.budget, len(round.candidates)))


class Sorting(RoundRule):
    """Normalizes the forces where they are."""

    def choose(self, round):
        for candidate in round.candidates:
            candidate.state.forces[:] /= np.linalg.norm(candidate.state.forces)
        return [0]


class RoundPeeking(RoundRule):
    """Says that it looks at forces, and takes the spread when it is there."""

    def best(self, round):
        spreads = [c.state.force_spread for c in round.candidates]
        return super().best(round) if spreads[0] is None else np.argsort([-s.max() for s in spreads]).tolist()


class Spreading(RoundRule):
    """Sound: names the committee and chooses by it."""

    def best(self, round):
        return np.argsort([-c.state.force_spread.max() for c in round.candidates], kind="stable").tolist()


class Muddled:
    """Ids that occur twice, and a label of another level of theory."""

    def read(self):
        from golfbench.chemistry import embed
        from golfbench.contracts import Dataset, Label, LabelledMolecule, TestMolecule

        molecules = embed("O", "water", 2, 1)
        labels = [Label(-5.0, np.zeros((3, 3)), method) for method in ("GFN2-xTB", "GFN1-xTB")]
        initial = [LabelledMolecule(molecules[0], label) for label in labels]
        return Dataset("muddled", "GFN2-xTB", initial, [TestMolecule(molecules[1])], "0" * 64)


class Swallowing(ThreadPoolExecutor):
    """Answers None where a call raised."""

    def submit(self, fn, /, *args, **kwargs):
        def quiet():
            try:
                return fn(*args, **kwargs)
            except OracleError:
                return None

        return super().submit(quiet)
