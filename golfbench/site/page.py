"""Putting the page together: template, style, scripts and data in one text."""

from __future__ import annotations

import base64
import hashlib
import html
import json
import re
from collections.abc import Sequence
from importlib.resources import files
from typing import Any

from golfbench import __version__
from golfbench.leaderboard.content import Section, content_of
from golfbench.site.geometries import geometries

#: In the order of their dependencies.
SCRIPTS = ("dom", "data", "state", "tables", "figures", "plots", "standings", "models", "viewer", "molecules", "page")
_PLACE = re.compile(r"\{\{([a-z]+)\}\}")


def page(sections: Sequence[Section], title: str) -> str:
    """Return the page of some sections: the same sections give the same bytes.

    Args:
        sections: What it shows.
        title: Its headline.
    """
    content = {"title": title, "version": __version__, **content_of(sections)}
    return assembled(content, [geometries(shown) for shown in sections])


def assembled(content: dict[str, Any], shapes: Sequence[dict[str, Any]]) -> str:
    """Return the page of some content.

    Args:
        content: From ``content_of``, with ``title`` and ``version``.
        shapes: Geometries of each track, in the order of its tracks.
    """
    from plotly.offline import get_plotlyjs  # type: ignore[import-untyped]

    plotly: str = get_plotlyjs()
    script = "".join(["(() => {\n'use strict';\n", *(_asset(f"{name}.js") for name in SCRIPTS), "})();\n"])
    parts = {
        "policy": _policy(plotly, script),
        "title": html.escape(str(content["title"])),
        "style": _asset("page.css"),
        "data": _data("content", content) + "".join(_data(f"geometries-{n}", shape) for n, shape in enumerate(shapes)),
        "plotly": plotly,
        "script": script,
    }
    # One pass: what is inserted is never searched for places again.
    return _PLACE.sub(lambda place: parts[place[1]], _asset("index.html"))


def _asset(name: str) -> str:
    return files("golfbench.site").joinpath("assets", name).read_text(encoding="utf-8")


def _data(id: str, content: Any) -> str:
    """Return a block of data. Without ``<`` nothing in it can end the block or begin another element."""
    text = json.dumps(content, allow_nan=False, ensure_ascii=False, separators=(",", ":")).replace("<", "\\u003c")
    return f'<script type="application/json" id="{id}">{text}</script>\n'


def _policy(*scripts: str) -> str:
    """Return a policy under which nothing but these scripts runs and nothing is loaded.

    Inline styles are allowed because Plotly sets them; images are needed for its downloads.
    """
    hashes = " ".join(f"'sha256-{base64.b64encode(hashlib.sha256(s.encode()).digest()).decode()}'" for s in scripts)
    return (
        f"default-src 'none'; script-src {hashes}; style-src 'unsafe-inline'; img-src data: blob:; "
        "base-uri 'none'; form-action 'none'"
    )
