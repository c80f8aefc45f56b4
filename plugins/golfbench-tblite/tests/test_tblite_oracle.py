"""The tblite oracle against tblite called directly, against xtb, against differences, and against impossible input."""

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from importlib.metadata import version
from typing import Any

import numpy as np
import pytest

from golfbench.chemistry import embed
from golfbench.errors import ConfigurationError, OracleError
from golfbench.molecules import Molecule
from golfbench.oracles.opening import CheckedOracle, open_oracle
from golfbench.registry import registry
from golfbench.specs import ComponentRef, OracleSpec
from golfbench.testing import contract_tests
from golfbench.threads import THREAD_VARIABLES
from golfbench.units import BOHR_TO_ANGSTROM
from golfbench.valence import valence_electrons

#: tblite with nothing around it, in one thread: occupations of every atom, then energies and gradients.
DIRECT = """
import json, sys
import numpy as np
from tblite.interface import Calculator
question = json.load(sys.stdin)
def calculate(method, numbers, positions, charge, uhf):
    calculator = Calculator(method, np.array(numbers), np.array(positions), charge, uhf)
    calculator.set("verbosity", 0)
    return calculator.singlepoint()
labels = []
for job in question["jobs"]:
    results = calculate(*job)
    labels.append([float(results.get("energy")), results.get("gradient").tolist()])
occupied = {}
for number in question["atoms"]:
    for uhf in (0, 1):
        try:
            results = calculate(question["method"], [number], [[0.0, 0.0, 0.0]], 0.0, uhf)
        except RuntimeError:
            continue
        occupied[number] = float(np.sum(results.get("orbital-occupations")))
        break
json.dump({"labels": labels, "occupied": occupied}, sys.stdout)
"""

WATER = Molecule("water", np.array([8, 1, 1]), np.array([[0, 0, 0], [0, 0.75, 0.58], [0, -0.75, 0.58]]))
ENGINES = ("tblite", "tblite:method=GFN1-xTB", "gfn2-xtb", "gfn1-xtb")

test_contract = contract_tests("oracle", "tblite")


def directly(question: dict[str, Any]) -> dict[str, Any]:
    environment = {**os.environ, **dict.fromkeys(THREAD_VARIABLES, "1")}
    command = [sys.executable, "-c", DIRECT]
    done = subprocess.run(
        command, input=json.dumps(question), capture_output=True, text=True, check=True, env=environment
    )
    answer: dict[str, Any] = json.loads(done.stdout)
    return answer


def open_engine(text: str) -> CheckedOracle:
    return open_oracle(ComponentRef.parse(text), registry())


@pytest.fixture(scope="module")
def gfn2() -> Iterator[CheckedOracle]:
    with open_engine("tblite") as oracle:
        yield oracle


@pytest.fixture(scope="module")
def molecules() -> list[Molecule]:
    """Neutral, anion, cation, radical, and one with sulfur, chlorine, bromine and fluorine."""
    smiles = ("CC(=O)Nc1ccc(O)cc1", "CC(=O)[O-]", "C[NH3+]", "C[CH]C", "O=S(=O)(N)c1cc(Cl)c(F)cc1Br")
    return [m for s in smiles for m in embed(s, s, 2, seed=11)]


@pytest.mark.parametrize("method", ["GFN2-xTB", "GFN1-xTB"])
def test_labels_are_those_of_the_library(method: str, molecules: list[Molecule]) -> None:
    jobs = [
        [method, m.numbers.tolist(), (m.positions / BOHR_TO_ANGSTROM).tolist(), float(m.charge), m.multiplicity - 1]
        for m in molecules
    ]
    expected = directly({"jobs": jobs, "atoms": []})["labels"]
    with open_engine(f"tblite:method={method}") as oracle:
        for molecule, (energy, gradient) in zip(molecules, expected, strict=True):
            got_energy, got_forces = oracle.label(molecule)
            assert got_energy == pytest.approx(energy, abs=1e-11)
            assert got_forces == pytest.approx(np.array(gradient) / -BOHR_TO_ANGSTROM, abs=1e-9)


