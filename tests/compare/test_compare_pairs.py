"""Who is compared with whom, and who cannot be."""

import json

import pytest

from golfbench.compare.pairs import pair_up
from golfbench.compare.sides import read_side
from golfbench.errors import ConfigurationError


def renamed(line, seed_shift=0, **names):
    """Give a record other names, and the combination that follows from them."""
    changed = line | {k: v for k, v in names.items() if k != "selection" or line["selection"]}
    if line["seed"] is not None:
        changed["seed"] = line["seed"] + seed_shift
    parts = [changed[name] for name in ("model", "optimizer", "selection", "oracle")]
    seed = [] if changed["seed"] is None else [f"seed={changed['seed']}"]
    return changed | {"combination": "|".join([*parts, *seed])}


def titles(pairing):
    return [pair.title for pair in pairing.pairs]


def test_the_same_combinations_are_paired_for_the_seeds_that_both_have(seeds, altered):
    lacking = altered(seeds, lambda line: None if (line["selection"], line["seed"]) == ("golf", 2) else line)
    pairing = pair_up(read_side(seeds), read_side(lacking))
    golf = "after · painn:preset=small · rfo-internal · golf · gfn2-xtb"
    assert titles(pairing) == [
        "reference · mmff94 · rfo-internal · gfn2-xtb",
        "before · painn:preset=small · rfo-internal · gfn2-xtb",
        golf,
        golf.replace("golf", "random"),
    ]
    assert [pair.seeds for pair in pairing.pairs] == [(None,), (None,), (0, 1), (0, 1, 2)]
    assert pairing.alone == [("druglike-mini-seeds", f"{golf}, seed 2")]


def test_what_is_left_is_paired_where_it_differs_in_one_thing(seeds, altered):
    other = altered(seeds, lambda line: renamed(line, optimizer="fire"))
    pairing = pair_up(read_side(seeds), read_side(other))
    assert [pair.differs for pair in pairing.pairs] == [("optimizer",)] * 4
    assert titles(pairing)[2] == "after · painn:preset=small · golf · gfn2-xtb · optimizer rfo-internal → fire"
    assert pairing.alone == []


def test_what_differs_in_two_things_has_no_partner(seeds, altered, command):
    other = altered(seeds, lambda line: renamed(line, optimizer="fire", model="schnet"))
    assert pair_up(read_side(seeds), read_side(other)).pairs == []
    done = command(seeds, other)
    assert done.exit_code == 4
    assert "no combination of the one differs from one of the other in one thing only" in done.stderr


def test_seeds_that_are_others_are_compared_unpaired(seeds, altered):
    other = altered(seeds, lambda line: renamed(line, seed_shift=3))
    pairs = pair_up(read_side(seeds), read_side(other)).pairs
    assert [pair.differs for pair in pairs] == [(), (), ("seed",), ("seed",)]
    assert (pairs[2].seeds, pairs[2].other_seeds) == ((0, 1, 2), (3, 4, 5))


def test_two_entries_are_a_pair_whatever_they_differ_in(entries):
    before, golf = (next(entries.glob(f"painn*{name}*.json")) for name in ("before", "golf"))
    (pair,) = pair_up(read_side(before), read_side(golf)).pairs
    assert pair.differs[:2] == ("stage", "selection")
    assert pair.title.endswith("stage before → after · selection none → golf")


@pytest.mark.parametrize(
    ("edit", "reason"),
    [
        (lambda facts: facts["dataset"].update(sha256="0" * 64), "has another content than"),
        (lambda facts: facts["config"]["protocol"].update(steps=50), "the protocols differ: steps is 100 and 50"),
    ],
)
def test_what_does_not_mean_the_same_is_refused_with_one_line(seeds, altered, command, edit, reason):
    done = command(seeds, altered(seeds, manifest=edit))
    assert done.exit_code == 2
    assert done.stdout == ""
    (line,) = done.stderr.splitlines()
    assert line.startswith("golfbench: error: not comparable: ")
    assert reason in line


def test_another_level_of_theory_is_refused(seeds, altered, command):
    done = command(seeds, altered(seeds, lambda line: line | {"method": "GFN1-xTB"}))
    assert done.exit_code == 2
    assert "energies are under GFN2-xTB and under GFN1-xTB" in done.stderr


def test_evaluation_steps_change_no_end_point(seeds, altered, command):
    other = altered(seeds, manifest=lambda facts: facts["config"]["protocol"].update(evaluation_steps=[1, 3]))
    assert command(seeds, other).exit_code == 0


def test_an_entry_that_was_altered_is_refused(entries, tmp_path):
    entry = next(entries.glob("uff*.json"))
    (tmp_path / entry.name).write_text(entry.read_text().replace('"track": "druglike-xtb"', '"track": "other"'))
    with pytest.raises(ConfigurationError, match="not what `leaderboard add` wrote"):
        read_side(tmp_path / entry.name)


def test_something_else_is_refused(tmp_path, command, seeds):
    assert command(tmp_path, seeds).exit_code == 4
    (tmp_path / "file.json").write_text("{}")
    assert command(tmp_path / "file.json", seeds).exit_code == 2


def test_what_the_sides_were_not_run_alike_with_is_said(seeds, altered, command):
    def edit(facts):
        facts["config"]["golf"]["lag"] = 0
        facts["source"] = {"commit": "0123456789abcdef", "changed": True}
        facts["config"]["workers"] = 16

    settings = json.loads(command(seeds, altered(seeds, manifest=edit), "--format", "json").stdout)["settings"]
    told = {setting["name"]: (setting["a"], setting["b"]) for setting in settings}
    assert told["golf.lag"] == ("1", "0")
    assert told["commit"][1] == "0123456789ab with changes"
    assert set(told) == {"golf.lag", "commit"}
