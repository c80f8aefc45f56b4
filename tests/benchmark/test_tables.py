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
from golfbench.benchmark.tables import csv_text, fixed, latex_table, markdown_table, rich_table

Build = Callable[..., Record]


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


def rendered(table: Table, width: int = 120) -> str:
    output = io.StringIO()
    Console(file=output, width=width, color_system=None).print(table)
    return output.getvalue()


@pytest.mark.parametrize(
    ("value", "text"), [(None, "–"), (-0.04, "0.0"), (99.96, "100.0"), (120.0, "120.0"), (-3.25, "-3.2")]
)
def test_fixed(value: float | None, text: str) -> None:
    assert fixed(value, 1) == text


def test_terminal_table_fits_and_breaks_no_number(record: Build) -> None:
    rows = [row.model_copy(update={"model": "nequip:layers=4,features=64"}) for row in rows_of_a_grid(record)]
    text = rendered(rich_table(rows, "druglike-mini"))
    assert max(map(len, text.splitlines())) <= 120
    assert "…" not in text
    for number in ("≥100.0", "10000", "10001.0", "12000", "50.20 ± 0.00", "80.0 ± 10.0", "(85.0 ± 5.0)"):
        assert number in text
    assert "mean of" in text
    assert "3 seeds" in text
    assert "features=64" in text
    assert "Dataset druglike-mini; energies under GFN2-xTB; optimizer lbfgs; oracle gfn2-xtb" in text
    assert "Optimizer" not in text


def test_names_are_not_markup(record: Build) -> None:
    assert "[red]net" in rendered(rich_table(summarise([record(model="[red]net")])))


def test_markdown(record: Build) -> None:
    lines = markdown_table(rows_of_a_grid(record)).splitlines()
    assert lines[0].startswith("| Stage | Model | Selection | Seed | pct, % (all) | Residual, kcal/mol (all) |")
    cells = [[cell.strip() for cell in line.strip("|").split("|")] for line in lines[2:] if line.startswith("|")]
    assert len({len(row) for row in cells}) == 1
    assert len(cells) == 1 + 2 * (3 + 1) + 2 * (3 + 1)
    reference, before, aggregated = cells[0], cells[1], cells[-1]
    assert reference[:5] == ["reference", "mmff94", "none", "–", "90.0 ± 0.0 (90.0)"]
    assert before[:5] == ["before", "painn:preset=small", "golf", "0", "20.0 ± 0.0 (10.0)"]
    assert before[5:8] == ["50.20 (56.48)", "0.0 (0.0)", "50.0"]
    # seeds have means of (70, 80, 90 and 90) / 2: 80, 85, 90
    assert aggregated[2:5] == ["random", "mean of 3 seeds", "85.0 ± 5.0 (85.0 ± 5.0)"]
    assert "10001.0" in aggregated
    assert "≥100.0" in before
    assert lines[-1].startswith("Energies under GFN2-xTB; optimizer lbfgs; oracle gfn2-xtb")
    assert "below 1 kcal/mol" in lines[-1]


def test_number_that_some_seeds_lack(record: Build) -> None:
    rows = summarise([record(seed=0), record(seed=1, status="diverged", energy_final_hartree=None)])
    table = markdown_table(rows)
    assert "– (0.0)" in table
    assert "90.0 [1/2] (45.0 ± 63.6)" in table


def test_starts_at_the_minimum_are_shown(record: Build) -> None:
    still = record(energy_final_hartree=-40.0, energy_reference_hartree=-40.0)
    table = markdown_table(summarise([still, record(molecule="b", energy_reference_hartree=None)]))
    assert "| – (–) | 0.00 (0.00) | 50.0 (50.0) | 0.0 | 2 (1) |" in table
    assert "starts that are the minimum already" in table
    assert "Without a start or reference energy: up to 1 molecules" in table


def test_constant_columns_move_to_the_caption(record: Build) -> None:
    table = markdown_table(summarise([record()]), "druglike-mini")
    assert "| Stage | Model | pct, % (all) |" in table
    assert "optimizer lbfgs; selection golf; oracle gfn2-xtb; seed 0. " in table
    assert "Optimizer" in markdown_table(summarise([record(), record(optimizer="gradient-descent")]))


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
        assert "Calls:\nref.\neval.\nbase" in {str(column.header) for column in rich_table(rows).columns}
        header, _, mace, painn = markdown_table(rows).splitlines()[:4]
        place = header.split(" | ").index("Oracle calls, base")
        assert painn.split(" | ")[place] in ("41", "0 +41")
        assert mace.split(" | ")[place] == "0"
        assert r"Oracle calls,\\base" in latex_table(rows)
        (line,) = [line for line in csv.DictReader(io.StringIO(csv_text(rows))) if line["model"] == "painn"]
        assert int(line["oracle_calls_base"]) + int(line["cache_hits_base"]) == 41
    plain = summarise(records, {key: {"evaluation": 1}})
    assert all("base" not in text for text in (markdown_table(plain), latex_table(plain), csv_text(plain)))
    assert not any("base" in str(column.header) for column in rich_table(plain).columns)


def test_empty_tables() -> None:
    assert rich_table([]).row_count == 0
    assert markdown_table([]).startswith("| Stage |")
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
    assert aligned == "llllrrrrrrrrrrr"
    assert {len(line) for line in cells} == {len(aligned)}
    assert len(cells) == 1 + 2 * (3 + 1) + 2 * (3 + 1)
    assert cells[1][:6] == ["before", "painn:preset=small", "golf", "0", r"20.0 $\pm$ 0.0 (10.0)", "50.20 (56.48)"]
    assert cells[1][8:10] == ["2", r"$\geq$100.0"]
    assert cells[-1][3] == "mean of 3 seeds"
    caption = re.search(r"\\caption\{(.*)\}\\medskip", text)[1]
    assert caption.startswith(r"Dataset druglike\_mini; energies under GFN2-xTB; optimizer lbfgs")
    assert r"$\geq$: some molecules were stopped before they converged." in caption
    assert [text.count(rule) for rule in (r"\toprule", r"\midrule", r"\bottomrule")] == [1, 1, 1]


def test_latex_prints_what_a_person_typed(record: Build) -> None:
    (row,) = latex_rows(latex_table(summarise([record(model="a_b&c%d$e#f{g}~h^i\\j--k[l]αÅ")])))
    assert row[1] == (
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
