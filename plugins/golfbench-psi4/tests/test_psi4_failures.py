"""Everything that can go wrong with a call: typed, readable, nothing left behind, and the next call works."""

import os
import re
import signal
import sys
import threading
from collections.abc import Callable
from pathlib import Path

import numpy as np
import psutil
import pytest

from golfbench.errors import ComponentMissingError, OracleError
from golfbench.molecules import Molecule
from golfbench.oracles import isolation
from golfbench.oracles.opening import CheckedOracle, open_oracle
from golfbench.registry import registry
from golfbench.specs import ComponentRef, OracleSpec
from golfbench_psi4 import engine
from golfbench_psi4.location import LOCATION_VARIABLE, Installation

from .conftest import drivers, wait_until

Open = Callable[..., CheckedOracle]
SMALL = {
    "method": "hf",
    "basis": "sto-3g",
    "scf": "plain",
    "threads": 1,
    "memory": "300 MB",
    "max_iterations": 100,
    "python": "",
}
H2 = Molecule("H2", np.array([1, 1]), np.array([[0.0, 0, 0], [0, 0, 0.74]]))


@pytest.mark.parametrize(("scf", "iterations"), [("plain", 2), ("guess", 4), ("damping", 4)])
def test_an_scf_that_does_not_converge(scf: str, iterations: int, open_psi4: Open, water: Molecule) -> None:
    oracle = open_psi4(f"psi4:method=hf,basis=sto-3g,max_iterations=2,scf={scf}")
    easy = Molecule("He", np.array([2]), np.zeros((1, 3)))  # one basis function: nothing to iterate
    complaint = rf"water: hf/sto-3g: .* in {iterations} iterations\. \(scf={scf}\)"
    for _ in range(2):
        with pytest.raises(OracleError, match=complaint) as caught:
            oracle.label(water)
        assert caught.value.kind == "not_converged"
        assert oracle.label(easy)[0] == pytest.approx(-2.8078, abs=1e-3)


def test_the_last_way_converges_where_the_others_do_not(open_psi4: Open) -> None:
    stretched = Molecule("HF", np.array([1, 9]), np.array([[0.0, 0, 0], [0, 0, 3.0]]))
    for way in ({}, *registry().find(OracleSpec, "psi4").fallbacks[:-1]):
        with pytest.raises(OracleError, match="Could not converge SCF") as caught:
            open_psi4(str(ComponentRef("psi4", {"method": "hf", "basis": "sto-3g", **way}))).label(stretched)
        assert caught.value.kind == "not_converged"
    energy, _ = open_psi4("psi4:method=hf,basis=sto-3g,scf=second-order").label(stretched)
    assert energy == pytest.approx(-97.7896012, abs=1e-6)


def test_a_meta_gga_has_no_second_order_way(open_psi4: Open, water: Molecule) -> None:
    oracle = open_psi4("psi4:method=M06-L,basis=sto-3g,scf=second-order")
    if "psi4 1.3" not in oracle.version:
        pytest.skip("other versions may have one")
    with pytest.raises(OracleError, match="water: M06-L/sto-3g: meta-GGA functionals have no second-order") as caught:
        oracle.label(water)
    assert caught.value.kind == "not_converged"


def test_what_psi4_does_not_know_is_input(open_psi4: Open, water: Molecule) -> None:
    uranium = Molecule("UO2", np.array([92, 8, 8]), np.array([[0, 0, 0], [0, 0, 1.7], [0, 0, -1.7]]))
    broken = Molecule("broken", water.numbers, water.positions, multiplicity=2)
    cases = [
        ("psi4:method=hff,basis=sto-3g", water, "hff/sto-3g: .*not available"),
        ("psi4:method=hf,basis=sto-33g", water, "hf/sto-33g: .*basis set"),
        ("psi4:method=hf,basis=sto-3g", uranium, "UO2: hf/sto-3g: .*basis set"),
        ("psi4:method=hf,basis=sto-3g", broken, "10 electrons .* cannot have multiplicity 2"),
    ]
    for text, molecule, complaint in cases:
        oracle = open_psi4(text)
        with pytest.raises(OracleError, match=complaint) as caught:
            oracle.label(molecule)
        assert caught.value.kind == "input"
        assert "\n" not in str(caught.value)
        oracle.close()


