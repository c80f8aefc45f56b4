"""Engines that do what real ones sometimes do. Imported by worker processes only, through PYTHONPATH."""

import ctypes
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

from golfbench.errors import MoleculeError, OracleError

GRANDCHILD = "import time; time.sleep(300)"


class Engine:
    """Does what the id of the molecule says; otherwise the energy is the x coordinate of atom 0."""

    version = "misbehaving 1.0"

    def __init__(self, factor=1.0, pid_file=None):
        self.factor = factor
        self.pid_file = pid_file

    def label(self, molecule):
        energy = getattr(self, molecule.id, lambda m: None)(molecule)
        if energy is None:
            energy = molecule.positions[0, 0] * self.factor
        return energy, molecule.positions * -1.0

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
