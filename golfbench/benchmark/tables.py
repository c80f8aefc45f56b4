"""Tables of rows: for the terminal, Markdown, LaTeX and programs. Every number is formatted here and nowhere else."""

from __future__ import annotations

import csv
import io
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from rich import box
from rich.table import Table
from rich.text import Text

from golfbench.benchmark.metrics import SUCCESS_KCAL_MOL, Row, SeedMean, seed_means
from golfbench.benchmark.records import Status
from golfbench.oracles.ledger import PURPOSES, shown_purposes

MISSING = "–"

Line = Row | SeedMean


@dataclass(frozen=True, slots=True)
class Column:
    """One column. A line end in the header or in a cell is where the terminal breaks it; Markdown has a space there.

    Attributes:
        header: Its title.
        cell: What it shows of a line.
        text: Words rather than numbers: aligned to the left, and made narrow when there is little room.
        constant: What the caption calls it; the column moves there when all lines agree. Empty: it always stays.
        optional: It is left out when no line has it, or all have nothing of it.
        only: The kinds of table that have it, of ``terminal``, ``markdown`` and ``latex``. Empty: all.
    """

    header: str
    cell: Callable[[Line], str]
    text: bool = False
    constant: str = ""
    optional: bool = False
    only: tuple[str, ...] = ()


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


def rich_table(rows: Sequence[Row], dataset: str = "") -> Table:
    """Return a table for the terminal; it fits 120 columns, with the second number of each pair on a second line.

    Args:
        rows: From ``metrics.summarise``.
        dataset: Named in the caption.
    """
    lines = _lines(rows)
    columns, dropped = _columns(lines, "terminal")
    table = Table(box=box.SIMPLE_HEAD, padding=(0, 1, 0, 0), pad_edge=False, caption_justify="left")
    table.caption = Text(" ".join(_caption(rows, dropped, dataset)))
    for column in columns:
        justify: Literal["left", "right"] = "left" if column.text else "right"
        table.add_column(column.header, justify=justify, overflow="fold", no_wrap=not column.text)
    for line in lines:
        style = "bold" if isinstance(line, SeedMean) else ""
        table.add_row(*(Text(_broken(column, line)) for column in columns), style=style)
    return table


def markdown_table(rows: Sequence[Row], dataset: str = "") -> str:
    """Return a Markdown table with COV, MAT, topology and convergence added, and the caption below it."""
    lines = _lines(rows)
    columns, dropped = _columns(lines, "markdown")
    cells = [[column.cell(line).replace("|", "\\|") for column in columns] for line in lines]
    rule = [":--" if column.text else "--:" for column in columns]
    table = [[column.header for column in columns], rule, *cells]
    body = "\n".join("| " + " | ".join(line).replace("\n", " ") + " |" for line in table)
    return f"{body}\n\n{' '.join(_caption(rows, dropped, dataset))}\n"


def latex_table(rows: Sequence[Row], dataset: str = "") -> str:
    """Return a LaTeX table for a paper: the packages booktabs and graphicx, shrunk to the line where it is wider.

    It has the columns of Markdown less those that a paper has a table of its own for, and the same caption.
    """
    lines = _lines(rows)
    columns, dropped = _columns(lines, "latex")
    cells = [" & ".join(_latex_cell(column.cell(line), column, "t") for column in columns) + r" \\" for line in lines]
    head = " & ".join(_latex_cell(column.header, column, "b") for column in columns) + r" \\"
    caption = escaped_latex(" ".join(_caption(rows, dropped, dataset)))
    aligned = "".join("l" if column.text else "r" for column in columns)
    parts = [
        "% needs \\usepackage{booktabs,graphicx}",
        r"\begin{table}",
        r"\centering",
        rf"\caption{{{caption}}}\medskip",
        r"\resizebox{\ifdim\width>\linewidth\linewidth\else\width\fi}{!}{%",
        rf"\begin{{tabular}}{{{aligned}}}",
        *(r"\toprule", head, r"\midrule", *cells, r"\bottomrule"),
        r"\end{tabular}}",
        r"\end{table}",
    ]
    return "\n".join(parts) + "\n"


