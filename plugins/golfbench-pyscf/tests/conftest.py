"""Molecules, and oracles in this process: a worker takes seconds to start."""

from collections.abc import Callable

import numpy as np
import pytest

from golfbench.molecules import Molecule
from golfbench.oracles.opening import CheckedOracle
from golfbench.registry import registry
from golfbench.specs import ComponentRef, OracleSpec


@pytest.fixture(scope="session")
def in_this_process() -> Callable[[str], CheckedOracle]:
    def open_one(text: str) -> CheckedOracle:
        ref = ComponentRef.parse(text)
        spec = registry().find(OracleSpec, ref.name)
        return CheckedOracle(spec, spec.create(ref.parameters))

    return open_one


@pytest.fixture(scope="session")
def water() -> Molecule:
    return Molecule("water", np.array([8, 1, 1]), np.array([[0, 0, -0.06], [0, 0.79, 0.5], [0.05, -0.79, 0.51]]))


@pytest.fixture(scope="session")
def amidogen() -> Molecule:
    """A radical that is bent: the two states of a linear one (OH) have one energy, and its SCF may not converge."""
    positions = np.array([[0.1, 0, 0], [0.4, 0.8, 0.5], [-0.6, -0.5, 0.6]])
    return Molecule("NH2", np.array([7, 1, 1]), positions, multiplicity=2)


@pytest.fixture(scope="session")
def methylene() -> Molecule:
    """A triplet without degenerate orbitals."""
    positions = np.array([[0.1, 0, 0], [0.4, 0.9, 0.5], [-0.7, -0.6, 0.3]])
    return Molecule("CH2", np.array([6, 1, 1]), positions, multiplicity=3)
