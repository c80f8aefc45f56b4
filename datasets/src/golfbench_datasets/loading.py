"""Loading a dataset folder as it is, and finding the folders that ship."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from golfbench.contracts import Dataset, LabelledMolecule
from golfbench.training_sets import is_large
from golfbench_datasets.files import (
    BASELINES,
    INITIAL,
    KNOWN_LABELS,
    TEST,
    TRAJECTORIES,
    Description,
    content_hash,
    read_initial,
    read_test,
    read_trajectories,
)
from golfbench_datasets.labels_in_file import LabelsInFile


def load(folder: Path, description: Description) -> Dataset:
    """Read a folder without comparing its content with the stated hash; a large initial set is not read through."""
    initial = _initial(folder / INITIAL, description.method)
    test = read_test(test_file(folder, description), description.method)
    trajectories = read_trajectories(folder / TRAJECTORIES, description.method)
    baselines = sorted((folder / BASELINES).glob("*.safetensors"))
    return Dataset(
        name=description.name,
        method=description.method,
        initial=initial,
        test=test,
        content_hash=content_hash(description.method, initial, test, trajectories),
        checkpoints={path.stem: str(path) for path in baselines},
        trajectories=trajectories,
        known_labels=str(known) if (known := folder / KNOWN_LABELS).is_file() else "",
        oracle=description.oracle,
    )


def test_file(folder: Path, description: Description) -> Path:
    """Return the file of a dataset's test part: its own, or that of the dataset that it is shared with."""
    return (data_folder(description.test_of) if description.test_of else folder) / TEST


def _initial(path: Path, method: str) -> Sequence[LabelledMolecule]:
    """Read the initial training set; a large one stays in its file."""
    in_file = LabelsInFile(path, method)
    return in_file if is_large(in_file) else read_initial(path, method)


def data_folder(name: str) -> Path:
    """Return the folder of a dataset that ships: inside the installed package, or beside ``src`` in a checkout."""
    package = Path(__file__).resolve().parent
    installed = package / "data" / name
    return installed if installed.is_dir() else package.parents[1] / name
