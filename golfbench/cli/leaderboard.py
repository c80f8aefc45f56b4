"""``golfbench leaderboard show|add|check|verify|build``: entries that can be recomputed, and tables of them."""

from __future__ import annotations

import shutil
import textwrap
from collections.abc import Iterator, Sequence
from dataclasses import asdict
from functools import partial
from itertools import groupby
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from golfbench.cli import console
from golfbench.cli.describe import SCHEMA_VERSION
from golfbench.cli.options import AllColumnsOption, JsonOption
from golfbench.cli.streams import session
from golfbench.errors import ConfigurationError, GolfbenchError, NothingToDoError, unknown_name

if TYPE_CHECKING:
    from golfbench.contracts import Dataset
    from golfbench.leaderboard.entries import Entry
    from golfbench.leaderboard.standings import Standing
    from golfbench.leaderboard.tracks import Track

RunArgument = Annotated[Path, typer.Argument(metavar="RUN", help="A run directory.", show_default=False)]
FilesArgument = Annotated[
    list[Path], typer.Argument(metavar="FILE...", help="Entries: LEADERBOARDS/TRACK/ID.json.", show_default=False)
]
TracksArgument = Annotated[
    list[str] | None, typer.Argument(metavar="[TRACK]...", help="Tracks; all of them by default.", show_default=False)
]
FolderOption = Annotated[Path, typer.Option("--leaderboards", metavar="DIR", help="Folder of all tracks.")]
TrackOption = Annotated[
    str | None, typer.Option("--track", metavar="NAME", help="Track; by default the one that the run fits.")
]
SubmitterOption = Annotated[str, typer.Option("--submitter", metavar="TEXT", help="Who publishes it.")]
LicenseOption = Annotated[str, typer.Option("--weights-license", metavar="SPDX", help="Licence of trained weights.")]
OverwriteOption = Annotated[bool, typer.Option("--overwrite", help="Replace entries of the same combinations.")]
SampleOption = Annotated[int, typer.Option("--sample", min=1, metavar="N", help="End points to ask for, at most.")]
SeedOption = Annotated[int, typer.Option("--seed", min=0, help="Which end points.")]
SiteOption = Annotated[
    Path | None,
    typer.Option("--site", metavar="DIR", help="Make the page there, too: index.html and the files that it links to."),
]
CheckOption = Annotated[bool, typer.Option("--check", help="Write nothing; exit 1 where a file would change.")]

LEADERBOARDS = Path("leaderboards")


def register(app: typer.Typer) -> None:
    """Add the group ``leaderboard``."""
    group = typer.Typer(no_args_is_help=True, help="Published runs that everybody can recompute, and their ranks.")
    for command in (show, add, check, verify, build):
        group.command()(command)
    app.add_typer(group, name="leaderboard")


def show(
    tracks: TracksArgument = None,
    leaderboards: FolderOption = LEADERBOARDS,
    wide: AllColumnsOption = False,
    json: JsonOption = False,
) -> None:
    """Show the standings of tracks: rank, residual with its interval, success, calls. --json has all numbers."""
    from golfbench.leaderboard.standings import standings_of
    from golfbench.leaderboard.tables import flat_rows
    from golfbench.leaderboard.tracks import track_folders

    folders = {folder.name: folder for folder in track_folders(leaderboards)}
    if unknown := next((name for name in tracks or () if name not in folders), None):
        raise ConfigurationError(unknown_name("track", unknown, folders))
    found = [standings_of(folders[name]) for name in tracks or folders]
    if json:
        documents = [{"track": track.name, "rows": flat_rows(standings)} for track, standings in found]
        console.print_json({"schema_version": SCHEMA_VERSION, "tracks": documents})
        return
    for track, standings in found:
        _show_track(track, standings, wide)


def _show_track(track: Track, standings: Sequence[Standing], wide: bool) -> None:
    """Print a table for each budget of a track."""
    from golfbench.leaderboard.digest import answer_of, sentence
    from golfbench.leaderboard.tables import SHORT_NOTES, heading, shown_rows

    columns = shutil.get_terminal_size().columns
    print(textwrap.fill(f"{track.title}: dataset {track.dataset.name}, energies under {track.method}", columns))
    if answer := answer_of(track, standings):
        print(textwrap.fill(sentence(track, answer), columns))
    for budget, group in groupby(standings, key=lambda standing: standing.budget_group):
        rows = shown_rows(list(group), wide)
        print(f"\n{heading(budget)}")
        console.print_table(list(rows[0]), [list(row.values()) for row in rows], wide=wide)
    print("\n" + (textwrap.fill(" ".join(SHORT_NOTES.split()), columns) if standings else "no entry"))


