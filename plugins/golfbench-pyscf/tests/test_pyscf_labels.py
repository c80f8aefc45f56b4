"""Labels against those of Psi4, against differences of energies, and against PySCF called directly."""

import json
import subprocess
import sys
from collections.abc import Callable
from importlib.util import find_spec

import numpy as np
import pyscf
import pytest
from pyscf import gto, scf

from golfbench.errors import ComponentMissingError, ConfigurationError
from golfbench.molecules import Molecule
from golfbench.oracles.opening import CheckedOracle, open_oracle
from golfbench.registry import registry
from golfbench.specs import ComponentRef, OracleSpec
from golfbench.units import BOHR_TO_ANGSTROM
from golfbench_pyscf.fitting import OneSidedFit, fitted_gradient
from golfbench_pyscf.grids import Psi4Grids, principal_axes

Open = Callable[[str], CheckedOracle]

HALOMETHANE = Molecule(
    "CHFClBr",
    np.array([6, 9, 17, 35, 1]),
    np.array(
        [
            [-0.058, -0.124, 0.067],
            [-0.355, -1.177, -0.769],
            [-1.14, 1.246, -0.245],
            [1.764, 0.506, -0.176],
            [-0.211, -0.451, 1.123],
        ]
    ),
)
FORMATE = Molecule(
    "HCOO-",
    np.array([8, 6, 8, 1]),
    np.array([[1.316, -0.181, -0.032], [-0.037, 0.047, 0], [-0.837, -0.921, 0.05], [-0.441, 1.055, -0.018]]),
    charge=-1,
)
HYDROXYMETHYL = Molecule(
    "CH2OH",
    np.array([6, 8, 1, 1, 1]),
    np.array(
        [
            [-0.473, -0.02, -0.277],
            [0.848, -0.421, -0.29],
            [-0.638, 1.021, 0.021],
            [-1.158, -0.7, 0.248],
            [1.422, 0.12, 0.298],
        ]
    ),
    multiplicity=2,
)
#: Energies (Hartree) and forces (Hartree/Å) of the oracle psi4 at its default level, with Psi4 1.3.2.
OF_PSI4 = {
    "CHFClBr": (
        -3172.3376508905812,
        [
            [-0.01675638, -0.02786248, -0.01246284],
            [0.01951703, 0.04980927, 0.03413828],
            [-0.0087616, -0.00945686, -0.00086396],
            [-0.00380752, -0.01798019, 0.00188377],
            [0.00980847, 0.00549026, -0.02269525],
        ],
    ),
    "HCOO-": (
        -188.9534560716644,
        [
            [-0.19379452, 0.09012583, 0.00302846],
            [0.21062335, -0.20972984, -0.00025429],
            [-0.01029628, 0.06579064, -0.00147961],
            [-0.00653255, 0.05381336, -0.00129456],
        ],
    ),
    "CH2OH": (
        -114.92363527808415,
        [
            [0.04737482, 0.00323615, 0.04294429],
            [-0.01334618, 0.01019986, 0.01742774],
            [-0.0014074, 0.01136264, -0.01150383],
            [-0.0047255, -0.01495695, -0.01896055],
            [-0.02789575, -0.00984171, -0.02990765],
        ],
    ),
}


@pytest.mark.parametrize("molecule", [HALOMETHANE, FORMATE, HYDROXYMETHYL], ids=lambda m: m.id)
def test_labels_are_those_of_psi4(molecule: Molecule, in_this_process: Open) -> None:
    """A molecule with F, Cl and Br, an anion and a radical: two orders below what one level of theory may differ by."""
    energy, forces = in_this_process("pyscf").label(molecule)
    expected, expected_forces = OF_PSI4[molecule.id]
    assert energy == pytest.approx(expected, abs=1e-7)
    assert forces == pytest.approx(np.array(expected_forces), abs=1e-6)


