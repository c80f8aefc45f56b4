"""Rules that look at a whole round: which of all its candidates teach most."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from golfbench.contracts import Candidate, FloatArray, Round
from golfbench.errors import ConfigurationError


class CommitteeForce:
    """Labels the states on whose forces a committee disagrees most, at most one of each trajectory first.

    Query by committee with the largest force deviation of an atom, as in DP-GEN (Zhang et al., Phys. Rev. Mater. 3,
    023804, 2019, arXiv:1810.11890). States of one trajectory are alike: the most uncertain one of each trajectory comes
    before the second one of any.
    """

    def choose(self, round: Round) -> Sequence[int]:
        """Return all candidates, the most wanted first."""
        spreads = np.array([_largest_spread(candidate) for candidate in round.candidates])
        order = np.argsort(-spreads, kind="stable")
        seen: dict[str, int] = {}
        rank = {}
        for index in order.tolist():
            trajectory = round.candidates[index].molecule.id.rpartition("@")[0]
            rank[index] = seen[trajectory] = seen.get(trajectory, -1) + 1
        return sorted(order.tolist(), key=lambda index: rank[index])


def _largest_spread(candidate: Candidate) -> float:
    if candidate.state.force_spread is None:
        raise ConfigurationError("committee-force: needs a committee, and no spread was given")
    return float(candidate.state.force_spread.max())


class FarthestFeatures:
    """Labels the states that are farthest from all labels in the network's own features, one after the other.

    Greedy farthest-point sampling, also known as the k-center greedy rule of core sets (Sener and Savarese, ICLR 2018,
    arXiv:1708.00489), with the features' mean over the atoms as the place of a molecule.
    """

    def choose(self, round: Round) -> Sequence[int]:
        """Return as many candidates as there is budget for, the farthest first."""
        if round.training_features is None or round.candidates[0].state.features is None:
            raise ConfigurationError("farthest-features: needs the features of states and of the training set")
        offered = np.array([candidate.state.features for candidate in round.candidates])
        # Before anything is learned there is no label to be far from: the middle of what is offered stands for one.
        learned = round.training_features if len(round.training_features) else offered.mean(axis=0, keepdims=True)
        nearest = _distances(offered, learned).min(axis=1)
        chosen: list[int] = []
        for _ in range(min(round.budget, len(offered))):
            index = int(nearest.argmax())
            chosen.append(index)
            nearest = np.minimum(nearest, _distances(offered, offered[index : index + 1])[:, 0])
            nearest[index] = -np.inf
        return chosen


def _distances(a: FloatArray, b: FloatArray) -> FloatArray:
    """Return the distances (len(a), len(b)) of rows, a few rows at a time."""
    blocks = [np.linalg.norm(a[k : k + 64, None] - b[None], axis=-1) for k in range(0, len(a), 64)]
    found: FloatArray = np.concatenate(blocks)
    return found
