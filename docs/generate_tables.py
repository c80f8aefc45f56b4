"""Write tables of README.md and of pages from the records in examples/results; with --check, fail where they differ.

A block ``table: RUN`` has the table of a run. A block ``study: NAME TABLE`` has a table that ``benchmarks/study.py
figures`` makes of a part of the study, ``examples/results/study/NAME``.
"""

from __future__ import annotations

import re
import subprocess
import sys
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory

from golfbench.benchmark.tables import markdown_table
from golfbench.compare.sides import read_side
from golfbench.compare.verdict import verdicts
from golfbench.runs.directory import RunDirectory
from golfbench.runs.summary import rows_of

ROOT = Path(__file__).parents[1]
PAGES = (ROOT / "README.md", *(ROOT / "docs" / f"{name}.md" for name in ("results", "study", "tutorial-dft")))
RESULTS = ROOT / "examples" / "results"
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
    """Return the tables of a part of the study, by their names."""
    with TemporaryDirectory() as folder:
        command = [ROOT / "benchmarks" / "study.py", "figures", RESULTS / "study" / name, "--output", folder]
        subprocess.run([sys.executable, *map(str, command)], check=True, stdout=subprocess.DEVNULL)
        return {path.stem: path.read_text(encoding="utf-8") for path in Path(folder).glob("*.md")}


def main() -> int:
    """Write the tables or check them; return the exit code."""
    code = 0
    for page in PAGES:
        current = page.read_text(encoding="utf-8")
        wanted = MARKED.sub(block, current)
        if "--check" not in sys.argv[1:]:
            page.write_text(wanted, encoding="utf-8")
        elif wanted != current:
            print(f"{page.name} is not what docs/generate_tables.py writes", file=sys.stderr)
            code = 1
    return code


if __name__ == "__main__":
    sys.exit(main())