def test_labels_are_those_of_the_psi4_that_is_installed(
    in_this_process: Open, water: Molecule, amidogen: Molecule
) -> None:
    pytest.importorskip("golfbench_psi4")
    hydroxide = Molecule("OH-", np.array([8, 1]), np.array([[0, 0, 0.1], [0.2, 0, 1.05]]), charge=-1)
    with open_oracle(ComponentRef.parse("psi4"), registry()) as psi4:
        for molecule in (water, hydroxide, amidogen):
            try:
                expected, expected_forces = psi4.label(molecule)
            except ComponentMissingError as error:
                pytest.skip(f"needs Psi4: {error}")
            energy, forces = in_this_process("pyscf").label(molecule)
            assert energy == pytest.approx(expected, abs=1e-7), molecule.id
            assert forces == pytest.approx(expected_forces, abs=2e-6), molecule.id


def test_the_level_of_theory_is_psi4s_only_where_the_labels_are() -> None:
    spec, psi4 = registry().find(OracleSpec, "pyscf"), "wB97X-D/def2-SVP"
    technical = {"scf": "damping", "threads": 8, "memory": 9.0, "max_iterations": 7}
    assert spec.level_of_theory(technical) == spec.level_of_theory({"method": "wb97x-d", "basis": "DEF2-svp"}) == psi4
    assert spec.options(technical) == {"method": "wB97X-D", "basis": "def2-SVP", "device": "cpu"}
    assert spec.level_of_theory({"basis": "sto-3g"}) == "wB97X-D/sto-3g(pyscf)"
    assert spec.level_of_theory({"method": "b3lyp-d3bj"}) == "b3lyp-d3bj/def2-SVP(pyscf)"
    assert spec.level_of_theory({"device": "cuda"}) == "wB97X-D/def2-SVP(gpu4pyscf)"
    assert spec.isolated
    with pytest.raises(ConfigurationError, match="scf=soscf is not one of plain, guess, damping, second-order"):
        spec.resolve({"scf": "soscf"})


#: Long-range corrected, pure, a hybrid at short range, and no functional.
METHODS = ["wB97X-D", "pbe", "HYB_GGA_XC_HJS_PBE", "mp2"]


@pytest.mark.parametrize("method", METHODS)
def test_forces_are_the_derivative_of_the_energy(method: str, in_this_process: Open, methylene: Molecule) -> None:
    """Of an open shell, along its forces, but for the grid: its points move with the atoms, and that is left out."""
    oracle = in_this_process(f"pyscf:method={method},basis=sto-3g")
    _, forces = oracle.label(methylene)
    size, step = np.linalg.norm(forces), 1e-3
    shift = step * forces / size
    up, down = (oracle.label(methylene.at(methylene.positions + s))[0] for s in (shift, -shift))
    assert size > 0.05
    assert size == pytest.approx((up - down) / (-2 * step), abs=1e-4)


def test_forces_with_nonlocal_correlation_are_the_derivative_of_the_energy(in_this_process: Open) -> None:
    oracle = in_this_process("pyscf:method=wb97m-v,basis=sto-3g")
    energies, forces = [], np.zeros((2, 3))
    for x in (0.739, 0.741, 0.74):
        energy, forces = oracle.label(Molecule("H2", np.array([1, 1]), np.array([[0, 0, 0], [x, 0, 0]])))
        energies.append(energy)
    assert forces[1, 0] == pytest.approx((energies[0] - energies[1]) / 0.002, abs=1e-4)
    assert -1.2 < energies[2] < -1.1