@pytest.mark.parametrize(("method", "other"), [("GFN2-xTB", "gfn2-xtb"), ("GFN1-xTB", "gfn1-xtb")])
def test_labels_are_those_of_xtb(method: str, other: str, molecules: list[Molecule]) -> None:
    pytest.importorskip("xtb")
    with open_engine(f"tblite:method={method}") as ours, open_engine(other) as theirs:
        assert ours.spec.level_of_theory({"method": method}) == theirs.spec.level_of_theory({})
        for molecule in molecules:
            (energy, forces), (their_energy, their_forces) = ours.label(molecule), theirs.label(molecule)
            assert energy == pytest.approx(their_energy, abs=5e-8)
            assert forces == pytest.approx(their_forces, abs=4e-5)


def test_a_label_does_not_depend_on_earlier_calls(gfn2: CheckedOracle, molecules: list[Molecule]) -> None:
    forwards = [gfn2.label(m) for m in molecules]
    backwards = [gfn2.label(m) for m in molecules[::-1]][::-1]
    for (energy, forces), (again, forces_again) in zip(forwards, backwards, strict=True):
        assert energy == again
        assert (forces == forces_again).all()


def test_forces_are_the_derivative_of_the_energy() -> None:
    molecule = embed("NCC(=O)[O-]", "glycinate", 1, seed=2)[0]
    step = 1e-3
    with open_engine("tblite:accuracy=0.001") as oracle:
        _, forces = oracle.label(molecule)
        for atom, axis in ((0, 0), (2, 1), (3, 2), (6, 0)):
            shift = np.zeros_like(forces)
            shift[atom, axis] = step
            up, down = (oracle.label(molecule.at(molecule.positions + s))[0] for s in (shift, -shift))
            assert forces[atom, axis] == pytest.approx((down - up) / (2 * step), abs=2e-6)


def test_parameters_reach_the_library(gfn2: CheckedOracle, molecules: list[Molecule]) -> None:
    diradical = embed("[CH2]CC[CH2]", "diradical", 1, seed=1)[0]
    singlet = Molecule("diradical", diradical.numbers, diradical.positions)
    with open_engine("tblite:electronic_temperature_k=5000") as hot:
        assert hot.label(singlet)[0] < gfn2.label(singlet)[0] - 1e-3
    with (
        open_engine("tblite:max_iterations=2") as hasty,
        pytest.raises(OracleError, match="not converged in 2") as caught,
    ):
        hasty.label(molecules[0])
    assert caught.value.kind == "not_converged"
    with pytest.raises(ConfigurationError, match="method=PM6 is not one of GFN2-xTB, GFN1-xTB"):
        open_engine("tblite:method=PM6")


def test_multiplicity_and_charge_reach_the_library(gfn2: CheckedOracle) -> None:
    triplet = Molecule("water", WATER.numbers, WATER.positions, multiplicity=3)
    cation = Molecule("water", WATER.numbers, WATER.positions, charge=1, multiplicity=2)
    energies = [gfn2.label(m)[0] for m in (WATER, triplet, cation)]
    assert energies[1] - energies[0] > 0.1
    assert energies[2] - energies[0] > 0.3


@pytest.mark.parametrize("method", ["GFN2-xTB", "GFN1-xTB"])
def test_valence_electrons_are_those_of_the_library(method: str) -> None:
    occupied = directly({"jobs": [], "method": method, "atoms": list(range(1, 87))})["occupied"]
    counted = {int(number): round(filled) for number, filled in occupied.items()}
    assert counted == {number: valence_electrons(number) for number in range(1, 87)}


