"""Engines that do what real ones sometimes do. Imported by worker processes only, through PYTHONPATH."""

import ctypes
import mmap
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

from golfbench.errors import MoleculeError, OracleError

GRANDCHILD = "import time; time.sleep(300)"
#: Starts a grandchild in a session of its own and ends: it has neither parent nor group in common with the engine.
DAEMON = (
    "import subprocess, sys\n"
    f"command = [sys.executable, '-c', {GRANDCHILD!r}]\n"
    "daemon = subprocess.Popen(command, start_new_session=True, stdout=subprocess.DEVNULL)\n"
    "print(daemon.pid)\n"
)
#: Keeps 20 MB for each line that it reads.
LEAK = (
    "import sys\n"
    "kept = []\n"
    "for line in sys.stdin:\n"
    "    kept.append(b'x' * 20_000_000)\n"
    "    print(len(kept), flush=True)\n"
)
HOARDER = "import time; hoard = b'x' * 160_000_000; time.sleep(300)"


class Engine:
    """Does what the id of the molecule says; otherwise the energy is the x coordinate of atom 0."""

    version = "misbehaving 1.0"

    def __init__(self, factor=1.0, pid_file=None):
        self.factor = factor
        self.pid_file = pid_file

    def label(self, molecule):
        if molecule.id == "adrift":
            return 0.0, np.ones((len(molecule), 3))
        energy = getattr(self, molecule.id, lambda m: None)(molecule)
        if energy is None:
            energy = molecule.positions[0, 0] * self.factor
        return energy, molecule.positions.mean(axis=0) - molecule.positions

    def pid(self, molecule):
        return float(os.getpid())

    def threads(self, molecule):
        return float(os.environ["OMP_NUM_THREADS"]) + float(os.environ["OPENBLAS_NUM_THREADS"]) / 100

    def imports_torch(self, molecule):
        return float("torch" in sys.modules)

    def burn(self, molecule):
        end = time.process_time() + 0.1
        while time.process_time() < end:
            pass

    def hang(self, molecule):
        for leaves_the_group in (False, True):
            grandchild = subprocess.Popen([sys.executable, "-c", GRANDCHILD], start_new_session=leaves_the_group)
            with Path(self.pid_file).open("a") as file:
                file.write(f"{grandchild.pid}\n")
        with Path(self.pid_file).open("a") as file:
            file.write(f"{os.getpid()}\n")
        time.sleep(300)

    def hang_with_a_daemon(self, molecule):
        started = subprocess.run([sys.executable, "-c", DAEMON], stdout=subprocess.PIPE)
        Path(self.pid_file).write_bytes(started.stdout)
        time.sleep(300)

    def crash_beside_a_daemon(self, molecule):
        started = subprocess.run([sys.executable, "-c", DAEMON], stdout=subprocess.PIPE)
        Path(self.pid_file).write_bytes(started.stdout)
        os.abort()

    def eat(self, molecule):
        self.kept = [b"x" * 20_000_000 for _ in range(100)]

    def eat_and_hide_it(self, molecule):
        try:
            self.eat(molecule)
        except MemoryError as error:
            raise RuntimeError("allocation of the integrals failed") from error

    def eat_what_is_shared(self, molecule):
        """Take memory that the kernel's limit does not cover, and keep at it for a while."""
        self.kept = []
        for _ in range(40):
            self.kept.append(mmap.mmap(-1, 20_000_000))
            self.kept[-1].write(b"x" * 20_000_000)
            time.sleep(0.05)

    def eat_in_grandchildren(self, molecule):
        for _ in range(3):
            grandchild = subprocess.Popen([sys.executable, "-c", HOARDER])
            with Path(self.pid_file).open("a") as file:
                file.write(f"{grandchild.pid}\n")
        grandchild.wait()

    def abort_without_memory(self, molecule):
        os.write(2, b"terminate called after throwing an instance of 'std::bad_alloc'\n")
        os.abort()

    def grow(self, molecule):
        self.kept = [*getattr(self, "kept", []), b"x" * 20_000_000]
        return float(os.getpid())

    def grow_a_lot(self, molecule):
        for _ in range(5):
            self.grow(molecule)

    def grow_and_fail(self, molecule):
        self.grow(molecule)
        self.not_converged(molecule)

    def grow_in_a_grandchild(self, molecule):
        if not hasattr(self, "grandchild"):
            command = [sys.executable, "-c", LEAK]
            self.grandchild = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        self.grandchild.stdin.write(b"more\n")
        self.grandchild.stdin.flush()
        self.grandchild.stdout.readline()

    def need(self, molecule):
        """Hold, once and for all, 50 MB for each atom of the largest molecule."""
        size = 50_000_000 * len(molecule)
        if size > len(getattr(self, "workspace", b"")):
            self.workspace = b"x" * size

    def segfault(self, molecule):
        print("about to read address zero", file=sys.stderr, flush=True)
        ctypes.string_at(0)

    def leave(self, molecule):
        os._exit(7)

    def chatter(self, molecule):
        print('{"energy_hartree": 666}', flush=True)
        os.write(1, b"not json\n" * 20_000)
        ctypes.CDLL(None).puts(b"from C")
        assert sys.stdin.read() == ""
        assert os.read(0, 10) == b""

    def speak_out_of_turn(self, molecule):
        for descriptor in range(3, 20):
            try:
                os.write(descriptor, b"garbage\n")
            except OSError:
                continue

    def not_a_number(self, molecule):
        return float("nan")

    def not_converged(self, molecule):
        raise OracleError(f"{molecule.id}: 250 iterations were not enough", "not_converged")

    def bad_input(self, molecule):
        raise MoleculeError(f"{molecule.id}: no such element")

    def value_error(self, molecule):
        raise ValueError("something in the engine")

    def litter(self, molecule):
        Path("in_working_directory.tmp").write_text("x")
        with tempfile.NamedTemporaryFile("w", delete=False) as file:
            file.write("x")


class WrongShape(Engine):
    """Forces of another molecule."""

    def label(self, molecule):
        return 0.0, np.zeros((len(molecule) + 1, 3))


def refuse(**parameters):
    """Refuse every parameter."""
    from golfbench.errors import ConfigurationError

    raise ConfigurationError("bad: basis 'none' is not known")


def explode(**parameters):
    """Fail as a broken installation does."""
    raise RuntimeError("libfoo.so.3 not found")


def never(**parameters):
    """Take for ever to start."""
    time.sleep(300)
