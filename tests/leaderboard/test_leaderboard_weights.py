"""Pretrained weights on a leaderboard: their facts, what contradicts them, and labels in all."""

import csv
import io
from dataclasses import replace
from pathlib import Path

import pytest

from golfbench.contracts import ImportedWeights
from golfbench.fetching import sha256_of
from golfbench.leaderboard.checks import problems
from golfbench.leaderboard.content import Section, content_of, pareto_front
from golfbench.leaderboard.entries import (
    Entry,
    PretrainedWeights,
    canonical_text,
    entry_id_of,
    parse_entry,
    part_hashes,
    read_entry,
    sealed,
)
from golfbench.leaderboard.making import entries_of
from golfbench.leaderboard.pretrained import weights_at_work
from golfbench.leaderboard.standings import rank_entries
from golfbench.leaderboard.tables import csv_text, track_markdown
from golfbench.learning import fetch
from golfbench.learning.opening import new_network
from golfbench.registry import registry
from golfbench.runs.config import RunConfig
from golfbench.runs.directory import RunDirectory
from golfbench.runs.runner import run
from golfbench.specs import ComponentRef, ModelSpec, NamedWeights, WeightsSource

LEADERBOARDS = Path(__file__).parents[2] / "leaderboards"
TINY = {"preset": "small", "features": 8, "interactions": 1, "radial": 4}
SETS = {"one": {"license": "MIT"}, "two": {"license": "Apache-2.0", "overlap": "Holds methanol."}}
FILE = "c" * 64


def fine_tuned(entry, edit=lambda parts: None):
    """The trained entry as if it had started from weights made elsewhere, without initial labels."""
    parts = entry.model_dump(mode="json")
    imported = {"weights": "big", "format": "golf", "file_sha256": FILE, "license": "MIT", "method": "PBE0"}
    parts["provenance"]["baselines"] = {"big.safetensors": {"model": "painn", "imported": imported}}
    parts["weights"] = {"name": "big", "license": "MIT", "method": "PBE0", "file_sha256": FILE, "overlap": "unknown"}
    for seed in parts["runs"]:
        seed["cost"]["labels"] = 3
    edit(parts)
    return sealed(Entry.model_validate(parts))


@pytest.fixture(scope="module")
def pretrained_run(tiny_dataset, tmp_path_factory):
    """A run of two sets of weights of one model, and a fixed model."""
    folder, original = tmp_path_factory.mktemp("pretrained"), type(registry()).find
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("GOLFBENCH_WEIGHTS", str(folder / "store"))
        weights = []
        for seed, (name, facts) in enumerate(SETS.items(), 1):
            (folder / name).write_bytes(bytes([seed]))
            given = {"method": "PBE0", "elements": frozenset({1, 6, 7, 8}), **facts}
            source = WeightsSource(url=f"https://example.org/{name}")
            hashed = sha256_of(folder / name)
            weights.append(NamedWeights(name=name, source=source, sha256=hashed, format="golf", **given))
        spec = replace(registry().find(ModelSpec, "painn"), weights=tuple(weights))
        patch.setattr(
            type(registry()),
            "find",
            lambda self, kind, what: spec if getattr(what, "name", what) == "painn" else original(self, kind, what),
        )

        def states(reader, path, folder):
            ref = ComponentRef("painn", TINY)
            networks = [new_network(ref, seed) for seed in path.read_bytes()]
            return ImportedWeights(TINY, [network.state_dict() for network in networks], scale=1e-3)

        patch.setattr(fetch, "read_apart", states)
        for one in weights:
            fetch.fetch(spec, one, fetch.Wish(folder / one.name))
        config = RunConfig.model_validate(
            {
                "dataset": f"folder:path={tiny_dataset}",
                "models": ["painn", "painn:weights=two"],
                "optimizers": ["lbfgs"],
                "selections": ["random"],
                "budget": 3,
                "delta": "mmff94",  # the networks are no potentials
                "golf": {"parallel": 3, "steps": 4, "inner_steps": 2},
                "protocol": {"steps": 10, "inner_steps": 2},
                "workers": 1,
                "cache": "off",
            }
        )
        run(config, folder / "runs", ["run"], lambda *_: None)
        yield RunDirectory(folder / "runs" / config.run_id())


