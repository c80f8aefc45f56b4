"""Tables of rows: for the terminal, Markdown, LaTeX and programs. Every number is formatted here and nowhere else.

A table has names, then a few numbers, and with ``wide`` what they cost and the rest. What is the same in all lines
stands once, in the notes below the table.
"""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

from rich import box
from rich.table import Table
from rich.text import Text

from golfbench.benchmark.metrics import (
    COVERAGE_ANGSTROM,
    SUCCESS_KCAL_MOL,
    Row,
    SeedMean,
    seed_means,
)
from golfbench.benchmark.records import Status
from golfbench.oracles.ledger import OF_OTHER_ENGINES, PURPOSES, shown_purposes

MISSING = "–"
#: Between two columns of the terminal.
GAP = 2
#: The column of names becomes no narrower: the table rather becomes wider than the terminal.
LEAST_NAMES = 14

Line = Row | SeedMean
#: Says the 95 % interval of a line's mean residual over all molecules, kcal/mol; ``None`` where it has none.
Ends = Callable[[Line], tuple[float, float] | None]


@dataclass(frozen=True, slots=True)
class Column:
    """One column. A line end in the header or in a cell is where the terminal breaks it; Markdown has a space there.

    Attributes:
        header: Its title.
        cell: What it shows of a line.
        constant: What the notes call it when all lines agree; only names have it. Empty: it is always shown.
        optional: It is left out when no line has it, or all have nothing of it.
        wide: It is shown only when all columns are asked for.
        only: The kinds of table that have it, of ``terminal`` and ``written``. Empty: both.
    """

    header: str
    cell: Callable[[Line], str]
    constant: str = ""
    optional: bool = False
    wide: bool = False
    only: str = ""


#: What LaTeX reads as something else, and what its fonts do not have by that name.
LATEX = str.maketrans(
    {
        **{character: f"\\{character}" for character in "&%$#_{}"},
        "\\": r"\textbackslash{}",
        "~": r"\textasciitilde{}",
        "^": r"\textasciicircum{}",
        "<": r"\textless{}",
        ">": r"\textgreater{}",
        "|": r"\textbar{}",
        '"': "{''}",
        "'": r"\textquotesingle{}",
        "`": r"\textasciigrave{}",
        "[": "{[}",  # behind a line end it would be a length
        "\u00b1": r"$\pm$",
        "\u2265": r"$\geq$",
        "\u2013": r"\textendash{}",
        "\u00c5": r"\AA{}",
    }
)


def rich_table(rows: Sequence[Row], width: int = 80, wide: bool = False, ends: Ends | None = None) -> Table:
    """Return a table for the terminal; names and numbers are broken into lines, and never cut.

    Args:
        rows: From ``metrics.summarise``.
        width: Columns of the terminal. A table that needs more has its own ``width``.
        wide: With all columns.
        ends: Intervals of the mean residuals.
    """
    lines = _lines(rows)
    numbers = _columns(lines, "terminal", wide)
    if ends is not None and any(map(ends, lines)):
        numbers[0] = _with_interval(numbers[0], ends)
    model, varying = _names(lines)
    cells = [[column.header, *(column.cell(line) for line in lines)] for column in numbers]
    if _width(cells) + LEAST_NAMES > width:
        cells = [list(map(_narrowed, column)) for column in cells]
    names = [(model.header, varying.header), *((model.cell(line), varying.cell(line)) for line in lines)]
    room = max(LEAST_NAMES, width - _width(cells))
    stacked = [_stacked(*name, room) for name in names]
    widths = list(map(_longest, [stacked, *cells]))

    table = Table(box=box.SIMPLE_HEAD, padding=(0, GAP - 1, 0, 0), pad_edge=False, show_edge=False)
    table.width = sum(widths) + GAP * (len(widths) - 1)
    for number, (column_cells, least) in enumerate(zip([stacked, *cells], widths, strict=True)):
        justify: Literal["left", "right"] = "right" if number else "left"
        table.add_column(column_cells[0], justify=justify, no_wrap=True, min_width=least, max_width=least)
    for number, line in enumerate(lines, start=1):
        style = "bold" if isinstance(line, SeedMean) else ""
        table.add_row(*(Text(column[number]) for column in [stacked, *cells]), style=style)
    return table


def _longest(cells: Sequence[str]) -> int:
    return max(len(part) for cell in cells for part in cell.split("\n"))


