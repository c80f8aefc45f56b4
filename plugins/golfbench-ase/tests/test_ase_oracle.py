"""ASE calculators as oracles: units, charges, levels of theory, and every way in which a factory can be wrong."""

import subprocess
import sys
from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path
from typing import Any

import ase
import numpy as np
import pytest
from ase.calculators.emt import EMT

from golfbench.batches import make_batch
from golfbench.chemistry import embed, to_ase
from golfbench.errors import ComponentMissingError, ConfigurationError, OracleError
from golfbench.learning.opening import open_fixed_model
from golfbench.molecules import Molecule
from golfbench.oracles.opening import CheckedOracle, open_oracle
from golfbench.registry import registry
from golfbench.specs import ComponentRef, OracleSpec, parse_arguments
from golfbench.testing import contract_tests
from golfbench.units import HARTREE_TO_EV

TBLITE = "calculator=tblite.ase:TBLite,arguments=(method=GFN1-xTB,verbosity=0)"
PLACEHOLDERS = "arguments=(verbosity=0,charge=@charge,multiplicity=@multiplicity)"
#: Calculators that go wrong, and two that do not.
MINE = """
import os
from ase.calculators.calculator import Calculator, InputError, SCFError, all_changes
from ase.calculators.emt import EMT

class Slope(Calculator):
    implemented_properties = ("energy", "free_energy", "forces")
    def __init__(self, height=1.0, raised=None, **ignored):
        super().__init__()
        self.height, self.raised, self.calls = height, raised, 0
    def calculate(self, atoms=None, properties=("energy",), system_changes=all_changes):
        super().calculate(atoms, properties, system_changes)
        self.calls += 1
        if self.raised:
            raise {"SCFError": SCFError, "InputError": InputError}.get(self.raised, RuntimeError)(self.raised)
        energy = self.height * atoms.positions[:, 2].sum()
        self.results = {"energy": energy + 5.0, "free_energy": energy + self.calls}
        self.results["forces"] = 0 * atoms.positions - [0, 0, self.height]

class OnlyEnergy(Calculator):
    implemented_properties = ("energy",)

class Crash(EMT):
    def calculate(self, *args, **kwargs):
        os.abort()

def refuse():
    raise ValueError("no such\\nmodel")
"""

test_contract_of_a_semiempirical_method = contract_tests("oracle", "ase-charged:" + TBLITE)

Open = Callable[[str], CheckedOracle]


@pytest.fixture
def open_ase() -> Any:
    opened: list[CheckedOracle] = []

    def open_one(text: str) -> CheckedOracle:
        opened.append(open_oracle(ComponentRef.parse(text), registry()))
        return opened[-1]

    yield open_one
    for oracle in opened:
        oracle.close()


@pytest.fixture
def mine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    (tmp_path / "mine_for_tests.py").write_text(MINE)
    (tmp_path / "broken_for_tests.py").write_text("1 / 0\n")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))  # of worker processes
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delitem(sys.modules, "mine_for_tests", raising=False)
    return "ase:calculator=mine_for_tests:"


def in_this_process(text: str) -> CheckedOracle:
    """Open an oracle without a worker, which takes a second to start."""
    ref = ComponentRef.parse(text)
    spec = registry().find(OracleSpec, ref.name)
    return CheckedOracle(spec, spec.create(ref.parameters))


def water(**changes: Any) -> Molecule:
    positions = np.array([[0, 0, 0.1], [0, 0.75, 0.68], [0, -0.75, 0.7]])
    return Molecule("water", **{"numbers": np.array([8, 1, 1]), "positions": positions, **changes})


def test_labels_are_the_calculators_in_hartree(open_ase: Open) -> None:
    ethanol = embed("CCO", "ethanol", 1, seed=3)[0]
    atoms = to_ase(ethanol)
    atoms.calc = EMT()
    energy, forces = open_ase("ase:calculator=ase.calculators.emt:EMT").label(ethanol)
    assert energy * HARTREE_TO_EV == pytest.approx(atoms.get_potential_energy(force_consistent=True), abs=1e-12)
    assert forces * HARTREE_TO_EV == pytest.approx(atoms.get_forces(), abs=1e-12)


