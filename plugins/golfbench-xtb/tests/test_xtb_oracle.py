"""The xtb oracles against xtb-python called directly, against finite differences, and against input that kills xtb."""

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from importlib.metadata import version
from typing import Any

import numpy as np
import pytest
from ase.build import molecule as ase_molecule

import golfbench_xtb
from golfbench.chemistry import embed
from golfbench.errors import ConfigurationError, MoleculeError, OracleError
from golfbench.molecules import Molecule
from golfbench.oracles.isolation import WorkerOracle
from golfbench.oracles.opening import CheckedOracle, open_oracle, precheck
from golfbench.registry import registry
from golfbench.specs import ComponentRef, OracleSpec
from golfbench.threads import THREAD_VARIABLES
from golfbench.units import BOHR_TO_ANGSTROM
from golfbench_xtb import factories
from golfbench_xtb.engine import at_node

#: xtb-python with nothing around it; one thread, as in the worker, because the sum of two threads rounds differently.
DIRECT = """
import json, sys
import numpy as np
from xtb.interface import Calculator, Param
answers = []
for job in json.load(sys.stdin):
    numbers, positions = np.array(job["numbers"]), np.array(job["positions_bohr"])
    calculator = Calculator(Param[job["param"]], numbers, positions, charge=job["charge"], uhf=job["uhf"])
    calculator.set_verbosity("muted")
    if job["accuracy"]:
        calculator.set_accuracy(job["accuracy"])
    results = calculator.singlepoint()
    answers.append([results.get_energy(), results.get_gradient().tolist()])
json.dump(answers, sys.stdout)
"""


def directly(molecules: list[Molecule], param: str, accuracy: float | None = None) -> list[tuple[float, Any]]:
    jobs = [
        {
            "numbers": m.numbers.tolist(),
            "positions_bohr": (m.positions / BOHR_TO_ANGSTROM).tolist(),
            "charge": m.charge,
            "uhf": m.multiplicity - 1,
            "param": param,
            "accuracy": accuracy,
        }
        for m in molecules
    ]
    environment = {**os.environ, **dict.fromkeys(THREAD_VARIABLES, "1")}
    command = [sys.executable, "-c", DIRECT]
    done = subprocess.run(command, input=json.dumps(jobs), capture_output=True, text=True, check=True, env=environment)
    return [(energy, np.array(gradient)) for energy, gradient in json.loads(done.stdout)]


def open_xtb(text: str) -> CheckedOracle:
    return open_oracle(ComponentRef.parse(text), registry())


@pytest.fixture(scope="module")
def gfn2() -> Iterator[CheckedOracle]:
    with open_xtb("gfn2-xtb") as oracle:
        yield oracle


@pytest.fixture(scope="module")
def molecules() -> list[Molecule]:
    """Neutral, anion, cation, radical, and one with sulfur, chlorine, bromine and fluorine."""
    smiles = ("CC(=O)Nc1ccc(O)cc1", "CC(=O)[O-]", "C[NH3+]", "C[CH]C", "O=S(=O)(N)c1cc(Cl)c(F)cc1Br")
    return [m for s in smiles for m in embed(s, s, 2, seed=11)]


@pytest.mark.parametrize(
    ("name", "param", "accuracy"),
    [("gfn2-xtb", "GFN2xTB", None), ("gfn1-xtb", "GFN1xTB", None), ("xtb:accuracy=0.01", "GFN2xTB", 0.01)],
)
def test_labels_are_those_of_the_library_to_the_last_bit(
    name: str, param: str, accuracy: float | None, molecules: list[Molecule]
) -> None:
    with open_xtb(name) as oracle:
        for molecule, (energy, gradient) in zip(molecules, directly(molecules, param, accuracy), strict=True):
            got_energy, got_forces = oracle.label(molecule)
            assert got_energy == energy
            assert (got_forces == gradient / -BOHR_TO_ANGSTROM).all()


def test_a_label_does_not_depend_on_earlier_calls(gfn2: CheckedOracle, molecules: list[Molecule]) -> None:
    forwards = [gfn2.label(m) for m in molecules]
    backwards = [gfn2.label(m) for m in molecules[::-1]][::-1]
    for (energy, forces), (again, forces_again) in zip(forwards, backwards, strict=True):
        assert energy == again
        assert (forces == forces_again).all()


