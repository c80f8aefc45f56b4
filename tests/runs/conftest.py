"""Whole runs as programs of their own: molecules of six to twelve atoms, a tiny PaiNN, the real GFN2-xTB."""

import json
import os
import re
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import yaml

from golfbench.benchmark.prepare import prepare
from golfbench.benchmark.protocol import Protocol
from golfbench.chemistry import embed, formula
from golfbench.contracts import Dataset, Label, LabelledMolecule, TestMolecule
from golfbench.oracles.service import OracleService
from golfbench.registry import registry
from golfbench.specs import ComponentRef, OptimizerSpec
from golfbench.training_sets import MOST_IN_MEMORY

TINY_MODEL = "painn:preset=small,features=16,interactions=1,radial=8"
INITIAL = {"ethanol": "CCO", "ethylamine": "CCN", "acetaldehyde": "CC=O"}
TEST = {"methanol": "CO", "dimethyl-ether": "COC", "methylamine": "CN"}

#: Imports what a run needs once; each job is a fork that runs the command line and ends as a program does.
SERVER = """
import atexit, gc, json, os, sys, threading, time
import golfbench.runs.runner, golfbench.benchmark.tables, golfbench.cli.main, golfbench.training_sets
import golfbench_schnetpack.networks, golfbench_optimizers.lbfgs, golfbench_selections.golf
import golfbench_rdkit.force_fields, golfbench_datasets.reader, rich.console, rich.table

def strike(sign, calls, after_s):
    "Send this process a signal as soon as its ledger has that many lines, a while after the last of them."
    from golfbench.oracles.ledger import Ledger
    write, written = Ledger.append, 0

    def append(self, call):
        nonlocal written
        write(self, call)
        written += 1
        if written == calls:
            time.sleep(after_s)
            os.kill(os.getpid(), sign)

    Ledger.append = append

print("ready", flush=True)
gc.collect(); gc.freeze()
for line in sys.stdin:
    job = json.loads(line)
    pid = os.fork()
    if not pid:
        os.chdir(job["cwd"])
        os.environ.update(job["environment"])
        for descriptor, name in ((1, "stdout"), (2, "stderr")):
            os.dup2(os.open(job[name], os.O_WRONLY | os.O_CREAT | os.O_TRUNC), descriptor)
        os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
        sys.argv = ["golfbench", *job["arguments"]]
        golfbench.training_sets.MOST_IN_MEMORY = job["most_in_memory"]
        if job["strike"]:
            strike(**job["strike"])
        try:
            golfbench.cli.main.main()
        except SystemExit as end:  # what an interpreter does at its end, less the taking apart of its modules
            threading._shutdown()
            atexit._run_exitfuncs()
            sys.stdout.flush()
            os._exit(end.code or 0)
    print(pid, flush=True)
    print(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]), flush=True)
"""


@dataclass(frozen=True)
class Done:
    """How a program ended."""

    returncode: int
    stdout: str
    stderr: str


class Program:
    """``golfbench`` as a process; one at a time.

    Attributes:
        most_in_memory: Training sets with more labels stay in their file.
    """

    def __init__(self, server: "subprocess.Popen[str]", folder: Path) -> None:
        self._server, self.folder = server, folder
        self.most_in_memory = MOST_IN_MEMORY

    def start(self, *arguments: str, strike: dict[str, float] | None = None, **environment: str) -> int:
        job = {
            "arguments": arguments,
            "strike": strike,
            "most_in_memory": self.most_in_memory,
            "environment": environment,
            "cwd": str(self.folder),
            "stdout": str(self.folder / "stdout.txt"),
            "stderr": str(self.folder / "stderr.txt"),
        }
        self._server.stdin.write(json.dumps(job) + "\n")
        self._server.stdin.flush()
        return int(self._server.stdout.readline())

    def wait(self) -> Done:
        code = int(self._server.stdout.readline())
        return Done(code, (self.folder / "stdout.txt").read_text(), (self.folder / "stderr.txt").read_text())

    def __call__(self, *arguments: str, **environment: str) -> Done:
        self.start(*arguments, **environment)
        return self.wait()

    def interrupted(self, sign: signal.Signals, calls: int, after_s: float, *arguments: str) -> Done:
        """Run, and send a signal some time after the ledger got that many lines."""
        self.start(*arguments, strike={"sign": int(sign), "calls": calls, "after_s": after_s})
        return self.wait()


@pytest.fixture(scope="session")
def server() -> Iterator["subprocess.Popen[str]"]:
    kept = ("GOLFBENCH_CACHE", "GOLFBENCH_CACHE_POLICY")
    inherited = {k: v for k, v in os.environ.items() if not k.startswith("GOLFBENCH_") or k in kept}
    pinned = dict.fromkeys(("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS"), "1")
    process = subprocess.Popen(
        [sys.executable, "-c", SERVER],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        env=inherited | pinned,
        start_new_session=True,
        # a shell's background jobs are started deaf to SIGINT, and so would be the programs tested here
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    )
    assert process.stdout.readline() == "ready\n"
    yield process
    process.stdin.close()
    process.wait(10)