# --- What an entry says ----------------------------------------------------------------------------------------------


def test_each_row_of_a_run_states_its_own_weights(pretrained_run, track, dataset):
    made, refused = entries_of(pretrained_run, track)
    assert refused == []
    stated = {(entry.stage, entry.model): entry.weights for entry in made}
    folder = pretrained_run.path.parents[1]
    one, two = (
        PretrainedWeights(name=name, method="PBE0", file_sha256=sha256_of(folder / name), **facts)
        for name, facts in SETS.items()
    )
    assert stated == {
        ("reference", "mmff94"): None,
        ("before", "painn"): one,
        ("after", "painn"): one,
        ("before", "painn:weights=two"): two,
        ("after", "painn:weights=two"): two,
    }
    assert (one.overlap, two.overlap) == ("unknown", "Holds methanol.")
    for entry in made:
        again = parse_entry(canonical_text(entry))
        assert again == entry
        assert problems(again, track, dataset) == []
        under = f"under {entry.weights.license}" if entry.weights else ""
        assert entry.credits.weights_license.endswith(under)
        assert bool(entry.credits.weights_license) == bool(entry.weights)


def test_labels_in_all_of_pretrained_weights_are_those_that_were_asked_for(pretrained_run, track, dataset):
    made, _ = entries_of(pretrained_run, track)
    labels = {(entry.stage, entry.model): entry.labels_in_all(entry.runs[0]) for entry in made}
    assert labels["before", "painn"] == labels["before", "painn:weights=two"] == labels["reference", "mmff94"] == 0
    assert labels["after", "painn:weights=two"] == 3
    for entry in made:
        if entry.stage == "after":
            loop = entry.runs[0].cost.learning
            assert entry.labels_in_all(entry.runs[0]) == loop["spent"] - loop["failed"] - loop["guarded"]
    assert all(entry.dataset.initial_labels == 6 for entry in made)


def test_settings_name_how_pretrained_weights_were_tuned(pretrained_run, track, trained):
    made, _ = entries_of(pretrained_run, track)
    after = next(entry for entry in made if entry.stage == "after")
    assert "training" not in after.settings
    assert after.settings["fine_tuning"] == RunConfig().fine_tuning.model_dump(mode="json")
    assert "fine_tuning" not in trained.settings
    assert "learner" not in trained.settings  # its id is that of before there were others


def test_from_scratch_the_initial_labels_count(trained, entries):
    """Six labels of the initial set, three of the training."""
    assert [run.cost.labels for run in trained.runs] == [9, 9, 9, 9]
    assert {entry.stage: entry.labels_in_all(entry.runs[0]) for entry in entries} == {
        "reference": 0,
        "before": 6,
        "after": 9,
    }
    assert trained.weights is None


def test_other_weights_under_the_same_name_are_another_entry(trained):
    def other(parts):
        parts["weights"]["file_sha256"] = "d" * 64

    assert entry_id_of(fine_tuned(trained)) != entry_id_of(fine_tuned(trained, other))


@pytest.mark.parametrize("path", sorted(LEADERBOARDS.glob("*/*_*.json")), ids=lambda path: path.stem[-8:])
def test_entries_of_before_read_as_they_were(path):
    entry, text = read_entry(path), path.read_text(encoding="utf-8")
    assert canonical_text(entry) == text
    assert entry.hashes == part_hashes(entry)
    assert entry.entry_id == entry_id_of(entry) == path.stem


def test_labels_of_an_entry_of_before_are_counted_from_the_loop(trained):
    parts = trained.model_dump(mode="json")
    for seed, lost in zip(parts["runs"], ({}, {"guarded": 1}, {"trajectories": 0}, {"failed": 2}), strict=True):
        del seed["cost"]["labels"]
        seed["cost"]["learning"] |= lost
    entry = Entry.model_validate(parts)
    assert [entry.labels_in_all(run) for run in entry.runs] == [9, 8, 6, 7]


# --- What contradicts it ---------------------------------------------------------------------------------------------


def stated(name, value):
    return lambda parts: parts["weights"].update({name: value})


def unstated(parts):
    parts["weights"] = None


def from_nowhere(parts):
    parts["provenance"]["baselines"] = {}


def trained_here(parts):
    parts["provenance"]["baselines"]["big.safetensors"]["imported"] = None


