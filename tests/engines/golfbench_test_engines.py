"""Oracles that sleep or misbehave, as a plugin for every process that has this folder on PYTHONPATH.

Beside this module is the metadata of a distribution, so that ``importlib.metadata`` finds its entry point: workers on
other machines, their children and the command line know these oracles as soon as the variable is set. A process that
runs already needs more::

    monkeypatch.syspath_prepend(FOLDER)
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join(filter(None, [str(FOLDER), os.environ.get("PYTHONPATH")])))
    registry.cache_clear()  # and once more when the test is over
"""

import ctypes
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import psutil

from golfbench import hookimpl
from golfbench.errors import OracleError
from golfbench.specs import OracleSpec, Parameter

#: Limit of a call of ``misbehaving``, s.
TIME_LIMIT_S = 3.0
GRANDCHILD = (sys.executable, "-S", "-c", "import time; time.sleep(300)")
LOG = Parameter("log", "", "File that gets a line 'id pid' with each call; empty: none.", technical=True)


@hookimpl
def golfbench_oracles():
    """Offer them."""
    seconds = Parameter("seconds", 0.5, "How long a call takes, s.", technical=True)
    return [
        OracleSpec(
            name="sleeping",
            factory="golfbench_test_engines:Sleeping",
            summary="Sleeps, then answers with the x coordinate of atom 0, Hartree, and no forces.",
            method="TEST",
            parameters=(seconds, LOG),
        ),
        OracleSpec(
            name="slow-mmff94",
            factory="golfbench_test_engines:SlowForceField",
            summary="MMFF94 that takes its time.",
            method="MMFF94 slow",
            parameters=(seconds,),
            charged=False,
        ),
        OracleSpec(
            name="misbehaving",
            factory="golfbench_test_engines:Misbehaving",
            summary="Does what the id of the molecule says up to its first hyphen; otherwise answers as 'sleeping'.",
            method="TEST",
            parameters=(LOG,),
            time_limit_s=TIME_LIMIT_S,
        ),
    ]


class Sleeping:
    """Answers late."""

    version = "sleeping 1.0"

    def __init__(self, seconds, log):
        self.seconds = seconds
        self.log = log

    def label(self, molecule):
        note(self.log, molecule.id, os.getpid())
        time.sleep(self.seconds)
        return answer(molecule)


class SlowForceField:
    """Sleeps, then answers as MMFF94 does."""

    version = "slow 1.0"

    def __init__(self, seconds):
        from golfbench_rdkit.force_fields import Mmff94

        self.seconds, self.engine = seconds, Mmff94()

    def label(self, molecule):
        time.sleep(self.seconds)
        return self.engine.label(molecule)


class Misbehaving:
    """``hang-3`` hangs, ``litter`` litters, ``C6H6`` gets a good answer."""

    version = "misbehaving 1.0"

    def __init__(self, log):
        self.log = log

    def label(self, molecule):
        note(self.log, molecule.id, os.getpid())
        deed = DEEDS.get(molecule.id.partition("-")[0])
        energy, forces = answer(molecule)
        given = deed(molecule, self.log) if deed else None
        return energy if given is None else given, forces


def answer(molecule):
    return float(molecule.positions[0, 0]), molecule.positions * 0.0


def note(log, *words):
    """Append a line; O_APPEND keeps those of several processes apart."""
    if log:
        with Path(log).open("a", encoding="utf-8") as file:
            file.write(" ".join(map(str, words)) + "\n")


def segfault(molecule, log):
    ctypes.string_at(0)


def value_error(molecule, log):
    raise ValueError("something in the engine")


def hang(molecule, log):
    """Outlast every limit, with one grandchild in the group and one that leaves it; their pids are in the log."""
    for leaves_the_group in (False, True):
        note(log, "grandchild", subprocess.Popen(GRANDCHILD, start_new_session=leaves_the_group).pid)
    time.sleep(300)


def not_converged(molecule, log):
    raise OracleError(f"{molecule.id}: 250 iterations were not enough", "not_converged")


def litter(molecule, log):
    """Leave a file in the working directory and one where temporary files go."""
    Path("in_working_directory.tmp").write_text("x")
    with tempfile.NamedTemporaryFile("w", prefix="litter-", delete=False) as file:
        file.write("x")


def pid(molecule, log):
    return float(os.getpid())


def threads(molecule, log):
    return float(os.environ["OMP_NUM_THREADS"])


def kill_worker(molecule, log):
    """Kill the process that asked, which is the executor's worker, and wait for the end.

    Never under an executor whose workers are threads of the process that must live on.
    """
    ours = ("golfbench.oracles.worker", "golfbench.oracles.guard")
    next(p for p in psutil.Process().parents() if not set(ours) & set(p.cmdline())).kill()
    time.sleep(300)


def kill_worker_once(molecule, log):
    """Do that to the first worker that asks for this molecule; needs the log."""
    lines = Path(log).read_text(encoding="utf-8").splitlines()
    if [line.split()[0] for line in lines].count(molecule.id) == 1:
        kill_worker(molecule, log)


BEHAVIOURS = (segfault, value_error, hang, not_converged, litter, pid, threads, kill_worker, kill_worker_once)
DEEDS = {deed.__name__: deed for deed in BEHAVIOURS}
