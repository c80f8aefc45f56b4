"""Entries of a real run: what is in them, what is refused, and how they are ranked."""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest

from golfbench.benchmark.records import Status, read_records
from golfbench.errors import ConfigurationError
from golfbench.leaderboard.build import built, drift
from golfbench.leaderboard.checks import problems
from golfbench.leaderboard.content import page_content, pareto_front
from golfbench.leaderboard.entries import Entry, canonical_text, parse_entry, read_entry, schema_text, sealed
from golfbench.leaderboard.geometries import pack, read_trajectory, unpack
from golfbench.leaderboard.making import PATH, entries_of, track_of
from golfbench.leaderboard.standings import all_standings, rank_entries
from golfbench.leaderboard.tables import csv_text, track_markdown
from golfbench.leaderboard.tracks import Track, read_track
from golfbench.oracles.ledger import PURPOSES, read_calls
from golfbench.runs.config import RunConfig
from golfbench.runs.directory import RunDirectory
from golfbench.runs.runner import run as execute
from golfbench.runs.summary import rows_of

PROTOCOL = {"steps": 10, "inner_steps": 2}
ROOT = Path(__file__).parents[2]
LEADERBOARDS = ROOT / "leaderboards"


def with_seeds(run, seeds, folder):
    """A copy of a run with the records of some seeds only."""
    path = Path(shutil.copytree(run.path, folder))
    lines = (path / "records.jsonl").read_text().splitlines(keepends=True)
    kept = [line for line in lines if json.loads(line)["seed"] in seeds and json.loads(line)["stage"] == "after"]
    (path / "records.jsonl").write_text("".join(kept))
    return RunDirectory(path)


def improved(entry, by_hartree):
    """The same entry, its end points lower."""
    parts = entry.model_dump(mode="json")
    for run in parts["runs"]:
        for record in run["records"]:
            record["energy_final_hartree"] -= by_hartree
    parts["settings"]["golf"]["updates_per_label"] = 99
    return sealed(Entry.model_validate(parts))


# --- add -------------------------------------------------------------------------------------------------------------


def test_a_run_makes_an_entry_of_each_combination(entries, finished_run):
    found = {(e.stage, e.model.partition(":")[0], e.selection, len(e.runs)) for e in entries}
    assert found == {
        ("reference", "mmff94", "", 1),
        ("before", "painn", "", 4),
        ("after", "painn", "random", 4),
    }
    rows = {(r.combination, r.stage): r for r in rows_of(finished_run)}
    for entry in entries:
        for run in entry.runs:
            row = rows[entry.identity(run.seed).combination, entry.stage]
            assert run.summary.model_dump() == row.model_dump(include=set(run.summary.model_dump()))
            for purpose in PURPOSES:
                account = run.oracle_calls.get(purpose)
                assert (account.calls if account else 0) == getattr(row.oracle_calls, purpose)
                assert (account.cache_hits if account else 0) == getattr(row.cache_hits, purpose)


def test_calls_of_a_base_have_a_column_where_there_are_any(entries, finished_run, track, tmp_path):
    again = RunDirectory(Path(shutil.copytree(finished_run.path, tmp_path / "again")))
    after = next(call for call in read_calls(again.calls) if (call.stage, call.purpose) == ("after", "evaluation"))
    based = after.model_copy(update={"purpose": "base", "oracle": "gfn1-xtb", "method": "GFN1-xTB"})
    made = [based, based.model_copy(update={"combination": "", "stage": "before"})]
    with again.calls.open("a") as ledger:
        ledger.writelines(call.model_dump_json() + "\n" for call in made)
    with_base, refused = entries_of(again, track)
    assert refused == []
    calls = {entry.stage: sorted(run.account("base").calls for run in entry.runs) for entry in with_base}
    # What the base says of the training set is shared by all that learned.
    assert calls == {"reference": [0], "before": [1, 1, 1, 1], "after": [1, 1, 1, 2]}
    for one, other in zip(entries, with_base, strict=True):
        for run, changed in zip(one.runs, other.runs, strict=True):
            assert run.oracle_calls == {p: a for p, a in changed.oracle_calls.items() if p != "base"}
    shown, plain = (rank_entries(track, found) for found in (with_base, entries))
    assert track_markdown(track, shown).count("| Calls, base |") == 2  # not in the table of fixed models
    assert track_markdown(track, plain).count("| Calls, base |") == 0
    assert ("oracle_calls_base" in csv_text(shown), "oracle_calls_base" in csv_text(plain)) == (True, False)


