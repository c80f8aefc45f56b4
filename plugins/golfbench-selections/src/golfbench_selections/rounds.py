"""Selections that look at a whole round: which of all its candidates are the best to learn from."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from golfbench.contracts import Candidate, FloatArray, Round
from golfbench.errors import ConfigurationError
from golfbench_selections.features import greedy_variances, shrunk_covariance

#: A number for each candidate, the most wanted one the largest.
Score = Callable[[Candidate], float]


def one_of_each_trajectory_first(candidates: Sequence[Candidate], scores: FloatArray) -> list[int]:
    """Return all candidates by falling score, the best of each trajectory before the second one of any.

    States of one trajectory are alike: two of them teach little more than one.

    Args:
        candidates: Their ids tell the trajectory, ``aspirin/3@12``.
        scores: (n_candidates,); what is no number comes last.
    """
    order = np.argsort(-np.nan_to_num(scores, nan=-np.inf, posinf=np.inf), kind="stable").tolist()
    seen: dict[str, int] = {}
    rank = {}
    for index in order:
        trajectory = candidates[index].molecule.id.rpartition("@")[0]
        rank[index] = seen[trajectory] = seen.get(trajectory, -1) + 1
    return sorted(order, key=lambda index: rank[index])


class Ranked:
    """Labels the states with the largest score, at most one of each trajectory first."""

    def score(self, candidate: Candidate) -> float:
        """Return how much a state is wanted."""
        raise NotImplementedError

    def choose(self, round: Round) -> Sequence[int]:
        """Return all candidates, the most wanted first."""
        scores = np.array([self.score(candidate) for candidate in round.candidates], dtype=np.float64)
        return one_of_each_trajectory_first(round.candidates, scores)


class CommitteeForce(Ranked):
    """Labels the states on whose forces a committee disagrees most.

    Query by committee with the largest force deviation of an atom, as in DP-GEN (Zhang et al., Phys. Rev. Mater. 3,
    023804, 2019, arXiv:1810.11890).
    """

    def score(self, candidate: Candidate) -> float:
        """Return the largest spread of the force on an atom, Hartree/Å."""
        if candidate.state.force_spread is None:
            raise ConfigurationError("committee-force: needs a committee, and no spread was given")
        return float(candidate.state.force_spread.max())


class CommitteeEnergy(Ranked):
    """Labels the states on whose energies a committee disagrees most, relative to their size.

    Query by committee as in ANI-1x (Smith et al., J. Chem. Phys. 148, 241733, 2018, arXiv:1801.09319): the standard
    deviation of the energies over the square root of the number of atoms. There a threshold decides; here the states of
    a round are ranked, so that the budget alone says how many are labelled.
    """

    def score(self, candidate: Candidate) -> float:
        """Return the spread of the energy over the root of the number of atoms, Hartree."""
        if candidate.state.energy_spread is None:
            raise ConfigurationError("committee-energy: needs a committee, and no spread was given")
        return candidate.state.energy_spread / float(np.sqrt(len(candidate.molecule)))


class ForceNorm(Ranked):
    """Labels the states with the largest forces under the model itself.

    A control of this suite, without a source: it uses nothing but the model, so a selection that costs more has to be
    better. Most of its states lie near the starts, or where the walk of the model has gone wrong.
    """

    def score(self, candidate: Candidate) -> float:
        """Return the root mean square force on an atom under the model, Hartree/Å."""
        return root_mean_square(candidate.state.forces)


class ForceMismatch(Ranked):
    """Labels the states where the forces of model and surrogate differ most.

    The first published code of GOLF (Tsypin et al., arXiv:2311.06295, its history before the energy rule) labelled
    where the squared difference of the forces passed a threshold. A threshold has to be found for each pair of model
    and surrogate; here the states of a round are ranked, so that the budget alone says how many are labelled. States
    that the surrogate has no forces for come last.
    """

    def score(self, candidate: Candidate) -> float:
        """Return the root mean square difference of the forces on an atom, Hartree/Å; NaN where one is not known."""
        return force_mismatch(candidate, "force-mismatch")


def force_mismatch(candidate: Candidate, name: str) -> float:
    """Return the root mean square difference of the forces of model and surrogate, Hartree/Å; NaN where not known.

    Args:
        candidate: What the surrogate was asked about.
        name: Of the rule that looks at it.

    Raises:
        ConfigurationError: If the surrogate's forces were not given.
    """
    if candidate.state.surrogate_forces is None:
        raise ConfigurationError(f"{name}: needs the forces of a surrogate, and none were given")
    return root_mean_square(candidate.state.forces - candidate.state.surrogate_forces)


def root_mean_square(forces: FloatArray) -> float:
    """Return the root of the mean squared norm over the atoms of (n_atoms, 3)."""
    return float(np.sqrt(np.square(forces).sum(axis=-1).mean()))


class FarthestFeatures:
    """Labels the states that are farthest from all labels in the network's own features, one after the other.

    Greedy farthest-point sampling, also known as the k-center greedy rule of core sets (Sener and Savarese, ICLR 2018,
    arXiv:1708.00489), with the features' mean over the atoms as the place of a molecule.
    """

    def choose(self, round: Round) -> Sequence[int]:
        """Return as many candidates as there is budget for, the farthest first."""
        offered, learned = features(round, "farthest-features")
        # Before anything is learned there is no label to be far from: the middle of what is offered stands for one.
        learned = learned if len(learned) else offered.mean(axis=0, keepdims=True)
        nearest = _distances(offered, learned).min(axis=1)
        chosen: list[int] = []
        for _ in range(min(round.budget, len(offered))):
            index = int(nearest.argmax())
            chosen.append(index)
            nearest = np.minimum(nearest, _distances(offered, offered[index : index + 1])[:, 0])
            nearest[index] = -np.inf
        return chosen


class Kernel:
    """Labels the states that a Gaussian process on the network's last layer knows least of, one after the other.

    The kernel of two molecules is the product of their features, those that the last layer adds up to the energy: what
    is left of a state's variance after the training set, and after what was chosen before in the round, says what its
    label would add. Greedy maximisation of the determinant (MaxDet) on the last-layer kernel: Zaverkin, Holzmüller et
    al., Digital Discovery 1, 605, 2022 (doi 10.1039/d2dd00034b); Holzmüller et al., JMLR 24, 164, 2023
    (arXiv:2203.09410). The features are means over the atoms, so that large molecules are not wanted for their size.
    Variances of forces are not looked at.

    Args:
        noise: Variance of a label's noise, in units of the mean squared length of the features.

    Raises:
        ConfigurationError: If the noise is not positive.
    """

    def __init__(self, noise: float = 1e-3) -> None:
        if not noise > 0:
            raise ConfigurationError(f"kernel: noise must be above zero, not {noise:g}")
        self._noise = noise

    def choose(self, round: Round) -> Sequence[int]:
        """Return as many candidates as there is budget for, the least known first."""
        offered, learned = features(round, "kernel")
        return greedy_variances(offered, learned, self._noise, round.budget)


class TangentKernel(Kernel):
    """As ``kernel``, with the network's tangent kernel: the gradients of the energy by all weights, folded at random.

    Two molecules are alike when training on one moves the energy of the other. In the fine-tuning of a pretrained MACE
    it needed 38 % (energies) and 28 % (forces) less data than random (arXiv:2605.03964). A backward pass for each state
    and for each label that was learned from, in each round, is its price.
    """

    def choose(self, round: Round) -> Sequence[int]:
        """Return as many candidates as there is budget for, the least known first."""
        if round.tangents is None or round.training_tangents is None:
            raise ConfigurationError("tangent-kernel: needs the tangents of states and of the training set")
        return greedy_variances(round.tangents, round.training_tangents, self._noise, round.budget)


class Mahalanobis:
    """Labels the states whose features are the most unlikely ones under a Gaussian of the training set's features.

    The Mahalanobis distance to the training set as a measure of what a network does not know (Lee et al., NeurIPS 2018,
    arXiv:1807.03888; for potentials, with a mixture of Gaussians, Zhu et al., arXiv:2211.09866). There are fewer labels
    than features, so the covariance is shrunk (Ledoit and Wolf, J. Multivar. Anal. 88, 365, 2004). Unlike ``kernel`` it
    does not look at what else is chosen in the round, but for taking one state of each trajectory first.
    """

    def choose(self, round: Round) -> Sequence[int]:
        """Return all candidates, the most unlikely first."""
        offered, learned = features(round, "mahalanobis")
        middle = (learned if len(learned) else offered).mean(axis=0)
        off = offered - middle
        squared = (off * np.linalg.solve(shrunk_covariance(learned, offered.shape[1]), off.T).T).sum(axis=1)
        return one_of_each_trajectory_first(round.candidates, squared)


def features(round: Round, name: str) -> tuple[FloatArray, FloatArray]:
    """Return the features of the candidates, and those of the training set: (n, n_features) each.

    Args:
        round: With both.
        name: Of the rule that looks at them.

    Raises:
        ConfigurationError: If one is missing.
    """
    found = [candidate.state.features for candidate in round.candidates]
    if round.training_features is None or any(one is None for one in found):
        raise ConfigurationError(f"{name}: needs the features of states and of the training set")
    offered = np.array(found, dtype=np.float64)
    return offered, round.training_features.reshape(-1, offered.shape[1])


def _distances(a: FloatArray, b: FloatArray) -> FloatArray:
    """Return the distances (len(a), len(b)) of rows, a few rows at a time."""
    blocks = [np.linalg.norm(a[k : k + 64, None] - b[None], axis=-1) for k in range(0, len(a), 64)]
    found: FloatArray = np.concatenate(blocks)
    return found
