"""Tables of a track: Markdown for its page and CSV for programs, made from the standings and nothing else."""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Sequence
from itertools import groupby

from golfbench.benchmark.metrics import COVERAGE_ANGSTROM, SUCCESS_KCAL_MOL
from golfbench.benchmark.tables import MISSING, fixed
from golfbench.leaderboard.digest import answer_of, remarks, sentence
from golfbench.leaderboard.entries import UNKNOWN, Entry, PretrainedWeights
from golfbench.leaderboard.measures import MEASURES, Measure, measure_of
from golfbench.leaderboard.pretrained import weights_at_work
from golfbench.leaderboard.standings import Standing, called_for
from golfbench.leaderboard.statistics import RESAMPLES, Estimate
from golfbench.leaderboard.tracks import Track
from golfbench.oracles.ledger import Purpose

#: Decimals of numbers in the CSV: the last digits of a sum depend on the machine.
CSV_DECIMALS = 6
WARNING = "⚠"
NOTES = f"""\
Numbers are means over seeds, in square brackets the 95 % interval ({RESAMPLES} paired bootstrap resamples of compounds
and of seeds; with one seed the spread over seeds is not in it). *All*: every molecule counts, one that diverged or
failed with its start. *Finished*: only those that have an end point that did not diverge. Entries whose difference
has an interval that contains zero share a rank (=). An entry that lacks judged molecules has no rank. Success: less
than {SUCCESS_KCAL_MOL:g} kcal/mol above the minimum and the bonds unchanged, of all molecules. COV: minima with an end
point within {COVERAGE_ANGSTROM:g} Å. ≥: some walks were stopped before they converged. Oracle calls are means over
seeds, +: labels that were known already and cost no call. *Labels in all*: what the network has learned from, those
of the dataset's initial set included; what pretrained weights were made of elsewhere is not in it."""
#: What a narrow terminal shows of the measures, and their headings there.
FEW = {
    "residual_kcal_mol_mean_all": "residual (kcal/mol)",
    "pct_mean_all": "pct (%)",
    "success_pct": "success (%)",
    "divergence_pct": "div. (%)",
}
#: Text below the table of a narrow terminal.
SHORT_NOTES = f"""\
Means over seeds of all molecules, one that diverged or failed with its start; in square brackets 95 % intervals over
compounds and seeds. pct: 100 % is the way from the start down to the reference minimum. Success: less than
{SUCCESS_KCAL_MOL:g} kcal/mol above it and the bonds unchanged. Div.: diverged. Calls: training calls a seed, +: labels
that were known already. Failed: walks that failed, of all. Entries that cannot be told apart share a rank (=)."""
#: Warning for pretrained weights.
PRETRAINED_NOTE = f"{WARNING} nobody has stated whether the weights have learned from the test molecules."


def track_markdown(track: Track, standings: Sequence[Standing]) -> str:
    """Return the tables of a track: fixed models, baselines, then each budget."""
    protocol = ", ".join(f"{name} {value}" for name, value in track.protocol.items())
    first = "lowest" if track.lower_is_better else "highest"
    facts = (
        f"Dataset `{track.dataset.name}` (content `{track.dataset.sha256[:12]}`); energies under {track.method}; "
        f"protocol: {protocol}. Ranked by {_title(measure_of(track.ranked))}, {first} first."
    )
    answer = answer_of(track, standings)
    told = [sentence(track, answer), *remarks(track, answer)] if answer else []
    blocks = [facts, *(["**Which model should I use?** " + escaped(" ".join(told))] if told else [])]
    for budget, group in groupby(standings, key=lambda standing: standing.budget_group):
        blocks += [f"### {heading(budget)}", _table(list(group))]
    blocks.append(NOTES if standings else "No entry yet.")
    at_work = [weights_at_work(standing.entry) for standing in standings]
    if any(weights and weights.overlap == UNKNOWN for weights in at_work):
        blocks.append(PRETRAINED_NOTE)
    return "\n\n".join(blocks)