def test_an_entry_carries_where_it_comes_from(trained):
    facts = trained.provenance
    assert facts.versions["xtb"].startswith("22")
    assert facts.hardware[0]["cores"] >= 1
    assert facts.argv[1:] == ("run", "tiny.yaml", "--output=out")
    assert trained.credits.licenses["painn"] == "MIT"
    assert trained.credits.citations["painn"]
    assert trained.delta == "mmff94"
    assert trained.runs[0].cost.parameters > 100
    assert trained.runs[0].cost.learning["spent"] == 3
    assert len({run.cost.weights_sha256 for run in trained.runs}) == 4
    assert trained.runs[0].engines[0].startswith("xtb ")
    assert "/home" not in canonical_text(trained)


@pytest.mark.parametrize(
    ("given", "kept"),
    [
        ("/home/me/runs/a.yaml", "a.yaml"),
        ("--output=/home/me/out", "--output=out"),
        ("folder:path=/home/me/data,limit=3", "folder:path=data,limit=3"),
        ("~/a.yaml", "a.yaml"),
        ("../../me/a.yaml", "a.yaml"),
        ("psi4:method=wB97X-D,basis=def2/x", "psi4:method=wB97X-D,basis=def2/x"),
        ("examples/a.yaml", "examples/a.yaml"),
    ],
)
def test_no_folder_of_the_machine_is_published(given, kept):
    assert PATH.sub("", given) == kept


def test_end_points_are_those_of_the_run(trained, finished_run):
    run = trained.runs[2]
    (path,) = (p for p in finished_run.trajectories.iterdir() if "seed=2-after" in p.name)
    frames, kept = read_trajectory(path), unpack(run.end_points)
    assert kept.keys() == frames.keys() == {record.molecule for record in run.records}
    assert all(np.array_equal(kept[molecule], frames[molecule][1]) for molecule in kept)


def test_coordinates_survive_exactly_and_those_that_are_not_finite_are_left_out():
    positions = {"a/0": np.random.default_rng(0).normal(size=(4, 3)), "b/1": np.array([[1e-300, -0.0, 3.0]])}
    again = unpack(pack(positions))
    assert all(again[name].tobytes() == positions[name].tobytes() for name in positions)
    assert unpack(pack({})) == {}


def test_an_entry_is_small(trained):
    """42 molecules of 25 to 50 atoms and three seeds must stay well under 1 MB."""
    text = canonical_text(trained)
    per_record = max(len(line) for line in text.splitlines() if '"molecule":' in line)
    assert per_record < 1500
    assert 42 * 3 * (per_record + 50 * 24 * 4 / 3) < 500_000


def test_the_text_of_an_entry_is_the_same_after_reading(entries):
    for entry in entries:
        assert canonical_text(parse_entry(canonical_text(entry))) == canonical_text(entry)


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"protocol": {"steps": 100}}, "protocol: steps is 10, the track has 100"),
        ({"dataset": {"name": "druglike-mini", "sha256": "0" * 64}}, "another content than the track's"),
        ({"oracle": {"name": "gfn1-xtb"}}, "no oracle of the run is the track's (gfn1-xtb)"),
    ],
)
def test_a_run_that_does_not_fit_is_refused(finished_run, leaderboards, write_track, changes, reason):
    track = write_track(**changes)
    with pytest.raises(ConfigurationError, match="does not fit track tiny") as error:
        entries_of(finished_run, track)
    assert reason in str(error.value)
    with pytest.raises(ConfigurationError, match="fits no track"):
        track_of(finished_run, leaderboards)


def test_a_budget_of_no_table_is_refused_and_the_rest_is_not(finished_run, write_track):
    made, refused = entries_of(finished_run, write_track(budgets=[64]))
    assert {entry.stage for entry in made} == {"reference", "before"}
    assert len(refused) == 1
    assert "after painn" in refused[0]
    assert "budget 3 is not one of the track's: 64" in refused[0]


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"finished_utc": None}, "the run has not finished"),
        ({"shard": {"index": 1, "count": 2}}, "it is one shard of a run"),
        ({"config": {"colour": "red"}}, "the manifest is of another version: config.colour"),
    ],
)
def test_a_run_directory_that_is_not_a_whole_run_is_refused(finished_run, track, tmp_path, changes, reason):
    manifest = json.loads(finished_run.manifest.read_text()) | changes
    (tmp_path / "manifest.json").write_text(json.dumps(manifest))
    with pytest.raises(ConfigurationError, match=reason):
        entries_of(RunDirectory(tmp_path), track)


