"""Rules that look at a whole round, where there is nothing yet to compare with."""

import numpy as np
import pytest
from ase.build import molecule as named

from golfbench.contracts import Candidate, Round, State
from golfbench.molecules import Molecule
from golfbench_selections.rounds import FarthestFeatures


def offered(features: list[list[float]]) -> list[Candidate]:
    atoms = named("H2O")
    return [
        Candidate(
            Molecule(f"water/0@{k}", atoms.numbers, atoms.positions),
            State(k, atoms.positions, 0.0, np.zeros((3, 3)), features=np.array(place)),
        )
        for k, place in enumerate(features)
    ]


PLACES = [[0.0, 0.0], [1.0, 0.0], [0.0, 1.0], [-9.0, -9.0], [9.0, 9.0]]


def test_before_anything_is_learned_the_middle_of_what_is_offered_stands_for_a_label():
    rng = np.random.default_rng(0)
    chosen = FarthestFeatures().choose(Round(0, offered(PLACES), 2, rng, np.zeros((0, 0))))
    assert sorted(chosen) == [3, 4]  # the two far ends, not two neighbours


@pytest.mark.parametrize(("label", "first"), [([9.0, 9.0], 3), ([-9.0, -9.0], 4)])
def test_with_labels_the_farthest_from_them_comes_first(label, first):
    rng = np.random.default_rng(0)
    chosen = FarthestFeatures().choose(Round(0, offered(PLACES), 1, rng, np.array([label])))
    assert chosen == [first]