def _width(cells: Sequence[Sequence[str]]) -> int:
    """Return how wide the columns of numbers are, each with the gap before it."""
    return sum(_longest(column) + GAP for column in cells)


def _narrowed(cell: str) -> str:
    """Break the numbers of a cell into lines, for a table that is too wide for its terminal."""
    return re.sub(r" (?=±|\+)|(?<=\d,) (?=-?\d)", "\n", cell)


def _with_interval(column: Column, ends: Ends) -> Column:
    def cell(line: Line) -> str:
        found = ends(line)
        text = column.cell(line)
        return text if found is None else f"{text}\n[{fixed(found[0], 2)}, {fixed(found[1], 2)}]"

    return replace(column, header=f"{column.header}\n[95 %]", cell=cell)


def markdown_table(rows: Sequence[Row], dataset: str = "", wide: bool = False, said: Sequence[str] = ()) -> str:
    """Return a Markdown table with the notes below it: eight columns, nine where something failed, or all.

    Args:
        rows: From ``metrics.summarise``.
        dataset: Named in the notes.
        wide: With all columns.
        said: Paragraphs right below the table.
    """
    lines = _lines(rows)
    columns = [*_names(lines), *_columns(lines, "written", wide)]
    cells = [[column.cell(line).replace("|", "\\|") for column in columns] for line in lines]
    rule = [":--"] * 2 + ["--:"] * (len(columns) - 2)
    table = [[column.header for column in columns], rule, *cells]
    body = "\n".join("| " + " | ".join(line).replace("\n", " ") + " |" for line in table)
    below = [_markdown_text(line) for line in (*said, *failure_lines(rows))]
    paragraphs = [body, *below, " ".join(notes(rows, dataset, wide))]
    return "\n\n".join(paragraphs) + "\n"


def _markdown_text(text: str) -> str:
    """Return text of an error message so that it cannot be markup."""
    return re.sub(r"([\\`*_\[\]<>|#])", r"\\\1", text)


def latex_table(rows: Sequence[Row], dataset: str = "", wide: bool = False) -> str:
    """Return a LaTeX table for a paper: the packages booktabs and graphicx, shrunk to the line where it is wider.

    It has the columns of Markdown, and the notes as its caption.
    """
    lines = _lines(rows)
    names = _names(lines)
    columns = [(column, "l") for column in names] + [(column, "r") for column in _columns(lines, "written", wide)]
    cells = [" & ".join(_latex_cell(c.cell(line), aligned, "t") for c, aligned in columns) + r" \\" for line in lines]
    head = " & ".join(_latex_cell(c.header, aligned, "b") for c, aligned in columns) + r" \\"
    caption = escaped_latex(" ".join([*notes(rows, dataset, wide), *failure_lines(rows)]))
    parts = [
        "% needs \\usepackage{booktabs,graphicx}",
        r"\begin{table}",
        r"\centering",
        rf"\caption{{{caption}}}\medskip",
        r"\resizebox{\ifdim\width>\linewidth\linewidth\else\width\fi}{!}{%",
        rf"\begin{{tabular}}{{{''.join(aligned for _, aligned in columns)}}}",
        *(r"\toprule", head, r"\midrule", *cells, r"\bottomrule"),
        r"\end{tabular}}",
        r"\end{table}",
    ]
    return "\n".join(parts) + "\n"


def escaped_latex(text: str) -> str:
    """Return text that LaTeX prints as it is; characters beyond Latin-1 that it has no name for become ``[U+03B1]``."""
    translated = text.translate(LATEX).replace("--", "-{}-")  # two hyphens would become a dash
    return "".join(c if ord(c) < 256 else f"{{[}}U+{ord(c):04X}]" for c in translated)


def _latex_cell(text: str, aligned: str, place: str) -> str:
    lines = [escaped_latex(line) for line in text.split("\n")]
    if len(lines) == 1:
        return lines[0]
    return rf"\begin{{tabular}}[{place}]{{@{{}}{aligned}@{{}}}}" + r"\\".join(lines) + r"\end{tabular}"


