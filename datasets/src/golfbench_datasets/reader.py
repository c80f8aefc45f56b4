"""Readers: the datasets that ship, and any folder in the same format."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from golfbench.contracts import Dataset
from golfbench.errors import ConfigurationError
from golfbench_datasets.files import DESCRIPTION, read_description
from golfbench_datasets.loading import data_folder, load


@dataclass(frozen=True, slots=True)
class FolderReader:
    """Reads a dataset folder (see ``contracts.DatasetReader``).

    Attributes:
        folder: Holds ``dataset.yaml``, ``initial.db``, ``test.db`` and, if there are any, ``baselines/``.
    """

    folder: Path

    def read(self) -> Dataset:
        """Read everything.

        Raises:
            ConfigurationError: If a file is missing, empty, damaged or not what it says, or if the content is not what
                the hash in ``dataset.yaml`` was taken of.
        """
        description = read_description(self.folder)
        dataset = load(self.folder, description)
        if description.content_sha256 and description.content_sha256 != dataset.content_hash:
            raise ConfigurationError(
                f"{self.folder}: the content is not what {DESCRIPTION} describes "
                f"(SHA-256 {dataset.content_hash[:12]}, expected {description.content_sha256[:12]})"
            )
        return dataset

    def check(self) -> list[str]:
        """Return the statements of the folder that are wrong; see ``golfbench_datasets.check``."""
        from golfbench_datasets.check import check_statements

        return check_statements(self.folder)

    def build(self, output: Path) -> None:
        """Build the dataset of this name again; see ``golfbench_datasets.build``."""
        from golfbench_datasets.build import build

        build(self.folder.name, output)


def open_druglike_mini() -> FolderReader:
    """Open ``druglike-mini``."""
    return FolderReader(data_folder("druglike-mini"))


def open_druglike_xtb() -> FolderReader:
    """Open ``druglike-xtb``."""
    return FolderReader(data_folder("druglike-xtb"))


def open_druglike_xtb_10k() -> FolderReader:
    """Open ``druglike-xtb-10k``."""
    return FolderReader(data_folder("druglike-xtb-10k"))


def open_druglike_dft() -> FolderReader:
    """Open ``druglike-dft``."""
    return FolderReader(data_folder("druglike-dft"))


def open_dataset(path: str | None = None) -> FolderReader:
    """Open a folder of one's own.

    Raises:
        ConfigurationError: If no path is given or it is not a folder.
    """
    if path is None:
        raise ConfigurationError("folder: which one? Write folder:path=DIRECTORY")
    folder = Path(path).expanduser()
    if not folder.is_dir():
        raise ConfigurationError(f"folder: {path} is not a folder")
    return FolderReader(folder)
