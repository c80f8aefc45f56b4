"""What a reader sees first: the track that matters, one answer made from the entries, one line for equal selections."""

import json
from dataclasses import replace

import numpy as np
import pytest

from golfbench.errors import ConfigurationError
from golfbench.leaderboard.digest import answer_of, folds, remarks, sentence
from golfbench.leaderboard.entries import canonical_text
from golfbench.leaderboard.standings import Standing, all_standings, read_entries
from golfbench.leaderboard.statistics import Estimate
from golfbench.leaderboard.tables import track_markdown

RANKED = "residual_kcal_mol_mean_all"
NOISE = np.random.default_rng(0).normal(size=1000)


@pytest.fixture
def standing(trained, changed):
    """Return a standing with a value, a spread and a number of labels as they are given."""

    def make(model, value, labels, spread=0.0, rank=1, **fields):
        def edit(parts):
            parts["model"], parts["settings"]["initial_labels"] = model, 0
            parts.update({name: item for name, item in fields.items() if name != "delta"})
            parts["settings"]["delta"] = fields.get("delta")
            learning = {"trajectories": 1, "spent": labels}
            for run in parts["runs"]:
                run["cost"] = run["cost"] and {**run["cost"], "labels": labels, "learning": learning}

        entry = changed(trained, edit)
        number = Estimate(value, value - 1.0, value + 1.0)
        return Standing(entry, {RANKED: number}, value + spread * NOISE, rank)

    return make


def test_the_cheapest_of_those_that_cannot_be_told_apart_is_named(mini, standing):
    best = standing("best", 1.00, 256)
    cheap = standing("cheap", 1.10, 64, spread=0.2)  # the interval of its difference to the best contains zero
    cheapest = standing("cheapest", 1.50, 16, spread=0.01)  # measurably worse
    answer = answer_of(mini, [best, cheap, cheapest])
    assert (answer.standing, answer.best, answer.alike) == (cheap, best, (best, cheap))
    assert sentence(mini, answer) == (
        f"Use cheap after learning from 64 labels chosen by {cheap.entry.selection}: its end points lie "
        "1.10 kcal/mol [0.10, 2.10] above the GFN2-xTB minima on average."
    )
    told = " ".join(remarks(mini, answer))
    assert "None of the 3 ranked entries is measurably better; of the 2 that cannot be told apart" in told
    assert "The best value is that of best after learning from 256 labels" in told


def test_one_that_is_measurably_better_than_all_others_is_named_whatever_it_cost(mini, standing):
    answer = answer_of(mini, [standing("cheap", 2.0, 1), standing("good", 1.0, 1000)])
    assert answer.standing.entry.model == "good"
    assert remarks(mini, answer) == ["It is measurably better than each of the other 1 ranked entries."]


def test_a_fixed_model_is_named_only_where_it_is_measurably_better(mini, standing):
    learned = standing("learned", 2.0, 64, spread=0.2)
    fields = {"stage": "reference", "selection": "", "budget": 0, "rank": None}
    for value, named in ((1.0, "mmff94"), (1.9, "learned"), (3.0, "learned")):
        fixed = standing("mmff94", value, 0, **fields)
        answer = answer_of(mini, [fixed, learned])
        assert answer.standing.entry.model == named
        differs = "is measurably worse than" if value == 3.0 else "cannot be told apart from"
        beside = [f"The best fixed model, which learns from no label, {differs} the best entry: mmff94"]
        assert named == "mmff94" or any(line.startswith(beside[0]) for line in remarks(mini, answer))
    oracle = standing("gfn2-xtb", 0.0, 0, **fields)  # that the oracle finds its own minima is no news
    assert answer_of(mini, [oracle, learned]).fixed is None


def test_highest_first_where_the_track_says_so(mini, standing):
    track = mini.model_copy(update={"ranked": "success_pct"})
    good, bad = (
        replace(s, estimates={"success_pct": s.estimates[RANKED]}) for s in (standing("a", 80, 9), standing("b", 70, 1))
    )
    answer = answer_of(track, [bad, good])
    assert answer.standing is good
    assert "80.0 % [79.0, 81.0] of its walks succeed" in sentence(track, answer)


def test_without_a_rank_there_is_no_answer(mini, standing):
    assert answer_of(mini, []) is None
    assert answer_of(mini, [standing("incomplete", 1.0, 64, rank=None)]) is None
    assert "Which model" not in track_markdown(mini, [])


def test_one_seed_and_an_unknown_overlap_are_told(mini, standing):
    weights = {"name": "w", "file_sha256": "c" * 64}
    one = standing("one", 1.0, 64, weights=weights)
    alone = replace(one, entry=one.entry.model_copy(update={"runs": one.entry.runs[:1]}))
    told = remarks(mini, answer_of(mini, [alone]))
    assert told[1:] == [
        "Nobody has stated whether its pretrained weights have learned from the test molecules.",
        "It was run with one seed: the spread over seeds is not in the interval.",
    ]


def test_a_line_holds_selections_that_share_a_rank_and_are_all_inseparable(standing):
    golf, random = standing("m", 1.0, 64, 0.2, selection="golf"), standing("m", 1.1, 64, -0.2, selection="random")
    far = standing("m", 2.0, 64, selection="none")  # the same rank, but separable from both
    ranked = standing("m", 1.1, 64, 0.2, rank=2, selection="kernel")
    other = standing("n", 1.0, 64, 0.2, selection="random")
    longer = standing("m", 1.0, 64, 0.2, selection="all", budget=256)
    based = standing("m", 1.0, 64, 0.2, selection="all", delta="mmff94")
    assert folds([golf, random, far, ranked, other, longer, based]) == [[golf, random]]
    assert folds([golf, standing("m", 1.0, 64, 0.2, selection="golf")]) == []


def test_the_main_track_comes_first_unless_it_has_no_entry(mini, published, tmp_path):
    def track(name, main, entries=()):
        (tmp_path / name).mkdir()
        made = mini.model_copy(update={"name": name, "main": main})
        (tmp_path / name / "track.yaml").write_text(json.dumps(made.model_dump(mode="json")))
        for entry in entries:
            write(tmp_path / name, entry)

    def write(folder, entry):
        from golfbench.leaderboard.entries import sealed

        there = sealed(entry.model_copy(update={"track": folder.name}))
        (folder / f"{there.entry_id}.json").write_text(canonical_text(there))

    def names():
        return [found.name for found, _ in all_standings(tmp_path)]

    track("a", False, published[:1])
    track("z", False, published[:2])
    track("b", False)
    track("c", True)
    assert names() == ["z", "a", "c", "b"]
    write(tmp_path / "c", published[0])
    assert names() == ["c", "z", "a", "b"]
    track("d", True)
    with pytest.raises(ConfigurationError, match="c and d both say 'main: true'"):
        names()


def test_a_rerun_with_other_seeds_makes_no_second_entry(mini, trained, changed, tmp_path):
    again = changed(trained, lambda parts: parts["runs"].pop())
    assert again.entry_id != trained.entry_id
    for entry in (trained, again):
        (tmp_path / f"{entry.entry_id}.json").write_text(canonical_text(entry))
    with pytest.raises(ConfigurationError, match=r"is the combination of .* with other seeds: keep one"):
        read_entries(tmp_path, mini)
