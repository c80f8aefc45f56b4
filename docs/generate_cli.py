"""Write ``docs/cli.md`` from the help texts of the command line, or with ``--check`` prove that it is up to date."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import typer

from golfbench.cli.main import build_app

PAGE = Path(__file__).with_name("cli.md")
HEADER = """# Command line

Generated from `--help` by `make docs`. Commands that plugins add are not listed.
"""
WIDTH = 100


def helps(command: Any, name: str, parent: Any = None) -> Iterator[tuple[str, str]]:
    """Yield ``(name, help)`` of a command and of everything below it."""
    widths = {"max_content_width": WIDTH, "terminal_width": WIDTH}
    context = command.context_class(command, info_name=name, parent=parent, **widths, **command.context_settings)
    yield context.command_path, command.get_help(context)
    for child, below in sorted(getattr(command, "commands", {}).items()):
        yield from helps(below, child, context)


def page() -> str:
    """Return the text of the page."""
    sections = [
        f"{'#' * min(2 + path.count(' '), 4)} {path}\n\n```text\n{text.strip()}\n```\n"
        for path, text in helps(typer.main.get_command(build_app()), "golfbench")
    ]
    return "\n".join([HEADER, *sections])


def main() -> None:
    """Write or check the page."""
    if "--check" not in sys.argv[1:]:
        PAGE.write_text(page(), encoding="utf-8")
    elif not PAGE.exists() or PAGE.read_text(encoding="utf-8") != page():
        sys.exit(f"docs/{PAGE.name} is out of date: run `make docs`")


if __name__ == "__main__":
    main()
