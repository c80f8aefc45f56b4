"""Entries that somebody altered, once carelessly and once with every hash made anew: each is refused, with a reason."""

import base64
import hashlib
import json
import zlib

import numpy as np
import pytest
from pydantic import ValidationError

from golfbench.benchmark.metrics import summary
from golfbench.benchmark.records import Record
from golfbench.errors import ConfigurationError
from golfbench.leaderboard.checks import problems
from golfbench.leaderboard.entries import Entry, canonical_text, laid_out, parse_entry, sealed
from golfbench.leaderboard.verification import verify

KCAL = 1 / 627.5


def base_without_a_delta(parts):
    del parts["settings"]["delta"]
    parts["runs"][0]["oracle_calls"]["base"] = {"ok": 7, "failed": {}, "cache_hits": 0, "wall_s": 1.0, "cpu_s": None}


def energy(parts):
    parts["runs"][0]["records"][0]["energy_final_hartree"] -= 0.1 * KCAL


def start_energy(parts):
    for record in parts["runs"][0]["records"]:
        record["energy_initial_hartree"] += 5 * KCAL


def reference_energy(parts):
    parts["runs"][0]["records"][1]["energy_reference_hartree"] += KCAL


def energy_on_the_way(parts):
    record = parts["runs"][0]["records"][0]
    record["energies_at_step_hartree"]["7"] = record["energy_final_hartree"]


def _rewrite(parts, change, with_hash):
    ends = parts["runs"][0]["end_points"]
    positions = np.frombuffer(zlib.decompress(base64.b64decode(ends["positions_angstrom"])), "<f8").copy()
    change(positions)
    ends["positions_angstrom"] = base64.b64encode(zlib.compress(positions.tobytes())).decode()
    if with_hash:
        ends["sha256"] = hashlib.sha256(positions.tobytes()).hexdigest()


def geometry(parts):
    def stretch(positions):
        positions[0] += 0.05

    _rewrite(parts, stretch, with_hash=True)


def geometry_without_its_hash(parts):
    def stretch(positions):
        positions[0] += 0.05

    _rewrite(parts, stretch, with_hash=False)


def torn_molecule(parts):
    def tear(positions):
        positions[15] += 3.0  # a hydrogen of the first molecule, methanol: six atoms

    _rewrite(parts, tear, with_hash=True)


def nan_geometry(parts):
    def spoil(positions):
        positions[4] = np.nan

    _rewrite(parts, spoil, with_hash=True)


def swollen_geometry(parts):
    swollen = zlib.compress(bytes(5_000_000), 9)
    parts["runs"][0]["end_points"]["positions_angstrom"] = base64.b64encode(swollen).decode()


def endless_geometry(parts):
    ends = parts["runs"][0]["end_points"]
    ends["atoms"] = [10**12] * len(ends["atoms"])


def training_calls(parts):
    parts["runs"][0]["oracle_calls"]["training"]["ok"] -= 1


def evaluation_calls(parts):
    parts["runs"][0]["oracle_calls"]["evaluation"]["ok"] = 2


def spent_labels(parts):
    for run in parts["runs"]:
        run["cost"]["learning"]["spent"] = 1
        run["oracle_calls"]["training"]["ok"] = 1
        run["oracle_calls"]["training"]["cache_hits"] = 0


def step_count(parts):
    record = parts["runs"][0]["records"][0]
    record["n_steps"] = record["model_calls"] = 21


def force_evaluations(parts):
    parts["runs"][0]["records"][0]["model_calls"] = 3


def metric(parts):
    parts["runs"][1]["summary"]["success_pct"] = 37.0


def status(parts):
    for record in parts["runs"][0]["records"]:
        record["status"] = "converged"
        record["converged"] = True


def contradiction(parts):
    record = next(r for r in parts["runs"][0]["records"] if r["status"] == "step_limit")
    record["status"] = "converged"


def missing_molecule(parts):
    del parts["runs"][0]["records"][1]


def declared_as_missing(parts):
    parts["runs"][0]["missing"] = ["methanol/0"]


