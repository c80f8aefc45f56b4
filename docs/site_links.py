"""A hook of MkDocs: what pages link to outside ``docs/`` becomes part of the site, below ``repository/``.

So that one link works in the repository and on the site, and MkDocs finds the broken ones.
"""

from __future__ import annotations

import posixpath
import re
from pathlib import Path
from typing import Any

from mkdocs.structure.files import File, Files

ROOT = Path(__file__).parents[1]
PLACE = "repository"
#: The target of a link or picture of Markdown that is no address, anchor or code.
LINK = re.compile(r"(?<=\]\()(?!\w+:|#|/)([^)#\s]+)(?=[)#])")


def home_of(page: str) -> str:
    """Return where a page of the site is in the repository."""
    return page.removeprefix(f"{PLACE}/") if page.startswith(f"{PLACE}/") else f"docs/{page}"


def page_of(path: str) -> str:
    """Return where a file of the repository is on the site; a folder is its README."""
    if (ROOT / path).is_dir():
        path = posixpath.join(path, "README.md")
    return path.removeprefix("docs/") if path.startswith("docs/") else f"{PLACE}/{path}"


def linked(page: str, text: str) -> list[str]:
    """Return what a page links to, as paths in the repository."""
    folder = posixpath.dirname(home_of(page))
    return [posixpath.normpath(posixpath.join(folder, found[1])) for found in LINK.finditer(text)]


def on_files(files: Files, config: Any) -> Files:
    """Add what is linked from the pages, and from the pages that come with that."""
    waiting = [file.src_uri for file in files.documentation_pages()]
    while waiting:
        page = waiting.pop()
        for path in linked(page, (ROOT / home_of(page)).read_text(encoding="utf-8")):
            source = ROOT / home_of(page_of(path))
            if page_of(path) in files.src_uris or not source.is_file():
                continue  # what is not there, MkDocs reports
            files.append(File.generated(config, page_of(path), abs_src_path=str(source)))
            if source.suffix == ".md":
                waiting.append(page_of(path))
    return files


def on_page_markdown(markdown: str, page: Any, config: Any, files: Files) -> str:
    """Turn links into those of the site."""
    here = page.file.src_uri
    folder = posixpath.dirname(home_of(here))

    def place(found: re.Match[str]) -> str:
        target = page_of(posixpath.normpath(posixpath.join(folder, found[1])))
        return posixpath.relpath(target, posixpath.dirname(here) or ".")

    return LINK.sub(place, markdown)
