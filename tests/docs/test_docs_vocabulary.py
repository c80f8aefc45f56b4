"""What tables, files and messages say is on the pages: columns, statuses, variables, hooks, fields, messages."""

import ast
import dataclasses
import re
from collections.abc import Iterator
from pathlib import Path

import pytest
import typer
from doc_pages import DOCS, ROOT

from golfbench import hookspecs, specs
from golfbench.benchmark import tables
from golfbench.benchmark.metrics import Row, summary
from golfbench.benchmark.records import Record, Status
from golfbench.cli.main import build_app
from golfbench.cli.minimize import LEFT_OUT, MINIMUM, RELATIVE
from golfbench.compare import report
from golfbench.errors import GolfbenchError, OracleError
from golfbench.leaderboard import measures
from golfbench.oracles.ledger import CACHE_HIT, PURPOSES
from golfbench.runs.config import RunConfig
from golfbench.units import HARTREE_TO_KCAL_MOL


def text_of(page: str) -> str:
    return (DOCS / page).read_text(encoding="utf-8")


VOCABULARY = text_of("vocabulary.md")
BOLD = set(re.findall(r"\*\*([^*]+)\*\*", VOCABULARY))
CODE = set(re.findall(r"`([^`]+)`", VOCABULARY))


def strings(node: ast.AST | None) -> list[str]:
    parts = node.elts if isinstance(node, ast.Tuple | ast.List) else []
    return [part.value for part in parts if isinstance(part, ast.Constant) and isinstance(part.value, str)]


def printed_columns() -> Iterator[tuple[str, str]]:
    """Yield the columns of every table that a verb prints, found in its source, with the file that has them."""
    for path in sorted((ROOT / "golfbench" / "cli").glob("*.py")):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            found: list[str] = []
            if isinstance(node, ast.Call) and getattr(node.func, "attr", "") == "print_table":
                found = strings(node.args[0])
            elif isinstance(node, ast.Assign) and getattr(node.targets[0], "id", "").lower().endswith("columns"):
                found = strings(node.value)
            yield from ((path.name, column) for column in found)


def run_columns() -> set[str]:
    return {" ".join(column.header.split()) for column in (*tables.NAMES, *tables.NUMBERS)} | {"Model"}


def test_each_column_of_a_runs_table_is_on_the_page() -> None:
    assert run_columns() - BOLD == set()


def test_each_column_that_a_verb_prints_is_on_the_page() -> None:
    found = {*printed_columns(), *(("minimize.py", column) for column in (MINIMUM, RELATIVE, LEFT_OUT))}
    assert len(found) > 50
    assert {(file, column) for file, column in found if column not in BOLD} == set()


def test_the_lines_of_status_are_on_the_page() -> None:
    tree = ast.parse((ROOT / "golfbench" / "cli" / "status.py").read_text(encoding="utf-8"))
    facts = next(node for node in ast.walk(tree) if isinstance(node, ast.AnnAssign) and node.target.id == "facts")
    lines = {key.value for key in facts.value.keys}
    assert len(lines) >= 9
    assert lines - BOLD == set()


def test_each_column_of_a_comparison_is_on_the_page() -> None:
    columns = (*report.COLUMNS, *report.STATUS_COLUMNS, *report.SETTING_COLUMNS, *report.ALONE_COLUMNS)
    assert set(columns) - BOLD == set()


def test_each_column_of_a_leaderboard_is_on_the_page() -> None:
    headers = set()
    for path in (ROOT / "leaderboards").glob("*/README.md"):
        for line in re.findall(r"^\| Rank .*$", path.read_text(encoding="utf-8"), flags=re.MULTILINE):
            headers |= {re.sub(r", (%|ms|Å|kcal/mol)$", "", cell.strip()) for cell in line.strip("|").split("|")}
    assert len(headers) > 20
    assert headers - BOLD == set()
    assert {measure.title for measure in measures.MEASURES} - BOLD == set()


def test_statuses_purposes_and_outcomes_are_on_the_page() -> None:
    assert {str(status) for status in Status} - CODE == set()
    assert set(PURPOSES) - CODE == set()
    assert {"ok", CACHE_HIT, *OracleError.KINDS} - CODE == set()
    for status in Status:  # and sorted as the code sorts them
        kind = "finished" if status.finished else "diverged" if status.judged else "failed"
        line = next(line for line in text_of("numbers.md").splitlines() if line.startswith(f"| **{kind}**"))
        assert f"`{status}`" in line


def test_exit_codes_are_on_the_page() -> None:
    classes, codes = [GolfbenchError], {0, 130}
    while classes:
        one = classes.pop()
        codes.add(one.exit_code)
        classes += one.__subclasses__()
    page = text_of("environment.md")
    assert {int(code) for code in re.findall(r"^\| (\d+) \|", page, flags=re.MULTILINE)} == codes


