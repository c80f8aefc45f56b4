"""QCEngine against the engines called without it, its failures by kind, and nothing left behind."""

import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import pytest

from golfbench.chemistry import embed
from golfbench.errors import ComponentMissingError, ConfigurationError, OracleError
from golfbench.molecules import Molecule
from golfbench.oracles.opening import CheckedOracle, open_oracle
from golfbench.registry import registry
from golfbench.specs import ComponentRef, OracleSpec, parse_arguments
from golfbench.testing import contract_tests
from golfbench_qcengine.engine import explain

WATER = Molecule("water", np.array([8, 1, 1]), np.array([[0, 0, -0.06], [0, 0.79, 0.5], [0.05, -0.79, 0.51]]))
PSI4 = "qcengine:program=psi4,method=hf,basis=sto-3g"
XTB = "qcengine:program=xtb,method=GFN2-xTB"

needs_psi4 = pytest.mark.skipif(shutil.which("psi4") is None, reason="no program psi4 on PATH")
needs_xtb = pytest.mark.skipif(find_spec("xtb") is None, reason="no module xtb")

if find_spec("xtb") is not None:
    test_contract_of_a_program_that_is_a_library = contract_tests("oracle", XTB)


def in_this_process(text: str) -> CheckedOracle:
    """Open an oracle without a worker, which takes seconds to start."""
    ref = ComponentRef.parse(text)
    spec = registry().find(OracleSpec, ref.name)
    return CheckedOracle(spec, spec.create(ref.parameters))


