import json
import resource
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from golfbench.errors import CheckpointError, WriteError
from golfbench.learning import checkpoint
from golfbench.learning.opening import (
    check_matches,
    load_potential,
    load_weights,
    new_network,
    potential_header,
    save_potential,
)
from golfbench.specs import ComponentRef

SMALL = {"preset": "small", "features": 16, "interactions": 1, "radial": 8}


@pytest.fixture
def tensors() -> dict[str, torch.Tensor]:
    generator = torch.Generator().manual_seed(0)
    return {
        "single": torch.randn(3, 4, generator=generator),
        "double": torch.randn(5, generator=generator, dtype=torch.float64) * 1e-300,
        "count": torch.tensor(7),
        "empty": torch.zeros(0, 3),
        "transposed": torch.randn(4, 2, generator=generator).T,
    }


def test_round_trip_is_bit_exact(tmp_path, tensors):
    path = tmp_path / "deep" / "a.safetensors"
    checkpoint.save(path, tensors, {"number": 0.1, "name": "Å"})
    loaded, header = checkpoint.load(path)
    assert (header["number"], header["name"], header["schema_version"]) == (0.1, "Å", 1)
    assert loaded.keys() == tensors.keys()
    for name, tensor in tensors.items():
        assert loaded[name].dtype == tensor.dtype
        assert torch.equal(loaded[name], tensor)


def test_the_same_content_gives_the_same_hash_and_another_name_type_or_value_another(tensors):
    assert checkpoint.content_hash(tensors) == checkpoint.content_hash(dict(reversed(tensors.items())))
    hashes = {
        checkpoint.content_hash(changed)
        for changed in (
            tensors,
            {("other" if name == "single" else name): t for name, t in tensors.items()},
            tensors | {"single": tensors["single"].reshape(4, 3)},
            tensors | {"count": torch.tensor(7, dtype=torch.int32)},
            tensors | {"single": tensors["single"] + torch.eye(3, 4) * 1e-6},
        )
    }
    assert len(hashes) == 5


