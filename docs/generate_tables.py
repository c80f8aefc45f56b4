"""Write tables of README.md and of pages from the records in examples/results; with --check, fail where they differ."""

from __future__ import annotations

import re
import sys
from pathlib import Path

from golfbench.benchmark.tables import markdown_table
from golfbench.compare.sides import read_side
from golfbench.compare.verdict import verdicts
from golfbench.runs.directory import RunDirectory
from golfbench.runs.summary import rows_of

ROOT = Path(__file__).parents[1]
PAGES = (ROOT / "README.md", ROOT / "docs" / "results.md", ROOT / "docs" / "tutorial-dft.md")
RESULTS = ROOT / "examples" / "results"
MARKED = re.compile(r"<!-- table: (?P<name>\S+) -->\n.*?<!-- end of table -->", re.DOTALL)


def table(match: re.Match[str]) -> str:
    """Return the marked block with the table of its run."""
    directory = RunDirectory(RESULTS / match["name"])
    dataset = directory.read_manifest().dataset.name
    text = markdown_table(rows_of(directory), dataset, said=verdicts(read_side(directory.path)))
    return f"<!-- table: {match['name']} -->\n{text.strip()}\n<!-- end of table -->"


def main() -> int:
    """Write the tables or check them; return the exit code."""
    code = 0
    for page in PAGES:
        current = page.read_text(encoding="utf-8")
        wanted = MARKED.sub(table, current)
        if "--check" not in sys.argv[1:]:
            page.write_text(wanted, encoding="utf-8")
        elif wanted != current:
            print(f"{page.name} is not what docs/generate_tables.py writes", file=sys.stderr)
            code = 1
    return code


if __name__ == "__main__":
    sys.exit(main())