def test_version_and_spec(gfn2: CheckedOracle) -> None:
    assert gfn2.version == f"tblite {version('tblite')}"
    spec = registry().find(OracleSpec, "tblite")
    assert spec.level_of_theory({}) == "GFN2-xTB"
    assert spec.isolated
    assert spec.elements == frozenset(range(1, 87))


def impossible() -> dict[str, Molecule]:
    """What the libraries answer with a number, a crash or corrupted memory when they are asked."""

    def water(**changes: Any) -> Molecule:
        return Molecule("bad", **{"numbers": WATER.numbers, "positions": WATER.positions, **changes})

    nowhere, infinite = WATER.positions.copy(), WATER.positions.copy()
    nowhere[0, 0], infinite[2, 1] = np.nan, np.inf
    close, same = WATER.positions.copy(), WATER.positions.copy()
    close[2], same[2] = close[1] + [0, 0, 0.1], same[1]
    return {
        "NaN": water(positions=nowhere),
        "infinite": water(positions=infinite),
        "0.1 Å apart": water(positions=close),
        "same position": water(positions=same),
        "element 0": water(numbers=np.array([0, 1, 1])),
        "element 92": water(numbers=np.array([92, 1, 1])),
        "element 118": water(numbers=np.array([118, 1, 1])),
        "odd electrons": water(charge=1),
        "unpaired electrons of the wrong parity": water(multiplicity=2),
        "more unpaired electrons than electrons": water(multiplicity=13),
        "no electrons left": water(charge=10),
        "no atoms": Molecule("bad", np.zeros(0, dtype=np.int64), np.zeros((0, 3))),
    }


@pytest.mark.parametrize("engine", ENGINES)
def test_impossible_molecules_never_reach_a_library(engine: str) -> None:
    pytest.importorskip("xtb" if engine.startswith("gfn") else "tblite")
    with open_engine(engine) as oracle:
        before = oracle.label(WATER)
        child = oracle.engine._child
        for what, molecule in impossible().items():
            with pytest.raises(OracleError) as caught:
                oracle.label(molecule)
            assert caught.value.kind == "input", what
        assert oracle.engine._child is child
        assert oracle.label(WATER)[0] == before[0]


@pytest.mark.parametrize("engine", ENGINES)
def test_what_fails_inside_has_a_kind_and_the_next_answer_is_as_before(engine: str) -> None:
    pytest.importorskip("xtb" if engine.startswith("gfn") else "tblite")
    scattered = WATER.at(WATER.positions * 1e6)
    anion = Molecule("bad", WATER.numbers, WATER.positions, charge=-20)
    with open_engine(engine) as oracle:
        before = oracle.label(WATER)[0]
        for molecule, kinds in ((scattered, {"not_converged"}), (anion, {"engine", "not_converged", "input"})):
            with pytest.raises(OracleError) as caught:
                oracle.label(molecule)
            assert caught.value.kind in kinds
            assert "\n" not in str(caught.value)
        assert oracle.label(WATER)[0] == before


@pytest.mark.parametrize(
    ("charge", "multiplicity", "complaint"),
    [
        (8, 1, "0 valence electrons .charge .8. cannot have multiplicity 1"),
        (9, 2, "-1 valence electrons"),
        (0, 11, "8 valence electrons .charge .0. cannot have multiplicity 11"),
        (0, 9, "8 valence electrons do not fit the basis of GFN2-xTB"),  # six orbitals
    ],
)
def test_valence_electrons_that_are_not_there(
    charge: int, multiplicity: int, complaint: str, gfn2: CheckedOracle
) -> None:
    before = gfn2.label(WATER)[0]
    with pytest.raises(OracleError, match=complaint) as caught:
        gfn2.label(Molecule("bad", WATER.numbers, WATER.positions, charge, multiplicity))
    assert caught.value.kind == "input"
    assert gfn2.label(WATER)[0] == before


def test_listing_imports_no_engine() -> None:
    code = "import sys, golfbench_tblite as t; t.golfbench_oracles(); print({'tblite', 'torch'} & set(sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "set()"
