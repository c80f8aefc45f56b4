"""Checking an entry: everything that can be recomputed is, from its records, its geometries and the dataset.

Some values cannot be recomputed without asking the oracle or training again, and are not checked: energies of end
points (``verification`` asks for some of them), wall times, and the number of training labels, as far as the learning
loop, the ledger and the budget agree with each other. The facts of pretrained weights must be those of the provenance.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from math import isclose
from typing import Any

from pydantic import ValidationError

from golfbench.benchmark.metrics import summary
from golfbench.benchmark.records import ENERGY_TOLERANCE_HARTREE, Record, Status
from golfbench.chemistry import best_rmsd, bond_graph_changed, stereo_changes
from golfbench.contracts import Dataset, FloatArray, TestMolecule
from golfbench.errors import ConfigurationError
from golfbench.leaderboard.entries import Entry, PretrainedWeights, SeedRun, entry_id_of, part_hashes
from golfbench.leaderboard.geometries import unpack
from golfbench.leaderboard.tracks import Track
from golfbench.learning.loop import FRUITLESS_ROUNDS
from golfbench.molecules import group_of
from golfbench.registry import registry
from golfbench.sources import PARAMETER
from golfbench.specs import ModelSpec

#: Coordinates have eight decimals, and RDKit's alignment has its own rounding.
RMSD_TOLERANCE_ANGSTROM = 1e-4
#: Timings may differ by this; other metrics must agree to the last digits.
RELATIVE_TOLERANCE = 1e-9


def problems(entry: Entry, track: Track, dataset: Dataset) -> list[str]:
    """Return what is wrong with an entry, one line each; nothing if it is what it says.

    Args:
        entry: Any entry that ``parse_entry`` returned.
        track: The track that it is to be on.
        dataset: The track's.
    """
    found = [*_hash_problems(entry), *_track_problems(entry, track), *_seed_problems(entry)]
    found += _weights_problems(entry)
    for run in entry.runs:
        name = "" if run.seed is None else f"seed {run.seed}: "
        found += [name + line for line in _run_problems(entry, run, dataset)]
    return found


def _hash_problems(entry: Entry) -> Iterator[str]:
    actual = part_hashes(entry)
    for part in sorted(actual.keys() | entry.hashes.keys()):
        if entry.hashes.get(part) != actual.get(part):
            yield f"hash of '{part}' is not that of its content"
    if entry.entry_id != entry_id_of(entry):
        yield f"entry_id is '{entry.entry_id}', but the content makes it '{entry_id_of(entry)}'"


def _track_problems(entry: Entry, track: Track) -> Iterator[str]:
    if entry.track != track.name:
        yield f"it is of track '{entry.track}', not of '{track.name}'"
    if entry.dataset.sha256 != track.dataset.sha256:
        yield f"dataset: its hash {entry.dataset.sha256[:12]}... is not the track's {track.dataset.sha256[:12]}..."
    if entry.method != track.method:
        yield f"level of theory is {entry.method}, the track has {track.method}"
    if not track.accepts_oracle(entry.oracle):
        yield f"oracle is {entry.oracle}, the track has {track.oracle.name}"
    yield from track.protocol_differences(entry.protocol)
    if entry.stage == "after" and entry.budget not in track.budgets:
        yield f"budget {entry.budget} is not one of the track's: {', '.join(map(str, track.budgets))}"
    if entry.stage != "after" and (entry.budget or entry.selection):
        yield f"an entry of stage '{entry.stage}' has no budget and no selection"
    if entry.settings.get("budget", entry.budget) != entry.budget:
        yield f"budget is {entry.budget}, but its settings say {entry.settings['budget']}"


def _seed_problems(entry: Entry) -> Iterator[str]:
    counts = Counter(run.seed for run in entry.runs)
    yield from (f"seed {seed} is there {count} times" for seed, count in counts.items() if count > 1)
    if None in counts and (len(counts) > 1 or entry.stage == "after"):
        yield "a run without a seed stands beside others, or was trained"
    seeds: dict[str, int | None] = {}
    for run in entry.runs:
        first = seeds.setdefault(run.end_points.sha256, run.seed)
        if first != run.seed:
            yield f"seeds {first} and {run.seed} have the same end points: one is a copy of the other"


def _weights_problems(entry: Entry) -> Iterator[str]:
    """Compare the stated pretrained weights with the name of the model and with the provenance."""
    stated = entry.weights
    try:
        known = [PretrainedWeights.of(origin["imported"]) for origin in _origins(entry) if origin.get("imported")]
    except (ValidationError, TypeError, AttributeError):
        yield "provenance: what it says of imported weights is malformed"
        return
    if stated is None:
        if known and len(known) == len(_origins(entry)):
            yield f"it states no pretrained weights, but its provenance has '{known[0].name}' from elsewhere"
    elif entry.stage == "reference":
        yield "a fixed model starts from no pretrained weights"
    elif not known:
        yield f"it states pretrained weights '{stated.name}', but its provenance has none from elsewhere"
    elif stated not in known:
        nearest = next((weights for weights in known if weights.file_sha256 == stated.file_sha256), known[0])
        for (name, value), (_, actual) in zip(stated, nearest, strict=True):
            if value != actual:
                yield f"weights: {name} is '{value}', its provenance has '{actual}'"
    yield from _named_weights_problems(entry)


def _named_weights_problems(entry: Entry) -> Iterator[str]:
    """Compare the weights with those that the model is written with, if it is known here and written with any."""
    try:
        if not registry().has("model", entry.model):
            return
        typed = str(registry().component(ModelSpec, entry.model).ref.parameters.get(PARAMETER, "auto"))
    except ConfigurationError as error:
        yield str(error)
        return
    name = entry.weights.name if entry.weights else "fresh"
    if typed in ("fresh", "none"):
        typed = "fresh"
    elif typed == "auto" or "." in typed:  # a file
        return
    if name != typed:
        yield f"its model is written with weights '{typed}', but it states '{name}'"


def _origins(entry: Entry) -> list[dict[str, Any]]:
    return [origin for origin in entry.provenance.baselines.values() if isinstance(origin, dict)]


def _fewest_at_start(entry: Entry) -> int:
    """Return the least number of labels that the baseline has learned from, by the provenance and the settings."""
    if entry.weights:
        return min(_count(entry.settings.get("initial_labels")), entry.dataset.initial_labels)
    trained = [origin["training"] for origin in _origins(entry) if isinstance(origin.get("training"), dict)]
    return min((_count(training.get("initial_labels")) for training in trained), default=0)


def _count(value: Any) -> int:
    return value if isinstance(value, int) else 0


def _run_problems(entry: Entry, run: SeedRun, dataset: Dataset) -> Iterator[str]:
    yield from _molecule_problems(run, dataset)
    try:
        positions = unpack(run.end_points)
    except ConfigurationError as error:
        yield str(error)
        return
    test = {item.molecule.id: item for item in dataset.test}
    if extra := sorted(positions.keys() - {record.molecule for record in run.records}):
        yield f"end points without a record: {', '.join(extra)}"
    if len(set(run.end_points.molecules)) < len(run.end_points.molecules):
        yield "a molecule has two end points"
    for record in run.records:
        yield from _identity_problems(entry, run, record)
        if record.molecule in test:
            item, end = test[record.molecule], positions.get(record.molecule)
            lines = [*_start_problems(record, item), *_walk_problems(entry, record), *_energy_problems(entry, record)]
            lines += _geometry_problems(record, item, end, test)
            yield from (f"{record.molecule}: {line}" for line in lines)
    yield from _summary_problems(run)
    yield from _count_problems(entry, run)
    yield from _label_problems(entry, run)


def _molecule_problems(run: SeedRun, dataset: Dataset) -> Iterator[str]:
    wanted = {item.molecule.id for item in dataset.test}
    counts = Counter(record.molecule for record in run.records)
    yield from (f"{molecule} has {count} records" for molecule, count in counts.items() if count > 1)
    yield from (f"{molecule} is not a test molecule of the dataset" for molecule in counts.keys() - wanted)
    absent = wanted - counts.keys()
    if absent != set(run.missing):
        undeclared, untrue = sorted(absent - set(run.missing)), sorted(set(run.missing) - absent)
        yield from (f"{molecule} has no record and is not declared as missing" for molecule in undeclared)
        yield from (f"{molecule} is declared as missing, but it has a record or is unknown" for molecule in untrue)


def _identity_problems(entry: Entry, run: SeedRun, record: Record) -> Iterator[str]:
    for name, value in entry.identity(run.seed):
        if getattr(record, name) != value:
            yield f"{record.molecule}: {name} of its record is '{getattr(record, name)}', of the entry '{value}'"


def _start_problems(record: Record, item: TestMolecule) -> Iterator[str]:
    """Compare a record with what the dataset says of its molecule."""
    expected = {
        "group": group_of(item.molecule.id),
        "n_atoms": len(item.molecule),
        "energy_initial_hartree": item.start.energy if item.start else None,
        "energy_reference_hartree": item.minimum.energy if item.minimum else None,
    }
    for name, value in expected.items():
        if getattr(record, name) != value:
            yield f"{name} is {getattr(record, name)}, the dataset has {value}"


def _walk_problems(entry: Entry, record: Record) -> Iterator[str]:
    """Compare how a walk stopped with the protocol's rule."""
    rule, force = entry.protocol.rule, record.force_max_final_hartree_per_angstrom
    if record.n_steps > rule.max_steps:
        yield f"{record.n_steps} steps, but the protocol allows {rule.max_steps}"
    if record.status is Status.STEP_LIMIT and record.n_steps != rule.max_steps:
        yield f"stopped by the step limit after {record.n_steps} steps, but the protocol allows {rule.max_steps}"
    if record.status.finished and record.model_calls < record.n_steps + 1:
        yield f"{record.model_calls} force evaluations are too few for {record.n_steps} steps"
    if force is not None and record.converged != (force <= rule.force_max_hartree):
        yield f"converged is {record.converged}, but the largest force is {force:.3g} Hartree/Å"
    if record.converged and force is None:
        yield "converged, but no force is given"