def malformed(parts):
    parts["provenance"]["baselines"]["big.safetensors"]["imported"] = {"weights": "big"}


def written(name):
    def edit(parts):
        parts["model"] += f",weights={name}"

    return edit


def fewer_labels(parts):
    parts["runs"][2]["cost"]["labels"] = 2


def given_initial_labels(parts):
    parts["settings"]["initial_labels"] = 2


@pytest.mark.parametrize(
    ("edit", "reason"),
    [
        (stated("name", "small"), "weights: name is 'small', its provenance has 'big'"),
        (stated("license", "Apache-2.0"), "weights: license is 'Apache-2.0', its provenance has 'MIT'"),
        (stated("method", "GFN2-xTB"), "weights: method is 'GFN2-xTB', its provenance has 'PBE0'"),
        (stated("overlap", "none"), "weights: overlap is 'none', its provenance has 'unknown'"),
        (stated("file_sha256", "d" * 64), "weights: file_sha256 is 'dddd"),
        (unstated, "it states no pretrained weights, but its provenance has 'big' from elsewhere"),
        (from_nowhere, "it states pretrained weights 'big', but its provenance has none from elsewhere"),
        (trained_here, "it states pretrained weights 'big', but its provenance has none from elsewhere"),
        (malformed, "provenance: what it says of imported weights is malformed"),
        (written("other"), "its model is written with weights 'other', but it states 'big'"),
        (written("fresh"), "its model is written with weights 'fresh', but it states 'big'"),
        (fewer_labels, "seed 2: 2 labels in all, but it started from 0 and learned from 3 more"),
        (given_initial_labels, "seed 0: 3 labels in all, but it started from 2 and learned from 3 more"),
    ],
)
def test_what_contradicts_the_provenance_is_refused(trained, track, dataset, edit, reason):
    assert problems(fine_tuned(trained), track, dataset) == []
    found = problems(parse_entry(canonical_text(fine_tuned(trained, edit))), track, dataset)
    assert any(line.startswith(reason) for line in found), found


def test_initial_labels_of_a_network_from_scratch_cannot_be_left_out(trained, track, dataset):
    parts = trained.model_dump(mode="json")
    parts["runs"][1]["cost"]["labels"] = 3
    (line,) = problems(sealed(Entry.model_validate(parts)), track, dataset)
    assert line == "seed 1: 3 labels in all, but it started from 6 and learned from 3 more"


def test_a_fixed_model_has_no_pretrained_weights(entries, track, dataset):
    fixed = next(entry for entry in entries if entry.stage == "reference")
    entry = sealed(fixed.model_copy(update={"weights": PretrainedWeights(file_sha256=FILE)}))
    assert "a fixed model starts from no pretrained weights" in problems(entry, track, dataset)


# --- What is shown ---------------------------------------------------------------------------------------------------


def test_tables_compare_labels_in_all_and_warn_of_an_unknown_overlap(trained, entries, track):
    def known(parts):
        facts = {"overlap": "Two of four are in it.", "file_sha256": "e" * 64}
        parts["weights"] |= facts
        parts["provenance"]["baselines"]["big.safetensors"]["imported"] |= facts

    shown = rank_entries(track, [*entries, fine_tuned(trained), fine_tuned(trained, known)])
    text = track_markdown(track, shown)
    tables = text.split("### ")
    assert "Pretrained weights" not in tables[1] + tables[2]
    header, _, *lines = (line.split(" | ") for line in tables[3].splitlines() if line.startswith("|"))
    labels, weights = header.index("Labels in all"), header.index("Pretrained weights")
    assert sorted((line[labels], line[weights]) for line in lines) == [
        ("3", "big (MIT; PBE0; overlap: Two of four are in it.)"),
        ("3", "big (MIT; PBE0; ⚠ overlap: unknown)"),
        ("9", "–"),
    ]
    assert "⚠ nobody has stated" in text
    assert "⚠" not in track_markdown(track, rank_entries(track, entries))
    found = {row["entry_id"]: row for row in csv.DictReader(io.StringIO(csv_text(shown)))}
    row = found[fine_tuned(trained).entry_id]
    assert {name: row[name] for name in row if name.startswith(("weights_", "labels_in", "initial_labels"))} == {
        "initial_labels": "0",
        "labels_in_all": "3.0",
        "weights_name": "big",
        "weights_license": "MIT",
        "weights_method": "PBE0",
        "weights_file_sha256": FILE,
        "weights_overlap": "unknown",
        "weights_of": "model",
    }
    assert (found[trained.entry_id]["initial_labels"], found[trained.entry_id]["weights_name"]) == ("6", "")