def escaped_latex(text: str) -> str:
    """Return text that LaTeX prints as it is; characters beyond Latin-1 that it has no name for become ``[U+03B1]``."""
    translated = text.translate(LATEX).replace("--", "-{}-")  # two hyphens would become a dash
    return "".join(c if ord(c) < 256 else f"{{[}}U+{ord(c):04X}]" for c in translated)


def _latex_cell(text: str, column: Column, place: str) -> str:
    lines = [escaped_latex(line) for line in text.split("\n")]
    if len(lines) == 1:
        return lines[0]
    return (
        rf"\begin{{tabular}}[{place}]{{@{{}}{'l' if column.text else 'r'}@{{}}}}" + r"\\".join(lines) + r"\end{tabular}"
    )


def csv_text(rows: Iterable[Row]) -> str:
    """Return the rows as CSV for programs: the names of the fields, full precision, empty where there is no number.

    There are no rows for means over seeds; they are the reader's to take.
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
        if isinstance(value, dict):
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


def _broken(column: Column, line: Line) -> str:
    """Return the cell for the terminal: ``painn:preset=small`` breaks after the colon, not anywhere."""
    cell = column.cell(line)
    return cell.replace(":", ":\n").replace(",", ",\n") if column.text else cell


def _columns(lines: Sequence[Line], kind: str) -> tuple[list[Column], list[str]]:
    """Return the columns to show, and the caption's words for those in which all lines agree."""
    shown, dropped = [], []
    based = any(_paid_and_known(line, "base") != "0" for line in lines)
    for column in (CALLS_AND_BASE if based and column is CALLS else column for column in COLUMNS):
        if column.only and kind not in column.only:
            continue
        cells = {column.cell(line) for line in lines}
        # A fixed model has no seed: that alone is no reason for a column.
        cells -= {MISSING} if column.constant == "seed" else set()
        if column.optional and cells <= {MISSING, "0"}:
            continue
        if column.constant and len(cells) <= 1:
            dropped += [f"{column.constant} {cell}" for cell in cells]
        else:
            shown.append(column)
    return shown, dropped


def _caption(rows: Sequence[Row], dropped: Sequence[str], dataset: str) -> list[str]:
    methods = sorted({row.method for row in rows})
    facts = [f"Dataset {dataset}"] if dataset else []
    facts += [f"energies under {', '.join(methods)}"] if methods else []
    heading = "; ".join([*facts, *dropped])
    sentences = [heading[0].upper() + heading[1:] + "."] if heading else []
    sentences += [
        "pct and residual energy: mean over the molecules that finished (did not diverge or fail), pct ± standard"
        " deviation over them; in brackets over all molecules, those that did not finish at their start.",
        f"Success: residual below {SUCCESS_KCAL_MOL:g} kcal/mol, of all molecules; in brackets of those that finished."
        " Div.: the end point lies above the start, or the oracle failed there.",
    ]
    sentences += [note for note, applies in _notes(rows).items() if applies]
    return sentences + [f"{row.combination}: {row.note}." for row in rows if row.note]