def csv_text(rows: Iterable[Row]) -> str:
    """Return the rows as CSV for programs: the names of the fields, full precision, empty where there is no number.

    There are no rows for means over seeds; whoever needs them computes them.
    """
    output, lines = io.StringIO(), [_flat(row) for row in rows]
    purposes = shown_purposes(lambda p: sum(line[f"oracle_calls_{p}"] + line[f"cache_hits_{p}"] for line in lines))
    writer = csv.DictWriter(output, _csv_fields(purposes), lineterminator="\n", restval=0, extrasaction="ignore")
    writer.writeheader()
    writer.writerows(lines)
    return output.getvalue()


def _csv_fields(purposes: Sequence[str]) -> list[str]:
    nested = {
        "oracle_calls": purposes,
        "cache_hits": purposes,
        "statuses": [str(status) for status in Status],
    }
    fields = []
    for field in Row.model_fields:
        fields += [f"{field}_{key}" for key in nested[field]] if field in nested else [field]
    return fields


def _flat(row: Row) -> dict[str, Any]:
    flat: dict[str, Any] = {}
    for field, value in row.model_dump(mode="json").items():
        if field == "failures":
            flat[field] = "; ".join(group.line for group in row.failures)
        elif isinstance(value, dict):
            flat |= {f"{field}_{key}": count for key, count in value.items()}
        else:
            flat[field] = value
    return flat


def _lines(rows: Sequence[Row]) -> list[Line]:
    """Return the rows, with the mean over seeds after the last row of each group."""
    after = {id(mean.rows[-1]): mean for mean in seed_means(rows)}
    lines: list[Line] = []
    for row in rows:
        lines.append(row)
        if id(row) in after:
            lines.append(after[id(row)])
    return lines


def _row(line: Line) -> Row:
    return line if isinstance(line, Row) else line.rows[0]


def _folded(text: str, width: int) -> list[str]:
    """Break a name behind ``:`` and ``,``, or anywhere where that is not enough; all of it is shown."""
    lines = [""]
    for piece in re.findall(r"[^:,]+[:,]* ?|[:,]+ ?", text):
        if lines[-1] and len(lines[-1] + piece.rstrip()) > width:
            lines.append("")
        lines[-1] += piece
        while len(lines[-1].rstrip()) > width:
            at = lines[-1].rfind(" ", 1, width + 1) + 1 or width
            lines[-1:] = [lines[-1][:at], lines[-1][at:]]
    return [line.rstrip() for line in lines]


def _stacked(model: str, varying: str, width: int) -> str:
    return "\n".join([*_folded(model, width), *(f" {line}" for line in _folded(varying, width - 1))])


def _names(lines: Sequence[Line]) -> tuple[Column, Column]:
    """Return the columns of names: the model, and whatever else tells the lines apart."""
    shown = [column for column in NAMES if _constant(column, lines) is None]

    def cell(line: Line) -> str:
        return ", ".join(text for column in shown if (text := column.cell(line)) not in ("", MISSING))

    return Column("Model", _named("model")), Column(", ".join(column.header for column in shown), cell)


def _constant(column: Column, lines: Sequence[Line]) -> set[str] | None:
    """Return the cell that all lines share, if it is to be written once; ``None`` if the column is needed."""
    cells = {column.cell(line) for line in lines} - {MISSING}  # a fixed model has no seed: no reason for a column
    return cells if column.constant and len(cells) <= 1 else None


def _columns(lines: Sequence[Line], kind: str, wide: bool) -> list[Column]:
    """Return the columns of numbers."""
    return [
        column
        for column in NUMBERS
        if (wide or not column.wide)
        and column.only in ("", kind)
        and not (column.optional and {column.cell(line) for line in lines} <= {MISSING, "0"})
    ]


def failure_lines(rows: Sequence[Row]) -> list[str]:
    """Return a line for each row with failed molecules: how many, and why."""
    model, varying = _names(_lines(rows))
    return [
        f"Failed: {row.n_failed} of {row.n} molecules of {model.cell(row)} ({varying.cell(row)}): "
        + "; ".join(group.line for group in row.failures)
        + "."
        for row in rows
        if row.failures
    ]