@pytest.mark.parametrize(
    "text",
    [
        "calculator=tblite.ase:TBLite,arguments=(verbosity=0)",  # looks at initial charges
        f"calculator=tblite.ase:TBLite,{PLACEHOLDERS}",
        "calculator=tblite.ase:TBLite,arguments=(verbosity=0),reuse=true",
        "calculator=xtb.ase.calculator:XTB",
    ],
)
def test_charge_and_spin_reach_the_calculator(text: str, open_ase: Open) -> None:
    pytest.importorskip(text.removeprefix("calculator=").partition(".")[0])
    pytest.importorskip("tblite")
    ours, direct = open_ase(f"ase-charged:{text}"), open_ase("tblite")
    for smiles in ("CC(=O)[O-]", "C[NH3+]", "C[CH]C", "CO"):
        molecule = embed(smiles, smiles, 1, seed=5)[0]
        (energy, forces), (expected, expected_forces) = ours.label(molecule), direct.label(molecule)
        assert energy == pytest.approx(expected, abs=1e-7)
        assert forces == pytest.approx(expected_forces, abs=1e-4)


def test_without_a_way_to_tell_them_ions_and_radicals_are_refused(open_ase: Open) -> None:
    oracle = open_ase("ase:calculator=ase.calculators.emt:EMT")
    for molecule in (water(charge=1, multiplicity=2), water(multiplicity=3)):
        with pytest.raises(OracleError, match=r"ase takes (neutral molecules|closed shells) only") as caught:
            oracle.label(molecule)
        assert caught.value.kind == "input"


def test_level_of_theory() -> None:
    spec = registry().find(OracleSpec, "ase")

    def level(text: str) -> str:
        ref = ComponentRef.parse(f"ase:{text}")
        assert ComponentRef.parse(str(ref)) == ref
        return spec.level_of_theory(ref.parameters)

    assert level("calculator=ase.calculators.emt:EMT") == "ase.calculators.emt:EMT"
    assert level(TBLITE) == "tblite.ase:TBLite(method=GFN1-xTB,verbosity=0)"
    assert level(f"{TBLITE},method=GFN1-xTB") == "GFN1-xTB"


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", {}),
        ("()", {}),
        ("(method=GFN1-xTB,accuracy=0.1,cache_api=false,charge=null)", None),
        ("method=GFN1-xTB, accuracy=1e-1,cache_api=false,charge=null", None),
        ('({"solvation": ["alpb", "water"], "n": 3})', {"solvation": ["alpb", "water"], "n": 3}),
        ('(n="3")', {"n": "3"}),
    ],
)
def test_arguments_are_read(text: str, expected: dict[str, Any] | None) -> None:
    usual = {"method": "GFN1-xTB", "accuracy": 0.1, "cache_api": False, "charge": None}
    assert parse_arguments(text) == (usual if expected is None else expected)
    given = ComponentRef.parse(f"ase:calculator=a:b,arguments={text},reuse=true").parameters
    assert (given["calculator"], given["reuse"]) == ("a:b", "true")
    if text.startswith("("):  # round brackets protect the commas from the rest of the line
        assert given["arguments"] == text


@pytest.mark.parametrize("text", ["(GFN1-xTB)", "({'a': 1})", '({"a": 1)'])
def test_arguments_that_make_no_sense_are_refused(text: str) -> None:
    with pytest.raises(ConfigurationError, match=r"is not a JSON object|key=value"):
        parse_arguments(text)


@pytest.mark.parametrize(
    ("text", "error", "complaint"),
    [
        ("ase", ConfigurationError, "calculator '' is not MODULE:FACTORY"),
        ("ase:calculator=ase.calculators.emt", ConfigurationError, "'ase.calculators.emt' is not MODULE:FACTORY"),
        ("ase:calculator=no_such_engine.ase:X", ComponentMissingError, "No module named 'no_such_engine'"),
        ("ase:calculator=ase.calculators.emt:Nope", ConfigurationError, "ase.calculators.emt has no 'Nope'"),
        ("ase:calculator=broken_for_tests:X", ConfigurationError, "cannot be imported: ZeroDivisionError"),
        ("ase:calculator=mine_for_tests:refuse", ConfigurationError, "cannot be made: ValueError: no such model"),
        ("ase:calculator=mine_for_tests:refuse,arguments=(model=2)", ConfigurationError, "cannot be made: TypeError"),
        ("ase:calculator=builtins:dict", ConfigurationError, "builtins:dict gave no ASE calculator but a dict"),
        ("ase:calculator=mine_for_tests:OnlyEnergy", ConfigurationError, r"has no forces \(only energy\)"),
        ("ase:calculator=mine_for_tests:Slope,arguments=(q=@charge)", ConfigurationError, "with ase-charged only"),
        (
            "ase-charged:calculator=mine_for_tests:Slope,arguments=(q=@charge),reuse=true",
            ConfigurationError,
            "without reuse only",
        ),
    ],
)
def test_factories_that_make_no_calculator(text: str, error: type[Exception], complaint: str, mine: str) -> None:
    with pytest.raises(error, match=complaint) as caught:
        in_this_process(text)
    assert "\n" not in str(caught.value)