def heading(budget: int | None) -> str:
    """Return the headline of the table of a budget."""
    if budget is None:
        return "Fixed models, for comparison (no rank)"
    return f"Budget: {budget} training labels" if budget else "Baselines: no training labels beside the initial set"


def _title(measure: Measure) -> str:
    return f"{measure.title}, {measure.unit}" if measure.unit else measure.title


def _table(standings: Sequence[Standing]) -> str:
    purposes = called_for(standings)
    pretrained = any(weights_at_work(standing.entry) for standing in standings)
    header = ["Rank", "Model", *(["Pretrained weights"] if pretrained else []), "Optimizer", "Selection", "Seeds"]
    header += ["Labels in all", *map(_title, MEASURES)]
    header += ["Judged / failed / missing", *(f"Calls, {purpose}" for purpose in purposes)]
    header += ["Parameters", "Training, s", "Entry"]
    text = {"Model", "Pretrained weights", "Optimizer", "Selection"}
    rule = [":--" if title in text else "--:" for title in header]
    lines = [header, rule, *(_cells(standing, purposes, pretrained) for standing in standings)]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


def _cells(standing: Standing, purposes: Sequence[Purpose], pretrained: bool) -> list[str]:
    entry = standing.entry
    numbers = [_shown(standing.estimates[m.name], m.decimals, _bound(standing, m)) for m in MEASURES]
    seeds = ", ".join(MISSING if run.seed is None else str(run.seed) for run in entry.runs)
    costs = [run.cost for run in entry.runs if run.cost]
    parameters = str(costs[0].parameters) if costs else MISSING
    training = fixed(sum(cost.wall_s for cost in costs) / len(costs), 0) if costs else MISSING
    calls = [_calls(*standing.calls(purpose)) for purpose in purposes]
    weights = [_weights(entry)] if pretrained else []
    texts = map(escaped, (entry.title, *weights, entry.optimizer, entry.selection or MISSING))
    names = [rank_text(standing), *texts, seeds, _short(standing.labels_in_all)]
    judged = " / ".join(map(str, standing.counts))
    return [*names, *numbers, judged, *calls, parameters, training, f"[json]({entry.entry_id}.json)"]


def _weights(entry: Entry) -> str:
    weights = weights_at_work(entry)
    if weights is None:
        return MISSING
    licence, level = weights.license or "licence not known", weights.method or "level not known"
    mark = f"{WARNING} " if weights.overlap == UNKNOWN else ""
    name = weights.name or weights.file_sha256[:12]
    whose = "" if entry.weights else "of the base: "
    return f"{whose}{name} ({licence}; {level}; {mark}overlap: {weights.overlap})"


def escaped(text: str) -> str:
    """Return a name from an entry, escaped so that it is no markup."""
    return re.sub(r"([\\`*_\[\]<>|#])", r"\\\1", text)


def rank_text(standing: Standing) -> str:
    """Return the rank, with ``=`` where it is shared, or a dash."""
    return MISSING if standing.rank is None else f"{standing.rank}{'=' if standing.tied else ''}"


def _bound(standing: Standing, measure: Measure) -> str:
    return "≥" if measure.name == "steps_mean" and standing.steps_capped else ""


def _shown(estimate: Estimate, decimals: int, bound: str) -> str:
    if estimate.value is None:
        return MISSING
    ends = f"{fixed(estimate.low, decimals)}, {fixed(estimate.high, decimals)}"
    return f"{bound}{fixed(estimate.value, decimals)} [{ends}]"


def _calls(paid: float, known: float) -> str:
    texts = [_short(number) for number in (paid, known)]
    return texts[0] if texts[1] == "0" else f"{texts[0]} +{texts[1]}"


def _short(number: float) -> str:
    return f"{number:.1f}".removesuffix(".0")