@pytest.mark.parametrize("spins", [1, 2])
@pytest.mark.parametrize(("full", "long_range"), [(0.22, 0.78), (0.25, -0.25), (1.0, 0.0), (0.0, 0.6), (0.0, 0.0)])
def test_the_gradient_of_the_fit_is_that_of_its_energy(full: float, long_range: float, spins: int) -> None:
    """At orbitals that are any numbers; without a grid there is no noise."""
    places = np.array([[0.1, 0, 0], [0.4, 1.9, 0.5], [-1.7, -0.6, 0.3]])
    orbitals = list(np.random.default_rng(1).normal(size=(spins, 7, 3)))

    def fit(at: np.ndarray) -> OneSidedFit:
        mol = gto.M(atom=list(zip("OHH", at.tolist(), strict=True)), unit="Bohr", basis="sto-3g", verbose=0)
        return OneSidedFit(mol, "def2-svp-jkfit")

    def energy(at: np.ndarray) -> float:
        fitted, densities = fit(at), [x @ x.T for x in orbitals]
        total = np.vdot(sum(densities), fitted.get_jk(sum(densities), with_k=False)[0]) / 2
        for density in densities:
            for share, omega in ((full, None), (long_range, 0.2)):
                exchange = fitted.get_jk(density, with_j=False, omega=omega)[1]
                total -= share * np.vdot(density, exchange) * (1 / 4 if spins == 1 else 1 / 2)
        return float(total)

    built = fit(places).build()
    gradient = fitted_gradient(built, orbitals, full, long_range, 0.2)
    step = 1e-3
    for atom, axis in ((0, 2), (1, 1), (2, 0)):
        shift = np.zeros_like(places)
        shift[atom, axis] = step
        slope = (energy(places + shift) - energy(places - shift)) / (2 * step)
        assert gradient[atom, axis] == pytest.approx(slope, rel=1e-5)
    assert gradient.sum(axis=0) == pytest.approx(np.zeros(3), abs=1e-9)


def test_the_fit_of_a_closed_shell_is_that_of_both_spins(in_this_process: Open, water: Molecule) -> None:
    """Restricted and unrestricted equations of one singlet, at a level where every term takes part."""
    restricted = in_this_process("pyscf:basis=sto-3g")
    energy, forces = restricted.label(water)
    unrestricted = in_this_process("pyscf:basis=sto-3g")
    unrestricted.engine._field = lambda mol: _as_unrestricted(restricted.engine, mol)
    unrestricted.engine._gradients = lambda field: _unrestricted_gradients(field)
    again, forces_again = unrestricted.label(water)
    assert again == pytest.approx(energy, abs=1e-8)
    assert forces_again == pytest.approx(forces, abs=1e-6)


def _as_unrestricted(engine: object, mol: object) -> object:
    from pyscf import dft

    field = dft.UKS(mol, xc="HYB_GGA_XC_WB97X_D").density_fit(auxbasis="def2-svp-jkfit")
    field.with_df, field.grids = OneSidedFit(mol, "def2-svp-jkfit"), Psi4Grids(mol)
    return engine._with_settings(field)  # type: ignore[attr-defined]


def _unrestricted_gradients(field: object) -> object:
    from golfbench_pyscf.gradients import _Unrestricted

    return _Unrestricted(field)


def test_hartree_fock_is_pyscfs_own(in_this_process: Open, water: Molecule) -> None:
    mol = gto.M(
        atom=[(z, x / BOHR_TO_ANGSTROM) for z, x in zip("OHH", water.positions, strict=True)],
        unit="Bohr",
        basis="sto-3g",
        verbose=0,
    )
    field = scf.RHF(mol).density_fit(auxbasis="def2-svp-jkfit").run(conv_tol=1e-11)
    energy, forces = in_this_process("pyscf:method=hf,basis=sto-3g").label(water)
    assert energy == pytest.approx(field.e_tot, abs=1e-9)
    assert forces == pytest.approx(field.nuc_grad_method().kernel() / -BOHR_TO_ANGSTROM, abs=1e-6)


def test_every_way_to_the_scf_gives_the_same_label(in_this_process: Open, methylene: Molecule) -> None:
    fallbacks = registry().find(OracleSpec, "pyscf").fallbacks
    assert fallbacks == ({"scf": "guess"}, {"scf": "damping"}, {"scf": "second-order"})
    labels = [
        in_this_process(str(ComponentRef("pyscf", {"basis": "sto-3g", **way}))).label(methylene)
        for way in ({}, *fallbacks)
    ]
    assert np.ptp([energy for energy, _ in labels]) < 1e-8  # Hartree
    assert np.ptp([forces for _, forces in labels], axis=0).max() < 2e-6  # Hartree/Å
    assert len({forces.tobytes() for _, forces in labels}) == 4  # each went its own way


