"""Everything that can go wrong with a call: typed, in one line, and the next call works."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from golfbench.errors import ComponentMissingError, ConfigurationError, MoleculeError, OracleError
from golfbench.molecules import Molecule
from golfbench.oracles.opening import CheckedOracle, open_oracle
from golfbench.registry import registry
from golfbench.specs import ComponentRef, OracleSpec
from golfbench_pyscf import engine

Open = Callable[[str], CheckedOracle]
SMALL = "pyscf:method=hf,basis=sto-3g"


@pytest.mark.parametrize(("scf", "iterations"), [("plain", 2), ("guess", 4), ("damping", 4)])
def test_an_scf_that_does_not_converge(scf: str, iterations: int, in_this_process: Open, water: Molecule) -> None:
    oracle = in_this_process(f"{SMALL},max_iterations=2,scf={scf}")
    with pytest.raises(OracleError, match=rf"water: hf/sto-3g: .* in {iterations} iterations \(scf={scf}\)") as caught:
        oracle.label(water)
    assert caught.value.kind == "not_converged"
    helium = Molecule("He", np.array([2]), np.zeros((1, 3)))
    assert oracle.label(helium)[0] == pytest.approx(-2.8078, abs=1e-3)


def test_the_last_way_converges_where_the_first_does_not(in_this_process: Open) -> None:
    stretched = Molecule("HF", np.array([1, 9]), np.array([[0.0, 0, 0], [0, 0, 3.0]]))
    energy, _ = in_this_process(f"{SMALL},scf=second-order").label(stretched)
    assert energy == pytest.approx(-97.7896012, abs=1e-6)  # as Psi4's second-order SCF has it


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("pyscf:method=b3lypp,basis=sto-3g", "water: b3lypp/sto-3g: unknown method"),
        ("pyscf:method=wb97x-d3,basis=sto-3g", "water: wb97x-d3/sto-3g: unknown method, or one without gradients"),
        ("pyscf:method=hf,basis=sto-33g", "water: hf/sto-33g: unknown basis set"),
    ],
)
def test_what_pyscf_does_not_know_is_input(text: str, complaint: str, in_this_process: Open, water: Molecule) -> None:
    with pytest.raises(OracleError, match=complaint) as caught:
        in_this_process(text).label(water)
    assert caught.value.kind == "input"
    assert "\n" not in str(caught.value)


def test_molecules_that_a_level_cannot_take_are_input(in_this_process: Open, water: Molecule) -> None:
    uranium = Molecule("UO2", np.array([92, 8, 8]), np.array([[0, 0, 0], [0, 0, 1.7], [0, 0, -1.7]]))
    with pytest.raises(OracleError, match="UO2: hf/sto-3g: unknown basis set, or none for an element") as caught:
        in_this_process(SMALL).label(uranium)
    assert caught.value.kind == "input"
    with pytest.raises(OracleError, match="UO2: wB97X-D/sto-3g: unknown basis set") as caught:
        in_this_process("pyscf:basis=sto-3g").label(uranium)
    assert caught.value.kind == "input"
    with pytest.raises((MoleculeError, OracleError), match="multiplicity 2"):
        in_this_process(SMALL).label(replace(water, multiplicity=2))


@pytest.mark.parametrize(
    ("error", "kind", "reason"),
    [
        (MemoryError("Unable to allocate 9 TiB"), "memory", "out of memory, give it more with memory= (Unable"),
        (RuntimeError("two\nlines"), "engine", "RuntimeError: two lines"),
        (ValueError(), "engine", "ValueError: ValueError"),
        (RuntimeError("Electron number 10 and spin 1 are not consistent"), "input", "Electron number"),
        (NotImplementedError("no third derivatives"), "input", "unknown method, or one without"),
    ],
)
def test_errors_of_the_engine_have_kinds(
    error: Exception, kind: str, reason: str, in_this_process: Open, water: Molecule, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: Any) -> None:
        raise error

    oracle = in_this_process(SMALL)
    with monkeypatch.context() as patch:
        patch.setattr(engine.PyscfOracle, "_converged", fail)
        with pytest.raises(OracleError) as caught:
            oracle.label(water)
    assert caught.value.kind == kind
    assert f"water: hf/sto-3g: {reason}" in str(caught.value)
    assert "\n" not in str(caught.value)
    assert oracle.label(water)[0] < -74


def test_a_functional_without_a_second_order_scf_is_not_converged() -> None:
    assert engine._explain(NotImplementedError("no fxc"), "second-order")[1] == "not_converged"
    assert engine._explain(NotImplementedError("no fxc"), "plain")[1] == "input"


def test_the_limits_of_a_worker_hold(water: Molecule) -> None:
    """A death and a limit of time are of the worker that every isolated oracle runs in."""
    ring = Molecule(
        "ring",
        np.array([6] * 6 + [1] * 6),
        np.concatenate(
            [r * np.array([[np.cos(a), np.sin(a), 0] for a in np.arange(6) * np.pi / 3]) for r in (1.39, 2.48)]
        ),
    )
    complaint = "ring: pyscf took longer than 2 s"
    with (
        open_oracle(ComponentRef.parse("pyscf"), registry(), time_limit_s=2) as oracle,
        pytest.raises(OracleError, match=complaint) as caught,
    ):
        oracle.label(ring)
    assert caught.value.kind == "time_limit"


@pytest.mark.parametrize(
    ("changed", "complaint"),
    [
        ({"method": "hf/6-31g"}, "method 'hf/6-31g' must be one name"),
        ({"basis": " "}, "basis ' ' must be one name"),
        ({"threads": 0}, "threads must be at least 1"),
        ({"max_iterations": 0}, "max_iterations must be at least 1"),
        ({"memory": 0.1}, "memory must be at least 0.25 GB, not 0.1"),
        ({"memory": float("nan")}, "memory must be at least 0.25 GB, not nan"),
        ({"device": "cuda", "method": "mp2"}, "no mp2"),
    ],
)
def test_parameters_that_make_no_sense_are_refused(changed: dict[str, Any], complaint: str) -> None:
    usual = registry().find(OracleSpec, "pyscf").resolve({})
    with pytest.raises(ConfigurationError, match=complaint):
        engine.PyscfOracle(**{**usual, **changed})


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("pyscf:device=cuda", "device=cuda needs gpu4pyscf: pip install gpu4pyscf-cuda12x"),
        ("pyscf:method=b3lyp-d3bj", "b3lyp-d3bj needs pyscf-dispersion: pip install pyscf-dispersion"),
        ("pyscf:method=wb97m-d4", "wb97m-d4 needs pyscf-dispersion: pip install pyscf-dispersion"),
    ],
)
def test_a_missing_package_is_named(
    text: str, complaint: str, in_this_process: Open, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(engine, "find_spec", lambda name: None)
    with pytest.raises(ComponentMissingError, match=complaint) as caught:
        in_this_process(text)
    assert caught.value.exit_code == 3
