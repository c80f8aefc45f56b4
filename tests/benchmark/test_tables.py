import csv
import io
import re
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest
from rich.console import Console
from rich.table import Table

from golfbench.benchmark.metrics import Row, summarise
from golfbench.benchmark.records import Record
from golfbench.benchmark.tables import csv_text, failure_lines, fixed, latex_table, markdown_table, rich_table

Build = Callable[..., Record]
GOLDEN = Path(__file__).with_name("tables")


def rows_of_a_grid(record: Build) -> list[Row]:
    """MMFF94, before GOLF, and after it with two selections and three seeds."""
    records = [record(stage="reference", model="mmff94", selection="none", seed=None)]
    calls = {}
    for selection in ("golf", "random"):
        for seed in range(3):
            for stage, end in (("before", -40.02), ("after", -40.07 - 0.01 * seed)):
                at = {"selection": selection, "seed": seed, "stage": stage}
                status = "step_limit" if stage == "before" else "converged"
                records.append(record(**at, status=status, n_steps=100, energy_final_hartree=end))
                gone = {"status": "diverged", "energy_final_hartree": None}
                records.append(record(**at, molecule="aspirin-1", **(gone if stage == "before" else {})))
                training = 0 if stage == "before" else 10_000 + seed
                key = (records[-1].combination, stage)
                calls[key] = {"initial": 5000, "training": training, "reference": 1200, "evaluation": 12_000}
    return summarise(records, calls)


def rows_of_long_names(record: Build) -> list[Row]:
    """Two optimizers, two oracles, models with many parameters, and a fixed model that failed everywhere."""
    records = [
        record(stage="reference", model="mmff94", selection="", seed=None, optimizer=optimizer, oracle=oracle)
        for optimizer in ("lbfgs:max_step=0.1", "rfo-internal")
        for oracle in ("gfn2-xtb", "psi4:method=hf,basis=sto-3g")
    ]
    for molecule in ("sf5-1", "sf5-2", "sf6-3", "xef2-7"):
        failed = {"status": "error", "error_type": "OracleError", "energy_final_hartree": None}
        failed |= {"error_message": f"{molecule}: UFF has no parameters for atom {molecule[-1]}"}
        records.append(record(stage="reference", model="uff", selection="", seed=None, molecule=molecule, **failed))
    for model in ("painn:preset=small,features=64", "mace:preset=small,channels=32,correlation=3,max_ell=2"):
        for selection in ("golf:patience=5", "random"):
            for seed in range(2):
                end = -40.05 - 0.01 * seed
                records.append(record(model=model, selection=selection, seed=seed, energy_final_hartree=end))
    return summarise(records)


def rendered(table: Table) -> str:
    output = io.StringIO()
    Console(file=output, width=max(200, table.width), color_system=None).print(table)
    return "".join(line.rstrip() + "\n" for line in output.getvalue().splitlines())


@pytest.mark.parametrize(
    ("value", "text"), [(None, "–"), (-0.04, "0.0"), (99.96, "100.0"), (120.0, "120.0"), (-3.25, "-3.2")]
)
def test_fixed(value: float | None, text: str) -> None:
    assert fixed(value, 1) == text


@pytest.mark.parametrize(("width", "wide"), [(80, False), (100, False), (140, False), (140, True)])
@pytest.mark.parametrize("rows", [rows_of_a_grid, rows_of_long_names])
def test_terminal_tables_are_the_golden_ones(
    record: Build, rows: Callable[..., list[Row]], width: int, wide: bool
) -> None:
    """The files are what a person has looked at; after a change, look at them again and write them anew."""
    found = rendered(rich_table(rows(record), width, wide))
    assert found == (GOLDEN / f"{rows.__name__}-{width}{'-wide' if wide else ''}.txt").read_text(encoding="utf-8")


@pytest.mark.parametrize("wide", [False, True])
@pytest.mark.parametrize("width", [40, 80, 100, 140])
def test_no_name_is_lost_or_cut_at_any_width(record: Build, width: int, wide: bool) -> None:
    rows = rows_of_long_names(record)
    table = rich_table(rows, width, wide)
    text = rendered(table)
    assert wide or width < 80 or max(map(len, text.splitlines())) <= width
    assert "…" not in text
    names = table.columns[0].max_width
    printed = re.sub(r"\s", "", "".join(line[:names] for line in text.splitlines()))
    for row in rows:
        for name in (row.model, row.stage, row.selection, row.optimizer, row.oracle):
            assert name in printed


