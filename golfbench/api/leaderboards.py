"""``golfbench.Leaderboard``: a folder of tracks with published entries, their numbers, intervals and ranks."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from golfbench.api.frames import frame_of
from golfbench.errors import ConfigurationError, GolfbenchError, unknown_name
from golfbench.leaderboard.build import built, write
from golfbench.leaderboard.checks import problems
from golfbench.leaderboard.entries import Entry, read_entry
from golfbench.leaderboard.making import entries_of, publish, track_of
from golfbench.leaderboard.standings import Standing, all_standings, standings_of
from golfbench.leaderboard.tables import flat_rows
from golfbench.leaderboard.tracks import Track, read_track, track_folders
from golfbench.runs.directory import RunDirectory


class Leaderboard:
    """A folder of tracks, one folder each, with an entry a file.

    Args:
        folder: The folder of all tracks.

    Attributes:
        folder: See there.

    Raises:
        ConfigurationError: If there is no track in it.
    """

    def __init__(self, folder: str | Path = "leaderboards") -> None:
        self.folder = Path(folder)
        track_folders(self.folder)

    @property
    def tracks(self) -> list[str]:
        """Names of the tracks."""
        return [path.name for path in track_folders(self.folder)]

    def track(self, name: str) -> Track:
        """Return what the entries of a track have in common: dataset, level of theory, protocol, budgets.

        Raises:
            ConfigurationError: If there is no such track, or it is not valid.
        """
        return read_track(self._folder_of(name))

    def standings(self, track: str) -> list[Standing]:
        """Return the entries of a track with their numbers, intervals and ranks, in the order of its tables.

        Raises:
            ConfigurationError: If there is no such track, or an entry is damaged or was altered.
        """
        return standings_of(self._folder_of(track))[1]

    def frame(self, track: str) -> Any:
        """Return a ``pandas.DataFrame`` of a track, one row for each entry, with the columns of its CSV.

        Raises:
            ConfigurationError: See ``standings``.
            ComponentMissingError: If pandas is not installed.
        """
        return frame_of(flat_rows(self.standings(track)))

    def check(self, track: str) -> dict[str, list[str]]:
        """Recompute all that can be recomputed of the entries of a track.

        Returns:
            What is wrong, a sentence each, by the name of the entry's file; an empty list where nothing is.
        """
        folder = self._folder_of(track)
        described = read_track(folder)
        dataset = described.open_dataset()
        found: dict[str, list[str]] = {}
        for path in sorted(folder.glob("*.json")):
            try:
                found[path.name] = problems(read_entry(path), described, dataset)
            except GolfbenchError as error:
                found[path.name] = [str(error)]
        return found

    def add(
        self,
        run: str | Path,
        *,
        track: str | None = None,
        submitter: str = "",
        weights_license: str = "",
        overwrite: bool = False,
    ) -> list[Path]:
        """Make entries of a run, one for each combination, and write those that are not there yet.

        Args:
            run: A run directory.
            track: The track; the one that the run fits if not given.
            submitter: Who publishes it.
            weights_license: Licence of trained weights (SPDX).
            overwrite: Replace entries of the same combinations, whatever their seeds are.

        Returns:
            The files that were written.

        Raises:
            ConfigurationError: If the run fits no track or a combination is refused; then nothing is written.
        """
        directory = RunDirectory(Path(run))
        chosen = self.track(track) if track else track_of(directory, self.folder)
        entries, refused = entries_of(directory, chosen, submitter, weights_license)
        if refused:
            raise ConfigurationError("; ".join(refused))
        return publish(self.folder / chosen.name, entries, overwrite)[0]

    def build(self) -> list[Path]:
        """Make the tables anew; return the files that were not what they would be, and now are."""
        return write(built(self.folder, all_standings(self.folder)))

    def entries(self, track: str) -> Sequence[Entry]:
        """Return the entries of a track, in the order of its tables.

        Raises:
            ConfigurationError: See ``standings``.
        """
        return [standing.entry for standing in self.standings(track)]

    def _folder_of(self, name: str) -> Path:
        folders = {path.name: path for path in track_folders(self.folder)}
        if name not in folders:
            raise ConfigurationError(unknown_name("track", name, folders))
        return folders[name]
