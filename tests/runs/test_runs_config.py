import pytest
from filelock import FileLock

from golfbench.errors import ConfigurationError
from golfbench.learning import checkpoint
from golfbench.learning.targets import InitialSet
from golfbench.runs.baseline import Recipe, train_baseline
from golfbench.runs.config import Baseline, RunConfig, load_config
from golfbench.runs.directory import RunDirectory, slug, write_json
from golfbench.runs.grid import combinations, plan
from golfbench.specs import ComponentRef


def quiet(task, done, total):
    """A report that nobody reads."""


def load(tmp_path, text, **overrides):
    (tmp_path / "run.yaml").write_text(text)
    return load_config(tmp_path / "run.yaml", overrides)


def test_yaml_numbers_without_a_point_are_numbers(tmp_path):
    """YAML 1.1 reads 1e-4 as text."""
    config = load(tmp_path, "training: {learning_rate: 1e-4}\nbaseline: {learning_rate: 5E-4, updates: 1000}")
    assert config.training.learning_rate == 1e-4
    assert config.baseline.learning_rate == 5e-4
    assert config.baseline.updates == 1000


def test_the_command_line_comes_before_the_file_and_the_file_before_the_defaults(tmp_path):
    text = "budget: 7\nseeds: [1, 2]\nmodels: [schnet]\ngolf: {parallel: 3}"
    config = load(tmp_path, text, budget=0, models=[], seeds=None, workers=5)
    assert (config.budget, config.seeds, config.models, config.workers) == (0, (1, 2), (ComponentRef("schnet"),), 5)
    assert config.golf.parallel == 3
    assert config.golf.steps == RunConfig().golf.steps
    assert config.oracles == (ComponentRef("gfn2-xtb"),)


def test_an_empty_file_is_the_default(tmp_path):
    assert load(tmp_path, "") == RunConfig()


def test_every_problem_is_named_with_its_path(tmp_path):
    with pytest.raises(ConfigurationError) as caught:
        load(tmp_path, "budgt: 1\nprotocol: {stepz: 3, steps: 0}\nseeds: [1.5]")
    assert str(caught.value).startswith("run.yaml: ")
    for part in (
        "unknown key 'budgt': did you mean 'budget'?",
        "unknown key 'protocol.stepz': did you mean 'steps'?",
        "protocol.steps: Input should be greater than or equal to 1 (got 0)",
        "seeds.0: Input should be a valid integer",
    ):
        assert part in str(caught.value)


def test_the_run_id_is_stable_and_does_not_depend_on_the_workers():
    one = RunConfig(budget=5)
    assert one.run_id() == RunConfig(budget=5).run_id() == RunConfig(budget=5, workers=7).run_id()
    assert one.run_id().startswith("druglike-mini-")
    others = [RunConfig(budget=6), RunConfig(budget=5, seeds=(1,)), RunConfig(budget=5, delta="mmff94")]
    assert len({one.run_id(), *(c.run_id() for c in others)}) == 4


def test_the_run_id_is_a_file_name_whatever_the_dataset():
    assert RunConfig(dataset="folder:path=/a/b").run_id().startswith("folder-")


def test_a_grid_has_every_combination_once():
    grid = combinations(RunConfig(models=("painn", "schnet", "mmff94"), seeds=(0, 1), selections=("golf", "none")))
    assert len(grid) == 2 * 2 * 2  # mmff94 is not trained
    assert len({c.id for c in grid}) == 8


def test_the_plan_counts_the_calls_of_another_level_of_theory(tiny):
    learned = RunConfig.model_validate({"models": ["painn:preset=small"]})
    config = learned.model_copy(update={"budget": 10, "seeds": (0, 1), "limit": 2})
    config = RunConfig.model_validate({**config.model_dump(), "selections": ["golf", "random", "none"]})
    calls = plan(config, tiny).calls
    assert (calls["initial"], calls["training"], calls["reference"]) == (0, 40, 0)
    other = plan(config.model_copy(update={"oracles": (ComponentRef("gfn1-xtb"),)}), tiny).calls
    assert other["initial"] == 2
    assert other["reference"] == 2 * 502
    pretrained = config.model_copy(update={"models": (ComponentRef("aimnet2"),)})
    pretrained = pretrained.model_copy(update={"oracles": (ComponentRef("gfn1-xtb"),)})
    assert plan(pretrained, tiny).calls["initial"] == 0  # nothing is labelled anew that nobody learns from


def test_a_slug_is_a_file_name():
    assert slug("painn:preset=small|lbfgs|golf|gfn2-xtb|seed=0") == "painn_preset=small_lbfgs_golf_gfn2-xtb_seed=0"


def test_json_is_written_whole_or_not_at_all(tmp_path):
    write_json(tmp_path / "a.json", {"x": 1})
    with pytest.raises(ValueError, match="Out of range"):
        write_json(tmp_path / "a.json", {"x": float("nan")})
    assert (tmp_path / "a.json").read_text() == '{\n  "x": 1\n}\n'


def test_a_directory_is_locked_once(tmp_path):
    directory = RunDirectory(tmp_path / "run")
    with directory.locked(), pytest.raises(ConfigurationError, match="in use by another process"):
        RunDirectory(tmp_path / "run").locked().__enter__()
    with directory.locked():
        pass