def test_numbers_without_room_are_broken_into_lines_and_never_cut(record: Build) -> None:
    """Energies gone wrong by a unit, a failure, many calls, and a long name: the widest table there is."""
    name = {"model": "net:file=a-very-long-name-of-a-file.safetensors"}
    far = {**name, "energy_initial_hartree": 200.0}
    ends = [record(**far, molecule=f"m-{k}", energy_final_hartree=end) for k, end in enumerate((-4.0, 130.0))]
    lost = record(**far, molecule="m-9", status="error", error_type="OracleError", energy_final_hartree=None)
    key = (lost.combination, lost.stage)
    rows = summarise([*ends, lost], {key: {"training": 123_456}}, {key: {"training": 654_321}})
    interval = (-12345.67, 123456.78)
    table = rich_table(rows, 80, ends=lambda line: interval)
    text = rendered(table)
    assert max(map(len, text.splitlines())) <= 80
    words = set(text.split())
    row = rows[0]
    assert {f"{row.residual_kcal_mol_mean:.2f}", f"({row.residual_kcal_mol_mean_all:.2f})"} <= words
    assert {"[-12345.67,", "123456.78]", "123456", "+654321", f"{row.residual_kcal_mol_std:.2f}"} <= words
    assert "[95" in words
    assert name["model"] in re.sub(r"\s", "", "".join(line[: table.columns[0].max_width] for line in text.splitlines()))


def test_a_table_without_intervals_has_no_heading_for_them(record: Build) -> None:
    rows = rows_of_a_grid(record)
    assert "95" not in rendered(rich_table(rows, 80, ends=lambda line: None)).partition("───")[0]


def test_a_row_in_which_all_failed_shows_no_number_and_the_reason(record: Build) -> None:
    failed = {"status": "error", "error_type": "OracleError", "energy_final_hartree": None, "model": "uff"}
    records = [
        record(**failed, molecule=f"sf5-{k}", error_message=f"sf5-{k}: no parameters for S_{k}") for k in range(4)
    ]
    records.append(record(**failed | {"error_type": "EngineError"}, molecule="c", error_message="killed"))
    (row,) = rows = summarise(records)
    numbers = (row.residual_kcal_mol_mean, row.residual_kcal_mol_mean_all, row.pct_mean_all, row.divergence_pct)
    assert (*numbers, row.success_pct, row.cov_pct) == (None,) * 6
    assert (row.n, row.n_failed) == (5, 5)
    assert "| – (–) | – (–) | – | – | 5 | 5 | 0 |" in markdown_table(rows)
    (line,) = failure_lines(rows)
    assert line == (
        "Failed: 5 of 5 molecules of uff (after golf): 4 error: OracleError: no parameters for S_0 (sf5-0, sf5-1,"
        " sf5-2, ...); 1 error: EngineError: killed (c)."
    )
    groups = row.model_dump(mode="json")["failures"]
    assert [(g["status"], g["count"], g["error_type"]) for g in groups] == [
        ("error", 4, "OracleError"),
        ("error", 1, "EngineError"),
    ]


def test_diverged_and_failed_are_told_apart(record: Build) -> None:
    gone = record(molecule="b", status="diverged", energy_final_hartree=None)
    lost = record(molecule="c", status="oracle_failed", error_message="SCF did not converge")
    cut = record(molecule="d", status="interrupted", error_type=None)
    unstarted = record(molecule="e", status="skipped", error_type=None, energy_initial_hartree=None)
    (row,) = rows = summarise([record(), gone, lost, cut, unstarted])
    assert (row.divergence_pct, row.n_failed, row.success_pct) == (20.0, 3, 0.0)
    # 0.01 Hartree above the minimum, and three that count with their start, 0.1 above it; the start of e is unknown
    assert row.residual_kcal_mol_mean_all == pytest.approx(0.31 / 4 * 627.5095, rel=1e-6)
    (line,) = failure_lines(rows)
    assert "1 oracle_failed: OracleError: SCF did not converge (c)" in line
    assert "1 interrupted: stopped before its walk ended (d)" in line
    assert "1 skipped: its start has no energy under GFN2-xTB (e)" in line


def test_rows_without_a_failure_have_no_such_column_or_line(record: Build) -> None:
    rows = summarise([record(), record(molecule="b", status="diverged", energy_final_hartree=None)])
    assert failure_lines(rows) == []
    assert rows[0].failures == ()
    assert "Failed" not in markdown_table(rows)


def test_failures_in_a_table_of_markdown_are_no_markup(record: Build) -> None:
    failed = {"status": "error", "error_type": "OracleError", "energy_final_hartree": None}
    table = markdown_table(summarise([record(**failed, error_message="[x](y) <b>")]))
    assert r"\[x\](y) \<b\>" in table