def test_other_errors_are_of_the_engine_and_the_next_call_works(open_psi4: Open, water: Molecule) -> None:
    oracle = open_psi4("psi4:method=hf,basis=sto-3g")
    before = oracle.label(water)[0]
    weak = open_psi4("psi4:method=b3lyp-d3bj,basis=sto-3g")  # needs a program beside Psi4
    if "psi4 1.3" in weak.version:
        with pytest.raises(OracleError, match="water: b3lyp-d3bj/sto-3g: RuntimeError: ") as caught:
            weak.label(water)
        assert caught.value.kind == "engine"
    assert oracle.label(water)[0] == before


def kill_when_busy(find: Callable[[], list[psutil.Process]]) -> threading.Thread:
    """Kill what ``find`` returns as soon as the driver iterates."""

    def kill() -> None:
        wait_until(drivers)
        output = Path(drivers()[0].cwd()) / "output.txt"
        wait_until(lambda: output.exists() and "iter" in output.read_text(errors="replace"), 60)
        for process in find():
            os.kill(process.pid, signal.SIGKILL)

    thread = threading.Thread(target=kill)
    thread.start()
    return thread


def workers() -> list[psutil.Process]:
    return [p for p in psutil.Process().children() if "golfbench.oracles.worker" in " ".join(p.cmdline())]


@pytest.mark.parametrize(
    ("victims", "complaint"),
    [(drivers, "ring: Psi4's process ended: SIGKILL"), (workers, "ring: psi4 crashed: SIGKILL")],
    ids=["psi4", "worker"],
)
def test_kill_9_in_mid_calculation(
    victims: Callable[[], list[psutil.Process]], complaint: str, open_psi4: Open, ring: Molecule, scratch: Path
) -> None:
    oracle = open_psi4("psi4")
    killer = kill_when_busy(victims)
    with pytest.raises(OracleError, match=complaint) as caught:
        oracle.label(ring)
    killer.join()
    assert caught.value.kind == "crashed"
    wait_until(lambda: not drivers())
    assert not list(scratch.glob("*/psi4-*"))
    assert oracle.label(H2)[0] == pytest.approx(-1.1718, abs=1e-3)


def test_the_time_limit_ends_psi4(open_psi4: Open, ring: Molecule, scratch: Path) -> None:
    oracle = open_psi4("psi4", time_limit_s=3)
    with pytest.raises(OracleError, match="ring: psi4 took longer than 3 s") as caught:
        oracle.label(ring)
    assert caught.value.kind == "time_limit"
    wait_until(lambda: not drivers())
    assert list(scratch.iterdir()) == []


def test_psi4_killed_while_idle_is_replaced(psi4: Installation, water: Molecule, scratch: Path) -> None:
    oracle = engine.Psi4Oracle(**SMALL)
    energy = oracle.label(water)[0]
    drivers()[0].kill()
    wait_until(lambda: oracle._driver is not None and oracle._driver.is_dead())
    assert oracle.label(water)[0] == energy
    oracle.close()
    assert list(scratch.iterdir()) == []


def test_psi4_that_leaks_is_replaced(open_psi4: Open, water: Molecule, monkeypatch: pytest.MonkeyPatch) -> None:
    """Psi4 1.3.2 loses 0.3 MB with each gradient of water at HF/STO-3G, in a process below that of the worker."""
    allowed = 1_000_000
    monkeypatch.setattr(isolation, "_GROWTH_BYTES", allowed)
    monkeypatch.setattr(isolation, "_LOOKS_PER_CORE", 0)
    oracle = open_psi4()
    if "psi4 1.3" not in oracle.version:
        pytest.skip("other versions may not leak")
    seen: dict[int, list[int]] = {}
    for _ in range(10):
        energy, _ = oracle.label(water)
        assert energy == pytest.approx(-74.9, abs=0.2)
        for driver in drivers():
            seen.setdefault(driver.pid, []).append(driver.memory_info().rss)
    assert len(seen) > 1
    assert all(sizes[-1] - sizes[0] <= allowed for sizes in seen.values())


@pytest.mark.skipif(sys.platform != "linux", reason="memory is given back to the system with glibc")
def test_memory_of_a_calculation_is_given_back(open_psi4: Open, water: Molecule) -> None:
    """The grid of water takes 50 MB while its gradient is computed; an oracle at rest keeps the libraries and leaks."""
    oracle = open_psi4("psi4")
    _ = oracle.version
    (driver,) = drivers()
    oracle.label(water)
    assert driver.memory_info().rss < 135e6  # 156 without giving back


# Installations that are none: an environment made of this interpreter and a module called psi4.

