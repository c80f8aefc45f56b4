"""Whole runs on each executor, as programs of their own, with engines that sleep, crash and hang."""

import json
import os
import shutil
import subprocess
import sys
import tempfile
import uuid
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import pytest
import yaml

from golfbench.contracts import Label, LabelledMolecule, TestMolecule
from golfbench.molecules import Molecule
from golfbench_datasets.files import write_initial, write_test

ENGINES = Path(__file__).parent.parent / "engines"
MARK = "GOLFBENCH_TESTS_MARK"


def hydrogen(name: str, number: int) -> Molecule:
    """The engines of these tests do what a name says, and answer with the x coordinate of atom 0."""
    positions = np.array([[0.01 * number, 0, 0], [0.01 * number, 0, 0.74]])
    return Molecule(name, np.array([1, 1]), positions, smiles="[H][H]")


class Run:
    """A dataset of hydrogen molecules, and ``golfbench`` in an environment where whatever it starts is found again."""

    def __init__(self, folder: Path, names: Sequence[str], oracle: str) -> None:
        self.folder, self.log = folder, folder / "calls.log"
        # A short path: the sockets of multiprocessing, which Parsl uses, lie below it.
        self.scratch = Path(tempfile.mkdtemp(prefix="scratch-"))
        molecules = [hydrogen(name, number) for number, name in enumerate(names, 1)]
        start_forces = np.array([[0.0, 0.0, 1.0], [0.0, 0.0, -1.0]])
        labels = [Label(m.positions[0, 0], np.zeros((2, 3)), "TEST") for m in molecules]
        below = [Label(label.energy - 1, label.forces, "TEST") for label in labels]
        start = hydrogen("start/0", 0)
        write_initial(folder / "initial.db", "TEST", [LabelledMolecule(start, Label(0.0, start_forces, "TEST"))])
        test = [
            TestMolecule(m, label, m.positions + 0.1, minimum)
            for m, label, minimum in zip(molecules, labels, below, strict=True)
        ]
        write_test(folder / "test.db", "TEST", test, {name.partition("/")[0]: "H2" for name in names})
        (folder / "dataset.yaml").write_text("name: hydrogens\nmethod: TEST\n")
        config = {
            "dataset": f"folder:path={folder}",
            "models": ["sleeping:seconds=0.0"],
            "references": [],
            "oracles": [f"{oracle}{',' if ':' in oracle else ':'}log={self.log}"],
        }
        (folder / "run.yaml").write_text(yaml.safe_dump(config))
        self.mark = uuid.uuid4().hex
        self.environment = {
            **os.environ,
            "PYTHONPATH": str(ENGINES),
            "TMPDIR": str(self.scratch),
            MARK: self.mark,
        }

    def golfbench(self, *arguments: str) -> "subprocess.CompletedProcess[str]":
        return subprocess.run(
            [sys.executable, "-m", "golfbench", *arguments],
            cwd=self.folder,
            env=self.environment,
            capture_output=True,
            text=True,
            timeout=180,
        )

    def start(self, *options: str) -> "subprocess.CompletedProcess[str]":
        return self.golfbench("run", "run.yaml", "--output", "out", *options)

    @property
    def directory(self) -> Path:
        (path,) = (p for p in (self.folder / "out").iterdir() if p.is_dir())
        return path

    def lines(self, name: str) -> list[dict[str, Any]]:
        return [json.loads(line) for line in (self.directory / name).read_text().splitlines()]

    def asked(self) -> list[str]:
        """Return whom the engines were asked about, each time that they were."""
        return [line.split()[0] for line in self.log.read_text().splitlines() if not line.startswith("grandchild")]

    def survivors(self) -> list[str]:
        """Return the command lines of the processes that this run started and left behind."""
        found = []
        for process in psutil.process_iter():
            try:
                if process.environ().get(MARK) == self.mark and process.status() != psutil.STATUS_ZOMBIE:
                    found.append(" ".join(process.cmdline()))
            except psutil.Error:
                continue
        return found


@pytest.fixture
def make_run(tmp_path: Path) -> Iterator[Any]:
    made: list[Run] = []

    def make(names: Sequence[str], oracle: str) -> Run:
        made.append(Run(tmp_path, names, oracle))
        return made[-1]

    yield make
    for run in made:
        shutil.rmtree(run.scratch)
