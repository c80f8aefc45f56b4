"""A header that a stranger wrote is proven before anything is built of it."""

import pytest

from golfbench.errors import CheckpointError
from golfbench.learning import checkpoint
from golfbench.learning.opening import load_potential, potential_header, save_potential
from golfbench.specs import ComponentRef

PAINN = ComponentRef("painn", {"preset": "small", "features": 16, "interactions": 1, "radial": 8})


@pytest.mark.parametrize(
    ("field", "value", "said"),
    [
        ("scale_hartree", None, "scale_hartree: Field required"),
        ("scale_hartree", "large", "scale_hartree: Input should be a valid number"),
        ("atom_energies_hartree", {"1": "low"}, "atom_energies_hartree.1: Input should be a valid number"),
        ("parameters", ["preset"], "parameters: Input should be a valid dictionary"),
        ("members", "two", "members: Input should be a valid integer"),
    ],
)
def test_a_damaged_header_is_one_line_that_names_the_field(tmp_path, labelled, make_potential, field, value, said):
    path, potential = tmp_path / "a.safetensors", make_potential(labelled)
    save_potential(path, potential, potential_header(PAINN, potential, None, "GFN2-xTB"))
    assert load_potential(path)[1]["method"] == "GFN2-xTB"
    tensors, header = checkpoint.load(path)
    changed = {name: v for name, v in header.items() if name not in (field, "content_sha256", "schema_version")}
    checkpoint.save(path, tensors, changed if value is None else {**changed, field: value})
    with pytest.raises(CheckpointError, match="its header is damaged: " + said):
        load_potential(path)


def test_what_a_newer_version_adds_does_no_harm(tmp_path, labelled, make_potential):
    path, potential = tmp_path / "a.safetensors", make_potential(labelled)
    save_potential(path, potential, {**potential_header(PAINN, potential, None, "GFN2-xTB"), "later": [1, 2]})
    assert load_potential(path)[1]["later"] == [1, 2]