def add(
    run: RunArgument,
    track: TrackOption = None,
    leaderboards: FolderOption = LEADERBOARDS,
    submitter: SubmitterOption = "",
    weights_license: LicenseOption = "",
    overwrite: OverwriteOption = False,
    json: JsonOption = False,
) -> None:
    """Make entries of a run: one for each combination, with all its seeds and end points; exit 1 if any is refused."""
    from golfbench.leaderboard.making import entries_of, publish, track_of
    from golfbench.leaderboard.tracks import read_track
    from golfbench.runs.directory import RunDirectory

    directory = RunDirectory(run)
    chosen = read_track(leaderboards / track) if track else track_of(directory, leaderboards)
    entries, refused = entries_of(directory, chosen, submitter, weights_license)
    made = {entry.entry_id: entry for entry in entries}
    written, kept = publish(leaderboards / chosen.name, entries, overwrite)
    session.saved = session.saved or bool(written)
    if json:
        names = {"entries": list(map(str, written)), "kept": list(map(str, kept)), "refused": refused}
        console.print_json({"schema_version": SCHEMA_VERSION, "track": chosen.name, **names})
    else:
        rows = [(path, path.stat().st_size, len(made[path.stem].runs)) for path in written]
        console.print_table(("entry", "bytes", "seeds"), rows)
    for path in kept:
        seeds = "" if path.stem in made else ", the same combination with other seeds,"
        console.note(f"{path}{seeds} exists already and is kept: --overwrite replaces it")
    _fail_all(refused)
    if not written:
        raise NothingToDoError("there is no new entry")


def check(files: FilesArgument, json: JsonOption = False) -> None:
    """Validate entries and recompute all that can be recomputed; exit 1 and a line for each thing that is wrong."""
    from golfbench.leaderboard.checks import problems

    found: dict[str, list[str]] = {}
    for path, entry, track, dataset in _opened(files, found):
        found[str(path)] += problems(entry, track, dataset)
    if json:
        console.print_json({"schema_version": SCHEMA_VERSION, "problems": found})
    else:
        console.print_table(("entry", "problems"), [(path, len(lines)) for path, lines in found.items()])
    _fail_all([f"{path}: {line}" for path, lines in found.items() for line in lines])


def verify(files: FilesArgument, sample: SampleOption = 5, seed: SeedOption = 0, json: JsonOption = False) -> None:
    """Check entries, and ask the oracle again for random end points and the reference minima of their molecules.

    Exit 1 where an energy is not the published one.
    """
    from golfbench.leaderboard.checks import problems
    from golfbench.leaderboard.verification import verify as ask

    found: dict[str, list[str]] = {}
    documents: list[dict[str, Any]] = []
    rows: list[Sequence[object]] = []
    with console.Progress() as progress:
        for path, entry, track, dataset in _opened(files, found):
            wrong = found[str(path)]
            wrong += problems(entry, track, dataset)
            if wrong:  # no engine is asked for geometries that may be wrong
                continue
            result = ask(entry, track, dataset, sample, seed, partial(progress, f"asking the oracle: {path.name}"))
            documents.append({"entry": str(path), **asdict(result), "agrees": result.agrees})
            for answer in result.answers:
                shown = answer.error if answer.difference_hartree is None else f"{answer.difference_hartree:.1e}"
                walk = "" if answer.seed is None else answer.seed
                rows.append((path.name, answer.what, answer.molecule, walk, shown, "yes" if answer.agrees else "NO"))
                if not answer.agrees:
                    wrong.append(f"{answer.what} of {answer.molecule}: the oracle ({result.engine}) differs: {shown}")
    if json:
        console.print_json({"schema_version": SCHEMA_VERSION, "entries": documents, "problems": found})
    elif rows:
        console.print_table(("entry", "what", "molecule", "seed", "difference, Hartree", "agrees"), rows)
    _fail_all([f"{path}: {line}" for path, lines in found.items() for line in lines])


def build(leaderboards: FolderOption = LEADERBOARDS, site: SiteOption = None, check: CheckOption = False) -> None:
    """Make tables, CSV files and the schema from the entries; the same entries give the same bytes."""
    from golfbench.leaderboard.build import built, drift, write
    from golfbench.leaderboard.standings import all_standings

    tracks = all_standings(leaderboards)
    files = built(leaderboards, tracks)
    if site is not None:
        from golfbench.site.folder import site_files

        files |= site_files(leaderboards, site, tracks)
    if check:
        _fail_all([f"{path} is not what `leaderboard build` writes" for path in drift(files)])
        return
    for path in write(files):
        console.saved(f"{path} is written")


def _opened(files: Sequence[Path], found: dict[str, list[str]]) -> Iterator[tuple[Path, Entry, Track, Dataset]]:
    """Yield the entries that can be read, with track and dataset; what is wrong with the others goes to ``found``."""
    from golfbench.leaderboard.entries import read_entry
    from golfbench.leaderboard.tracks import read_track

    tracks: dict[Path, tuple[Track, Dataset]] = {}
    for path in files:
        lines = found.setdefault(str(path), [])
        folder = path.resolve().parent
        if folder not in tracks:
            track = read_track(folder)
            tracks[folder] = track, track.open_dataset()
        try:
            entry = read_entry(path)
        except GolfbenchError as error:
            lines.append(str(error).removeprefix(f"{path}: "))
            continue
        if path.stem != entry.entry_id:
            lines.append(f"the file of entry '{entry.entry_id}' has another name")
        yield path, entry, *tracks[folder]


def _fail_all(lines: Sequence[str]) -> None:
    for line in lines:
        console.fail(line)
    if lines:
        raise typer.Exit(1)
