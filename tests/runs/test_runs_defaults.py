"""What a run takes where nobody chose, by the oracle that is asked."""

import pytest

from golfbench.registry import registry
from golfbench.runs.config import RunConfig, load_config
from golfbench.runs.defaults import FEW_LABELS, SLOW_BUDGET, suited
from golfbench.specs import ComponentRef, ModelSpec
from golfbench.store import place

PSI4 = ["psi4"]


@pytest.fixture(autouse=True)
def store(tmp_path, monkeypatch):
    """A store without any weights."""
    monkeypatch.setenv("GOLFBENCH_WEIGHTS", str(tmp_path))


def filled(**given):
    result = suited(load_config(None, given))
    return result.config, result.told


def test_the_default_run_stays_as_it_is():
    config, told = filled()
    assert config == RunConfig()
    assert told == []


def test_a_slow_oracle_is_asked_for_little_and_a_fresh_network_corrects_a_base():
    config, told = filled(models=["mace"], oracles=PSI4)
    assert (config.budget, config.delta) == (SLOW_BUDGET, "gfn2-xtb")
    assert config.selections == (ComponentRef("golf"),)
    assert config.references == (ComponentRef("mmff94"), ComponentRef("gfn2-xtb"))
    assert config.dataset == ComponentRef("druglike-dft")
    assert any("druglike-dft" in line and "--dataset" in line for line in told)
    assert (config.baseline, config.golf) == (FEW_LABELS["baseline"], FEW_LABELS["golf"])
    assert any("mace" in line and "gfn2-xtb" in line and "--delta" in line for line in told)
    assert any("32 labels" in line and "--budget" in line for line in told)


def test_what_a_person_gives_stays():
    given = {
        "models": ["mace"],
        "oracles": PSI4,
        "budget": 5,
        "delta": "mmff94",
        "selections": ["random"],
        "references": ["uff"],
        "dataset": "druglike-xtb",
    }
    config, told = filled(**given)
    assert config == load_config(None, given)
    assert told == []


@pytest.mark.parametrize("model", ["aimnet2", "painn:weights=somewhere.pt"])
def test_pretrained_weights_need_no_base(model):
    config, _ = filled(models=[model], oracles=PSI4)
    assert config.delta is None
    assert config.budget == SLOW_BUDGET
    assert (config.baseline, config.golf) == (RunConfig().baseline, RunConfig().golf)


def test_fresh_weights_that_are_asked_for_get_the_base():
    assert filled(models=["aimnet2:weights=fresh"], oracles=PSI4)[0].delta == "gfn2-xtb"
    assert filled(models=["mace"], oracles=PSI4, checkpoint="fresh")[0].delta == "gfn2-xtb"


def test_licensed_weights_count_when_they_were_fetched(tmp_path, monkeypatch):
    """Fetching them has accepted their licence."""
    monkeypatch.setenv("GOLFBENCH_WEIGHTS", str(tmp_path))
    assert filled(models=["mace"], oracles=PSI4)[0].delta == "gfn2-xtb"
    spec = registry().find(ModelSpec, "mace")
    stored = place(spec, spec.weights[1], "0123456789ab" + "0" * 52)
    stored.parent.mkdir(parents=True)
    stored.touch()
    assert filled(models=["mace"], oracles=PSI4)[0].delta is None


def test_pretrained_weights_that_are_here_are_the_better_base():
    spec = registry().find(ModelSpec, "aimnet2")
    stored = place(spec, spec.weights[0], str(spec.weights[0].sha256))
    stored.parent.mkdir(parents=True)
    stored.touch()
    config, told = filled(models=["mace"], oracles=PSI4)
    assert config.delta == f"aimnet2:weights={spec.weights[0].name}"
    assert config.references == (ComponentRef("mmff94"), ComponentRef("gfn2-xtb"))
    assert any(f"mace: a fresh network that corrects {config.delta}" in line for line in told)


def test_a_grid_with_a_quick_oracle_is_no_slow_one():
    config, told = filled(models=["mace"], oracles=["psi4", "gfn2-xtb"])
    assert (config.budget, config.delta, config.dataset.name) == (64, None, "druglike-mini")
    assert told == []


def test_a_person_may_want_no_base():
    assert filled(models=["mace"], oracles=PSI4, delta="none")[0].delta is None


def test_engines_of_one_level_of_theory_have_one_dataset():
    assert filled(oracles=["pyscf:method=wb97x-d,basis=def2-svp"])[0].dataset == ComponentRef("druglike-dft")


def test_without_a_dataset_at_its_level_an_oracle_gets_the_usual_one():
    assert filled(oracles=["psi4:method=hf,basis=sto-3g"])[0].dataset == ComponentRef("druglike-mini")