def test_names_are_not_markup(record: Build) -> None:
    assert "[red]net" in rendered(rich_table(summarise([record(model="[red]net")])))


def test_markdown(record: Build) -> None:
    lines = markdown_table(rows_of_a_grid(record)).splitlines()
    assert lines[0].startswith(
        "| Model | Stage, selection, seed | Residual, kcal/mol (all) | pct, % (all) | Success, % |"
    )
    cells = [[cell.strip() for cell in line.strip("|").split("|")] for line in lines[2:] if line.startswith("|")]
    assert {len(row) for row in cells} == {8}
    assert len(cells) == 1 + 2 * (3 + 1) + 2 * (3 + 1)
    reference, before, aggregated = cells[0], cells[1], cells[-1]
    # the end point lies 0.01 Hartree above the minimum, 6.275 kcal/mol; one molecule has no spread
    assert reference == ["mmff94", "reference none", "6.28 ± 0.00 (6.28)", "90.0 ± 0.0 (90.0)", "0.0", "0.0", "1", "0"]
    assert before[:4] == ["painn:preset=small", "before golf, seed 0", "50.20 ± 0.00 (56.48)", "20.0 ± 0.0 (10.0)"]
    assert before[4:6] == ["0.0", "50.0"]
    # seeds have means of (70, 80, 90 and 90) / 2: 80, 85, 90
    assert aggregated[1] == "after random, mean of 3 seeds"
    assert aggregated[3] == "85.0 ± 5.0 (85.0)"
    assert aggregated[-1] == "10001.0"
    assert lines[-1].startswith("Energies under GFN2-xTB; optimizer lbfgs; oracle gfn2-xtb")
    assert "below 1 kcal/mol" in lines[-1]


def test_markdown_with_all_columns_adds_cost_and_geometry(record: Build) -> None:
    rows = rows_of_a_grid(record)
    head, _, *body = markdown_table(rows, wide=True).splitlines()
    assert head.startswith(markdown_table(rows).splitlines()[0])
    for title in ("Steps", "Oracle calls, evaluation", "ms per force call", "COV, %", "MAT, Å", "Converged, %"):
        assert title in head
    assert "≥100.0" in body[1]
    assert "MAT: mean distance (RMSD)" in body[-1]


def test_number_that_some_seeds_lack(record: Build) -> None:
    rows = summarise([record(seed=0), record(seed=1, status="diverged", energy_final_hartree=None)])
    table = markdown_table(rows)
    assert "– (0.0)" in table
    assert "90.0 [1/2] (45.0)" in table


def test_starts_at_the_minimum_are_shown(record: Build) -> None:
    still = record(energy_final_hartree=-40.0, energy_reference_hartree=-40.0)
    table = markdown_table(summarise([still, record(molecule="b", energy_reference_hartree=None)]))
    assert "| 0.00 ± 0.00 (0.00) | – (–) | 50.0 | 0.0 | 2 (1) | 0 |" in table
    assert "starts that are the minimum already" in table
    assert "Without a start or reference energy: up to 1 molecules" in table


def test_names_in_which_all_lines_agree_move_to_the_notes(record: Build) -> None:
    table = markdown_table(summarise([record()]), "druglike-mini")
    assert table.startswith("| Model | Stage, selection | Residual, kcal/mol (all) |")
    assert "Dataset druglike-mini; energies under GFN2-xTB; optimizer lbfgs; oracle gfn2-xtb; seed 0. " in table
    both = markdown_table(summarise([record(), record(optimizer="gradient-descent")]))
    assert "| Stage, selection, optimizer |" in both
    assert "| after golf, gradient-descent |" in both


def test_pipe_in_a_name_does_not_break_markdown(record: Build) -> None:
    assert "a\\|b" in markdown_table(summarise([record(model="a|b")]))


def test_csv_has_full_precision_and_every_field(record: Build) -> None:
    rows = rows_of_a_grid(record)
    parsed = list(csv.DictReader(io.StringIO(csv_text(rows))))
    assert len(parsed) == len(rows)
    assert float(parsed[1]["residual_kcal_mol_mean_all"]) == rows[1].residual_kcal_mol_mean_all
    assert parsed[1]["mat_angstrom"] == ""
    assert parsed[0]["seed"] == ""
    assert parsed[-1]["oracle_calls_training"] == "10002"
    assert (parsed[1]["statuses_diverged"], parsed[1]["statuses_skipped"]) == ("1", "0")