@pytest.mark.parametrize("name", ["gfn2-xtb:accuracy=0.001", "gfn1-xtb:accuracy=0.001"])
def test_forces_are_the_derivative_of_the_energy(name: str) -> None:
    molecule = embed("NCC(=O)[O-]", "glycinate", 1, seed=2)[0]
    step = 1e-3
    with open_xtb(name) as oracle:
        _, forces = oracle.label(molecule)
        for atom, axis in ((0, 0), (2, 1), (3, 2), (6, 0)):
            shift = np.zeros_like(forces)
            shift[atom, axis] = step
            up, down = (oracle.label(molecule.at(molecule.positions + s))[0] for s in (shift, -shift))
            assert forces[atom, axis] == pytest.approx((down - up) / (2 * step), abs=2e-6)


def test_water_has_the_published_energy(gfn2: CheckedOracle) -> None:
    """The geometry and energy in the documentation of xtb-python."""
    bohr = [
        [0, 0, -0.73578586109551],
        [1.44183152868459, 0, 0.36789293054775],
        [-1.44183152868459, 0, 0.36789293054775],
    ]
    water = Molecule("water", np.array([8, 1, 1]), np.array(bohr) * BOHR_TO_ANGSTROM)
    energy, forces = gfn2.label(water)
    assert energy == pytest.approx(-5.070451354836705, abs=1e-8)
    assert forces[0, 2] * BOHR_TO_ANGSTROM == pytest.approx(5.07156941e-03, abs=1e-6)


def test_version_specs_and_alias(gfn2: CheckedOracle) -> None:
    assert gfn2.version == f"xtb {version('xtb')} (nodes cured)"
    spec = registry().find(OracleSpec, "xtb")
    assert spec.name == "gfn2-xtb"
    assert spec.level_of_theory({}) == "GFN2-xTB"
    assert registry().find(OracleSpec, "gfn1-xtb").level_of_theory({}) == "GFN1-xTB"
    assert spec.isolated
    assert spec.elements == frozenset(range(1, 87))
    with pytest.raises(ConfigurationError, match="did you mean 'accuracy'"):
        open_xtb("xtb:acuracy=1")


def test_no_convergence_has_its_own_kind(molecules: list[Molecule]) -> None:
    with (
        open_xtb("gfn2-xtb:max_iterations=2") as oracle,
        pytest.raises(OracleError, match="did not converge") as caught,
    ):
        oracle.label(molecules[0])
    assert caught.value.kind == "not_converged"
    assert "\n" not in str(caught.value)


def test_electronic_temperature_reaches_the_library(gfn2: CheckedOracle) -> None:
    diradical = embed("[CH2]CC[CH2]", "diradical", 1, seed=1)[0]
    with open_xtb("gfn2-xtb:electronic_temperature_k=5000") as hot:
        assert hot.label(diradical)[0] < gfn2.label(diradical)[0] - 1e-3


def test_multiplicity_and_charge_reach_the_library(gfn2: CheckedOracle) -> None:
    singlet = embed("C", "methane", 1, seed=1)[0]
    triplet = Molecule("methane", singlet.numbers, singlet.positions, multiplicity=3)
    cation = Molecule("methane", singlet.numbers, singlet.positions, charge=1, multiplicity=2)
    energies = [gfn2.label(m)[0] for m in (singlet, triplet, cation)]
    assert energies[1] - energies[0] > 0.2
    assert energies[2] - energies[0] > 0.3


def test_other_errors_of_the_library_are_engine_errors() -> None:
    water = embed("O", "water", 1, seed=1)[0]
    impossible = Molecule("anion", water.numbers, water.positions, charge=-20)
    with open_xtb("gfn2-xtb") as oracle, pytest.raises(OracleError, match="Not enough basis functions") as caught:
        oracle.label(impossible)
    assert caught.value.kind == "engine"


def test_uranium_is_refused_and_would_otherwise_be_a_crash() -> None:
    uranium = Molecule("UO2", np.array([92, 8, 8]), np.array([[0.0, 0, 0], [1.8, 0, 0], [-1.8, 0, 0]]))
    spec = registry().find(OracleSpec, "gfn2-xtb")
    with pytest.raises(MoleculeError, match="element U is outside gfn2-xtb"):
        precheck(spec, uranium)
    water = embed("O", "water", 1, seed=1)[0]
    with WorkerOracle(spec.factory, spec.resolve({}), name=spec.name) as unchecked:
        before = unchecked.label(water)
        with pytest.raises(OracleError, match="UO2: gfn2-xtb crashed: ") as caught:  # by a signal or by ERROR STOP
            unchecked.label(uranium)
        assert caught.value.kind == "crashed"
        assert unchecked.label(water)[0] == before[0]


