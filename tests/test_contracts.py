"""What a component may do beside its Protocol: it is asked for where it is there, and only there."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from golfbench import contracts
from golfbench.contracts import (
    Closes,
    DatasetBuilds,
    DatasetChecks,
    FloatArray,
    HasDevice,
    HasEnergy,
    HasSlots,
    MeasuresCpu,
    device_of,
)
from golfbench.molecules import Molecule
from golfbench.oracles.opening import CheckedOracle
from golfbench.registry import registry
from golfbench.specs import DatasetSpec, ExecutorSpec, OracleSpec

ABILITIES = (HasEnergy, MeasuresCpu, Closes, HasDevice, DatasetChecks, DatasetBuilds, HasSlots)
HYDROGEN = Molecule("h2", np.array([1, 1]), np.array([[0, 0, 0], [0, 0, 0.74]]))


class Bare:
    """No more than an oracle must be."""

    version = "bare 1.0"

    def label(self, molecule: Molecule) -> tuple[float, FloatArray]:
        return -1.0, np.zeros((len(molecule), 3))


class Able(Bare):
    """All that an oracle may be; counts who asks."""

    def __init__(self) -> None:
        self.asked: list[str] = []

    @property
    def last_cpu_s(self) -> float:
        return 0.25

    def energy(self, molecule: Molecule) -> float:
        self.asked.append("energy")
        return -2.0

    def close(self) -> None:
        self.asked.append("close")


def checked(engine: Any) -> CheckedOracle:
    spec = OracleSpec(name="some", factory="nowhere:make", summary="For tests.", method="none")
    return CheckedOracle(spec, engine)


def test_an_engine_is_asked_for_what_it_has_and_for_nothing_else() -> None:
    able = Able()
    with checked(able) as oracle:
        assert (oracle.energy(HYDROGEN), oracle.last_cpu_s) == (-2.0, 0.25)
    assert able.asked == ["energy", "close"]
    with checked(Bare()) as oracle:
        assert (oracle.energy(HYDROGEN), oracle.last_cpu_s) == (-1.0, None)


def test_a_model_without_a_device_lives_on_the_cpu() -> None:
    class Elsewhere:
        cutoff = None
        device = torch.device("meta")

        def energy_forces(self, batch: Any) -> Any: ...

    class Here:
        cutoff = None

        def energy_forces(self, batch: Any) -> Any: ...

    assert device_of(Elsewhere()) == torch.device("meta")
    assert device_of(Here()) == "cpu"


@pytest.mark.parametrize(
    ("spec", "name", "abilities"),
    [
        (OracleSpec, "mmff94", {HasEnergy}),
        (ExecutorSpec, "local", {HasSlots}),
        (DatasetSpec, "druglike-mini", {DatasetChecks, DatasetBuilds}),
    ],
)
def test_what_ships_has_the_abilities_that_it_is_to_have(spec: Any, name: str, abilities: set[type]) -> None:
    component = registry().find(spec, name).create({})
    assert {ability for ability in ABILITIES if isinstance(component, ability)} == abilities


def test_the_guide_for_plugins_names_every_ability() -> None:
    text = (Path(__file__).parents[1] / "docs" / "plugins.md").read_text()
    assert all(f"`{ability.__name__}`" in text for ability in ABILITIES)
    assert all(f"``{ability.__name__}``" in (contracts.__doc__ or "") for ability in ABILITIES)