def shown_rows(standings: Sequence[Standing], wide: bool = False) -> list[dict[str, str]]:
    """Return the standings for a terminal: cells by heading, the same headings for each entry.

    Args:
        standings: Of one track, in their order.
        wide: All numbers, not only the few that fit a narrow terminal.
    """
    return [_shown_row(standing, called_for(standings) if wide else ["training"], wide) for standing in standings]


def _shown_row(standing: Standing, purposes: Sequence[Purpose], wide: bool) -> dict[str, str]:
    entry = standing.entry
    judged, failed, missing = standing.counts
    titles = {m.name: _title(m) for m in MEASURES} if wide else FEW
    names = (entry.title, entry.selection)
    row = {"rank": rank_text(standing)}
    if wide:
        row |= {"entry": entry.entry_id, "budget": str(entry.budget), "optimizer": entry.optimizer}
    row["model, selection"] = ", ".join(filter(None, names))
    for measure in (m for m in MEASURES if m.name in titles):
        number, bound = standing.estimates[measure.name], _bound(standing, measure)
        ends = wide or measure.name.startswith("residual")
        row[titles[measure.name]] = _shown(number, measure.decimals, bound) if ends else fixed(number.value, 1)
    row |= {f"calls, {purpose}" if wide else "calls": _calls(*standing.calls(purpose)) for purpose in purposes}
    row["failed"] = f"{failed}/{judged + failed}" + (f", {missing} missing" if missing else "")
    return row | ({"labels in all": _short(standing.labels_in_all)} if wide else {})


def csv_text(standings: Sequence[Standing]) -> str:
    """Return the standings as CSV: a line for each entry, empty where there is no number."""
    output, rows = io.StringIO(), flat_rows(standings)
    writer = csv.DictWriter(output, list(rows[0]) if rows else ["entry_id"], lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    return output.getvalue()


def flat_rows(standings: Sequence[Standing]) -> list[dict[str, str | int | float | bool | None]]:
    """Return the standings of a track for programs: the names of the fields, one mapping for each entry."""
    return [_flat(standing, called_for(standings)) for standing in standings]


def _flat(standing: Standing, purposes: Sequence[Purpose]) -> dict[str, str | int | float | bool | None]:
    entry = standing.entry
    judged, failed, missing = standing.counts
    costs = [run.cost for run in entry.runs if run.cost]
    flat: dict[str, str | int | float | bool | None] = {
        "entry_id": entry.entry_id,
        "budget": entry.budget,
        "rank": standing.rank,
        "tied": standing.tied,
        "stage": entry.stage,
        "model": entry.model,
        "delta": entry.delta,
        "optimizer": entry.optimizer,
        "selection": entry.selection,
        "oracle": entry.oracle,
        "method": entry.method,
        "seeds": " ".join(str(run.seed) for run in entry.runs if run.seed is not None),
        "n_ok": judged,
        "n_failed": failed,
        "n_missing": missing,
        "steps_capped": standing.steps_capped,
    }
    for measure in MEASURES:
        number = standing.estimates[measure.name]
        values = {"": number.value, "_low": number.low, "_high": number.high}
        flat |= {measure.name + end: None if v is None else round(v, CSV_DECIMALS) + 0.0 for end, v in values.items()}
    for purpose in purposes:
        paid, known = (round(number, CSV_DECIMALS) for number in standing.calls(purpose))
        flat |= {f"oracle_calls_{purpose}": paid, f"cache_hits_{purpose}": known}
    flat["initial_labels"] = standing.initial_labels
    flat["labels_in_all"] = round(standing.labels_in_all, CSV_DECIMALS)
    flat["parameters"] = costs[0].parameters if costs else None
    flat["training_wall_s"] = round(sum(cost.wall_s for cost in costs) / len(costs), 3) if costs else None
    weights = weights_at_work(entry)
    for name in PretrainedWeights.model_fields:
        flat[f"weights_{name}"] = getattr(weights, name) if weights else None
    flat["weights_of"] = None if weights is None else "model" if entry.weights else "base"
    return flat