def test_the_front_and_the_curves_are_over_labels_in_all(trained, entries, track, dataset):
    """The same results with fewer labels in all: what was trained from scratch is beaten."""
    shown = rank_entries(track, [*entries, fine_tuned(trained)])
    front = pareto_front(track.ranked, track.lower_is_better, shown)
    assert fine_tuned(trained).entry_id in front
    assert trained.entry_id not in front
    (found,) = content_of([Section(track, shown, dataset)])["tracks"]
    by_id = {entry["entry_id"]: entry for entry in found["entries"]}
    tuned, scratch = by_id[fine_tuned(trained).entry_id], by_id[trained.entry_id]
    assert (tuned["labels_in_all"], tuned["initial_labels"], tuned["weights"]["overlap"]) == (3, 0, "unknown")
    assert (scratch["labels_in_all"], scratch["initial_labels"], scratch["weights"]) == (9, 6, None)
    points = {p["entry_id"]: p["labels_in_all"] for curve in found["learning_curves"] for p in curve["points"]}
    assert points[trained.entry_id] == 9


@pytest.mark.parametrize(
    ("delta", "name"),
    [("aimnet2:weights=wb97m-d3", "wb97m-d3"), ("gfn2-xtb", None), ("nothing-known", None), (None, None)],
)
def test_weights_of_the_base_are_at_work_too(pretrained_run, track, dataset, delta, name):
    entry = next(e for e in entries_of(pretrained_run, track)[0] if e.stage == "after" and e.model == "painn")
    assert weights_at_work(entry) == entry.weights
    fresh = entry.model_copy(update={"weights": None, "settings": {**entry.settings, "delta": delta}})
    found = weights_at_work(fresh)
    assert (found and found.name) == name
    if found:
        assert (found.license, found.method, found.overlap) == ("MIT", "wB97M-D3/def2-TZVPP", "unknown")
        assert found.file_sha256.startswith("a6d366b0")
    shown = rank_entries(track, [fresh])
    (row,) = csv.DictReader(io.StringIO(csv_text(shown)))
    assert (row["weights_name"], row["weights_of"]) == ((name, "base") if name else ("", ""))
    ((entry,),) = (found["entries"] for found in content_of([Section(track, shown, dataset)])["tracks"])
    assert (entry["weights"] and entry["weights"]["name"], entry["weights_of_base"]) == (name, bool(name))


@pytest.mark.parametrize(
    ("checkpoint", "delta", "title"),
    [
        ("auto", None, "painn"),
        ("none", "gfn1-xtb", "painn + gfn1-xtb"),
        ("GOLF-1k.pt", None, "painn from GOLF-1k.pt"),
        ("mine.pt", "gfn1-xtb", "painn + gfn1-xtb from mine.pt"),
    ],
)
def test_a_title_tells_checkpoints_and_bases_apart(pretrained_run, track, checkpoint, delta, title):
    entry = next(e for e in entries_of(pretrained_run, track)[0] if e.stage == "after" and e.model == "painn")
    renamed = entry.model_copy(update={"settings": {**entry.settings, "checkpoint": checkpoint, "delta": delta}})
    assert renamed.title == title
    assert f"| {title} |" in track_markdown(track, rank_entries(track, [renamed]))


def test_the_submitter_states_the_licence_of_a_checkpoint_that_is_judged_as_it_comes(pretrained_run, track):
    entry = next(e for e in entries_of(pretrained_run, track)[0] if e.stage == "before" and e.model == "painn")
    unnamed = entry.weights.model_copy(update={"license": ""})
    stated = entry.credits.model_copy(update={"weights_license": "CC0"})
    judged = entry.model_copy(update={"weights": unnamed, "credits": stated})
    assert weights_at_work(judged).license == "CC0"
    assert weights_at_work(judged.model_copy(update={"stage": "after"})).license == ""