@pytest.fixture
def golfbench(server: "subprocess.Popen[str]", tmp_path: Path) -> Program:
    return Program(server, tmp_path)


@pytest.fixture(scope="session")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Dataset:
    """Small molecules with GFN2-xTB labels and minima."""
    initial = [m for name, smiles in INITIAL.items() for m in embed(smiles, name, 3, seed=1)]
    test = [embed(smiles, name, 1, seed=2)[0] for name, smiles in TEST.items()]
    unlabelled = Dataset(
        "tiny",
        "none",
        [LabelledMolecule(m, Label(0.0, m.positions, "none")) for m in initial],
        [TestMolecule(m) for m in test],
        "",
    )
    service = OracleService(tmp_path_factory.mktemp("labels"), workers=1)
    spec = registry().find(OptimizerSpec, "lbfgs")
    try:
        return prepare(unlabelled, "GFN2-xTB", ComponentRef("gfn2-xtb"), service, lambda: spec.create({}), Protocol())
    finally:
        service.close()


@pytest.fixture(scope="session")
def tiny_folder(tiny: Dataset, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The same as a folder that ``folder:path=...`` reads."""
    folder = tmp_path_factory.mktemp("tiny")
    write_dataset(folder, tiny)
    return folder


def write_dataset(folder: Path, dataset: Dataset) -> None:
    from golfbench_datasets.files import write_initial, write_test

    write_initial(folder / "initial.db", dataset.method, dataset.initial)
    names = {item.molecule.id.rpartition("/")[0]: formula(item.molecule) for item in dataset.test}
    write_test(folder / "test.db", dataset.method, dataset.test, names)
    (folder / "dataset.yaml").write_text(f"name: {dataset.name}\nmethod: {dataset.method}\n")


@pytest.fixture
def copy_of_tiny(tiny_folder: Path, tmp_path: Path) -> Path:
    """A copy that a test may spoil."""
    return Path(shutil.copytree(tiny_folder, tmp_path / "spoiled"))


@pytest.fixture
def write_config(tiny_folder: Path, tmp_path: Path) -> Callable[..., str]:
    """Write a YAML file for a run of a few seconds and return its path."""

    def write(name: str = "run.yaml", **changes: Any) -> str:
        settings = {
            "dataset": f"folder:path={tiny_folder}",
            "models": [TINY_MODEL],
            "checkpoint": "none",
            "delta": "mmff94",
            "budget": 4,
            "baseline": {"updates": 60},
            "golf": {"parallel": 2, "steps": 6, "inner_steps": 2, "updates_per_label": 3},
            "protocol": {"steps": 10, "inner_steps": 2, "evaluation_steps": [1, 3]},
            "workers": 1,
        }
        (tmp_path / name).write_text(yaml.safe_dump(settings | changes))
        return str(tmp_path / name)

    return write


def without(line: dict[str, Any], *names: str) -> dict[str, Any]:
    return {key: value for key, value in line.items() if key not in names}


class Results:
    """What a run left behind, without what time and place decide."""

    def __init__(self, output: Path) -> None:
        (self.path,) = (p for p in output.iterdir() if p.is_dir())

    def _lines(self, name: str) -> list[dict[str, Any]]:
        return [json.loads(line) for line in (self.path / name).read_text().splitlines()]

    @property
    def records(self) -> list[dict[str, Any]]:
        return [without(record, "wall_s") for record in self._lines("records.jsonl")]

    @property
    def ledger(self) -> list[str]:
        """Lines in an order of their own: that of finishing is the workers'."""
        volatile = ("call_id", "started_utc", "wall_s", "cpu_s", "awaited_s", "worker")
        return sorted(
            json.dumps(without(call, *volatile), sort_keys=True) for call in self._lines("oracle_calls.jsonl")
        )

    @property
    def asked(self) -> list[str]:
        return [c["geometry_sha256"] for c in self._lines("oracle_calls.jsonl") if c["outcome"] != "cache_hit"]

    @property
    def endpoints(self) -> dict[str, set[str]]:
        """Frames of each file of end points; a crash may have repeated one."""
        files = (self.path / "trajectories").iterdir()
        return {path.name: set(re.split(r"^(?=\d+$)", path.read_text(), flags=re.MULTILINE)) for path in files}

    @property
    def rows(self) -> list[dict[str, Any]]:
        timings = ("wall_s", "ms_per_force_call", "ms_per_training_step")
        return [without(row, *timings) for row in json.loads((self.path / "summary.json").read_text())["rows"]]


@pytest.fixture(scope="session")
def results() -> type[Results]:
    return Results


@pytest.fixture(scope="session")
def tiny_model() -> str:
    return TINY_MODEL