def hidden_molecule(parts):
    """An inconvenient molecule becomes one that was never run."""
    run = parts["runs"][0]
    gone = run["records"].pop(1)["molecule"]
    run["missing"] = [gone]
    ends = run["end_points"]
    place = ends["molecules"].index(gone)
    content = zlib.decompress(base64.b64decode(ends["positions_angstrom"]))
    first, atoms = 24 * sum(ends["atoms"][:place]), ends["atoms"].pop(place)
    ends["molecules"].pop(place)
    content = content[:first] + content[first + 24 * atoms :]
    ends["positions_angstrom"] = base64.b64encode(zlib.compress(content)).decode()
    ends["sha256"] = hashlib.sha256(content).hexdigest()
    run["summary"] = summary(map(Record.model_validate, run["records"])).model_dump(mode="json")


def duplicated_molecule(parts):
    parts["runs"][0]["records"].append(parts["runs"][0]["records"][0])


def strange_molecule(parts):
    parts["runs"][0]["records"][0] |= {"molecule": "water/0", "group": "water", "rmsd_to_references_angstrom": {}}


def dataset_hash(parts):
    parts["dataset"]["sha256"] = "0" * 64


def protocol(parts):
    parts["protocol"]["steps"] = 1000


def budget(parts):
    parts["budget"] = parts["settings"]["budget"] = 2


def level_of_theory(parts):
    parts["runs"][0]["records"][0]["method"] = "GFN1-xTB"


def whole_level_of_theory(parts):
    parts["method"] = "GFN1-xTB"
    for run in parts["runs"]:
        for record in run["records"]:
            record["method"] = "GFN1-xTB"


def oracle(parts):
    parts["oracle"] = "gfn1-xtb"


def record_of_another_model(parts):
    parts["runs"][0]["records"][2]["model"] = "mace"


def seed_doubled(parts):
    parts["runs"].append(parts["runs"][0])


def seed_copied(parts):
    text = json.dumps(parts["runs"][0]).replace("|seed=0", "|seed=9").replace('"seed": 0', '"seed": 9')
    parts["runs"].append(json.loads(text))


def markup(parts):
    parts["model"] = "<script>alert(1)</script>"


TAMPERINGS = {
    energy: "summary: residual_kcal_mol_mean",
    start_energy: "methanol/0: energy_initial_hartree is",
    reference_energy: "energy_reference_hartree is",
    energy_on_the_way: "an energy at step 7, which the protocol does not evaluate",
    geometry: "RMSD to the reference methanol/0 is",
    geometry_without_its_hash: "the hash is not that of the coordinates",
    torn_molecule: "bond_graph_changed is False, but its end point says True",
    nan_geometry: "a coordinate is not finite",
    swollen_geometry: "atoms take",
    endless_geometry: "more than 2000000 atoms",
    training_calls: "the ledger has 2 labels for training, the learning loop asked for 3",
    evaluation_calls: "the ledger has 2 labels for evaluation, the energies of the records need",
    spent_labels: "the learning loop spent 1 labels of a budget of 3",
    step_count: "21 steps, but the protocol allows 20",
    force_evaluations: "3 force evaluations are too few for",
    metric: "summary: success_pct is 37.0",
    status: "converged is True, but the largest force is",
    contradiction: "status is converged, but the force criterion was not met",
    missing_molecule: "ethanol/0 has no record and is not declared as missing",
    declared_as_missing: "methanol/0 is declared as missing, but it has a record",
    hidden_molecule: "labels for evaluation, the energies of the records need",
    duplicated_molecule: "methanol/0 has 2 records",
    strange_molecule: "water/0 is not a test molecule of the dataset",
    dataset_hash: "dataset: its hash 000000000000... is not the track's",
    protocol: "protocol: steps is 1000, the track has 10",
    budget: "budget 2 is not one of the track's: 3",
    level_of_theory: "method of its record is 'GFN1-xTB', of the entry 'GFN2-xTB'",
    whole_level_of_theory: "level of theory is GFN1-xTB, the track has GFN2-xTB",
    oracle: "oracle is gfn1-xtb, the track has gfn2-xtb",
    record_of_another_model: "model of its record is 'mace'",
    seed_doubled: "seed 0 is there 2 times",
    seed_copied: "seeds 0 and 9 have the same end points",
    base_without_a_delta: "calls of a base, but its settings name no delta",
    markup: "model: String should match pattern",
}


