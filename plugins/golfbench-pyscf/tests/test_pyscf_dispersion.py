"""The dispersion of wB97X-D against the values of Psi4, and against differences of its own energies."""

import numpy as np
import pytest
from ase import units

from golfbench_pyscf.dispersion import C6, RADII, dispersion

#: Å; one atom of each of eight elements, eight different rows and groups.
SALT = np.array([14, 15, 53, 3, 16, 34, 1, 5])
PLACES = np.array(
    [
        [0, 0, 0],
        [2.2, 0.1, 0],
        [0.3, 2.4, 0.2],
        [-2.1, 0.4, 1.0],
        [0.2, -1.1, 1.9],
        [3.1, 2.0, -1.2],
        [-0.7, -0.6, -1.2],
        [1.2, -1.9, -1.4],
    ]
)
WATER = np.array([8, 1, 1])
WATERS_PLACES = np.array([[0, 0, -0.06], [0, 0.79, 0.5], [0.05, -0.79, 0.51]])


@pytest.mark.parametrize(
    ("numbers", "places", "energy", "first"),
    [
        (WATER, WATERS_PLACES, -3.435725102606176e-05, [1.04355709e-07, -4.74783999e-08, 2.32478345e-06]),
        (SALT, PLACES, -0.007143275115306985, [-4.03735380e-04, 1.13197122e-04, 2.04589668e-04]),
    ],
    ids=["water", "salt"],
)
def test_energy_and_gradient_are_those_of_psi4(
    numbers: np.ndarray, places: np.ndarray, energy: float, first: list[float]
) -> None:
    """Values of Psi4 1.3.2, ``core.Dispersion.build("CHG", 1.0)``: the energy, the gradient of the first atom."""
    ours, gradient = dispersion(numbers, places / units.Bohr)
    assert ours == pytest.approx(energy, rel=1e-6)
    assert gradient[0] == pytest.approx(first, rel=1e-5)


def test_the_gradient_is_that_of_the_energy() -> None:
    places = PLACES / units.Bohr
    _, gradient = dispersion(SALT, places)
    step = 1e-4
    for atom in range(len(SALT)):
        for axis in range(3):
            shift = np.zeros_like(places)
            shift[atom, axis] = step
            up, down = (dispersion(SALT, places + s)[0] for s in (shift, -shift))
            assert gradient[atom, axis] == pytest.approx((up - down) / (2 * step), abs=1e-10)
    assert gradient.sum(axis=0) == pytest.approx(np.zeros(3), abs=1e-14)


def test_far_apart_it_is_minus_c6_over_r6_and_nothing_for_one_atom() -> None:
    energy, _ = dispersion(np.array([18, 18]), np.array([[0, 0, 0], [0, 0, 60.0]]))
    assert energy == pytest.approx(-C6[18] / 60.0**6, rel=1e-6)
    assert dispersion(np.array([18]), np.zeros((1, 3)))[0] == 0.0


def test_there_are_values_for_every_element_to_xenon() -> None:
    assert len(C6) == len(RADII) == 55
    assert (C6[1:] > 0).all()
    assert (RADII[1:] > 0.8).all()