def notes(rows: Sequence[Row], dataset: str = "", wide: bool = False) -> list[str]:
    """Return the sentences below a table: what all lines share, and what the columns are."""
    lines = _lines(rows)
    methods = sorted({row.method for row in rows})
    facts = [f"Dataset {dataset}"] if dataset else []
    facts += [f"energies under {', '.join(methods)}"] if methods else []
    facts += [
        column.constant + cell.removeprefix(column.constant)
        for column in NAMES
        for cell in _constant(column, lines) or ()
        if cell
    ]
    heading = "; ".join(facts)
    sentences = [heading[0].upper() + heading[1:] + "."] if heading else []
    sentences += [
        "Residual: energy of the end point above the reference minimum. pct: 100 % is the way from the start down to"
        " that minimum. Both: mean over the molecules that finished (did not diverge or fail) ± standard deviation over"
        " them; in brackets over all molecules, those that did not finish with their start.",
        f"Success: residual below {SUCCESS_KCAL_MOL:g} kcal/mol and bonds unchanged, of all molecules."
        " Div.: diverged, the end point lies above the start, of all molecules.",
    ]
    sentences += [note for note, applies in _notes(rows, wide).items() if applies]
    return sentences + [f"{row.combination}: {row.note}." for row in rows if row.note]


def _notes(rows: Sequence[Row], wide: bool) -> dict[str, bool]:
    """Return the sentences that only some tables need."""
    means = seed_means(rows)
    lacking = max((row.n_without_reference for row in rows), default=0)
    partial = any(None in (row.pct_mean, row.pct_mean_all) for mean in means for row in mean.rows)
    return {
        "In means of seeds, ±: sample standard deviation over seeds.": bool(means),
        "[1/3]: only 1 of 3 seeds has the number.": partial,
        "Calls, +: labels that were known already and cost no call.": any(_hits(row) for row in rows),
        "n, in brackets: starts that are the minimum already and have no pct.": any(row.n_at_minimum for row in rows),
        f"Without a start or reference energy: up to {lacking} molecules of a row.": lacking > 0,
        "≥: some molecules were stopped before they converged.": wide and any(row.steps_capped for row in rows),
        f"COV: share of the reference minima that an end point comes within {COVERAGE_ANGSTROM:g} Å of. MAT: mean"
        " distance (RMSD) from a reference minimum to the nearest end point.": wide,
    }


def _hits(row: Row) -> int:
    return sum(row.cache_hits.model_dump().values())


def fixed(value: float | None, decimals: int) -> str:
    """Return a number with so many decimals, never ``-0.0``; a dash for ``None``."""
    return MISSING if value is None else f"{round(value, decimals) + 0.0:.{decimals}f}"


def _number(line: Line, field: str, decimals: int, spaced: str = " ") -> str:
    """Return the number of a row, or mean ± sample standard deviation over seeds, and how many seeds if not all."""
    if isinstance(line, Row):
        return fixed(getattr(line, field), decimals)
    spread = line.spread(field)
    if spread is None:
        return MISSING
    text = fixed(spread.mean, decimals)
    if spread.std is not None:
        text += f"{spaced}± {fixed(spread.std, decimals)}"
    return text if spread.count == len(line.rows) else f"{text} [{spread.count}/{len(line.rows)}]"


def _with_all(field: str, spread: str, decimals: int) -> Callable[[Line], str]:
    """Return a cell: the mean over the finished with its spread, and below it the mean over all molecules."""

    def cell(line: Line) -> str:
        text = _number(line, field, decimals)
        if isinstance(line, Row) and getattr(line, spread) is not None:
            text += f" ± {fixed(getattr(line, spread), decimals)}"
        return f"{text}\n({_number(line, f'{field}_all', decimals).partition(' ± ')[0]})"

    return cell


def _plain(field: str, decimals: int) -> Callable[[Line], str]:
    return lambda line: _number(line, field, decimals, spaced="\n")


def _named(field: str) -> Callable[[Line], str]:
    return lambda line: str(getattr(_row(line), field))


def _stage_and_selection(line: Line) -> str:
    row = _row(line)
    return f"{row.stage} {row.selection}".strip() + (f", {row.budget} labels" if row.budget else "")


def _seed(line: Line) -> str:
    if isinstance(line, SeedMean):
        return f"mean of {len(line.rows)} seeds"
    return MISSING if line.seed is None else f"seed {line.seed}"


def _count(line: Line, field: str) -> str:
    """Return a count; the mean over seeds has a decimal only where the seeds differ."""
    spread = SeedMean((line,) if isinstance(line, Row) else line.rows).spread(field)
    assert spread is not None
    return fixed(spread.mean, 1 if spread.std else 0)