def refusals(text, track, dataset):
    try:
        return problems(parse_entry(text), track, dataset)
    except ConfigurationError as error:
        return [str(error)]


def forged(parts):
    """The text of an entry with id and hashes made anew, where its parts fit the schema at all."""
    try:
        return canonical_text(sealed(Entry.model_validate(parts)))
    except ValidationError:
        return laid_out(parts)


@pytest.mark.parametrize("tamper", TAMPERINGS, ids=lambda tamper: tamper.__name__)
def test_an_altered_entry_is_refused_with_the_reason(trained, track, dataset, tamper):
    parts = trained.model_dump(mode="json")
    tamper(parts)
    careless, careful = refusals(laid_out(parts), track, dataset), refusals(forged(parts), track, dataset)
    assert any(TAMPERINGS[tamper] in line for line in careful), careful
    assert any("hash of '" in line or TAMPERINGS[tamper] in line for line in careless)
    assert not any("hash of '" in line for line in careful)


def test_the_entry_itself_is_not_refused(trained, track, dataset):
    assert refusals(canonical_text(trained), track, dataset) == []


@pytest.mark.parametrize("part", ["runs", "protocol", "provenance", "credits"])
def test_a_hash_that_was_changed_is_seen(trained, track, dataset, part):
    parts = trained.model_dump(mode="json")
    parts["hashes"][part] = "0" * 64
    assert refusals(laid_out(parts), track, dataset) == [f"hash of '{part}' is not that of its content"]


@pytest.mark.parametrize(
    ("old", "new", "reason"),
    [
        ('"n_steps":', '"n_steps":NaN,"n_steps":', "NaN is no number of JSON"),
        ('"converged":false', '"converged":NaN', "NaN is no number of JSON"),
        ('"budget": 3', '"budget": 3,\n "budget": 3', "key 'budget' comes twice"),
        ('"budget": 3', '"budget":3', "is not in the canonical form"),
        ('"budget": 3', '"budget": "3"', "is not in the canonical form"),
        ('"budget": 3', '"budget": 3, "note": "x"', "note: Extra inputs are not permitted"),
        ('"budget": 3', '"budget": three', "not valid JSON"),
        ('"finished_utc"', '"finished_\\ud800utc"', "unable to parse raw data as a unicode string"),
    ],
)
def test_text_that_is_not_an_entry_is_refused(trained, track, dataset, old, new, reason):
    text = canonical_text(trained)
    assert old in text
    (line,) = refusals(text.replace(old, new, 1), track, dataset)
    assert reason in line


def test_an_entry_under_a_better_name_is_refused(trained, track, dataset):
    parts = trained.model_copy(update={"entry_id": "winner"}).model_dump(mode="json")
    lines = refusals(laid_out(parts), track, dataset)
    assert any("entry_id is 'winner', but the content makes it" in line for line in lines)


def test_a_forged_energy_with_everything_recomputed_is_caught_by_the_oracle(trained, track, dataset):
    """What no check can see without the oracle: the forger has lowered an energy and all that follows from it."""
    parts = trained.model_dump(mode="json")
    for record in parts["runs"][0]["records"]:
        record["energy_final_hartree"] -= 0.01 * KCAL
        curve = record["energies_at_step_hartree"]
        curve |= {step: record["energy_final_hartree"] for step in curve if 2 * int(step) >= record["n_steps"]}
    entry = Entry.model_validate(parts)
    run = entry.runs[0].model_copy(update={"summary": summary(entry.runs[0].records)})
    entry = sealed(entry.model_copy(update={"runs": (run, *entry.runs[1:])}))
    assert problems(entry, track, dataset) == []
    result = verify(entry, track, dataset, sample=100, seed=0)
    wrong = [answer for answer in result.answers if not answer.agrees]
    assert {(answer.seed, answer.what) for answer in wrong} == {(0, "end point")}
    assert len(wrong) == 5
    assert all(answer.difference_hartree == pytest.approx(0.01 * KCAL, rel=1e-2) for answer in wrong)