def variables() -> set[str]:
    """Return every variable that the code reads; those of tests alone are none of a reader's."""
    sources = [ROOT / "setup.sh", *(ROOT / "golfbench").rglob("*.py"), *(ROOT / "plugins").glob("*/src/**/*.py")]
    text = "\n".join(path.read_text(encoding="utf-8") for path in [*sources, *(ROOT / "datasets/src").rglob("*.py")])
    found = set(re.findall(r"\bGOLFBENCH_[A-Z0-9_]*[A-Z0-9]\b", text))
    waiting = [typer.main.get_command(build_app())]
    while waiting:
        command = waiting.pop()
        waiting += getattr(command, "commands", {}).values()
        found |= {str(parameter.envvar) for parameter in command.params if parameter.envvar}
    return found


def test_each_variable_is_on_the_page_and_none_that_nobody_reads() -> None:
    assert set(re.findall(r"GOLFBENCH_[A-Z0-9_]+", text_of("environment.md"))) == variables()


def test_each_hook_and_each_field_of_a_spec_is_on_the_page() -> None:
    page = text_of("hooks.md")
    for name in vars(hookspecs):
        if name.startswith("golfbench_"):
            assert f"### `{name}`" in page
    for kind in (specs.Spec, *specs.Spec.__subclasses__(), specs.Parameter):
        assert f"### `{kind.__name__}`" in page
        missing = [field.name for field in dataclasses.fields(kind) if f"| `{field.name}` |" not in page]
        assert missing == []


def test_each_key_of_the_configuration_and_each_field_of_a_file_is_on_a_page() -> None:
    assert [name for name in RunConfig.model_fields if f"| `{name}` |" not in text_of("configuration.md")] == []
    for kind in (Row, Record):
        assert [name for name in kind.model_fields if f"| `{name}` |" not in text_of("files.md")] == []


@pytest.fixture(scope="module")
def texts() -> list[str]:
    """Every text in the source; what is filled in is ``…``."""
    found = []
    for path in [*(ROOT / "golfbench").rglob("*.py"), *(ROOT / "plugins").glob("*/src/**/*.py")]:
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.JoinedStr):
                found.append(
                    "".join(str(part.value) if isinstance(part, ast.Constant) else "…" for part in node.values)
                )
            elif isinstance(node, ast.Constant) and isinstance(node.value, str):
                found.append(node.value)
    return found


@pytest.mark.parametrize("message", re.findall(r"^### `(.+)`$", text_of("troubleshooting.md"), flags=re.MULTILINE))
def test_a_message_that_a_page_explains_is_one_that_the_suite_says(message: str, texts: list[str]) -> None:
    assert message in set(Status) or any(message in text for text in texts)


def test_the_worked_example_of_the_page_is_what_the_code_computes() -> None:
    """Four molecules that start 10 kcal/mol above their minima and end 0, 2, 4 and 30 above them."""

    def record(above: float) -> Record:
        status = Status.DIVERGED if above > 10 else Status.CONVERGED
        return Record(
            combination="c",
            model="m",
            optimizer="o",
            selection="",
            oracle="gfn2-xtb",
            seed=None,
            stage="reference",
            method="GFN2-xTB",
            molecule=f"m{above}/0",
            group=f"m{above}",
            n_atoms=9,
            status=status,
            converged=status == Status.CONVERGED,
            n_steps=1,
            model_calls=2,
            energy_initial_hartree=10 / HARTREE_TO_KCAL_MOL,
            energy_final_hartree=above / HARTREE_TO_KCAL_MOL,
            energy_reference_hartree=0.0,
            bond_graph_changed=False,
            wall_s=0.0,
        )

    found = summary(map(record, (0.0, 2.0, 4.0, 30.0)))
    page = " ".join(text_of("numbers.md").split())
    assert f"(0 + 2 + 4) / 3 = {found.residual_kcal_mol_mean:.0f}, in" in page
    assert f"(0 + 2 + 4 + 10) / 4 = {found.residual_kcal_mol_mean_all:.0f}. pct" in page
    assert f"(100 + 80 + 60) / 3 = {found.pct_mean:.0f}, in" in page
    assert f"(100 + 80 + 60 + 0) / 4 = {found.pct_mean_all:.0f}. Success" in page
    assert f"Success: 1 of 4, {found.success_pct:.0f} %" in page
    assert f"Divergence: 1 of 4, {found.divergence_pct:.0f} %" in page


def test_no_heading_of_the_pages_is_there_twice_on_a_page() -> None:
    for path in sorted(Path(DOCS).glob("*.md")):
        plain = re.sub(r"```.*?```", "", path.read_text(encoding="utf-8"), flags=re.DOTALL)
        heads = re.findall(r"^## (.+)$", plain, flags=re.MULTILINE)
        assert len(heads) == len(set(heads)), path.name
