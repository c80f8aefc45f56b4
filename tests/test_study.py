"""The study: its files are configurations that the suite takes, and the driver runs, resumes and draws them."""

import importlib.util
import json
import os
import subprocess
import sys
import time
from pathlib import Path

import pytest
import yaml

from golfbench.benchmark.prepare import spread
from golfbench.runs.config import load_config
from golfbench.runs.grid import check_names, combinations
from golfbench.runs.runner import open_dataset
from golfbench_datasets.files import INITIAL, TEST, Description, write_description, write_initial, write_test

ROOT = Path(__file__).parents[1]
FILES = sorted((ROOT / "examples" / "study").glob("*.yaml"))


def script(name):
    spec = importlib.util.spec_from_file_location(name, ROOT / "benchmarks" / f"{name}.py")
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def study():
    return script("study")


@pytest.fixture(scope="module")
def held_back(study):
    script("tuning_split")
    return script("held_back")


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_a_file_of_the_protocol_is_fair(path):
    config = load_config(path, {})
    check_names(config)
    assert len(config.seeds) >= (5 if path.stem in ("painn-gfn1", "painn-mmff94") else 3)
    assert "random" in map(str, config.selections)  # every comparison has its control
    assert str(config.dataset) == "druglike-xtb"
    assert config.cache == "off"  # YAML reads off as a truth value
    schedules = {config.training.schedule, config.fine_tuning.schedule}
    assert schedules == {"constant"}
    assert config.evaluate_at[0] == 0
    initial = config.initial_labels or 0
    in_all = [initial + labels for labels in (*config.points, config.budget)]
    assert all(labels & (labels - 1) == 0 for labels in in_all)  # powers of two, labels in all
    assert in_all[-1] <= 512


def test_networks_from_scratch_begin_with_every_element_of_the_test():
    """One that has not seen an element refuses to judge a molecule that holds it, whatever is labelled later."""
    dataset = open_dataset("druglike-xtb")
    wanted = {int(z) for item in dataset.test for z in item.molecule.numbers}
    for path in FILES:
        config = load_config(path, {})
        if config.delta:
            begun = spread(dataset.initial, config.initial_labels)
            assert wanted <= {int(z) for item in begun for z in item.molecule.numbers}


@pytest.mark.parametrize("path", [p for p in FILES if p.stem != "painn-gfn1" and p.stem.startswith("painn-gfn1-")])
def test_an_ablation_changes_one_thing(path):
    def settings(file):
        told = yaml.safe_load(file.read_text())
        return {k: v for k, v in told.items() if k not in ("selections", "seeds", "references")}

    whole, part = settings(ROOT / "examples" / "study" / "painn-gfn1.yaml"), settings(path)
    changed = {key for key in {*whole, *part} if whole.get(key) != part.get(key)}
    allowed = [{"training", "golf"}, {"learner"}, {"golf"}, {"training"}, {"initial_labels", "evaluate_at"}]
    assert changed in ([set()] if path.stem.endswith("-rules") else allowed)


def test_cells_are_one_combination_each_and_go_through_seeds_first(study, tmp_path):
    made = study.Study(ROOT / "examples" / "study" / "painn-mmff94.yaml", {}, tmp_path)
    cells = study.cells_of(made)
    assert {cell.combination.id for cell in cells} == {c.id for c in combinations(made.config)}
    assert len({cell.shard.name for cell in cells}) == len(cells) == 15
    seeds = [cell.combination.seed for cell in cells]
    assert seeds == sorted(seeds)
    assert [str(cell.combination.selection) for cell in cells[:3]] == ["random", "golf", "unsettled"]
    command = cells[4].command()
    assert command[command.index("--shard") + 1] == cells[4].shard.name.replace("-of-", "/")


def test_other_seeds_and_another_dataset_make_another_run(study, tmp_path):
    path = ROOT / "examples" / "study" / "painn-mmff94.yaml"
    usual = study.Study(path, {}, tmp_path)
    tuned = study.Study(path, {"dataset": "druglike-mini", "seeds": [100, 101]}, tmp_path)
    assert usual.run != tuned.run
    assert len(study.cells_of(tuned)) == 6
    assert tuned.options() == ["--dataset", "druglike-mini", "--seed", "100", "--seed", "101"]


@pytest.fixture
def small(tmp_path):
    """Two cells that take seconds: two selections of a tiny network on three molecules."""
    settings = {
        "dataset": "druglike-mini",
        "limit": 3,
        "models": ["painn:preset=small,features=8,interactions=1,radial=6"],
        "delta": "mmff94",
        "references": ["mmff94"],
        "selections": ["random", "last"],
        "initial_labels": 2,
        "baseline": {"updates": 2},
        "evaluate_at": [0, 2, 4],
        "golf": {"steps": 2, "inner_steps": 2, "parallel": 2, "updates_per_label": 1},
        "protocol": {"steps": 2, "inner_steps": 2},
    }
    path = tmp_path / "small.yaml"
    path.write_text(yaml.safe_dump(settings))
    return path


