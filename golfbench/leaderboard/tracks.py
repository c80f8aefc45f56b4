"""Tracks: what the entries of one leaderboard have in common. One folder each, described by ``track.yaml``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, Literal

import yaml
from pydantic import Field, PositiveFloat, ValidationError, model_validator

from golfbench.benchmark.protocol import Protocol
from golfbench.benchmark.records import FrozenModel
from golfbench.contracts import Dataset
from golfbench.errors import ConfigurationError
from golfbench.registry import registry
from golfbench.specs import DatasetSpec, Named, OracleSpec

TRACK_FILE = "track.yaml"

#: What a track may rank by. All have every molecule in the denominator, so that diverging gains nothing.
RankedMetric = Literal["residual_kcal_mol_mean_all", "pct_mean_all", "success_pct"]


class TrackDataset(FrozenModel):
    """The dataset of a track.

    Attributes:
        name: As it is written on a command line, parameters included.
        sha256: Hash of its content (``golfbench datasets check NAME``).
    """

    name: str = Field(min_length=1)
    sha256: str = Field(pattern=r"^[0-9a-f]{64}$")


class TrackOracle(FrozenModel):
    """The oracle of a track.

    Attributes:
        name: As it is written on a command line, parameters included. Technical parameters may differ in an entry.
        tolerance_hartree: Largest difference between an energy and the oracle's second answer.
    """

    name: str = Field(min_length=1)
    tolerance_hartree: PositiveFloat = 1e-6


class Track(FrozenModel):
    """``track.yaml``.

    Attributes:
        schema_version: Version of this schema.
        name: Name of its folder.
        title: Headline of its page.
        description: A sentence or two below it.
        dataset: Where molecules, starts and reference minima come from.
        method: Level of theory of every energy; it is the dataset's, so that all entries share the same minima.
        oracle: The oracle that judges.
        protocol: Fields of ``benchmark.protocol.Protocol`` that must be the same in every entry; others are free.
        budgets: Training labels per combination that are compared; each has a table of its own.
        ranked: The metric that entries are ranked by.
        main: Whether the page opens on it; one track of a folder may say so.
    """

    schema_version: Literal[1] = 1
    name: str = Field(pattern=r"^[a-z0-9][a-z0-9.-]*$")
    title: str = Field(min_length=1)
    description: str = ""
    dataset: TrackDataset
    method: str = Field(min_length=1)
    oracle: TrackOracle
    protocol: dict[str, Any] = Field(min_length=1)
    budgets: tuple[Annotated[int, Field(ge=1)], ...] = Field(min_length=1)
    ranked: RankedMetric = "residual_kcal_mol_mean_all"
    main: bool = False

    @model_validator(mode="after")
    def _valid_protocol(self) -> Track:
        Protocol.model_validate(self.protocol)
        return self

    @property
    def lower_is_better(self) -> bool:
        """Whether the best entry has the smallest value of the ranked metric."""
        return self.ranked.startswith("residual")

    def protocol_differences(self, protocol: Protocol) -> list[str]:
        """Return how a protocol differs from the track's, one line for each difference."""
        wanted = Protocol.model_validate(self.protocol)
        return [
            f"protocol: {name} is {getattr(protocol, name)}, the track has {getattr(wanted, name)}"
            for name in self.protocol
            if getattr(protocol, name) != getattr(wanted, name)
        ]

    def accepts_oracle(self, oracle: Named) -> bool:
        """Return whether an oracle gives the same labels as the track's own."""
        return _answers(oracle) == _answers(self.oracle.name)

    def open_dataset(self) -> Dataset:
        """Read the dataset.

        Raises:
            ConfigurationError: If its content or its level of theory is not the track's.
        """
        dataset: Dataset = registry().component(DatasetSpec, self.dataset.name).create().read()
        if dataset.content_hash != self.dataset.sha256:
            raise ConfigurationError(
                f"track {self.name}: dataset '{dataset.name}' has the content hash {dataset.content_hash[:12]}..., "
                f"the track demands {self.dataset.sha256[:12]}..."
            )
        if dataset.method != self.method:
            raise ConfigurationError(
                f"track {self.name}: dataset '{dataset.name}' is labelled by {dataset.method}, the track is of "
                f"{self.method}"
            )
        return dataset


def _answers(oracle: Named) -> tuple[str, dict[str, Any]]:
    """Return what the labels of an oracle depend on; for an unknown oracle, its name as written."""
    try:
        found = registry().component(OracleSpec, oracle)
        return found.spec.name, found.spec.options(found.parameters)
    except ConfigurationError:
        return str(oracle), {}


def read_track(folder: Path) -> Track:
    """Read ``track.yaml``.

    Raises:
        ConfigurationError: If it is missing, or a key is unknown, missing or wrong; the key is named.
    """
    path = folder / TRACK_FILE
    try:
        track = Track.model_validate(yaml.safe_load(path.read_text(encoding="utf-8")))
    except FileNotFoundError:
        raise ConfigurationError(f"{folder} is not a track: it has no {TRACK_FILE}") from None
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        where = ".".join(map(str, first["loc"])) or "the file"
        raise ConfigurationError(f"{path}: {where}: {first['msg']}") from None
    except (yaml.YAMLError, UnicodeDecodeError, OSError) as error:
        raise ConfigurationError(f"{path} cannot be read: {str(error).splitlines()[0]}") from None
    if track.name != folder.resolve().name:
        raise ConfigurationError(f"{path}: name is '{track.name}', but the folder is '{folder.resolve().name}'")
    return track


def track_folders(leaderboards: Path) -> list[Path]:
    """Return the folders of all tracks, by name.

    Raises:
        ConfigurationError: If there is none.
    """
    folders = sorted(path.parent for path in leaderboards.glob(f"*/{TRACK_FILE}"))
    if not folders:
        raise ConfigurationError(f"{leaderboards} holds no track: a folder with a {TRACK_FILE}")
    return folders