FAKE = """
import os
from types import SimpleNamespace
__version__ = "{version}"
os.write(1, b"chatter of a library\\n")
print("chatter of a module", flush=True)
def gradient(*args, **kwargs):
    {body}
def nothing(*args, **kwargs):
    os.write(1, b'{{"id": "1", "success": true}}\\n')
core = SimpleNamespace(**dict.fromkeys(("set_num_threads", "set_memory_bytes", "set_output_file"), nothing))
core.Molecule = SimpleNamespace(from_arrays=nothing)
set_options = nothing
"""


@pytest.fixture
def fake(tmp_path: Path, scratch: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., CheckedOracle]:
    """Open the oracle with a module of this version and body in the place of Psi4."""

    def open_fake(body: str, version: str = "1.9") -> CheckedOracle:
        prefix = tmp_path / "environment"
        (prefix / "bin").mkdir(parents=True)
        (prefix / "lib" / "psi4").mkdir(parents=True)
        (prefix / "bin" / "python3").symlink_to(sys.executable)
        (prefix / "lib" / "psi4" / "__init__.py").write_text(FAKE.format(body=body, version=version))
        monkeypatch.setenv(LOCATION_VARIABLE, str(prefix))
        return open_oracle(ComponentRef.parse("psi4"), registry())

    return open_fake


@pytest.mark.parametrize(
    ("body", "kind", "complaint"),
    [
        ("raise RuntimeError('\\nFatal Error: no luck\\nin a file')", "engine", "RuntimeError: no luck"),
        ("raise MemoryError('too small')", "memory", "out of memory, give it more with memory="),
        ("os.write(2, b'what(): std::bad_alloc\\n'); os.abort()", "memory", "Psi4's process ended: SIGABRT"),
        ("raise RuntimeError('what(): std::bad_alloc')", "memory", "out of memory, give it more with memory="),
        ("os.abort()", "crashed", "Psi4's process ended: SIGABRT"),
        ("os._exit(3)", "crashed", "Psi4's process ended: exit code 3"),
        ("raise SystemExit(1)", "crashed", "Psi4's process ended: exit code 1"),
    ],
)
def test_failures_have_kinds_whatever_is_printed(
    body: str, kind: str, complaint: str, fake: Callable[..., CheckedOracle], scratch: Path
) -> None:
    with fake(body) as oracle:
        assert oracle.version == "psi4 1.9"
        for _ in range(2):
            with pytest.raises(OracleError) as caught:
                oracle.label(H2)
            assert complaint in str(caught.value)
            assert caught.value.kind == kind
    assert drivers() == []
    assert list(scratch.iterdir()) == []


@pytest.mark.parametrize("version", ["1.4", "1.4.0", "1.4a2.dev1", "1.4rc1", "1.4+abc"])
def test_versions_with_wrong_energies_are_refused(
    version: str, fake: Callable[..., CheckedOracle], scratch: Path
) -> None:
    with fake("pass", version) as oracle, pytest.raises(ComponentMissingError, match="wrong energies for range-sep"):
        oracle.label(H2)
    assert list(scratch.iterdir()) == []
    assert re.fullmatch(registry().find(OracleSpec, "psi4").refused_engines, f"psi4 {version}")


@pytest.mark.parametrize("version", ["1.3.2", "1.4.1", "1.5", "1.10.2", "1.40"])
def test_other_versions_are_not(version: str) -> None:
    assert not re.fullmatch(registry().find(OracleSpec, "psi4").refused_engines, f"psi4 {version}")


def test_a_driver_that_answers_garbage(tmp_path: Path, scratch: Path, water: Molecule) -> None:
    python = tmp_path / "python3"
    for answers, complaint in (
        ("echo garbage", "cannot be used"),
        ("""read line; echo '{"id": "7", "success": true}'""", "another question"),
        ("""read line; echo '{"id": "1", "success": true, "extras": {"cpu_s": 1}}'""", "no usable answer"),
        ("read line; echo garbage", "not JSON"),
        ("read line; echo '[1]'", "not JSON"),
        ("read line", "ended: exit code 0"),
    ):
        hello = """echo '{"success": true, "provenance": {"version": "1.9"}}'""" if "read" in answers else ""
        python.write_text(f"#!/bin/sh\n{hello}\n{answers}\n")
        python.chmod(0o755)
        engine._found.clear()
        oracle = engine.Psi4Oracle(**{**SMALL, "python": str(python)})
        if not hello:
            with pytest.raises(ComponentMissingError, match="not JSON"):
                oracle.label(water)
            continue
        with pytest.raises(OracleError, match=complaint):
            oracle.label(water)
        assert list(scratch.iterdir()) == []
    engine._found.clear()
