"""The site of the leaderboards: the page, and beside it the files that it links to."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from golfbench.errors import ConfigurationError
from golfbench.leaderboard.content import section
from golfbench.leaderboard.standings import Standing
from golfbench.leaderboard.tables import csv_text
from golfbench.leaderboard.tracks import TRACK_FILE, Track
from golfbench.site.page import page

PAGE, TABLE = "index.html", "leaderboard.csv"
TITLE = "golfbench leaderboards"


def site_files(leaderboards: Path, folder: Path, tracks: Sequence[tuple[Track, Sequence[Standing]]]) -> dict[Path, str]:
    """Return every file of the site with its text: ``index.html`` and for each track its entries, rules and table.

    Args:
        leaderboards: Folder of all tracks.
        folder: Where the site is to be.
        tracks: All tracks with their standings.

    Raises:
        ConfigurationError: If a dataset is not what its track says, or the folder is that of the leaderboards.
    """
    if folder.resolve() == leaderboards.resolve():
        raise ConfigurationError(f"{folder}: the site needs a folder of its own")
    made = {folder / PAGE: page([section(*track) for track in tracks], TITLE)}
    for track, standings in tracks:
        names = [TRACK_FILE, *(f"{standing.entry.entry_id}.json" for standing in standings)]
        source, target = leaderboards / track.name, folder / track.name
        made |= {target / name: (source / name).read_text(encoding="utf-8") for name in names}
        made[target / TABLE] = csv_text(standings)
    return made