def test_a_factory_that_cannot_be_used_is_told_from_the_worker_process(open_ase: Open) -> None:
    with pytest.raises(ComponentMissingError, match="No module named 'no_such_engine'"):
        open_ase("ase:calculator=no_such_engine.ase:X").label(water())
    with pytest.raises(ConfigurationError, match="has no 'Nope'"):
        open_ase("ase:calculator=ase.calculators.emt:Nope").label(water())


@pytest.mark.parametrize(
    ("text", "kind", "complaint"),
    [
        ("Slope,arguments=(raised=SCFError)", "not_converged", "water: SCFError"),
        ("Slope,arguments=(raised=SCF did not converge)", "not_converged", "RuntimeError: SCF did not converge"),
        ("Slope,arguments=(raised=InputError)", "input", "InputError"),
        ("Slope,arguments=(raised=disk full)", "engine", "water: RuntimeError: disk full"),
    ],
)
def test_failures_of_a_calculator_have_kinds(text: str, kind: str, complaint: str, mine: str) -> None:
    with pytest.raises(OracleError, match=complaint) as caught:
        in_this_process(mine + text).label(water())
    assert caught.value.kind == kind


def test_a_crash_takes_nothing_else_down(mine: str, open_ase: Open) -> None:
    with pytest.raises(OracleError, match="water: ase crashed: SIGABRT") as caught:
        open_ase(f"{mine}Crash").label(water())
    assert caught.value.kind == "crashed"


def test_an_element_without_parameters_is_input() -> None:
    with pytest.raises(OracleError, match="No EMT-potential for F") as caught:
        in_this_process("ase:calculator=ase.calculators.emt:EMT").label(embed("CF", "CH3F", 1, seed=1)[0])
    assert caught.value.kind == "input"


def test_the_energy_is_the_one_of_the_forces_and_calls_share_nothing(mine: str) -> None:
    moved = water(positions=water().positions + np.array([0, 0, 1.0]))
    fresh, kept = (in_this_process(f"{mine}Slope,arguments=(height=2),reuse={flag}") for flag in ("false", "true"))
    for oracle, calls in ((fresh, (1, 1)), (kept, (1, 2))):
        for molecule, call in zip((water(), moved), calls, strict=True):
            energy, forces = oracle.label(molecule)
            assert energy * HARTREE_TO_EV == pytest.approx(2 * molecule.positions[:, 2].sum() + call)
            assert forces[:, 2] * HARTREE_TO_EV == pytest.approx([-2.0] * 3)


def test_it_serves_as_a_fixed_model() -> None:
    model = open_fixed_model(ComponentRef.parse("ase:calculator=ase.calculators.emt:EMT"))
    batch = make_batch([water(), water(charge=1, multiplicity=2)], model.cutoff)
    evaluation = model.energy_forces(batch)
    atoms = to_ase(water())
    atoms.calc = EMT()
    assert float(evaluation.energies[0]) * HARTREE_TO_EV == pytest.approx(atoms.get_potential_energy(), abs=1e-9)
    assert list(evaluation.errors) == [1]


def test_version_names_the_calculator_and_what_brings_it() -> None:
    emt = "ase.calculators.emt:EMT"
    assert in_this_process(f"ase:calculator={emt}").version == f"{emt} (ase {ase.__version__})"
    pytest.importorskip("tblite")
    tblite = version("tblite")
    assert in_this_process(f"ase:{TBLITE}").version == f"tblite.ase:TBLite (tblite {tblite}, ase {ase.__version__})"


def test_listing_imports_no_engine() -> None:
    code = "import sys, golfbench_ase; golfbench_ase.golfbench_oracles(); print({'ase', 'torch'} & set(sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "set()"