def _energy_problems(entry: Entry, record: Record) -> Iterator[str]:
    """Compare status and energies on the way with the energies of start and end."""
    start, final = record.energy_initial_hartree, record.energy_final_hartree
    if final is not None and start is not None:
        rose = final > start + ENERGY_TOLERANCE_HARTREE
        if rose != (record.status is Status.DIVERGED):
            yield f"status is {record.status}, but the end point lies {'above' if rose else 'below'} the start"
        if record.status in (Status.ERROR, Status.SKIPPED, Status.INTERRUPTED):
            yield f"status is {record.status}, but it has a final energy"
    for step, energy in record.energies_at_step_hartree.items():
        if step not in entry.protocol.evaluation_steps:
            yield f"an energy at step {step}, which the protocol does not evaluate"
        ended = step * entry.protocol.inner_steps >= record.n_steps
        if ended and final is not None and abs(energy - final) > ENERGY_TOLERANCE_HARTREE:
            yield f"its energy at step {step}, when it had stopped, is not its final energy"


def _geometry_problems(
    record: Record, item: TestMolecule, end: FloatArray | None, test: Mapping[str, TestMolecule]
) -> Iterator[str]:
    """Recompute bond graph and distances from the end point."""
    if end is None:
        if record.energy_final_hartree is not None:
            yield "it has a final energy, but no end point"
        return
    if len(end) != len(item.molecule):
        yield f"its end point has {len(end)} atoms, the molecule {len(item.molecule)}"
        return
    if record.energy_final_hartree is None or item.molecule.smiles is None:
        return
    changed = bond_graph_changed(item.molecule, end)
    if changed != record.bond_graph_changed:
        yield f"bond_graph_changed is {record.bond_graph_changed}, but its end point says {changed}"
    if record.stereo_changed is not None and not changed:  # older records lack it
        turned = bool(stereo_changes(item.molecule, end))
        if turned != record.stereo_changed:
            yield f"stereo_changed is {record.stereo_changed}, but its end point says {turned}"
    group = group_of(item.molecule.id)
    near = {
        id: best_rmsd(item.molecule, end, other.minimum_positions)
        for id, other in test.items()
        if other.minimum_positions is not None and group_of(id) == group
    }
    given = record.rmsd_to_references_angstrom
    if near.keys() != given.keys():
        yield f"distances to {sorted(given)} are given, the references are {sorted(near)}"
    for id in near.keys() & given.keys():
        if abs(near[id] - given[id]) > RMSD_TOLERANCE_ANGSTROM:
            yield f"RMSD to the reference {id} is {given[id]:.4f} Å, but its end point is at {near[id]:.4f} Å"