def test_truncated_anywhere_is_refused(tmp_path, tensors):
    path = tmp_path / "a.safetensors"
    checkpoint.save(path, tensors, {})
    data = path.read_bytes()
    for length in (0, 4, 8, 40, len(data) // 2, len(data) - 1):
        path.write_bytes(data[:length])
        with pytest.raises(CheckpointError, match=r"a\.safetensors is not readable"):
            checkpoint.load(path)


def test_one_altered_byte_anywhere_is_refused(tmp_path, tensors):
    path = tmp_path / "a.safetensors"
    checkpoint.save(path, tensors, {"scale_hartree": 0.0471, "atom_energies_hartree": {"6": -1.79}})
    data = bytearray(path.read_bytes())
    text = data.find(b"-1.79")
    for position in [*range(0, len(data), 7), text + 1, text + 4]:
        altered = data.copy()
        altered[position] ^= 1
        path.write_bytes(altered)
        try:
            loaded, header = checkpoint.load(path)
        except CheckpointError as error:
            assert "a.safetensors" in str(error)  # noqa: PT017
            assert "\n" not in str(error)  # noqa: PT017
            continue
        pytest.fail(f"byte {position} was altered ({bytes(data[position - 9 : position + 9])!r}): {loaded}, {header}")


def test_an_altered_number_in_the_header_is_refused(tmp_path, tensors):
    path = tmp_path / "a.safetensors"
    checkpoint.save(path, tensors, {"scale_hartree": 0.0471})
    path.write_bytes(path.read_bytes().replace(b"0.0471", b"0.0472"))
    with pytest.raises(CheckpointError, match="was altered: its content does not match its hash"):
        checkpoint.load(path)


def test_another_schema_is_refused(tmp_path, tensors):
    path = tmp_path / "a.safetensors"
    checkpoint.save(path, tensors, {"schema_version": 99})
    with pytest.raises(CheckpointError, match="has schema 99, not 1"):
        checkpoint.load(path)


@pytest.mark.parametrize("metadata", [None, {"other": "1"}, {"golfbench": "not json"}, {"golfbench": "[1]"}])
def test_a_file_of_something_else_is_refused(tmp_path, metadata):
    path = tmp_path / "a.safetensors"
    save_file({"x": torch.zeros(2)}, path, metadata=metadata)
    with pytest.raises(CheckpointError, match=r"a\.safetensors is not a checkpoint of golfbench"):
        checkpoint.load(path)


def test_a_missing_file_and_a_folder_are_refused(tmp_path):
    with pytest.raises(CheckpointError, match=r"none\.safetensors does not exist"):
        checkpoint.load(tmp_path / "none.safetensors")
    with pytest.raises(CheckpointError, match="is not readable"):
        checkpoint.load(tmp_path)


def test_a_potential_survives_its_checkpoint(tmp_path, labelled, make_potential):
    from golfbench.batches import make_batch

    potential = make_potential(labelled, seed=3)
    header = potential_header(ComponentRef("painn", SMALL), potential, None, "GFN2-xTB")
    save_potential(tmp_path / "p.safetensors", potential, header)
    again, read = load_potential(tmp_path / "p.safetensors")
    batch = make_batch([item.molecule for item in labelled[:3]], potential.cutoff)
    one, two = potential.energy_forces(batch), again.energy_forces(batch)
    assert torch.equal(one.energies, two.energies)
    assert torch.equal(one.forces, two.forces)
    assert read["parameters"]["features"] == 16
    assert read["method"] == "GFN2-xTB"


def test_weights_that_do_not_fit_are_refused():
    network = new_network(ComponentRef("painn", SMALL), 0)
    weights = network.state_dict()
    missing = dict(list(weights.items())[1:])
    wide = new_network(ComponentRef("painn", SMALL | {"features": 32}), 0).state_dict()
    for bad, reason in ((missing, "Missing key"), (weights | {"x": torch.zeros(1)}, "Unexpected"), (wide, "size")):
        with pytest.raises(CheckpointError, match=rf"p\.safetensors: weights do not fit the model: .*{reason}"):
            load_weights(network, bad, "p.safetensors")


def test_a_checkpoint_of_another_model_delta_or_method_is_refused_by_name(labelled, make_potential):
    ref = ComponentRef("painn", SMALL)
    header = potential_header(ref, make_potential(labelled), None, "GFN2-xTB")
    path = Path("p.safetensors")
    check_matches(path, header, ref, None, "GFN2-xTB")
    with pytest.raises(CheckpointError, match=r"is of painn:preset=small,features=16.* not of painn"):
        check_matches(path, header, ComponentRef("painn"), None, "GFN2-xTB")
    with pytest.raises(CheckpointError, match=r"delta none.*delta mmff94"):
        check_matches(path, header, ref, "mmff94", "GFN2-xTB")
    with pytest.raises(CheckpointError, match=r"GFN2-xTB.*GFN1-xTB"):
        check_matches(path, header, ref, None, "GFN1-xTB")
    with pytest.raises(CheckpointError, match="holds no model"):
        check_matches(path, {"schema_version": 1, "update": 3}, ref, None, "GFN2-xTB")


def test_what_learned_from_weights_made_elsewhere_need_not_have_its_architecture_spelled_out(labelled, make_potential):
    """As those weights themselves: ``--model aimnet2 --checkpoint final.safetensors`` goes on where a run ended."""
    header = potential_header(ComponentRef("painn", SMALL), make_potential(labelled), None, "GFN2-xTB")
    header, path = {**header, "imported": {"weights": "published"}}, Path("final.safetensors")
    check_matches(path, header, ComponentRef("painn"), None, "GFN2-xTB")
    check_matches(path, header, ComponentRef("painn", {"features": 16}), None, "GFN2-xTB")
    for ref, delta in (
        (ComponentRef("painn", {"features": 32}), None),
        (ComponentRef("schnet"), None),
        (ComponentRef("painn"), "mmff94"),
    ):
        with pytest.raises(CheckpointError, match=f"not of {ref}"):
            check_matches(path, header, ref, delta, "GFN2-xTB")


def test_a_success_leaves_no_partial_file(tmp_path, tensors):
    checkpoint.save(tmp_path / "a.safetensors", tensors, {})
    checkpoint.save(tmp_path / "a.safetensors", tensors, {"second": True})
    assert [p.name for p in tmp_path.iterdir()] == ["a.safetensors"]


FULL_DISK = """
import resource, sys
from pathlib import Path
import torch
from golfbench.errors import WriteError
from golfbench.learning import checkpoint
resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, 20_000))
try:
    checkpoint.save(Path(sys.argv[1]), {"x": torch.ones(10_000)}, {"new": True})
except WriteError as error:
    print(error)
"""


def test_a_full_disk_keeps_the_old_file(tmp_path):
    path = tmp_path / "a.safetensors"
    checkpoint.save(path, {"x": torch.zeros(10)}, {"new": False})
    done = subprocess.run([sys.executable, "-c", FULL_DISK, str(path)], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert done.stdout == f"{path} cannot be written: File too large\n"
    assert [p.name for p in tmp_path.iterdir()] == ["a.safetensors"]
    assert checkpoint.load(path)[1]["new"] is False
    assert resource.getrlimit(resource.RLIMIT_FSIZE)[0] == resource.RLIM_INFINITY  # the limit was the child's


def test_a_folder_that_cannot_be_made_is_a_write_error(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(WriteError, match=r"a\.safetensors cannot be written"):
        checkpoint.save(tmp_path / "file" / "a.safetensors", {"x": torch.zeros(1)}, {})


def test_the_header_is_json_without_nan(tmp_path, tensors):
    with pytest.raises(ValueError, match="Out of range"):
        checkpoint.save(tmp_path / "a.safetensors", tensors, {"scale": float("nan")})
    checkpoint.save(tmp_path / "a.safetensors", tensors, {"scale": 1.5})
    raw = (tmp_path / "a.safetensors").read_bytes()
    length = int.from_bytes(raw[:8], "little")
    assert json.loads(json.loads(raw[8 : 8 + length])["__metadata__"]["golfbench"])["scale"] == 1.5