def _n(line: Line) -> str:
    minima = _count(line, "n_at_minimum")
    return _count(line, "n") + (f"\n({minima})" if minima != "0" else "")


def _steps(line: Line) -> str:
    rows = (line,) if isinstance(line, Row) else line.rows
    bound = "≥" if any(row.steps_capped for row in rows) else ""
    return bound + _number(line, "steps_mean", 1, spaced="\n")


def _calls(*purposes: str) -> Callable[[Line], str]:
    return lambda line: "\n".join(_paid_and_known(line, purpose) for purpose in purposes)


def _paid_and_known(line: Line, purpose: str) -> str:
    known = _count(line, f"cache_hits.{purpose}")
    return _count(line, f"oracle_calls.{purpose}") + (f" +{known}" if known != "0" else "")


def _failed(line: Line) -> str:
    count = _count(line, "n_failed")
    return MISSING if count == "0" else count


def _parameters(line: Line) -> str:
    count = _row(line).parameters
    return MISSING if count is None else str(count)


def _labels(line: Line) -> str:
    count = _row(line).labels
    return MISSING if count is None else str(count)


def _lines_of(*cells: Callable[[Line], str]) -> Callable[[Line], str]:
    """Return a cell of several numbers, one a line, without their spreads."""
    return lambda line: "\n".join(cell(line).partition("\n")[0] for cell in cells)


#: Said of a table with intervals.
INTERVAL_NOTE = "In square brackets: 95 % interval of the residual of all molecules, over compounds and seeds."
#: What tells lines apart beside the model.
NAMES: tuple[Column, ...] = (
    Column("Stage, selection", _stage_and_selection),
    Column("optimizer", _named("optimizer"), constant="optimizer "),
    Column("oracle", _named("oracle"), constant="oracle "),
    Column("seed", _seed, constant="seed "),
)
NUMBERS: tuple[Column, ...] = (
    Column("Residual,\nkcal/mol\n(all)", _with_all("residual_kcal_mol_mean", "residual_kcal_mol_std", 2)),
    Column("pct, %\n(all)", _with_all("pct_mean", "pct_std", 1)),
    Column("Success,\n%", _plain("success_pct", 1)),
    Column("Div.,\n%", _plain("divergence_pct", 1)),
    Column("Failed", _failed, optional=True),
    Column("n", _n),
    Column("Train.\ncalls", lambda line: _paid_and_known(line, "training").replace(" ", "\n")),
    Column("Labels\nin all", _labels, optional=True, wide=True),
    Column("Success of\nfinished, %", _plain("success_pct_of_finished", 1), wide=True),
    Column("Steps", _steps, wide=True),
    Column("Calls:\ninitial\nref.\neval.", _calls("initial", "reference", "evaluation"), wide=True, only="terminal"),
    *(Column(f"Calls:\n{p}", _calls(p), optional=True, wide=True, only="terminal") for p in OF_OTHER_ENGINES),
    *(
        Column(f"Oracle calls,\n{p}", _calls(p), optional=p in OF_OTHER_ENGINES, wide=True, only="written")
        for p in PURPOSES
        if p != "training"
    ),
    Column(
        "Bonds\nchanged,\nconv., %",
        _lines_of(_plain("topology_changed_pct", 1), _plain("convergence_pct", 1)),
        wide=True,
        only="terminal",
    ),
    Column("COV, %\nMAT, Å", _lines_of(_plain("cov_pct", 1), _plain("mat_angstrom", 2)), wide=True, only="terminal"),
    Column(
        "Parameters\nms/call\nms/step",
        _lines_of(_parameters, _plain("ms_per_force_call", 1), _plain("ms_per_training_step", 1)),
        wide=True,
        only="terminal",
    ),
    Column("Bonds changed, %", _plain("topology_changed_pct", 1), wide=True, only="written"),
    Column("Converged, %", _plain("convergence_pct", 1), wide=True, only="written"),
    Column("COV, %", _plain("cov_pct", 1), wide=True, only="written"),
    Column("MAT, Å", _plain("mat_angstrom", 2), wide=True, only="written"),
    Column("Parameters", _parameters, optional=True, wide=True, only="written"),
    Column("ms per\nforce call", _plain("ms_per_force_call", 1), wide=True, only="written"),
    Column("ms per training step", _plain("ms_per_training_step", 1), optional=True, wide=True, only="written"),
)
