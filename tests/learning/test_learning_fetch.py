"""Named weights come into the store: proven, accepted, read apart, converted once; and out of it into potentials."""

import json
import threading
from dataclasses import replace

import pytest
import torch

from golfbench import store
from golfbench.batches import make_batch
from golfbench.contracts import ImportedWeights
from golfbench.errors import CheckpointError, ComponentMissingError, ConfigurationError, WriteError
from golfbench.fetching import sha256_of
from golfbench.learning import checkpoint, fetch
from golfbench.learning.fetch import Wish
from golfbench.learning.opening import load_potential, new_network
from golfbench.learning.weights import ModelChoice, Weights
from golfbench.registry import registry
from golfbench.specs import ComponentRef, ModelSpec, NamedWeights, WeightsSource
from golfbench.testing.samples import sample

TINY = {"preset": "small", "features": 8, "interactions": 1, "radial": 4}
SPEC = registry().find(ModelSpec, "painn")
WEIGHTS = NamedWeights(
    name="tiny",
    source=WeightsSource(wheel="tiny==1.0", member="tiny/a.pt"),
    format="golf",
    method="wB97X-D/def2-SVP",
    license="CC-BY-4.0",
    citation="10.1000/tiny",
    elements=frozenset({1, 6, 8}),
)


def spec_with(*weights):
    return replace(SPEC, weights=weights)


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch):
    """The store of the test, and a reader that stands for the process of its own."""
    monkeypatch.setenv("GOLFBENCH_WEIGHTS", str(tmp_path / "store"))
    monkeypatch.setattr(fetch, "read_apart", read)
    return tmp_path / "store"


def read(reader, path, folder):
    seeds = path.read_bytes().split()
    if not seeds or not all(seed.isdigit() for seed in seeds):
        raise CheckpointError(f"checkpoint {path} is not readable")
    states = [new_network(ComponentRef("painn", TINY), int(seed)).state_dict() for seed in seeds]
    return ImportedWeights(TINY, states, 0.5, {1: -0.5, 6: -37.8, 8: -75.0}, "", "the file says nothing")


@pytest.fixture
def file(tmp_path):
    path = tmp_path / "given.pt"
    path.write_bytes(b"3")
    return path


def known(path, **changes):
    return replace(WEIGHTS, sha256=sha256_of(path), **changes)


def energy(potential, molecule):
    return potential.energy_forces(make_batch([molecule], potential.cutoff)).energies.item()


def test_what_is_stored_is_the_model_of_the_file(file, folder):
    weights = known(file)
    path = fetch.fetch(spec_with(weights), weights, Wish(file))
    assert path == folder / "painn" / f"tiny-{weights.sha256[:12]}.safetensors"
    potential, header = load_potential(path)
    network = new_network(ComponentRef("painn", TINY), 3)
    molecule = sample("CCO")
    alone = float(network(make_batch([molecule], network.cutoff)).detach())
    references = sum({1: -0.5, 6: -37.8, 8: -75.0}[int(z)] for z in molecule.numbers)
    assert energy(potential, molecule) == pytest.approx(0.5 * alone + references, abs=1e-6)
    assert header["method"] == "wB97X-D/def2-SVP"
    told = header["imported"]
    assert (told["weights"], told["file_sha256"], told["license"]) == ("tiny", weights.sha256, "CC-BY-4.0")
    assert told["notice"] == "the weights 'tiny' are under CC-BY-4.0; cite 10.1000/tiny"
    assert str(folder.parent) not in json.dumps(header)
    assert file.exists()
    assert not list((folder / "sources").iterdir())


def test_an_ensemble_is_a_committee(file):
    file.write_bytes(b"1 2 3")
    weights = known(file)
    path = fetch.fetch(spec_with(weights), weights, Wish(file))
    potential, header = load_potential(path)
    assert header["members"] == len(potential.networks) == 3
    molecule = sample("CCO")
    single = [energy(potential.member(k), molecule) for k in range(3)]
    assert len(set(single)) == 3
    assert energy(potential, molecule) == pytest.approx(sum(single) / 3, abs=1e-9)