def test_calls_of_a_base_have_a_column_only_where_there_are_any(record: Build) -> None:
    records = [record(model=model) for model in ("painn", "mace")]
    key = records[0].combination, "after"
    for found in ({"calls": {key: {"base": 41, "evaluation": 1}}}, {"cache_hits": {key: {"base": 41}}}):
        rows = summarise(records, **found)
        assert "Calls:\nbase" in {str(column.header) for column in rich_table(rows, wide=True).columns}
        header, _, mace, painn = markdown_table(rows, wide=True).splitlines()[:4]
        place = header.split(" | ").index("Oracle calls, base")
        assert painn.split(" | ")[place] in ("41", "0 +41")
        assert mace.split(" | ")[place] == "0"
        assert r"Oracle calls,\\base" in latex_table(rows, wide=True)
        (line,) = [line for line in csv.DictReader(io.StringIO(csv_text(rows))) if line["model"] == "painn"]
        assert int(line["oracle_calls_base"]) + int(line["cache_hits_base"]) == 41
    plain = summarise(records, {key: {"evaluation": 1}})
    assert all("base" not in text for text in (markdown_table(plain, wide=True), latex_table(plain), csv_text(plain)))
    assert not any("base" in str(column.header) for column in rich_table(plain).columns)


def test_empty_tables() -> None:
    assert rich_table([]).row_count == 0
    assert markdown_table([]).startswith("| Model |")
    assert csv_text([]).count("\n") == 1


def latex_rows(text: str) -> list[list[str]]:
    """Return the cells of the body, with the lines of a cell joined by a blank."""
    body = text.split("\\midrule\n")[1].split("\\bottomrule")[0]
    plain = re.sub(r"\\begin\{tabular\}\[t\]\{@\{\}.@\{\}\}(.*?)\\end\{tabular\}", lambda m: m[1], body)
    rows = [line.removesuffix(" \\\\").replace(r"\\", " ") for line in plain.splitlines()]
    return [[cell.strip() for cell in re.split(r"(?<!\\)&", row)] for row in rows]


def test_latex_has_the_rows_of_markdown_in_as_many_columns_as_it_says(record: Build) -> None:
    rows = rows_of_a_grid(record)
    text = latex_table(rows, "druglike_mini")
    aligned = re.search(r"\\begin\{tabular\}\{([lr]+)\}", text)[1]
    cells = latex_rows(text)
    assert aligned == "llrrrrrr"
    assert {len(line) for line in cells} == {len(aligned)}
    assert len(cells) == 1 + 2 * (3 + 1) + 2 * (3 + 1)
    names = ["painn:preset=small", "before golf, seed 0"]
    assert cells[1] == [*names, r"50.20 $\pm$ 0.00 (56.48)", r"20.0 $\pm$ 0.0 (10.0)", "0.0", "50.0", "2", "0"]
    assert cells[-1][1] == "after random, mean of 3 seeds"
    caption = re.search(r"\\caption\{(.*)\}\\medskip", text)[1]
    assert caption.startswith(r"Dataset druglike\_mini; energies under GFN2-xTB; optimizer lbfgs")
    assert r"$\geq$: some molecules were stopped before they converged." in latex_table(rows, wide=True)
    assert [text.count(rule) for rule in (r"\toprule", r"\midrule", r"\bottomrule")] == [1, 1, 1]


def test_latex_prints_what_a_person_typed(record: Build) -> None:
    (row,) = latex_rows(latex_table(summarise([record(model="a_b&c%d$e#f{g}~h^i\\j--k[l]αÅ")])))
    assert row[0] == (
        r"a\_b\&c\%d\$e\#f\{g\}\textasciitilde{}h\textasciicircum{}i\textbackslash{}j-{}-k{[}l]{[}U+03B1]\AA{}"
    )


@pytest.mark.skipif(shutil.which("pdflatex") is None, reason="no LaTeX here")
def test_latex_compiles_with_every_character_of_the_keyboard(record: Build, tmp_path: Path) -> None:
    keyboard = "".join(map(chr, range(33, 127))) + "ßéÅα±≥–" + "--"
    table = latex_table(summarise([record(), record(model=keyboard)]), keyboard)
    page = "\\documentclass{article}\\usepackage{booktabs,graphicx}\\begin{document}\n%s\\end{document}\n"
    (tmp_path / "page.tex").write_text(page % table)
    command = ["pdflatex", "-interaction=nonstopmode", "-halt-on-error", "page.tex"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, errors="replace")
    assert done.returncode == 0, done.stdout[-800:]
    assert (tmp_path / "page.pdf").stat().st_size > 5000