def test_listing_imports_no_engine() -> None:
    code = "import sys, golfbench_xtb; golfbench_xtb.golfbench_oracles(); print({'xtb', 'torch'} & set(sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "set()"


@pytest.mark.parametrize("name", ["gfn2-xtb", "gfn1-xtb"])
@pytest.mark.parametrize(("charge", "multiplicity", "electrons"), [(8, 1, 0), (9, 2, -1), (0, 11, 8)])
def test_valence_electrons_that_are_not_there_are_refused(
    name: str, charge: int, multiplicity: int, electrons: int
) -> None:
    water = Molecule("w", np.array([8, 1, 1]), np.array([[0, 0, 0], [0, 0.76, 0.59], [0, -0.76, 0.59]]))
    impossible = Molecule("w", water.numbers, water.positions, charge, multiplicity)
    refused = pytest.raises(OracleError, match=f"w: {electrons} (valence )?electrons")
    with open_oracle(ComponentRef(name), registry()) as oracle, refused as raised:
        oracle.label(impossible)
    assert raised.value.kind == "input"


def test_charges_that_do_not_converge_start_from_hotter_ones():
    """PF6- on its way down: 300 K needs the charges of 1000 K to begin with, and gives the energy of 300 K."""
    positions = np.array(
        [
            [0.5402, -0.9578, -0.3829],
            [-0.1446, 0.4185, 0.0498],
            [-1.1298, 0.39, -1.1725],
            [-0.8796, 1.8017, 0.6338],
            [-1.1459, -0.3803, 1.0824],
            [1.8254, -2.6717, 0.5109],
            [0.9342, 1.3996, -0.7216],
        ]
    )
    stretched = Molecule("PF6-", np.array([9, 15, 9, 9, 9, 9, 9]), positions, charge=-1)
    energy, forces = open_oracle(ComponentRef("gfn2-xtb"), registry()).label(stretched)
    assert energy == pytest.approx(-31.29347, abs=1e-4)
    step = np.zeros_like(positions)
    step[5, 0] = 0.002
    oracle = open_oracle(ComponentRef("gfn2-xtb"), registry())
    ahead, behind = (oracle.label(stretched.at(positions + sign * step))[0] for sign in (1, -1))
    assert forces[5, 0] == pytest.approx((behind - ahead) / 0.004, abs=2e-3)


# --- Forces where atoms lie at nodes of each other's orbitals ---------------------------------------------------------

#: Geometries whose symmetry is not enough to make the wrong terms vanish; they are stretched before.
NAMES = ("CH3OH", "C2H6", "CH4", "C6H6", "CO2", "C2H2", "C2H4", "HCN", "NH3", "SiH4", "SO2", "CH3SH")
#: Rows: where the axes go. As it is, two permutations, and turns about one axis, which leave that coordinate shared.
AXES = {
    "as it is": np.eye(3),
    "z along x": np.eye(3)[[2, 0, 1]],
    "z along y": np.eye(3)[[1, 2, 0]],
    "45 degrees about z": np.array([[1, -1, 0], [1, 1, 0], [0, 0, np.sqrt(2)]]) / np.sqrt(2),
    "0.3 rad about x": np.array([[1, 0, 0], [0, np.cos(0.3), -np.sin(0.3)], [0, np.sin(0.3), np.cos(0.3)]]),
}
#: A rotation of rational numbers, another one than the oracle's.
GENERIC = np.array([[2, -10, 11], [14, 5, 2], [-5, 10, 10]]) / 15


def bent(name: str) -> Molecule:
    """A molecule of ASE's, one atom moved along a coordinate axis: not symmetric, but coordinates are shared."""
    atoms = ase_molecule(name)
    positions = 1.02 * atoms.positions
    positions[-1, 0] += 0.1
    return Molecule(name, atoms.numbers, positions)


@pytest.mark.parametrize("text", ["gfn2-xtb:accuracy=0.01", "gfn1-xtb:accuracy=0.01"])
def test_forces_turn_with_the_molecule_wherever_its_atoms_lie(text: str) -> None:
    with open_xtb(text) as oracle:
        for molecule in map(bent, NAMES):
            energy, forces = oracle.label(molecule.at(molecule.positions @ GENERIC.T))
            for axes in AXES.values():
                again, turned = oracle.label(molecule.at(molecule.positions @ axes.T))
                assert again == pytest.approx(energy, abs=1e-9), molecule.id
                np.testing.assert_allclose(turned @ axes, forces @ GENERIC, atol=2e-6, err_msg=molecule.id)


