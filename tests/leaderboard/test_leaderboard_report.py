"""The page of a person's own runs."""

import json
import shutil
from pathlib import Path

import pytest
from typer.testing import CliRunner

from golfbench.cli.main import build_app
from golfbench.site.runs import report_page


def tracks_of(text):
    start = text.index('id="content">') + len('id="content">')
    return json.loads(text[start : text.index("</script>", start)])["tracks"]


@pytest.fixture
def copied(finished_run, tmp_path):
    """A copy of the run under another id, to be damaged."""
    copy = shutil.copytree(finished_run.path, tmp_path / "again")
    change_manifest(copy, run_id="again")
    return copy


def change_manifest(run, **changes):
    manifest = json.loads((run / "manifest.json").read_text())
    (run / "manifest.json").write_text(json.dumps(manifest | changes))


def keep_records(run, wanted):
    lines = (run / "records.jsonl").read_text().splitlines()
    kept = [line for line in lines if wanted(json.loads(line))]
    (run / "records.jsonl").write_text("".join(f"{line}\n" for line in kept))


def test_a_run_is_shown_with_the_numbers_of_a_leaderboard(finished_run, entries):
    (track,) = tracks_of(report_page([finished_run.path]))
    assert track["title"].endswith(": GFN2-xTB")
    assert track["notes"] == []
    assert track["published"] is False
    assert track["budgets"] == [3]
    shown = {entry["entry_id"]: entry for entry in track["entries"]}
    assert shown.keys() == {f"{finished_run.path.name}/{entry.entry_id}" for entry in entries}
    for entry in entries:
        means = [run.summary.residual_kcal_mol_mean_all for run in entry.runs]
        estimate = shown[f"{finished_run.path.name}/{entry.entry_id}"]["estimates"]["residual_kcal_mol_mean_all"]
        assert estimate["value"] == pytest.approx(sum(means) / len(means))


def test_runs_of_the_same_conditions_stand_side_by_side(finished_run, copied):
    (track,) = tracks_of(report_page([finished_run.path, copied, finished_run.path]))
    assert len(track["entries"]) == 2 * 3
    assert len({entry["entry_id"] for entry in track["entries"]}) == 6
    ranks = [(entry["rank"], entry["tied"]) for entry in track["entries"] if entry["stage"] == "after"]
    assert ranks == [(1, True), (1, True)]


def test_what_an_interrupted_run_has_and_lacks_is_shown(copied):
    change_manifest(copied, finished_utc=None)
    lost = "methanol/0"
    keep_records(
        copied, lambda r: r["stage"] != "after" or (r["seed"] in (0, 1) and (r["seed"], r["molecule"]) != (1, lost))
    )
    for path in [*(copied / "trajectories").glob("*before.extxyz"), *(copied / "checkpoints").glob("*/final*")]:
        path.unlink()
    (track,) = tracks_of(report_page([copied]))
    unfinished, waiting = sorted(track["notes"], key=len)
    assert unfinished == "again has not finished: the same command resumes it."
    assert waiting.startswith("again: no record yet of painn:")
    assert "seed 2; painn" in waiting
    assert waiting.endswith("seed 3.")
    after = next(entry for entry in track["entries"] if entry["stage"] == "after")
    assert after["seeds"] == [0, 1]
    assert (after["n_missing"], after["rank"]) == (1, None)
    place = [molecule["id"] for molecule in track["molecules"]].index(lost)
    assert after["runs"][1]["results"]["status"][place] == "missing"
    assert after["runs"][0]["cost"]["weights_sha256"] == ""
    assert after["parameters"] > 0


def test_a_run_without_any_record_is_shown_as_such(copied):
    (copied / "records.jsonl").unlink()
    (track,) = tracks_of(report_page([copied]))
    assert track["entries"] == []
    assert len(track["molecules"]) == 5
    assert "again: no record yet of mmff94 lbfgs reference gfn2-xtb;" in track["notes"][0]


def test_other_conditions_are_another_section(finished_run, copied):
    manifest = json.loads((copied / "manifest.json").read_text())
    manifest["config"]["protocol"]["reference_steps"] = 7
    change_manifest(copied, config=manifest["config"])
    first, second = tracks_of(report_page([finished_run.path, copied]))
    assert second["title"] == f"{first['title']} (2)"
    assert [len(track["entries"]) for track in (first, second)] == [3, 3]


def test_the_command_writes_a_page_or_prints_it(finished_run, tmp_path):
    app, runner = build_app(), CliRunner()
    target = tmp_path / "pages" / "report.html"
    done = runner.invoke(app, ["report", str(finished_run.path), "--format", "html", "--output", str(target)])
    assert done.exit_code == 0, done.output
    printed = runner.invoke(app, ["report", str(finished_run.path), "-f", "html"])
    assert printed.stdout == target.read_text(encoding="utf-8")
    assert printed.stdout.startswith("<!doctype html>")
    table = tmp_path / "rows.csv"
    assert runner.invoke(app, ["report", str(finished_run.path), "-f", "csv", "-o", str(table)]).stdout == ""
    assert len(table.read_text().splitlines()) == 1 + 9
    assert runner.invoke(app, ["report", str(tmp_path), "-f", "html"]).exit_code == 4


def test_a_run_without_a_budget_is_shown():
    run = Path(__file__).parents[2] / "examples" / "results" / "dft-published-golf-1k"
    text = report_page([run])
    assert "cannot be shown" not in text
    (track,) = tracks_of(text)
    assert {entry["stage"] for entry in track["entries"]} == {"reference", "before", "after"}
