"""Writing what is made from the entries: the page of each track, its CSV, the index and the schema."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from pathlib import Path

from golfbench.durable import write_atomically
from golfbench.leaderboard.entries import SCHEMA_FILE, schema_text
from golfbench.leaderboard.standings import Standing
from golfbench.leaderboard.tables import csv_text, escaped, rank_text, track_markdown
from golfbench.leaderboard.tracks import Track

PAGE, CSV = "README.md", "leaderboard.csv"
BEGIN, END = "<!-- leaderboard: made by `golfbench leaderboard build` -->", "<!-- end of leaderboard -->"
_MARKED = re.compile(f"{re.escape(BEGIN)}.*?{re.escape(END)}", re.DOTALL)
GUIDE = "[docs/leaderboards.md](../docs/leaderboards.md)"
INDEX_TITLE = f"# Leaderboards\n\nHow to take part and what the numbers mean: {GUIDE}."


def built(leaderboards: Path, tracks: Sequence[tuple[Track, Sequence[Standing]]]) -> dict[Path, str]:
    """Return every generated file with its text; nothing is written.

    Args:
        leaderboards: Folder of all tracks.
        tracks: All of them, from ``standings.all_standings``.
    """
    files = {leaderboards / SCHEMA_FILE: schema_text()}
    for track, standings in tracks:
        folder = leaderboards / track.name
        title = f"# {track.title}\n\n{track.description}".strip()
        files[folder / PAGE] = _between_markers(folder / PAGE, title, track_markdown(track, standings))
        files[folder / CSV] = csv_text(standings)
    files[leaderboards / PAGE] = _between_markers(leaderboards / PAGE, INDEX_TITLE, _index(tracks))
    return files


def write(files: Mapping[Path, str]) -> list[Path]:
    """Write what differs from what is there, and return which files these were."""
    drifted = drift(files)
    for path in drifted:
        write_atomically(path, files[path], parents=True)
    return drifted


def drift(files: Mapping[Path, str]) -> list[Path]:
    """Return the files that differ from what would be written now."""
    return [path for path, text in files.items() if not path.exists() or path.read_bytes() != text.encode()]


def _between_markers(path: Path, title: str, made: str) -> str:
    """Return the page with the part between its markers made again; text around it stays."""
    block = f"{BEGIN}\n\n{made}\n\n{END}"
    page = path.read_text(encoding="utf-8") if path.exists() else ""
    return _MARKED.sub(lambda _: block, page, count=1) if _MARKED.search(page) else f"{title}\n\n{block}\n"


def _index(tracks: Sequence[tuple[Track, Sequence[Standing]]]) -> str:
    lines = ["| Track | Level of theory | Entries | First in each budget |", "| :-- | :-- | --: | :-- |"]
    for track, standings in tracks:
        firsts = [
            f"{s.budget_group}: {escaped(f'{s.entry.title} {s.entry.optimizer} {s.entry.selection}')} ({rank_text(s)})"
            for s in standings
            if s.rank == 1 and s.budget_group
        ]
        cells = (f"[{track.title}]({track.name}/{PAGE})", track.method, str(len(standings)), "; ".join(firsts) or "–")
        lines.append("| " + " | ".join(cells) + " |")
    return "\n".join(lines)