def test_end_points_that_are_missing_or_of_other_records_are_seen(finished_run, track, tmp_path):
    run = RunDirectory(Path(shutil.copytree(finished_run.path, tmp_path / "run")))
    one, other = sorted(p for p in run.trajectories.iterdir() if "-after" in p.name)[:2]
    one.unlink()
    _, refused = entries_of(run, track)
    assert any(f"trajectories/{one.name} is missing" in line for line in refused)
    shutil.copyfile(other, one)
    _, refused = entries_of(run, track)
    assert any("RMSD to the reference" in line or "have the same end points" in line for line in refused)


def test_a_run_with_a_limit_is_an_honest_but_incomplete_entry(tiny_dataset, track, dataset, tmp_path):
    names = {"dataset": f"folder:path={tiny_dataset}", "models": ["mmff94", "uff"], "references": []}
    config = RunConfig.model_validate({**names, "limit": 3, "workers": 1, "cache": "off", "protocol": PROTOCOL})
    execute(config, tmp_path, ["run"], lambda *_: None)
    made, refused = entries_of(RunDirectory(tmp_path / config.run_id()), track)
    assert refused == []
    assert [entry.runs[0].missing for entry in made] == [("methylamine/0", "dimethyl-ether/0")] * 2
    assert [standing.counts for standing in rank_entries(track, made)] == [(3, 0, 2)] * 2
    assert made[0].settings == {"limit": 3}


def test_a_run_in_shards_names_every_machine(finished_run, track, tmp_path):
    run = RunDirectory(Path(shutil.copytree(finished_run.path, tmp_path / "run")))
    manifest = json.loads(run.manifest.read_text())
    shards = [manifest | {"index": k, "count": 2, "hardware": manifest["hardware"] | {"cores": 10 + k}} for k in (1, 2)]
    run.manifest.write_text(json.dumps(manifest | {"merged": {"merged_utc": "", "shards": shards}}))
    made, _ = entries_of(run, track)
    assert [machine["cores"] for machine in made[0].provenance.hardware] == [11, 12]


def test_an_alias_and_technical_parameters_are_the_same_oracle(track):
    assert track.accepts_oracle("xtb")
    assert not track.accepts_oracle("gfn1-xtb")
    assert not track.accepts_oracle("nothing")


# --- Ranks -----------------------------------------------------------------------------------------------------------


def test_other_seeds_of_the_same_run_share_a_rank_and_a_better_entry_does_not(finished_run, track, tmp_path):
    (one,), _ = entries_of(with_seeds(finished_run, {0, 1}, tmp_path / "one"), track)
    (other,), _ = entries_of(with_seeds(finished_run, {2, 3}, tmp_path / "other"), track)
    assert one.entry_id != other.entry_id
    better = improved(one, 0.05)
    standings = {s.entry.entry_id: s for s in rank_entries(track, [one, other, better])}
    assert [standings[e.entry_id].rank for e in (better, one, other)] == [1, 2, 2]
    assert [standings[e.entry_id].tied for e in (better, one, other)] == [False, True, True]


def test_fixed_models_stand_apart_and_baselines_have_their_own_ranks(entries, track):
    standings = rank_entries(track, entries)
    assert [(s.entry.stage, s.rank) for s in standings] == [("reference", None), ("before", 1), ("after", 1)]


def test_an_entry_that_lacks_molecules_is_shown_without_a_rank(trained, entries, track, dataset):
    parts = trained.model_dump(mode="json")
    run = parts["runs"][1]
    gone = run["records"].pop(2)["molecule"]
    run["missing"] = [gone]
    run["records"][0] |= {"status": "error", "error_type": "RuntimeError", "energy_final_hartree": None}
    run["records"][0] |= {"energies_at_step_hartree": {}, "rmsd_to_references_angstrom": {}, "bond_graph_changed": None}
    incomplete = sealed(Entry.model_validate(parts))
    standings = rank_entries(track, [incomplete, *entries])
    (shown,) = (s for s in standings if s.entry is incomplete)
    assert (shown.rank, shown.counts) == (None, (18, 1, 1))
    assert standings[-1] is shown
    text = track_markdown(track, standings)
    assert "| 18 / 1 / 1 |" in text


def test_what_diverged_stays_and_capped_numbers_are_bounds(trained, track):
    parts = trained.model_dump(mode="json")
    for run in parts["runs"]:
        record = run["records"][0]
        record["energy_final_hartree"] = record["energy_initial_hartree"] + 0.1
        record |= {"status": "diverged", "converged": False}
    entry = sealed(Entry.model_validate(parts))
    (before,), (after,) = rank_entries(track, [trained]), rank_entries(track, [entry])
    assert after.counts == before.counts == (20, 0, 0)
    assert after.rank == 1
    assert after.estimates["divergence_pct"].value == 20.0
    assert after.estimates["residual_kcal_mol_mean_all"].value > before.estimates["residual_kcal_mol_mean_all"].value
    assert any(r.status is Status.STEP_LIMIT for run in trained.runs for r in run.records)
    steps = f"≥{before.estimates['steps_mean'].value:.1f} ["
    assert steps in track_markdown(track, [before])
    assert ",True," in csv_text([before])