def _summary_problems(run: SeedRun) -> Iterator[str]:
    """Recompute every metric from the records."""
    try:
        expected = summary(run.records)
    except ConfigurationError as error:
        yield str(error)
        return
    for name, value in expected:
        given = getattr(run.summary, name)
        both = isinstance(given, float) and isinstance(value, float)
        if not (isclose(given, value, rel_tol=RELATIVE_TOLERANCE, abs_tol=1e-12) if both else given == value):
            yield f"summary: {name} is {given}, the records make it {value}"


def _count_problems(entry: Entry, run: SeedRun) -> Iterator[str]:
    """Compare the counts of oracle calls with what the records and the budget need."""
    evaluation = run.account("evaluation")
    labels = evaluation.ok + evaluation.cache_hits
    fewest = sum(record.energy_final_hartree is not None for record in run.records)
    most = fewest + sum(len(record.energies_at_step_hartree) for record in run.records)
    if not fewest <= labels <= most:
        span = str(fewest) if fewest == most else f"{fewest} to {most}"
        yield f"the ledger has {labels} labels for evaluation, the energies of the records need {span}"
    base = run.account("base")
    if (base.calls or base.cache_hits) and not entry.delta:
        yield "calls of a base, but its settings name no delta"
    training = run.account("training")
    if entry.stage != "after":
        if training.calls or training.cache_hits:
            yield f"calls for training, but its stage is '{entry.stage}'"
        return
    learning = run.cost.learning if run.cost else {}
    if not learning:
        yield "the learning loop's account is missing"
        return
    spent, failed = learning.get("spent", 0), learning.get("failed", 0)
    labels = training.ok + training.cache_hits
    # `none` walks no trajectory and spends its budget on updates alone.
    expected = range(max(spent - failed, 0), spent + 1) if learning.get("trajectories") else range(1)
    if labels not in expected:
        lost = f", of which {failed} failed" if failed else ""
        yield f"the ledger has {labels} labels for training, the learning loop asked for {expected[-1]}{lost}"
    short = spent < entry.budget and learning.get("fruitless", 0) < FRUITLESS_ROUNDS
    if spent > entry.budget or short:
        yield f"the learning loop spent {spent} labels of a budget of {entry.budget}"


def _label_problems(entry: Entry, run: SeedRun) -> Iterator[str]:
    """Compare the total of labels with those of the start and those of the training."""
    labels = run.cost.labels if run.cost else None
    start = _fewest_at_start(entry)
    if labels is not None and labels < start + run.acquired:
        yield f"{labels} labels in all, but it started from {start} and learned from {run.acquired} more"