@pytest.fixture
def scratch(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where this process makes temporary directories."""
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    return tmp_path


def wait_until(condition: Callable[[], Any], limit_s: float = 60.0) -> None:
    deadline = time.monotonic() + limit_s
    while not condition():
        assert time.monotonic() < deadline, "waited too long"
        time.sleep(0.02)


def psi4_below(folder: Path) -> list[psutil.Process]:
    """Return the calculations of psi4 that have their scratch files below a folder."""
    found = []
    for process in psutil.process_iter(["cmdline"]):
        words = process.info["cmdline"] or []
        if "--scratch" in words and any(word.startswith(str(folder)) for word in words):
            found.append(process)
    return found


@needs_psi4
def test_psi4_gives_the_energy_of_golfbench_psi4(scratch: Path) -> None:
    pytest.importorskip("golfbench_psi4")
    with open_oracle(ComponentRef.parse(PSI4), registry()) as ours:
        energy, forces = ours.label(WATER)
        assert ours.version.startswith("psi4 1.")
    with open_oracle(ComponentRef.parse("psi4:method=hf,basis=sto-3g"), registry()) as theirs:
        expected, expected_forces = theirs.label(WATER)
    assert energy == pytest.approx(expected, abs=1e-8)
    assert forces == pytest.approx(expected_forces, abs=1e-6)
    assert list(scratch.iterdir()) == []


@needs_xtb
def test_xtb_gives_the_labels_of_golfbench_xtb() -> None:
    pytest.importorskip("golfbench_xtb")
    oracle = in_this_process(XTB)
    with open_oracle(ComponentRef.parse("gfn2-xtb"), registry()) as direct:
        for smiles in ("CCO", "CC(=O)[O-]", "C[NH3+]", "C[CH]C"):
            molecule = embed(smiles, smiles, 1, seed=4)[0]
            (energy, forces), (expected, expected_forces) = oracle.label(molecule), direct.label(molecule)
            assert energy == pytest.approx(expected, abs=1e-8)
            assert forces == pytest.approx(expected_forces, abs=1e-5)


@needs_psi4
@pytest.mark.parametrize(
    ("text", "kind", "complaint"),
    [
        (f"{PSI4},keywords=(maxiter=2)", "not_converged", "SCFConvergenceError: Could not converge SCF"),
        ("qcengine:program=psi4,method=hf,basis=sto-33g", "input", "BasisSetNotFound: .*Unable to find a basis set"),
    ],
)
def test_what_psi4_cannot_do_has_a_kind(text: str, kind: str, complaint: str, scratch: Path) -> None:
    oracle = in_this_process(text)
    with pytest.raises(OracleError, match=f"water: psi4: {complaint}") as caught:
        oracle.label(WATER)
    assert caught.value.kind == kind
    assert "\n" not in str(caught.value)
    assert list(scratch.iterdir()) == []


#: Labels a molecule that keeps psi4 busy for many seconds.
LABEL = """
from golfbench.chemistry import embed
from golfbench.oracles.opening import open_oracle
from golfbench.registry import registry
from golfbench.specs import ComponentRef
oracle = open_oracle(ComponentRef.parse("qcengine:program=psi4,method=wB97X-D,basis=def2-SVP"), registry())
oracle.label(embed("c1ccccc1", "ring", 1, seed=1)[0])
"""


@needs_psi4
def test_psi4_is_in_the_workers_session_and_does_not_survive_a_killed_parent(scratch: Path) -> None:
    parent = subprocess.Popen([sys.executable, "-c", LABEL])
    wait_until(lambda: psi4_below(scratch))
    workers = [p.pid for p in psutil.Process(parent.pid).children() if "golfbench.oracles.worker" in p.cmdline()]
    assert [os.getsid(process.pid) for process in psi4_below(scratch)] == workers  # ends with it at a time limit
    (folder,) = scratch.iterdir()
    os.kill(parent.pid, signal.SIGKILL)
    parent.wait()
    try:
        wait_until(lambda: not psi4_below(scratch) and not folder.exists(), 2)
    finally:
        for process in psi4_below(scratch):
            process.kill()


@pytest.mark.parametrize(
    ("text", "error", "complaint"),
    [
        ("qcengine", ConfigurationError, "say which program and method"),
        ("qcengine:program=psi4", ConfigurationError, "say which program and method"),
        ("qcengine:program=psi5,method=hf", ConfigurationError, "unknown program 'psi5': did you mean 'psi4'"),
        (
            "qcengine:program=rdkit,method=MMFF94",
            ConfigurationError,
            "rdkit answers in wrong units",
        ),
        (f"{XTB},threads=0", ConfigurationError, "threads=0 and memory=2.0 must be above 0"),
        (f"{XTB},keywords=(maxiter)", ConfigurationError, "arguments:maxiter"),
    ],
)
def test_parameters_that_cannot_be_used(text: str, error: type[Exception], complaint: str) -> None:
    with pytest.raises(error, match=complaint):
        in_this_process(text)


@pytest.mark.skipif(shutil.which("nwchem") is not None, reason="nwchem is installed")
def test_a_program_that_is_not_installed() -> None:
    with pytest.raises(ComponentMissingError, match=r"program nwchem was not found: .*[Ii]nstall") as caught:
        in_this_process("qcengine:program=nwchem,method=hf,basis=sto-3g")
    assert caught.value.exit_code == 3


def test_rdkit_of_qcengine_has_wrong_units() -> None:
    """Why it is refused: as soon as this fails, it need not be any more."""
    qcengine = pytest.importorskip("qcengine")
    from golfbench_qcengine.engine import _request

    methanol = embed("CO", "methanol", 1, seed=1)[0]
    request = _request(methanol, {"method": "UFF", "basis": None}, {})
    request["molecule"]["connectivity"] = [(0, 1, 1), (0, 2, 1), (0, 3, 1), (0, 4, 1), (1, 5, 1)]
    answer = qcengine.compute(request, "rdkit", return_dict=True, raise_error=True)
    energy = open_oracle(ComponentRef("uff"), registry()).label(methanol)[0]
    assert energy / answer["properties"]["return_energy"] == pytest.approx(4.184, abs=1e-3)


def test_level_of_theory() -> None:
    spec = registry().find(OracleSpec, "qcengine")

    def level(text: str) -> str:
        ref = ComponentRef.parse(text)
        assert ComponentRef.parse(str(ref)) == ref
        return spec.level_of_theory(ref.parameters)

    assert level(PSI4) == "hf/sto-3g"
    assert level(XTB) == "GFN2-xTB"
    assert level(f"{PSI4},keywords=(scf_type=pk,maxiter=9)") == "hf/sto-3g(scf_type=pk,maxiter=9)"
    assert level(f"{PSI4},keywords=(maxiter=9),level=hf/sto-3g") == "hf/sto-3g"
    assert {"memory", "threads"} == {p.name for p in spec.parameters if p.technical}
    assert re.fullmatch(spec.refused_engines, "psi4 1.4 (qcengine 0.34.2)")
    assert not re.fullmatch(spec.refused_engines, "psi4 1.4.1 (qcengine 0.34.2)")


def test_keywords_are_read() -> None:
    assert parse_arguments("") == {}
    given = parse_arguments("(scf_type=df,e_convergence=1e-8,maxiter=200,puream=true)")
    assert given == {"scf_type": "df", "e_convergence": 1e-8, "maxiter": 200, "puream": True}
    assert parse_arguments('({"docc": [5], "maxiter": 9})') == {"docc": [5], "maxiter": 9}
    with pytest.raises(ConfigurationError, match="not a JSON object"):
        parse_arguments("({'docc': [5]})")


@pytest.mark.parametrize(
    ("error_type", "message", "kind", "reason"),
    [
        ("convergence_error", "QCEngine Convergence Error: no", "not_converged", "QCEngine Convergence Error: no"),
        ("random_error", "QCEngine Random Error: SIGSEGV", "crashed", "QCEngine Random Error: SIGSEGV"),
        ("input_error", "Traceback:\n  File x\na.b.ValidationError: bad\n", "input", "ValidationError: bad"),
        ("unknown_error", "words\nSCF has not converged in 9\n", "not_converged", "SCF has not converged in 9"),
        ("unknown_error", "what():  std::bad_alloc", "memory", "what():  std::bad_alloc"),
        ("unknown_error", "", "engine", "no reason given"),
    ],
)
def test_errors_of_qcengine_are_told_apart(error_type: str, message: str, kind: str, reason: str) -> None:
    assert explain({"error_type": error_type, "error_message": message}) == (reason, kind)


def test_listing_imports_no_engine() -> None:
    code = "import sys, golfbench_qcengine as q; q.golfbench_oracles(); print({'qcengine', 'ase'} & set(sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "set()"