@pytest.mark.parametrize("text", ["gfn2-xtb:accuracy=0.001", "gfn1-xtb:accuracy=0.001"])
@pytest.mark.parametrize(
    "direction",
    [(1, 0, 0), (0, 0, 1), (1, 0.5, 0), (1, 1, 0.3), (1, -1, 0.4), (1, 1, 1), (1, 0.3, np.sqrt(1.09 / 2))],
)
def test_forces_at_each_node_are_the_derivative_of_the_energy(text: str, direction: tuple[float, ...]) -> None:
    """A bond of sulfur, whose orbitals include d, along each node in a molecule without symmetry."""
    along = np.array(direction) / np.linalg.norm(direction)
    across = np.cross(along, (0.3, -0.8, 0.5))
    across /= np.linalg.norm(across)
    frame = np.stack([along, across, np.cross(along, across)])
    flat = [[0, 0, 0], [1.8, 0, 0], [-0.3, 1.28, 0.15], [2.4, 0.9, 0.8], [2.2, -0.95, -0.1], [1.95, -0.2, -1.05]]
    positions = np.array([*flat, [3.3, 0.9, 0.9]]) @ frame
    molecule = Molecule("thiol", np.array([16, 6, 1, 8, 1, 1, 1]), positions)
    assert at_node(positions, 1e-6)
    step = 1e-3
    with open_xtb(text) as oracle:
        _, forces = oracle.label(molecule)
        for atom in (0, 1):
            for axis in range(3):
                shift = np.zeros_like(forces)
                shift[atom, axis] = step
                up, down = (oracle.label(molecule.at(positions + s))[0] for s in (shift, -shift))
                assert forces[atom, axis] == pytest.approx((down - up) / (2 * step), abs=5e-6)


@pytest.mark.parametrize(
    ("vector", "expected"),
    [
        ((0, 1.1, 0.4), True),
        ((1.1, 0.4, 0), True),
        ((0.7, -0.7, 0.4), True),
        ((0.6, 0.8, np.sqrt(0.5)), True),
        ((0.7, 0.3, 0.7), False),  # no orbital has a node there: x² - z² is no d orbital of xtb
        ((1.1, 0.4, 0.3), False),
        ((1e-7, 1.1, 0.4), True),
        ((1e-5, 1.1, 0.4), False),
    ],
)
def test_which_pairs_are_at_a_node(vector: tuple[float, ...], expected: bool) -> None:
    assert at_node(np.array([(0.1, 0.2, 0.3), np.add((0.1, 0.2, 0.3), vector)]), 1e-6) is expected


def test_one_atom_is_at_no_node(gfn2: CheckedOracle) -> None:
    assert not at_node(np.zeros((1, 3)), 1e-6)
    energy, forces = gfn2.label(Molecule("He", np.array([2]), np.zeros((1, 3))))
    assert energy < -1
    np.testing.assert_allclose(forces, 0, atol=1e-12)


def test_where_xtb_python_has_no_wheel_tblite_computes_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("golfbench_tblite")
    pytest.importorskip("tblite")
    water = Molecule("w", [8, 1, 1], [[0.02, 0.01, 0.12], [0.03, 0.76, -0.48], [0.01, -0.74, -0.47]])
    by_xtb = factories.gfn2(1.0, 300.0, 250)
    monkeypatch.setattr(golfbench_xtb, "version_info", (3, 13))
    monkeypatch.setattr(golfbench_xtb, "find_spec", lambda name: None)
    (spec, _) = golfbench_xtb.golfbench_oracles()
    assert spec.requires == ("golfbench_tblite", "tblite")
    assert spec.install_hint == "pip install golfbench-tblite tblite"
    monkeypatch.setattr(factories, "library", golfbench_xtb.library)
    by_tblite = factories.gfn2(1.0, 300.0, 250)
    assert by_xtb.version.startswith("xtb ")
    assert by_tblite.version.startswith("tblite ")
    (energy, forces), (other, others) = by_xtb.label(water), by_tblite.label(water)
    assert other == pytest.approx(energy, abs=1e-7)
    np.testing.assert_allclose(others, forces, atol=1e-5)


def test_xtb_python_is_kept_where_it_is_installed_on_a_later_python(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(golfbench_xtb, "version_info", (3, 12))
    monkeypatch.setattr(golfbench_xtb, "find_spec", lambda name: object())
    assert golfbench_xtb.library() == "xtb"
    assert golfbench_xtb.golfbench_oracles()[0].requires == ("xtb",)