def test_a_second_call_fetches_nothing(file, monkeypatch):
    weights = known(file)
    first = fetch.fetch(spec_with(weights), weights, Wish(file))
    monkeypatch.setattr(fetch, "read_apart", None)
    assert fetch.fetch(spec_with(weights), weights, Wish()) == first


def test_what_was_damaged_in_the_store_is_fetched_again(file):
    weights, told = known(file), []
    path = fetch.fetch(spec_with(weights), weights, Wish(file))
    path.write_bytes(path.read_bytes()[:-9])
    assert fetch.fetch(spec_with(weights), weights, Wish(file, tell=told.append)) == path
    checkpoint.load(path)
    assert "it is fetched again" in told[0]


def test_another_file_is_refused_and_leaves_nothing(file, folder):
    weights = replace(WEIGHTS, sha256="0" * 64)
    with pytest.raises(CheckpointError, match=r"weights 'tiny': .*given\.pt is another file .* expected 000000000000"):
        fetch.fetch(spec_with(weights), weights, Wish(file))
    assert not list(folder.rglob("*.safetensors"))
    assert not list((folder / "sources").iterdir())


def test_the_first_file_that_can_be_read_is_remembered(file, folder):
    spec = spec_with(WEIGHTS)
    file.write_bytes(b"an error page")
    with pytest.raises(CheckpointError, match="is not readable"):
        fetch.fetch(spec, WEIGHTS, Wish(file))
    file.write_bytes(b"3")  # what could not be read was not remembered
    path = fetch.fetch(spec, WEIGHTS, Wish(file))
    assert store.stored(spec, WEIGHTS) == path
    path.unlink()
    file.write_bytes(b"4")
    with pytest.raises(CheckpointError, match="is another file than the one known by that name"):
        fetch.fetch(spec, WEIGHTS, Wish(file))
    assert json.loads((folder / "store.json").read_text())["schema_version"] == 1


def test_a_file_that_may_run_code_and_that_nobody_vouches_for(file):
    unsafe = replace(SPEC.checkpoint_formats[0], unsafe=True)
    spec = replace(spec_with(WEIGHTS), checkpoint_formats=(unsafe,))
    for wish in (Wish(file), Wish(url="http://127.0.0.1:9/a.pt")):
        with pytest.raises(ConfigurationError, match=r"no hash of weights .* add --unsafe"):
            fetch.fetch(spec, WEIGHTS, wish)
    fetch.fetch(spec, WEIGHTS, Wish(file, unsafe=True))
    weights = known(file)
    fetch.fetch(replace(spec, weights=(weights,)), weights, Wish(file))  # its hash vouches for it


def test_a_licence_is_shown_accepted_once_and_remembered(file, folder):
    weights = known(file, accept_licence=True, license="LicenseRef-Strict", license_url="https://example.org/strict")
    other = replace(weights, name="other")
    spec, told = spec_with(weights, other), []
    with pytest.raises(ConfigurationError, match=r"must be accepted: read https://example\.org/strict, then golfbench"):
        fetch.fetch(spec, weights, Wish(file, tell=told.append))
    assert not list(folder.rglob("*.safetensors"))
    fetch.fetch(spec, weights, Wish(file, accept_licence=True, tell=told.append))
    assert told == ["the weights 'tiny' are under LicenseRef-Strict: https://example.org/strict"] * 2
    fetch.fetch(spec, other, Wish(file, tell=told.append))
    assert len(told) == 2
    stricter = replace(weights, name="more", license="LicenseRef-Stricter")
    with pytest.raises(ConfigurationError, match="LicenseRef-Stricter of weights 'more' must be accepted"):
        fetch.fetch(spec_with(stricter), stricter, Wish(file))


def test_missing_weights_name_the_command(file):
    first, second = known(file), known(file, name="second")
    spec = spec_with(first, second)
    with pytest.raises(ComponentMissingError, match=r"weights 'tiny' .*: golfbench models fetch painn$"):
        store.required(spec, first)
    with pytest.raises(ComponentMissingError, match=r": golfbench models fetch painn:weights=second$"):
        store.required(spec, second)


