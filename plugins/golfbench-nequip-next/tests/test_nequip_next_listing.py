"""What is said of ``nequip-next`` where NequIP 0.19 is not installed."""

from importlib.metadata import PackageNotFoundError, requires, version

import pytest

from golfbench.errors import ComponentMissingError
from golfbench.registry import registry
from golfbench.specs import DRUGLIKE_ELEMENTS, ModelSpec


def test_it_asks_for_an_environment_of_its_own():
    spec = registry().find(ModelSpec, "nequip-next")
    assert spec.environment == ("nequip==0.19.1",)
    assert (spec.trainable, spec.elements) == (True, DRUGLIKE_ELEMENTS)
    assert requires("golfbench-nequip-next") == [f"golfbench~={version('golfbench')}"]
    assert spec.resolve({"layers": "2", "parity": "true"})["parity"] is True


def test_without_nequip_19_it_says_what_installs_it():
    try:
        reason = f"NequIP 0.19 is needed, and {version('nequip')} is installed here"
    except PackageNotFoundError:
        reason = "nequip"
    if "0.19." in reason:
        pytest.skip("NequIP 0.19 is installed here")
    with pytest.raises(ComponentMissingError, match=f"{reason}.*golfbench plugins install nequip-next"):
        registry().find(ModelSpec, "nequip-next").create({})
