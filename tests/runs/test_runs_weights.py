"""What a run starts from: what ``auto`` means, and what is refused or told of named weights before anything runs."""

from dataclasses import replace
from pathlib import Path

import pytest
import torch

from golfbench.batches import make_batch
from golfbench.chemistry import embed
from golfbench.contracts import Dataset, ImportedWeights, Label, LabelledMolecule, TestMolecule
from golfbench.errors import CheckpointError, ComponentMissingError, ConfigurationError
from golfbench.fetching import sha256_of
from golfbench.learning import fetch
from golfbench.learning.fetch import Wish
from golfbench.learning.opening import named_base, new_network, open_base
from golfbench.learning.weights import ModelChoice
from golfbench.registry import registry
from golfbench.runs.baseline import check_weights
from golfbench.runs.bases import check_base, is_engine
from golfbench.runs.config import RunConfig
from golfbench.runs.grid import shown
from golfbench.runs.starts import shipping, start_of
from golfbench.specs import ComponentRef, ModelSpec, NamedWeights, WeightsSource

TINY = {"preset": "small", "features": 8, "interactions": 1, "radial": 4}
PAINN = registry().find(ModelSpec, "painn")


@pytest.fixture
def dataset():
    def labelled(smiles):
        (molecule,) = embed(smiles, smiles, 1, seed=1)
        return LabelledMolecule(molecule, Label(0.0, molecule.positions, "GFN2-xTB"))

    tests = [TestMolecule(labelled(smiles).molecule) for smiles in ("CO", "CS", "CCl")]
    return Dataset("made-up", "GFN2-xTB", [labelled("CCO"), labelled("CS"), labelled("CCl")], tests, "")


@pytest.fixture
def offer(tmp_path, monkeypatch):
    """Let the model ``painn`` know weights of so many networks by name, which are in the store, or not."""
    monkeypatch.setenv("GOLFBENCH_WEIGHTS", str(tmp_path / "store"))

    def state(seed):
        return new_network(ComponentRef("painn", TINY), seed).state_dict()

    monkeypatch.setattr(
        fetch, "read_apart", lambda reader, path, folder: ImportedWeights(TINY, list(map(state, path.read_bytes())))
    )
    original = type(registry()).find

    def make(*sets, fetched=True):
        weights = []
        for name, members, facts in sets:
            file = tmp_path / f"{name}.pt"
            file.write_bytes(bytes(range(1, members + 1)))
            source = WeightsSource(url=f"https://example.org/{name}.pt")
            given = {"method": "PBE0", "license": "MIT", "elements": frozenset({1, 6, 8, 16, 17}), **facts}
            weights.append(NamedWeights(name=name, source=source, sha256=sha256_of(file), format="golf", **given))
        spec = replace(PAINN, weights=tuple(weights))

        def find(self, kind, what):
            return spec if getattr(what, "name", what) == "painn" else original(self, kind, what)

        monkeypatch.setattr(type(registry()), "find", find)
        for one in weights if fetched else ():
            fetch.fetch(spec, one, Wish(tmp_path / f"{one.name}.pt", accept_licence=True))

    return make


def config(**settings):
    return RunConfig(**{"models": ("painn",), **settings})


def begun(settings, dataset, method="GFN2-xTB"):
    choice = start_of(ModelChoice.parse(settings.models[0], settings.checkpoint), shipping(dataset, method), settings)
    return choice.weights.named.name if choice.weights.named else choice.weights.kind


@pytest.mark.parametrize(
    ("sets", "settings", "expected"),
    [
        ([("a", 1, {}), ("b", 1, {})], {}, "a"),
        ([("a", 1, {}), ("b", 1, {})], {"checkpoint": "b"}, "b"),
        ([("a", 1, {}), ("b", 1, {})], {"models": ("painn:weights=b",), "checkpoint": "fresh"}, "b"),
        ([("a", 1, {})], {"models": ("painn:weights=fresh",)}, "fresh"),
        ([("a", 1, {})], {"checkpoint": "none"}, "fresh"),
        ([("a", 1, {"accept_licence": True})], {}, "auto"),
        ([("a", 1, {"accept_licence": True}), ("b", 1, {})], {"models": ("painn:weights=auto",)}, "b"),
        ([], {}, "auto"),
    ],
)
def test_what_auto_means_where_no_baseline_ships(offer, dataset, sets, settings, expected):
    offer(*sets, fetched=False)
    assert begun(config(**settings), dataset) == expected