def test_a_label_depends_on_the_molecule_alone(in_this_process: Open, water: Molecule, amidogen: Molecule) -> None:
    oracle = in_this_process("pyscf:basis=sto-3g")
    first = oracle.label(water)
    oracle.label(amidogen)
    again = oracle.label(water)
    assert again[0] == pytest.approx(first[0], abs=1e-11)
    assert again[1] == pytest.approx(first[1], abs=1e-9)
    assert np.abs(first[1].sum(axis=0)).max() < 1e-12
    assert np.abs(np.cross(water.positions, first[1]).sum(axis=0)).max() < 1e-12


def test_a_label_turns_with_the_molecule(in_this_process: Open, water: Molecule) -> None:
    turn = np.array([[2, -10, 11], [14, 5, 2], [-5, 10, 10]]) / 15
    oracle = in_this_process("pyscf:basis=sto-3g")
    (energy, forces), (turned, turned_forces) = oracle.label(water), oracle.label(water.at(water.positions @ turn.T))
    assert turned == pytest.approx(energy, abs=1e-9)
    assert turned_forces == pytest.approx(forces @ turn.T, abs=1e-6)


def test_little_memory_gives_the_same_label(in_this_process: Open, water: Molecule) -> None:
    """Integrals that do not fit are kept in a file."""
    (energy, forces), (with_files, forces_with_files) = (
        in_this_process(f"pyscf:basis=sto-3g,memory={gb}").label(water) for gb in (2.0, 0.25)
    )
    assert with_files == pytest.approx(energy, abs=1e-9)
    assert forces_with_files == pytest.approx(forces, abs=1e-7)


def test_heavy_elements_have_the_core_potential_of_their_basis_set(in_this_process: Open) -> None:
    """HI at HF/def2-SVP, without a potential 6600 Hartree lower."""
    iodide = Molecule("HI", np.array([53, 1]), np.array([[0, 0, 0], [0.2, 0.9, 1.3]]))
    assert -299 < in_this_process("pyscf:method=hf").label(iodide)[0] < -297


def test_grimmes_dispersion_where_its_package_is(in_this_process: Open, water: Molecule) -> None:
    if find_spec("pyscf.dispersion") is None:
        pytest.skip("needs pyscf-dispersion")
    with_it, without = (in_this_process(f"pyscf:method={m},basis=sto-3g").label(water) for m in ("b3lyp-d3bj", "b3lyp"))
    assert with_it[0] - without[0] == pytest.approx(-0.00058, abs=5e-5)  # as simple-dftd3 has it for water
    assert 1e-6 < np.abs(with_it[1] - without[1]).max() < 1e-3


def test_axes_do_not_depend_on_how_the_molecule_lies() -> None:
    charges, places = np.array([8, 1, 6]), np.array([[0.0, 0, 0], [1, 0.2, 0], [0, 2, 0.5]])
    axes = principal_axes(charges, places)
    turn = np.array([[2, -10, 11], [14, 5, 2], [-5, 10, 10]]) / 15
    assert axes @ axes.T == pytest.approx(np.eye(3), abs=1e-12)
    assert np.abs(axes @ turn.T @ principal_axes(charges, places @ turn.T + 3).T) == pytest.approx(np.eye(3), abs=1e-12)


def test_versions_and_lists_need_no_engine(in_this_process: Open) -> None:
    assert in_this_process("pyscf").version == f"pyscf {pyscf.__version__}"
    code = "import json, sys, golfbench_pyscf as p; p.golfbench_oracles(); print(json.dumps(sorted(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert not {"pyscf", "ase", "torch", "scipy"} & set(json.loads(done.stdout))
