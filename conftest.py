"""For all tests: none of them writes to the label cache or the weights of whoever runs them, nor reads the cache."""

import os
import tempfile

import pytest

from golfbench import store

# Before any test module starts a run of its own, at the latest when fixtures of a module do; removed at the end.
_folder = tempfile.TemporaryDirectory(prefix="golfbench-tests-")
os.environ["GOLFBENCH_CACHE"] = os.path.join(_folder.name, "labels.sqlite")
os.environ["GOLFBENCH_CACHE_POLICY"] = "off"
# Published weights that the set-up fetched are read where they are; workers inherit the first value.
os.environ.setdefault("GOLFBENCH_SETUP_WEIGHTS", str(store.folder()))
os.environ["GOLFBENCH_WEIGHTS"] = os.path.join(_folder.name, "weights")
os.environ["GOLFBENCH_DATA"] = os.path.join(_folder.name, "datasets")

#: Takes minutes, whole runs with Psi4: begun last, it would keep one process busy while the others have nothing to do.
LONGEST = "test_psi4_run.py"


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Begin with what takes longest."""
    items.sort(key=lambda item: item.path.name != LONGEST)