def test_a_baseline_that_ships_comes_first_at_its_own_level_of_theory(offer, dataset, tmp_path, monkeypatch):
    offer(("a", 1, {}), fetched=False)
    path = tmp_path / "shipped.safetensors"
    monkeypatch.setattr(
        "golfbench.runs.starts.shipped_baseline", lambda data, *given: path if data.checkpoints else None
    )
    dataset = replace(dataset, checkpoints={"painn": path})
    assert begun(config(), dataset) == "file"
    assert begun(config(), dataset, "wB97X-D/def2-SVP") == "a"


def test_missing_weights_are_found_before_anything_runs(offer, dataset):
    offer(("a", 1, {}), ("b", 1, {}), fetched=False)
    with pytest.raises(ComponentMissingError, match=r"weights 'a' .*: golfbench models fetch painn$"):
        check_weights(config(), dataset, "GFN2-xTB", unsafe=False)


def test_elements_that_weights_have_not_learned_are_told(offer, dataset):
    offer(("a", 1, {"elements": frozenset({1, 6, 8, 17})}))
    told = check_weights(config(), dataset, "GFN2-xTB", unsafe=False)
    (line,) = told
    assert line.startswith("weights 'a' have not learned S, which 1 of 3 test molecules hold (CS/0)")
    offer(("b", 1, {}))
    assert check_weights(config(), dataset, "GFN2-xTB", unsafe=False) == []


def test_an_ensemble_is_trained_by_a_committee(offer, dataset):
    offer(("a", 3, {}))
    with pytest.raises(ConfigurationError, match=r"weights 'a' are 3 networks, .*'single' trains one: give --learner"):
        check_weights(config(), dataset, "GFN2-xTB", unsafe=False)
    check_weights(config(budget=0), dataset, "GFN2-xTB", unsafe=False)
    check_weights(config(learner="committee"), dataset, "GFN2-xTB", unsafe=False)


def rows_name(model):
    return str(shown(ComponentRef.parse(model)))


def test_rows_name_a_file_by_name_and_content(tmp_path):
    first, second = tmp_path / "here" / "best.safetensors", tmp_path / "there" / "best.safetensors"
    for path, content in ((first, b"1"), (second, b"2")):
        path.parent.mkdir()
        path.write_bytes(content)
    assert rows_name(f"painn:preset=small,weights={first}") == "painn:preset=small,weights=best.safetensors@6b86b273"
    assert rows_name(f"painn:weights={second}") == "painn:weights=best.safetensors@d4735e3a"  # sha256sum of "1" and "2"
    for plain in ("painn:preset=small", "painn:weights=fresh", "painn:weights=auto"):
        assert rows_name(plain) == plain
    with pytest.raises(CheckpointError, match="does not exist"):
        rows_name(f"painn:weights={Path('none.safetensors')}")


def test_weights_by_name_are_a_base(offer, dataset):
    """The potential itself; its calls are no engine's, and a checkpoint that names it can be opened by a stranger."""
    offer(("a", 1, {}), ("b", 2, {}))
    batch = make_batch([item.molecule for item in dataset.test], 5.0)
    for name in ("a", "b"):
        base = f"painn:weights={name}"
        expected = ModelChoice.parse(base).open(unsafe=False)[0].energy_forces(batch)
        for opened in (open_base(base), named_base(base)):
            assert torch.equal(opened.energy_forces(batch).energies, expected.energies)
            assert torch.equal(opened.energy_forces(batch).forces, expected.forces)
        assert not is_engine(base)
        check_base(base, ["PBE0", "GFN2-xTB"])


def test_a_base_that_is_not_there_is_refused_with_the_command(offer):
    offer(("a", 1, {}), fetched=False)
    with pytest.raises(ComponentMissingError, match=r"weights 'a' .*: golfbench models fetch painn$"):
        check_base("painn:weights=a", ["GFN2-xTB"])
    with pytest.raises(ConfigurationError, match=r"must name weights of model 'painn'; known: painn:weights=a$"):
        check_base("painn:weights=c", ["GFN2-xTB"])
    with pytest.raises(ConfigurationError, match="the base 'painn' must name weights"):
        check_base("painn", ["GFN2-xTB"])