def test_no_network_names_what_helps(monkeypatch):
    weights = replace(WEIGHTS, source=WeightsSource(url="http://127.0.0.1:9/a.pt"))
    monkeypatch.setattr("golfbench.fetching.PAUSE_S", 0.0)
    with pytest.raises(ComponentMissingError, match=r"refused; bring the file by other means, .* painn --file FILE$"):
        fetch.fetch(spec_with(weights), weights, Wish())


def test_a_damaged_memory_is_one_line(file, folder):
    folder.mkdir()
    (folder / "store.json").write_text('{"accepted": 1}')
    with pytest.raises(ConfigurationError, match=r"store\.json is damaged: remove it") as caught:
        fetch.fetch(spec_with(WEIGHTS), WEIGHTS, Wish(file))
    assert "\n" not in str(caught.value)


def test_weights_without_references_know_the_elements_that_the_plugin_names(file, monkeypatch):
    monkeypatch.setattr(fetch, "read_apart", lambda *given: replace(read(*given), atom_energies={}))
    weights = known(file)
    potential, _ = load_potential(fetch.fetch(spec_with(weights), weights, Wish(file)))
    assert potential.elements == {1, 6, 8}


def test_a_parameter_that_is_not_that_of_the_weights_is_refused(file, monkeypatch):
    weights = known(file)
    spec = spec_with(weights)
    fetch.fetch(spec, weights, Wish(file))
    monkeypatch.setattr(type(registry()), "find", lambda self, kind, name: spec)
    right = ModelChoice(ComponentRef("painn", {"features": "8"}), Weights("named", named=weights))
    assert right.open(unsafe=False)[1]["parameters"]["features"] == 8
    wrong = replace(right, ref=ComponentRef("painn", {"features": "16"}))
    with pytest.raises(CheckpointError, match="weights 'tiny': its features is 8, not 16"):
        wrong.open(unsafe=False)


@pytest.mark.parametrize(
    "place", [{}, {"wheel": "a==1"}, {"member": "a"}, {"wheel": "a==1", "member": "b", "url": "https://example.org"}]
)
def test_weights_come_from_one_place(place):
    with pytest.raises(ValueError, match="a wheel and a member of it, or from a url"):
        WeightsSource(**place)


def test_tensors_of_the_network_stay_in_their_type(file, monkeypatch):
    def double(*given):
        found = read(*given)
        return replace(found, tensors=[{n: t.double() for n, t in state.items()} for state in found.tensors])

    monkeypatch.setattr(fetch, "read_apart", double)
    weights = known(file)
    tensors, _ = checkpoint.load(fetch.fetch(spec_with(weights), weights, Wish(file)))
    assert {t.dtype for t in tensors.values() if t.is_floating_point()} == {torch.float64}


def test_a_store_that_cannot_be_written_is_one_line_and_can_be_read(file, folder, monkeypatch):
    weights = known(file)
    path = fetch.fetch(spec_with(weights), weights, Wish(file))

    def refuse(*given, **more):
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr("golfbench.fetching.FileLock.acquire", refuse)
    assert fetch.fetch(spec_with(weights), weights, Wish(file)) == path
    path.unlink()
    with pytest.raises(WriteError, match="store cannot be written: Permission denied"):
        fetch.fetch(spec_with(weights), weights, Wish(file))


def test_who_comes_second_waits_and_fetches_nothing(file, monkeypatch):
    weights, told = known(file), []
    spec = spec_with(weights)
    begun, go_on = threading.Event(), threading.Event()

    def slow(*given):
        begun.set()
        assert go_on.wait(30)
        return read(*given)

    monkeypatch.setattr(fetch, "read_apart", slow)
    first = threading.Thread(target=fetch.fetch, args=(spec, weights, Wish(file)))
    first.start()
    assert begun.wait(30)

    def tell(text):
        told.append(text)
        go_on.set()

    assert fetch.fetch(spec, weights, Wish(file, tell=tell)) == store.stored(spec, weights)
    first.join()
    assert told == ["another process fetches weights: waiting for it"]