def test_it_runs_keeps_what_is_finished_merges_and_draws(study, small, tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(study, "NICENESS", 0)  # on a busy machine the lowest priority may wait for hours
    output = str(tmp_path / "runs")
    assert study.main(["run", str(small), "--output", output]) == 0
    first = capsys.readouterr().out
    assert "small: 2 cells to run" in first
    assert first.count(": finished") == 2
    (run,) = (tmp_path / "runs" / "small").glob("druglike-mini-*")
    records = (run / "records.jsonl").read_bytes()
    notes = sorted((tmp_path / "runs" / "small" / "cells").glob("*.json"))
    assert [json.loads(note.read_text())["cpu_s"] > 0 for note in notes] == [True, True]
    assert study.main(["run", str(small), "--output", output]) == 0
    assert "small: 0 cells to run" in capsys.readouterr().out
    assert (run / "records.jsonl").read_bytes() == records
    assert study.main(["plan", str(small), "--output", output]) == 0
    assert "(measured) | 0.0 |" in capsys.readouterr().out
    figures = tmp_path / "figures"
    assert study.main(["figures", output, "--output", str(figures)]) == 0
    drawn = {path.name for path in figures.iterdir()}
    assert drawn >= {"points.csv", "differences.md", "reached.csv", "small-residual.svg", "small-residual-cost.svg"}
    points = (figures / "points.csv").read_text().splitlines()
    assert len(points) == 1 + 2 * 3  # two selections at 2, 4 and 6 labels in all
    kept = tmp_path / "kept"  # what is published of a run makes the same tables
    assert study.main(["publish", str(run.parent), "--output", str(kept)]) == 0
    assert {path.name for path in (kept / "small" / run.name).glob("*.*")} == set(study.KEPT)
    assert study.main(["figures", str(kept), "--output", str(figures)]) == 0
    assert (figures / "points.csv").read_text().splitlines() == points
    assert study.main(["publish", str(tmp_path / "nothing"), "--output", str(kept)]) == 1
    (run / "manifest.json").unlink()  # not merged yet: the cells that have finished are drawn
    assert study.main(["figures", output, "--output", str(figures)]) == 0
    assert (figures / "points.csv").read_text().splitlines() == points


def test_networks_of_a_study_are_judged_on_compounds_held_back(study, held_back, small, tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(study, "NICENESS", 0)
    assert study.main(["run", str(small), "--output", str(tmp_path / "runs")]) == 0
    (run,) = (tmp_path / "runs" / "small").glob("druglike-mini-*")
    networks = held_back.networks_of(run)
    assert [(n.selection, n.labels) for n, _ in networks] == [("last", 4), ("last", 6), ("random", 4), ("random", 6)]
    compounds, judged = tmp_path / "compounds", tmp_path / "judged"
    mini = open_dataset("druglike-mini")
    compounds.mkdir()
    write_initial(compounds / INITIAL, mini.method, mini.initial[:2])
    write_test(compounds / TEST, mini.method, mini.test[:2], {})
    write_description(compounds, Description(name="two", method=mini.method, oracle=mini.oracle))
    with monkeypatch.context() as only:  # two are enough
        only.setattr(held_back, "networks_of", lambda run: [networks[1], networks[3]])
        command = ["judge", str(compounds), str(run), "--output", str(judged)]
        assert held_back.main(command) == 0
        capsys.readouterr()
        assert held_back.main(command) == 0
        assert "2 networks, 0 to judge" in capsys.readouterr().out
    assert held_back.main(["tables", str(judged)]) == 0
    tables = (judged / "residuals.md").read_text(), (judged / "differences.csv").read_text()
    assert tables[0].count("| 1 |") == 2  # both with their seed
    assert "residual_kcal_mol_mean_all" in tables[1]
    assert study.main(["publish", str(judged), "--output", str(tmp_path / "kept")]) == 0
    assert held_back.main(["tables", str(tmp_path / "kept" / "judged")]) == 0
    assert (tmp_path / "kept" / "judged" / "residuals.md").read_text() == tables[0]


def test_wrong_input_is_said_in_one_line(study, tmp_path, capsys):
    wrong = tmp_path / "wrong.yaml"
    wrong.write_text("models: [painn]\nselections: [rando]\n")
    assert study.main(["plan", str(wrong)]) == 2
    assert study.main(["plan", str(tmp_path / "missing.yaml")]) == 2
    assert study.main(["figures", str(tmp_path), "--output", str(tmp_path / "f")]) == 4
    said = capsys.readouterr().err.splitlines()
    assert len(said) == 3
    assert "rando" in said[0]
    assert "no finished run" in said[2]


def test_the_dataset_of_the_tuning_holds_no_test_drug():
    """Settings are chosen on every third training compound, the first of each of which becomes a test molecule."""
    dataset = open_dataset("druglike-xtb")
    drugs = {item.molecule.smiles for item in dataset.test}
    assert not drugs & {item.molecule.smiles for item in dataset.initial}


RUN = "import study, sys; study.NICENESS = 0; sys.exit(study.main(['run', sys.argv[1], '--output', sys.argv[2]]))"


def test_interrupted_it_stops_its_cells_and_goes_on_later(small, tmp_path):
    """SIGTERM, as schedulers send it: the cell that runs is told, and no finished one is run again."""
    command = [sys.executable, "-c", RUN, str(small), str(tmp_path / "runs")]
    environment = {**os.environ, "PYTHONPATH": str(ROOT / "benchmarks")}
    began = subprocess.Popen(command, env=environment, stderr=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    cells = tmp_path / "runs" / "small" / "cells"
    while not list((tmp_path / "runs").glob("small/druglike-mini-*/shards/*/records.jsonl")):  # the first cell works
        assert began.poll() is None
        time.sleep(0.05)
    began.terminate()
    _, said = began.communicate(timeout=300)
    assert (began.returncode, said.splitlines()[-1].split(";")[0]) == (130, "study: interrupted")
    assert "Traceback" not in said
    (log,) = cells.glob("*.log")
    assert "the same command resumes" in log.read_text() or "Lowest residual" in log.read_text()
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    (run,) = (tmp_path / "runs" / "small").glob("druglike-mini-*")
    assert len((run / "records.jsonl").read_text().splitlines()) == 3 * (1 + 1 + 2 * 2)
