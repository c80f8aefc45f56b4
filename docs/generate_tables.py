"""Write tables of README.md and of pages from the records in examples/results; with --check, fail where they differ.

A block ``table: RUN`` has the table of a run. A block ``study: NAME TABLE`` has a table that ``benchmarks/study.py
figures`` makes of a part of the study, ``examples/study/results/NAME``; its figure goes to ``docs/images``. Of what was
judged on the compounds held back, the tables are those of ``benchmarks/held_back.py tables``.
"""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory

from golfbench.benchmark.tables import markdown_table
from golfbench.compare.figure import figure
from golfbench.compare.sides import read_side
from golfbench.compare.verdict import verdicts
from golfbench.runs.directory import RunDirectory
from golfbench.runs.summary import rows_of

ROOT = Path(__file__).parents[1]
PAGES = (ROOT / "README.md", *(ROOT / "docs" / f"{name}.md" for name in ("results", "study", "tutorial-dft")))
RESULTS, STUDY = ROOT / "examples" / "results", ROOT / "examples" / "study" / "results"
#: The first picture: these runs, and of a part of the study what the rules of ``golfbench run`` came to.
FIRST, FIRST_STUDY = ("aimnet2-16", "aimnet2-64", "aimnet2-256", "aimnet2-256-golf"), "painn-gfn1"
MARKED = re.compile(
    r"<!-- (?P<kind>table|study): (?P<name>\S+)(?: (?P<part>\S+))? -->\n.*?<!-- end of table -->", re.DOTALL
)


def block(match: re.Match[str]) -> str:
    """Return a marked block with its table."""
    name, part = match["name"], match["part"]
    text = of_run(name) if match["kind"] == "table" else of_study(name)[part]
    mark = " ".join(filter(None, (f"{match['kind']}: {name}", part)))
    return f"<!-- {mark} -->\n{text.strip()}\n<!-- end of table -->"


def of_run(name: str) -> str:
    """Return the table of a run."""
    directory = RunDirectory(RESULTS / name)
    dataset = directory.read_manifest().dataset.name
    return markdown_table(rows_of(directory), dataset, said=verdicts(read_side(directory.path)))


@cache
def of_study(name: str) -> dict[str, str]:
    """Return what is made of a part of the study: tables in Markdown and figures, by the names of their files."""
    runs = STUDY / name
    script, verb = ("held_back.py", "tables") if any(runs.glob("*/network.json")) else ("study.py", "figures")
    with TemporaryDirectory() as folder:
        command = [sys.executable, str(ROOT / "benchmarks" / script), verb, str(runs), "--output", folder]
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
        paths = [path for path in Path(folder).iterdir() if path.suffix in (".md", ".svg")]
        return {path.stem: path.read_text(encoding="utf-8") for path in paths}


def first_picture() -> str:
    """Return the picture that README.md begins with; without MMFF94, which lies so high that curves would be flat."""
    sys.path.insert(0, str(ROOT / "benchmarks"))
    import study

    sides = [*map(read_side, (RESULTS / name for name in FIRST)), *study.sides_below([STUDY / FIRST_STUDY])]
    rules = ("", *study.CONTROLS)
    shown = [[s for s in side.series if s.key.selection in rules and s.key.model != "mmff94"] for side in sides]
    return figure([replace(side, series=series) for side, series in zip(sides, shown, strict=True)])


def wanted() -> Iterator[tuple[Path, str]]:
    """Yield each file that is written here, with its text: the pages, and the figures of the study."""
    for page in PAGES:
        yield page, MARKED.sub(block, page.read_text(encoding="utf-8"))
    yield ROOT / "docs" / "images" / "residual-against-labels.svg", first_picture()
    for name in sorted(path.name for path in STUDY.iterdir()):
        if drawn := of_study(name).get(f"{name}-residual"):
            yield ROOT / "docs" / "images" / f"study-{name}.svg", drawn


def main() -> int:
    """Write tables and figures or check them; return the exit code."""
    code = 0
    for path, text in wanted():
        if "--check" not in sys.argv[1:]:
            path.write_text(text, encoding="utf-8")
        elif not path.exists() or path.read_text(encoding="utf-8") != text:
            print(f"{path.name} is not what docs/generate_tables.py writes", file=sys.stderr)
            code = 1
    return code


if __name__ == "__main__":
    sys.exit(main())
