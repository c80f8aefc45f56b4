"""Everything that a page shows, as one object of plain JSON types: tracks, entries, molecules and geometries.

A page needs no arithmetic of its own: values, intervals, ranks, the Pareto front and the curves are all here.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from ase.data import chemical_symbols

from golfbench.benchmark.metrics import pct, pct_curve, residual_kcal_mol, success
from golfbench.benchmark.records import Record
from golfbench.contracts import Dataset, FloatArray, TestMolecule
from golfbench.leaderboard.entries import SeedRun
from golfbench.leaderboard.geometries import unpack
from golfbench.leaderboard.measures import MEASURES, pct_all, residual_all
from golfbench.leaderboard.standings import Standing, separable_pairs, standings_of
from golfbench.leaderboard.tracks import Track, track_folders
from golfbench.oracles.ledger import PURPOSES

SCHEMA_VERSION = 1
#: Decimals of coordinates (Å): finer than any screen.
DECIMALS = 3


def page_content(leaderboards: Path) -> dict[str, Any]:
    """Return what the page of all tracks shows.

    Returns:
        ``schema_version`` and ``tracks``. Of each track: what ``track.yaml`` says, ``measures`` (columns),
        ``molecules`` (SMILES, elements, start and reference minimum, energies), ``entries`` in the order of the tables,
        ``separable`` (pairs of ids whose difference has an interval without zero) and ``learning_curves``.
        Coordinates are flat lists x, y, z, x, ... in Å.

    Raises:
        ConfigurationError: If a track, an entry or a dataset is not valid.
    """
    return {
        "schema_version": SCHEMA_VERSION,
        "tracks": [_track(*standings_of(folder)) for folder in track_folders(leaderboards)],
    }


def _track(track: Track, standings: Sequence[Standing]) -> dict[str, Any]:
    dataset = track.open_dataset()
    front = pareto_front(track, standings)
    return {
        **track.model_dump(mode="json", exclude={"schema_version"}),
        "lower_is_better": track.lower_is_better,
        "measures": [
            {name: getattr(m, name) for name in ("name", "title", "unit", "decimals", "lower_is_better", "share")}
            for m in MEASURES
        ],
        "purposes": list(PURPOSES),
        "molecules": [_molecule(item) for item in dataset.test],
        "entries": [_entry(standing, standing.entry.entry_id in front) for standing in standings],
        "separable": [list(pair) for pair in separable_pairs(standings)],
        "learning_curves": _learning_curves(track, standings),
        "source": _source(dataset),
    }


def _source(dataset: Dataset) -> dict[str, Any]:
    return {"dataset": dataset.name, "initial_labels": len(dataset.initial), "test_molecules": len(dataset.test)}


def _molecule(item: TestMolecule) -> dict[str, Any]:
    molecule = item.molecule
    return {
        "id": molecule.id,
        "smiles": molecule.smiles,
        "charge": molecule.charge,
        "symbols": [chemical_symbols[z] for z in molecule.numbers],
        "start_angstrom": _flat(molecule.positions),
        "reference_angstrom": None if item.minimum_positions is None else _flat(item.minimum_positions),
        "energy_initial_hartree": item.start.energy if item.start else None,
        "energy_reference_hartree": item.minimum.energy if item.minimum else None,
    }


def _flat(positions: FloatArray) -> list[float]:
    return [round(float(x), DECIMALS) + 0.0 for x in positions.ravel()]


def _entry(standing: Standing, on_front: bool) -> dict[str, Any]:
    entry = standing.entry
    judged, failed, missing = standing.counts
    named = ("entry_id", "stage", "model", "delta", "optimizer", "selection", "oracle", "method", "budget")
    return {
        **{name: getattr(entry, name) for name in named},
        "file": f"{entry.entry_id}.json",
        "seeds": [run.seed for run in entry.runs],
        "rank": standing.rank,
        "tied": standing.tied,
        "pareto": on_front,
        "n_ok": judged,
        "n_failed": failed,
        "n_missing": missing,
        "steps_capped": standing.steps_capped,
        "estimates": {name: asdict(number) for name, number in standing.estimates.items()},
        "oracle_calls": {p: dict(zip(("calls", "cache_hits"), standing.calls(p), strict=True)) for p in PURPOSES},
        "training_labels": training_labels(standing),
        "initial_labels": 0 if entry.stage == "reference" else entry.dataset.initial_labels,
        "settings": entry.settings,
        "provenance": entry.provenance.model_dump(mode="json"),
        "credits": entry.credits.model_dump(mode="json"),
        "runs": [_run(run) for run in entry.runs],
    }


def _run(run: SeedRun) -> dict[str, Any]:
    ends = unpack(run.end_points)
    return {
        "seed": run.seed,
        "cost": run.cost.model_dump(mode="json") if run.cost else None,
        "engines": list(run.engines),
        "pct_curve": [[step, mean] for step, mean in pct_curve(run.records).items()],
        "missing": list(run.missing),
        "molecules": {record.molecule: _result(record, ends.get(record.molecule)) for record in run.records},
    }


def _result(record: Record, end: FloatArray | None) -> dict[str, Any]:
    return {
        "status": record.status.value,
        "finished": record.status.finished,
        "success": success(record),
        "pct": pct(record),
        "pct_all": pct_all(record),
        "residual_kcal_mol": residual_kcal_mol(record),
        "residual_kcal_mol_all": residual_all(record),
        "rmsd_angstrom": record.rmsd_to_references_angstrom.get(record.molecule),
        "bond_graph_changed": record.bond_graph_changed,
        "n_steps": record.n_steps,
        "steps_capped": record.status.finished and not record.converged,
        "energy_final_hartree": record.energy_final_hartree,
        "energies_at_step_hartree": [[step, energy] for step, energy in record.energies_at_step_hartree.items()],
        "end_angstrom": None if end is None else _flat(end),
    }


def training_labels(standing: Standing) -> float:
    """Return the labels that were asked for in training, mean over seeds, whether they cost a call or were known."""
    return sum(standing.calls("training"))


def pareto_front(track: Track, standings: Sequence[Standing]) -> set[str]:
    """Return the ids of ranked entries that no other one beats with as few training labels."""
    sign = 1.0 if track.lower_is_better else -1.0
    points = [
        (training_labels(s), sign * value, s.entry.entry_id)
        for s in standings
        if s.rank is not None and (value := s.estimates[track.ranked].value) is not None
    ]
    front, best = set(), float("inf")
    for _, value, entry_id in sorted(points):
        if value < best:
            front.add(entry_id)
            best = value
    return front


def _learning_curves(track: Track, standings: Sequence[Standing]) -> list[dict[str, Any]]:
    """Return quality by budget for each model, optimizer and selection, from the baseline on."""
    baselines: defaultdict[tuple[str, ...], list[dict[str, Any]]] = defaultdict(list)
    curves: defaultdict[tuple[str, ...], list[dict[str, Any]]] = defaultdict(list)
    for standing in standings:
        entry = standing.entry
        point = {
            "entry_id": entry.entry_id,
            "budget": entry.budget,
            "training_labels": training_labels(standing),
            **asdict(standing.estimates[track.ranked]),
        }
        if entry.stage == "before":
            baselines[entry.model, entry.delta, entry.optimizer].append(point)
        elif entry.stage == "after":
            curves[entry.model, entry.delta, entry.optimizer, entry.selection].append(point)
    names = ("model", "delta", "optimizer", "selection")
    return [
        {**dict(zip(names, key, strict=True)), "points": sorted([*baselines[key[:3]], *points], key=_by_budget)}
        for key, points in curves.items()
    ]


def _by_budget(point: dict[str, Any]) -> tuple[int, str]:
    return point["budget"], point["entry_id"]
