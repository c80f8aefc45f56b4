"""The address of an answer: what belongs to it, and what does not."""

import hashlib

import numpy as np
import pytest

from golfbench.errors import ConfigurationError
from golfbench.molecules import Molecule
from golfbench.oracles.question import Question, label_key
from golfbench.specs import ComponentRef

WATER = Molecule("water", np.array([8, 1, 1]), np.array([[0, 0, 0.1], [0, 0.76, -0.47], [0, -0.76, -0.47]]))


def key(oracle: str, molecule: Molecule = WATER) -> str:
    return Question.of(ComponentRef.parse(oracle), molecule).key


def test_technical_parameters_do_not_change_the_question() -> None:
    assert key("psi4") == key("psi4:threads=8,memory=4 GB,method=wB97X-D")
    assert len({key("psi4"), key("psi4:method=hf"), key("psi4:basis=sto-3g"), key("gfn2-xtb")}) == 4


def test_an_alias_is_the_same_oracle() -> None:
    assert key("xtb") == key("gfn2-xtb")


def test_the_name_of_a_molecule_does_not_matter_and_its_charge_does() -> None:
    other = Molecule("x", WATER.numbers, WATER.positions)
    ion = Molecule("water", WATER.numbers, WATER.positions, charge=2)
    assert key("gfn2-xtb", other) == key("gfn2-xtb") != key("gfn2-xtb", ion)


def test_the_key_is_a_hash_of_all_four() -> None:
    assert label_key("a", "b", "c", "d") == hashlib.sha256(b"a/b/c/d").hexdigest()


def test_a_parameter_that_is_not_known_is_refused() -> None:
    with pytest.raises(ConfigurationError, match="unknown parameter 'basiss'"):
        key("psi4:basiss=sto-3g")