# --- Pages -----------------------------------------------------------------------------------------------------------


def test_names_cannot_be_markup(trained, track):
    parts = trained.model_dump(mode="json")
    parts["settings"]["delta"] = "<img src=x>|[a](javascript:b)"
    text = track_markdown(track, rank_entries(track, [sealed(Entry.model_validate(parts))]))
    assert "\\<img src=x\\>\\|\\[a\\](javascript:b)" in text


def test_the_content_of_the_page_is_complete_and_plain(entries, leaderboards, track):
    for entry in entries:
        (leaderboards / "tiny" / f"{entry.entry_id}.json").write_text(canonical_text(entry))
    content = page_content(leaderboards)
    assert json.loads(json.dumps(content, allow_nan=False)) == content
    (shown,) = content["tracks"]
    assert [e["entry_id"] for e in shown["entries"]] == [s.entry.entry_id for s in rank_entries(track, entries)]
    sizes = {m["id"]: m["n_atoms"] for m in shown["molecules"]}
    assert sizes == {"methanol/0": 6, "ethanol/0": 9, "ethanol/1": 9, "methylamine/0": 7, "dimethyl-ether/0": 9}
    for entry in shown["entries"]:
        assert entry["estimates"].keys() == {m["name"] for m in shown["measures"]}
        assert [point["step"] for point in entry["pct_curve"]] == [0, 1, 3]
        for run in entry["runs"]:
            assert {len(column) for column in run["results"].values()} == {5}
    (curve,) = shown["learning_curves"]
    assert [point["budget"] for point in curve["points"]] == [0, 3]
    front = pareto_front(track.ranked, track.lower_is_better, rank_entries(track, entries))
    assert set(shown["fronts"][track.ranked]) == front != set()


# --- What is published -----------------------------------------------------------------------------------------------


def test_the_published_tables_and_the_schema_are_what_the_code_makes():
    assert drift(built(LEADERBOARDS, all_standings(LEADERBOARDS))) == []
    assert (LEADERBOARDS / "schema.json").read_text(encoding="utf-8") == schema_text()


def test_the_published_schema_names_every_part_and_allows_no_other(trained):
    schema, parts = json.loads(schema_text()), json.loads(canonical_text(trained))
    record = schema["$defs"]["Record"]
    assert schema["properties"].keys() == parts.keys() | {"weights"}  # it has none
    # a model that is judged on the way has a budget, and is no entry
    assert record["properties"].keys() == parts["runs"][0]["records"][0].keys() | {"budget"}
    assert schema["additionalProperties"] is record["additionalProperties"] is False


@pytest.mark.parametrize("folder", sorted(p.parent.name for p in LEADERBOARDS.glob("*/track.yaml")))
def test_every_published_track_and_entry_is_what_it_says(folder):
    published = read_track(LEADERBOARDS / folder)
    data = published.open_dataset()
    for path in sorted((LEADERBOARDS / folder).glob("*.json")):
        assert problems(read_entry(path), published, data) == []


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"budget": 3}, "budget: Extra inputs are not permitted"),
        ({"protocol": {"step": 3}}, "step"),
        ({"protocol": {}}, "protocol"),
        ({"ranked": "pct_mean"}, "ranked: Input should be"),
        ({"name": "other"}, "the folder is 'tiny'"),
        ({"method": "GFN1-xTB"}, "is labelled by GFN2-xTB"),
    ],
)
def test_a_track_that_is_wrong_is_refused(write_track, changes, reason):
    with pytest.raises(ConfigurationError, match=reason):
        write_track(**changes).open_dataset()


def test_a_published_run_without_end_points_is_refused_with_that_reason():
    run = RunDirectory(ROOT / "examples" / "results" / "druglike-mini-seeds")
    made, refused = entries_of(run, read_track(LEADERBOARDS / "druglike-mini"))
    assert made == []
    assert len(refused) == len({(r.stage, r.selection) for r in read_records(run.records)})
    assert all("its end points are not there" in line for line in refused)


def test_the_track_is_a_model_of_its_own(track):
    assert Track.model_validate(track.model_dump()) == track
