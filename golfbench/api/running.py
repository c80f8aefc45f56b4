"""``golfbench.run``: a grid from Python, with the rows of its table."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from golfbench.api.frames import frame_of
from golfbench.benchmark.metrics import Row
from golfbench.benchmark.records import Record, latest_records, read_records
from golfbench.errors import ConfigurationError
from golfbench.molecule_files.end_points import given_ends
from golfbench.runs.baseline import Permission
from golfbench.runs.config import RunConfig, load_config
from golfbench.runs.defaults import suited
from golfbench.runs.directory import RunDirectory
from golfbench.runs.grid import check_names
from golfbench.runs.runner import run as run_grid
from golfbench.runs.summary import rows_of

#: Told of a task: its name, steps done, steps in all.
Report = Callable[[str, int, int], None]


@dataclass(frozen=True, slots=True)
class Run(Sequence[Row]):
    """A finished run: the rows of its table, recomputed from its records.

    Attributes:
        path: The run directory.
        config: What was run, with everything that was left open filled in.
        rows: One for each combination and stage.
        notes: What a person should know, such as what was filled in and the licences of weights.
    """

    path: Path
    config: RunConfig
    rows: tuple[Row, ...]
    notes: tuple[str, ...] = ()

    def __len__(self) -> int:
        return len(self.rows)

    def __getitem__(self, place: Any) -> Any:
        return self.rows[place]

    @property
    def n_failed(self) -> int:
        """Walks that failed, in all rows: nothing is known of their molecules."""
        return sum(row.n_failed for row in self.rows)

    def records(self) -> Iterator[Record]:
        """Yield what happened to each molecule in each row."""
        yield from latest_records(read_records(RunDirectory(self.path).records))

    def frame(self) -> Any:
        """Return a ``pandas.DataFrame``, one row for each row of the table; the columns are the fields of the CSV.

        Raises:
            ComponentMissingError: If pandas is not installed.
        """
        return frame_of(_flat(row) for row in self.rows)


def _flat(row: Row) -> dict[str, Any]:
    """Return the fields of a row; those that hold numbers by name have a column for each."""
    flat: dict[str, Any] = {}
    for name, value in row.model_dump(mode="json").items():
        if isinstance(value, Mapping):
            flat |= {f"{name}_{key}": number for key, number in value.items()}
        elif name == "failures":
            flat |= {"n_failed": row.n_failed, "failures": "; ".join(group.line for group in row.failures)}
        else:
            flat[name] = value
    return flat


def run(
    config: RunConfig | Mapping[str, Any] | str | Path,
    *,
    output: str | Path = "runs",
    progress: Report | None = None,
    unsafe: bool = False,
) -> Run:
    """Train by GOLF and judge as a minimizer, for each combination of a grid; resume what was begun.

    Args:
        config: A ``RunConfig``, a mapping of its keys, or the YAML file of a run. What is left open is filled in as on
            the command line.
        output: Folder of run directories. The same configuration always finds the same one, and goes on there.
        progress: Told of each task: its name, steps done, and steps in all.
        unsafe: Allow checkpoints that can run code when they are read.

    Returns:
        The run with its rows. A molecule that failed is counted in its row (``n_failed``), and no exception.

    Raises:
        ConfigurationError: If the configuration cannot be used; the text names the key.
        ComponentMissingError: If something that it names is not installed.
        GolfbenchError: What else stops a run; the same call resumes it.
    """
    given = _config_of(config)
    check_names(given)
    filled = suited(given)
    notes = list(filled.told)
    ends, lines = given_ends(filled.config)
    permission = Permission(unsafe, notes.append)
    report = progress or (lambda task, done, total: None)
    run_grid(filled.config, Path(output), ["golfbench.run"], report, permission, ends=ends)
    directory = RunDirectory(Path(output) / filled.config.run_id())
    return Run(directory.path, filled.config, tuple(rows_of(directory)), (*notes, *lines))


def read_run(path: str | Path) -> Run:
    """Read a run directory: its rows are recomputed from its records.

    Raises:
        NothingToDoError: If this is no run directory, or it has no record yet.
        ConfigurationError: If it is damaged.
    """
    directory = RunDirectory(Path(path))
    config = RunConfig.model_validate(directory.read_manifest().config)
    return Run(directory.path, config, tuple(rows_of(directory)))


def _config_of(config: object) -> RunConfig:
    if isinstance(config, RunConfig):
        return config
    if isinstance(config, Mapping):
        return load_config(None, config, "configuration")
    if isinstance(config, str | Path):
        return load_config(Path(config), {})
    kind = type(config).__name__
    raise ConfigurationError(f"a configuration is a RunConfig, a mapping or a YAML file, not {kind}")