def _notes(rows: Sequence[Row]) -> dict[str, bool]:
    """Return the sentences that only some tables need."""
    means = seed_means(rows)
    lacking = max((row.n_without_reference for row in rows), default=0)
    partial = any(None in (row.pct_mean, row.pct_mean_all) for mean in means for row in mean.rows)
    return {
        "In means of seeds, ±: sample standard deviation over seeds.": bool(means),
        "[1/3]: only 1 of 3 seeds has the number.": partial,
        "Calls, +: labels that were known already and cost no call.": any(_hits(row) for row in rows),
        "≥: some molecules were stopped before they converged.": any(row.steps_capped for row in rows),
        "n, in brackets: starts that are the minimum already and have no pct.": any(row.n_at_minimum for row in rows),
        f"Without a start or reference energy: up to {lacking} molecules of a row.": lacking > 0,
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


def _pct(line: Line) -> str:
    mean = _number(line, "pct_mean", 1)
    if isinstance(line, Row) and line.pct_std is not None:
        mean += f" ± {fixed(line.pct_std, 1)}"
    return f"{mean}\n({_number(line, 'pct_mean_all', 1)})"


def _pair(field: str, other: str, decimals: int) -> Callable[[Line], str]:
    return lambda line: f"{_number(line, field, decimals)}\n({_number(line, other, decimals)})"


def _plain(field: str, decimals: int) -> Callable[[Line], str]:
    return lambda line: _number(line, field, decimals, spaced="\n")


def _named(field: str) -> Callable[[Line], str]:
    return lambda line: str(getattr(_row(line), field))


def _stage_and_selection(line: Line) -> str:
    return f"{_row(line).stage}\n{_row(line).selection}"


def _seed(line: Line) -> str:
    if isinstance(line, SeedMean):
        return f"mean of\n{len(line.rows)} seeds"
    return MISSING if line.seed is None else str(line.seed)


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


def _parameters(line: Line) -> str:
    count = _row(line).parameters
    return MISSING if count is None else str(count)


def _cost(line: Line) -> str:
    count = _row(line).parameters
    size = MISSING if count is None else f"{count / 1000:.0f}k"
    times = (_number(line, field, 1).split(" ")[0] for field in ("ms_per_force_call", "ms_per_training_step"))
    return "\n".join((size, *times))


TERMINAL, MARKDOWN, WRITTEN = ("terminal",), ("markdown",), ("markdown", "latex")
CALLS = Column("Calls:\nref.\neval.", _calls("reference", "evaluation"), only=TERMINAL)
#: The terminal has no room for another column.
CALLS_AND_BASE = Column("Calls:\nref.\neval.\nbase", _calls("reference", "evaluation", "base"), only=TERMINAL)
COLUMNS: tuple[Column, ...] = (
    Column("Stage,\nselection", _stage_and_selection, text=True, only=TERMINAL),
    Column("Stage", _named("stage"), text=True, only=WRITTEN),
    Column("Model", _named("model"), text=True),
    Column("Optimizer", _named("optimizer"), text=True, constant="optimizer"),
    Column("Selection", _named("selection"), text=True, constant="selection", only=WRITTEN),
    Column("Oracle", _named("oracle"), text=True, constant="oracle"),
    Column("Seed", _seed, text=True, constant="seed"),
    Column("pct, %\n(all)", _pct),
    Column("Residual,\nkcal/mol\n(all)", _pair("residual_kcal_mol_mean", "residual_kcal_mol_mean_all", 2)),
    Column("Success, %\n(finished)", _pair("success_pct", "success_pct_of_finished", 1)),
    Column("Div.,\n%", _plain("divergence_pct", 1)),
    Column("n", _n),
    Column("Param.\nms/call\nms/step", _cost, only=TERMINAL),
    Column("Steps", _steps),
    Column("Calls:\ninitial\ntrain.", _calls("initial", "training"), only=TERMINAL),
    CALLS,
    *(Column(f"Oracle calls,\n{p}", _calls(p), optional=p == "base", only=WRITTEN) for p in PURPOSES),
    Column("Parameters", _parameters, optional=True, only=MARKDOWN),
    Column("ms per\nforce call", _plain("ms_per_force_call", 1), only=WRITTEN),
    Column("ms per training step", _plain("ms_per_training_step", 1), optional=True, only=MARKDOWN),
    Column("Topology changed, %", _plain("topology_changed_pct", 1), only=MARKDOWN),
    Column("Converged, %", _plain("convergence_pct", 1), only=MARKDOWN),
    Column("COV, %", _plain("cov_pct", 1), only=MARKDOWN),
    Column("MAT, Å", _plain("mat_angstrom", 2), only=MARKDOWN),
)