def train(tiny, tiny_model, path, updates=6, stop_at=None, **settings):
    def report(task, done, total):
        if done == stop_at:
            raise KeyboardInterrupt

    baseline = Baseline(updates=updates, **settings)
    recipe = Recipe(ComponentRef.parse(tiny_model), None, baseline, ComponentRef("single"), 0)
    train_baseline(tiny, InitialSet.of(tiny.initial, [], tiny.atom_energies), recipe, path, report)


def test_an_interrupted_baseline_goes_on_to_the_same_weights(tiny, tiny_model, tmp_path, monkeypatch):
    monkeypatch.setattr("golfbench.learning.fitting.SNAPSHOT_EVERY", 2)
    whole, broken = tmp_path / "whole.safetensors", tmp_path / "broken.safetensors"
    train(tiny, tiny_model, whole)
    with pytest.raises(KeyboardInterrupt):
        train(tiny, tiny_model, broken, stop_at=5)
    assert checkpoint.load(tmp_path / "broken.training-0000004.safetensors")[1]["update"] == 4
    train(tiny, tiny_model, broken)
    assert whole.read_bytes() == broken.read_bytes()
    assert not list(tmp_path.glob("broken.training*"))


def test_the_state_of_another_training_is_not_gone_on_with(tiny, tiny_model, tmp_path, monkeypatch):
    monkeypatch.setattr("golfbench.learning.fitting.SNAPSHOT_EVERY", 2)
    path = tmp_path / "a.safetensors"
    with pytest.raises(KeyboardInterrupt):
        train(tiny, tiny_model, path, stop_at=3)
    for change in ({"learning_rate": 2e-3}, {"batch_size": 2}, {"updates": 8}):
        with pytest.raises(ConfigurationError, match="has the state of another training"):
            train(tiny, tiny_model, path, **change)
    train(tiny, tiny_model, path)
    with pytest.raises(ConfigurationError, match="exists already"):
        train(tiny, tiny_model, path)


def test_a_damaged_state_is_named_and_the_one_before_is_used(tiny, tiny_model, tmp_path, monkeypatch, caplog):
    monkeypatch.setattr("golfbench.learning.fitting.SNAPSHOT_EVERY", 2)
    whole, broken = tmp_path / "whole.safetensors", tmp_path / "broken.safetensors"
    train(tiny, tiny_model, whole)
    with pytest.raises(KeyboardInterrupt):
        train(tiny, tiny_model, broken, stop_at=5)
    newest, before = (tmp_path / f"broken.training-000000{update}.safetensors" for update in (4, 2))
    assert [checkpoint.load(state)[1]["update"] for state in (newest, before)] == [4, 2]
    newest.write_bytes(newest.read_bytes()[:-1] + b"x")
    with caplog.at_level("WARNING", logger="golfbench"):
        train(tiny, tiny_model, broken)
    assert "broken.training-0000004.safetensors was altered" in caplog.text
    assert whole.read_bytes() == broken.read_bytes()
    assert {p.name for p in tmp_path.iterdir()} == {"whole.safetensors", "broken.safetensors"}


def test_two_processes_do_not_train_one_checkpoint(tiny, tiny_model, tmp_path):
    path = tmp_path / "a.safetensors"
    with FileLock(tmp_path / "a.safetensors.lock"), pytest.raises(ConfigurationError, match="in use by another"):
        train(tiny, tiny_model, path)
    train(tiny, tiny_model, path)


def test_a_configuration_has_components_and_is_written_as_what_a_person_wrote():
    written = {"dataset": 'folder:path="a, b"', "learner": "committee:members=3", "models": ["schnet", "schnet"]}
    config = RunConfig.model_validate(written)
    assert config.learner == ComponentRef("committee", {"members": "3"})
    assert config.dataset.parameters == {"path": "a, b"}
    assert config.models == (ComponentRef("schnet"),)
    assert config.model_dump()["dataset"] == config.model_dump(mode="json")["dataset"] == written["dataset"]
    assert RunConfig.model_validate_json(config.model_dump_json()) == config
    assert RunConfig.model_json_schema()["properties"]["learner"]["type"] == "string"


@pytest.mark.parametrize(
    ("written", "run_id"),
    [
        ({"models": ["painn:preset=small"]}, "druglike-mini-149bc67ca1"),  # as before components were read into objects
        (
            {
                "models": ["painn:weights=fresh, preset=small", "schnet", "painn:preset=small,weights=fresh"],
                "dataset": 'folder:path="a, b"',
                "delta": "gfn1-xtb",
                "oracles": ["psi4:method=hf,basis=6-31g(d,p)"],
                "learner": "committee:members=3",
                "protocol": {"reference_optimizer": "lbfgs:memory=5"},
                "surrogate": "gfn2-xtb:accuracy=0.1",
            },
            "folder-0859be7e9c",
        ),
    ],
)
def test_a_run_directory_is_found_again_after_an_update(written, run_id):
    assert RunConfig.model_validate(written).run_id() == run_id


def test_a_component_that_cannot_be_read_is_refused_where_the_configuration_is(tmp_path):
    with pytest.raises(ConfigurationError, match="parameters are written key=value"):
        load(tmp_path, "surrogate: 'mmff94:variant'")
    with pytest.raises(ConfigurationError, match="learner: Input should be a valid string"):
        load(tmp_path, "learner: 3")
