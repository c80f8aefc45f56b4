"""Selections of ends of trajectories, the minima of the model: which of them to label.

A model is used for its minima, and a label there shows how wrong it is: a true minimum has no forces. A round offers
one end for each trajectory. These selections label the more promising half of them (``share``) and leave out the rest,
which costs walks on the network and no label. They are this suite's own.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from golfbench.contracts import FloatArray, Round
from golfbench.errors import ConfigurationError
from golfbench.molecules import Molecule, group_of
from golfbench_selections.controls import LastTrajectory
from golfbench_selections.rounds import force_mismatch


class Ends:
    """Labels a share of the ends of a round.

    Args:
        share: Share of the trajectories of a round that is labelled; at least one is.

    Raises:
        ConfigurationError: If it is no share.
    """

    def __init__(self, share: float = 0.5) -> None:
        if not 0 < share <= 1:
            raise ConfigurationError(f"share must be above 0 and at most 1, not {share:g}")
        self._share = share

    def begin(self, molecule: Molecule, rng: np.random.Generator) -> LastTrajectory:
        """Start a trajectory, whose end becomes a candidate."""
        return LastTrajectory()

    def scores(self, round: Round) -> FloatArray:
        """Return how much each candidate is wanted, (n_candidates,)."""
        raise NotImplementedError

    def choose(self, round: Round) -> Sequence[int]:
        """Return the most wanted candidates, one of each compound before the second one of any."""
        scores = np.nan_to_num(self.scores(round), nan=-np.inf, posinf=np.inf)
        taken: dict[str, int] = {}
        rank = {}
        for index in np.argsort(-scores, kind="stable").tolist():
            compound = compound_of(round.candidates[index].molecule)
            rank[index] = taken[compound] = taken.get(compound, -1) + 1
        ordered = sorted(rank, key=lambda index: rank[index])
        return ordered[: math.ceil(self._share * len(ordered))]


def compound_of(molecule: Molecule) -> str:
    """Return the compound of a state from its id: ``aspirin`` of ``aspirin/3@12``."""
    return group_of(molecule.id.rpartition("@")[0])


class EndMismatch(Ends):
    """Labels the ends where a second cheap level of theory has the largest forces: these minima are the most doubtful.

    The model's forces vanish at its minimum, so the difference is the surrogate's force. ``--surrogate gfn1-xtb`` is a
    better surrogate than MMFF94 and costs a call for each state. To take the disagreement of two levels of theory as a
    warning is the idea of GOLF (Tsypin et al., arXiv:2311.06295), here for the end alone and without a threshold.

    Args:
        share: See ``Ends``.
    """

    def scores(self, round: Round) -> FloatArray:
        """Return the root mean square difference of the forces of model and surrogate, Hartree/Å."""
        return np.array([force_mismatch(candidate, "end-mismatch") for candidate in round.candidates])


class Unsettled(Ends):
    """Labels the ends of compounds that were never labelled, then of those whose last label had the largest forces.

    A compound whose last label had small forces, so that the model's minimum was nearly right, comes last: the next
    label goes to another one. FINETUNA verifies at the claimed minimum, too, for one system (Musielewicz et al., Mach.
    Learn.: Sci. Technol. 3, 03LT01, 2022, arXiv:2205.01223).

    Args:
        share: See ``Ends``.
    """

    def scores(self, round: Round) -> FloatArray:
        """Return the largest force on an atom in the compound's last label, Hartree/Å; infinite where there is none."""
        last = {
            compound_of(item.molecule): float(np.linalg.norm(item.label.forces, axis=-1).max())
            for item in round.labelled
        }
        return np.array([last.get(compound_of(candidate.molecule), np.inf) for candidate in round.candidates])
