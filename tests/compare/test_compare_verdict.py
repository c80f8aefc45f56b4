"""The sentence below the table of a run."""

import json
from statistics import fmean

import pytest

from golfbench.compare.sides import read_side
from golfbench.compare.verdict import verdicts
from golfbench.units import HARTREE_TO_KCAL_MOL


def residual_all(path, **only):
    """Return the mean residual by hand, from the lines of the file: what did not finish counts with its start."""
    found = []
    for line in map(json.loads, (path / "records.jsonl").read_text().splitlines()):
        if all(line[name] == value for name, value in only.items()):
            finished = line["status"] in ("converged", "step_limit", "time_limit", "topology_changed")
            end = line["energy_final_hartree"] if finished else line["energy_initial_hartree"]
            found.append((end - line["energy_reference_hartree"]) * HARTREE_TO_KCAL_MOL)
    return fmean(found)


def test_the_lowest_the_next_and_whether_that_is_certain(seeds):
    everything, networks = verdicts(read_side(seeds))
    best, golf = residual_all(seeds, model="mmff94"), residual_all(seeds, selection="golf")
    random = residual_all(seeds, selection="random")
    assert everything.startswith(f"Lowest residual of all molecules: mmff94 reference, {best:.2f} kcal/mol (95 %")
    assert "not below 1), without a training call; painn:preset=small after random is next" in everything
    assert f"{random - best:.2f} kcal/mol higher" in everything
    assert everything.endswith("a real difference.")
    assert networks.startswith(f"Of the networks: painn:preset=small after random, {random:.2f} kcal/mol (95 %")
    assert "for 63.3 training calls" in networks  # (63 + 63 + 64) / 3
    assert f"after golf is next, {golf - random:.2f} kcal/mol higher" in networks
    assert networks.endswith(": not separable.")


def test_one_sentence_where_a_network_is_first(long_run):
    (only,) = verdicts(read_side(long_run))
    assert only.startswith("Lowest residual of all molecules: painn:preset=small after random, 4.77 kcal/mol")
    assert "for 256 training calls" in only


@pytest.mark.parametrize(("residual", "words"), [(0.2, ": below 1)"), (30.0, ": not below 1)")])
def test_success_is_said_only_where_the_interval_shows_it(long_run, altered, residual, words):
    def at(line):
        end = line["energy_reference_hartree"] + residual / HARTREE_TO_KCAL_MOL
        above = end > line["energy_initial_hartree"]
        return line | {"energy_final_hartree": end, "status": "diverged" if above else "converged", "converged": True}

    same = altered(long_run, lambda line: at(line) if line["bond_graph_changed"] is False else line)
    assert words in verdicts(read_side(same))[0]


def test_five_compounds_prove_nothing(seeds, altered):
    names = sorted({json.loads(line)["group"] for line in (seeds / "records.jsonl").read_text().splitlines()})[:5]
    few = altered(seeds, lambda line: line if line["group"] in names else None)
    for sentence in verdicts(read_side(few)):
        assert "which 5 compounds cannot prove (at least 6 are needed)" in sentence
        assert "interval" not in sentence


def test_a_model_that_failed_everywhere_takes_no_part_and_partial_failures_are_told(seeds, altered):
    broken = {"status": "error", "error_type": "OracleError", "error_message": "no parameters", "converged": False}
    broken |= {"energy_final_hartree": None, "bond_graph_changed": None, "rmsd_to_references_angstrom": {}}
    broken |= {"energies_at_step_hartree": {}}
    nothing = altered(seeds, lambda line: line | broken if line["model"] == "mmff94" else line)
    (sentence,) = verdicts(read_side(nothing))
    assert "mmff94" not in sentence
    one = json.loads((seeds / "records.jsonl").read_text().splitlines()[0])["molecule"]
    chosen = {"model": "mmff94", "molecule": one}
    partly = altered(seeds, lambda line: line | broken if chosen.items() <= line.items() else line, name="partly")
    first = verdicts(read_side(partly))[0]
    assert f"mmff94 reference, {residual_all(partly, model='mmff94'):.2f} kcal/mol" in first
    assert "(1 of 12 walks failed and count with their start)" in first
