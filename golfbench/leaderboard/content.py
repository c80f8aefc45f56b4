"""Everything that a page shows but geometries, as one object of plain JSON types: tracks, entries and molecules.

A page needs no arithmetic of its own: values, intervals, ranks, Pareto fronts, quartiles and curves are all here.
Results on molecules are columns in the order of the track's molecules, which keeps hundreds of entries small.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from golfbench.benchmark.metrics import COVERAGE_ANGSTROM, SUCCESS_KCAL_MOL, pct, pct_curve, residual_kcal_mol, success
from golfbench.benchmark.records import Record
from golfbench.chemistry import formula
from golfbench.contracts import Dataset, TestMolecule
from golfbench.leaderboard.digest import answer_of, folds, remarks, sentence
from golfbench.leaderboard.entries import SeedRun
from golfbench.leaderboard.measures import MEASURES, pct_all, residual_all
from golfbench.leaderboard.pretrained import weights_at_work
from golfbench.leaderboard.standings import Standing, all_standings, called_for, separable_pairs
from golfbench.leaderboard.statistics import CONFIDENCE, RESAMPLES
from golfbench.leaderboard.tracks import Track
from golfbench.oracles.ledger import PURPOSES
from golfbench.units import HARTREE_TO_KCAL_MOL

SCHEMA_VERSION = 4
#: Decimals of numbers of single molecules (%, kcal/mol, Å): finer than what is shown.
DECIMALS = 3


@dataclass(frozen=True)
class Section:
    """What a page shows together: entries that may be compared.

    Attributes:
        track: The track of the entries.
        standings: The entries with their numbers, in the order of the tables.
        dataset: Its molecules.
        published: Whether the entries have files of their own.
        notes: Notes for the reader, one sentence each.
    """

    track: Track
    standings: Sequence[Standing]
    dataset: Dataset
    published: bool = True
    notes: tuple[str, ...] = ()


def page_content(leaderboards: Path) -> dict[str, Any]:
    """Return what the page of all tracks shows.

    Raises:
        ConfigurationError: If a track, an entry or a dataset is not valid.
    """
    return content_of([section(*track) for track in all_standings(leaderboards)])


def section(track: Track, standings: Sequence[Standing]) -> Section:
    """Return the section of a track.

    Raises:
        ConfigurationError: If its dataset is not what the track says.
    """
    return Section(track, standings, track.open_dataset())


def content_of(sections: Iterable[Section]) -> dict[str, Any]:
    """Return what a page shows.

    Returns:
        ``schema_version``, ``facts`` (numbers that the explanations name) and ``tracks``. Of each track: what
        ``track.yaml`` says, ``answer`` (``sentence``, ``remarks``, ``entry_id``; ``None`` where no entry has a rank),
        ``folds`` (positions of entries that stand on one line), ``measures`` (columns), ``molecules``, ``entries`` in
        the order of the tables, ``fronts`` (ids on the Pareto front by measure), ``separable`` (pairs of positions of
        entries whose difference has an interval without zero) and ``learning_curves``.
    """
    facts = {
        "success_kcal_mol": SUCCESS_KCAL_MOL,
        "coverage_angstrom": COVERAGE_ANGSTROM,
        "resamples": RESAMPLES,
        "confidence_pct": 100 * CONFIDENCE,
    }
    return {"schema_version": SCHEMA_VERSION, "facts": facts, "tracks": [_track(shown) for shown in sections]}


def _track(shown: Section) -> dict[str, Any]:
    track, standings = shown.track, shown.standings
    molecules = [item.molecule.id for item in shown.dataset.test]
    place = {standing.entry.entry_id: n for n, standing in enumerate(standings)}
    return {
        **track.model_dump(mode="json", exclude={"schema_version"}),
        "lower_is_better": track.lower_is_better,
        "answer": _answer(track, standings),
        "folds": [[place[standing.entry.entry_id] for standing in line] for line in folds(standings)],
        "notes": list(shown.notes),
        "published": shown.published,
        "measures": [
            {name: getattr(m, name) for name in ("name", "title", "unit", "decimals", "lower_is_better", "share")}
            for m in MEASURES
        ],
        "purposes": called_for(standings),
        "molecules": [_molecule(item) for item in shown.dataset.test],
        "entries": [_entry(standing, molecules) for standing in standings],
        "fronts": {m.name: sorted(pareto_front(m.name, m.lower_is_better, standings)) for m in MEASURES},
        "separable": [[place[one], place[other]] for one, other in separable_pairs(standings)],
        "learning_curves": _learning_curves(standings),
        "source": _source(shown.dataset),
    }


def _answer(track: Track, standings: Sequence[Standing]) -> dict[str, Any] | None:
    answer = answer_of(track, standings)
    if answer is None:
        return None
    told = {"sentence": sentence(track, answer), "remarks": remarks(track, answer)}
    return {**told, "entry_id": answer.standing.entry.entry_id}


def _source(dataset: Dataset) -> dict[str, Any]:
    return {"dataset": dataset.name, "initial_labels": len(dataset.initial), "test_molecules": len(dataset.test)}


def _molecule(item: TestMolecule) -> dict[str, Any]:
    molecule = item.molecule
    descent = item.start.energy - item.minimum.energy if item.start and item.minimum else None
    return {
        "id": molecule.id,
        "formula": formula(molecule),
        "smiles": molecule.smiles,
        "charge": molecule.charge,
        "n_atoms": len(molecule),
        "descent_kcal_mol": None if descent is None else round(descent * HARTREE_TO_KCAL_MOL, DECIMALS) + 0.0,
    }


def _entry(standing: Standing, molecules: Sequence[str]) -> dict[str, Any]:
    entry = standing.entry
    judged, failed, missing = standing.counts
    records = [record for run in entry.runs for record in run.records]
    named = ("entry_id", "stage", "model", "title", "optimizer", "selection", "oracle", "method", "budget")
    costs = [run.cost for run in entry.runs if run.cost]
    return {
        **{name: getattr(entry, name) for name in named},
        "file": f"{entry.entry_id}.json",
        "seeds": [run.seed for run in entry.runs],
        "rank": standing.rank,
        "tied": standing.tied,
        "n_ok": judged,
        "n_failed": failed,
        "n_missing": missing,
        "steps_capped": standing.steps_capped,
        "estimates": {name: asdict(number) for name, number in standing.estimates.items()},
        "oracle_calls": {p: dict(zip(("calls", "cache_hits"), standing.calls(p), strict=True)) for p in PURPOSES},
        "labels_in_all": standing.labels_in_all,
        "initial_labels": standing.initial_labels,
        "weights": weights.model_dump() if (weights := weights_at_work(entry)) else None,
        "weights_of_base": weights is not None and entry.weights is None,
        "parameters": costs[0].parameters if costs else None,
        "training_wall_s": sum(cost.wall_s for cost in costs) / len(costs) if costs else None,
        "pct_curve": _mean_curve(entry.runs),
        "quartiles": {
            "pct_all": _quartiles(map(pct_all, records)),
            "residual_kcal_mol_all": _quartiles(map(residual_all, records)),
        },
        "settings": entry.settings,
        "provenance": entry.provenance.model_dump(mode="json"),
        "credits": entry.credits.model_dump(mode="json"),
        "runs": [_run(run, molecules) for run in entry.runs],
    }


def _mean_curve(runs: Sequence[SeedRun]) -> list[dict[str, Any]]:
    """Return pct by step: the mean over seeds with the lowest and the highest seed, from the start, which is 0."""
    by_step: defaultdict[int, list[float]] = defaultdict(list)
    for run in runs:
        for step, mean in pct_curve(run.records).items():
            by_step[step].append(mean)
    points = [
        {"step": step, "value": sum(found) / len(found), "low": min(found), "high": max(found)}
        for step, found in sorted(by_step.items())
    ]
    return [{"step": 0, "value": 0.0, "low": 0.0, "high": 0.0}, *points] if points else []


def _quartiles(numbers: Iterable[float | None]) -> list[float] | None:
    """Return minimum, quartiles and maximum, linear between neighbours; ``None`` of nothing."""
    known = [number for number in numbers if number is not None]
    if not known:
        return None
    return [round(float(q), DECIMALS) + 0.0 for q in np.quantile(known, (0, 0.25, 0.5, 0.75, 1))]


def _run(run: SeedRun, molecules: Sequence[str]) -> dict[str, Any]:
    by_molecule = {record.molecule: record for record in run.records}
    columns = [_result(by_molecule.get(molecule)) for molecule in molecules]
    return {
        "seed": run.seed,
        "cost": run.cost.model_dump(mode="json") if run.cost else None,
        "engines": list(run.engines),
        "oracle_wall_s": {purpose: account.wall_s for purpose, account in run.oracle_calls.items()},
        "results": {name: [column[name] for column in columns] for name in columns[0]} if columns else {},
    }


def _result(record: Record | None) -> dict[str, Any]:
    """Return the result of one molecule; ``missing`` where there is no record."""
    if record is None:
        return {**dict.fromkeys(_RESULT), "status": "missing"}
    curve = pct_curve([record])
    values = (
        record.status.value,
        success(record),
        _rounded(pct_all(record)),
        _rounded(residual_all(record)),
        _rounded(pct(record)),
        _rounded(residual_kcal_mol(record)),
        _rounded(record.rmsd_to_references_angstrom.get(record.molecule)),
        record.bond_graph_changed,
        record.n_steps,
        record.status.finished and not record.converged,
        [[step, _rounded(value)] for step, value in curve.items()] or None,
    )
    return dict(zip(_RESULT, values, strict=True))


_RESULT = (
    *("status", "success", "pct_all", "residual_kcal_mol_all", "pct", "residual_kcal_mol", "rmsd_angstrom"),
    *("bond_graph_changed", "n_steps", "steps_capped", "pct_curve"),
)


def _rounded(number: float | None) -> float | None:
    return None if number is None else round(number, DECIMALS) + 0.0


def pareto_front(measure: str, lower_is_better: bool, standings: Sequence[Standing]) -> set[str]:
    """Return the ids of ranked entries that no other one beats in a measure with as few labels in all."""
    sign = 1.0 if lower_is_better else -1.0
    points = [
        (s.labels_in_all, sign * value, s.entry.entry_id)
        for s in standings
        if s.rank is not None and (value := s.estimates[measure].value) is not None
    ]
    front, best = set(), float("inf")
    for _, value, entry_id in sorted(points):
        if value < best:
            front.add(entry_id)
            best = value
    return front


def _learning_curves(standings: Sequence[Standing]) -> list[dict[str, Any]]:
    """Return the entries by budget for each model, optimizer and selection, from the baseline on."""
    baselines: defaultdict[tuple[str, ...], list[dict[str, Any]]] = defaultdict(list)
    curves: defaultdict[tuple[str, ...], list[dict[str, Any]]] = defaultdict(list)
    for standing in standings:
        entry = standing.entry
        point = {"entry_id": entry.entry_id, "budget": entry.budget, "labels_in_all": standing.labels_in_all}
        if entry.stage == "before":
            baselines[entry.title, entry.optimizer].append(point)
        elif entry.stage == "after":
            curves[entry.title, entry.optimizer, entry.selection].append(point)
    names = ("title", "optimizer", "selection")
    return [
        {**dict(zip(names, key, strict=True)), "points": sorted([*baselines[key[:2]], *points], key=_by_budget)}
        for key, points in curves.items()
    ]


def _by_budget(point: Mapping[str, Any]) -> tuple[int, str]:
    return point["budget"], point["entry_id"]
