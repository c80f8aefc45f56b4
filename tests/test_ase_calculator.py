"""golfbench's models as ASE calculators: units, forces, caching, what a molecule is told, and what is refused."""

import warnings
from pathlib import Path

import numpy as np
import pytest
from ase import Atoms
from ase.build import molecule as ase_molecule
from ase.calculators.fd import calculate_numerical_forces
from ase.constraints import FixAtoms
from ase.optimize import BFGS

from golfbench.ase import GolfbenchCalculator
from golfbench.batches import Batch, make_batch
from golfbench.chemistry import embed, from_ase, to_ase
from golfbench.contracts import Evaluation
from golfbench.errors import CheckpointError, ConfigurationError, GolfbenchError, MoleculeError, OracleError
from golfbench.learning import checkpoint as checkpoints
from golfbench.learning.opening import load_potential, open_fixed_model
from golfbench.registry import registry
from golfbench.specs import ComponentRef, DatasetSpec
from golfbench.units import HARTREE_TO_EV


@pytest.fixture(scope="module")
def gfn2() -> GolfbenchCalculator:
    return GolfbenchCalculator("gfn2-xtb:accuracy=0.001")


@pytest.fixture(scope="module")
def baseline() -> str:
    dataset = registry().find(DatasetSpec, "druglike-mini").create({}).read()
    return dataset.checkpoints["painn-small"]


@pytest.fixture
def ethanol() -> Atoms:
    return to_ase(embed("CCO", "ethanol", 1, seed=3)[0])


class Counting:
    """A model that counts: energy -1 Hartree, one unit of force along x; or it goes wrong."""

    cutoff = None

    def __init__(self, energy: float = -1.0, error: Exception | None = None) -> None:
        self.calls, self.energy, self.error = 0, energy, error

    def energy_forces(self, batch: Batch) -> Evaluation:
        self.calls += 1
        if self.error is not None:
            raise self.error
        forces = 0.0 * batch.positions
        forces[:, 0] = 1.0
        return Evaluation(forces[: len(batch), 0] * 0.0 + self.energy, forces)


@pytest.mark.parametrize("name", ["mmff94", "gfn2-xtb"])
def test_energies_and_forces_are_the_models_in_ev(name: str, ethanol: Atoms) -> None:
    ethanol.calc = GolfbenchCalculator(name)
    model = open_fixed_model(ComponentRef(name))
    direct = model.energy_forces(make_batch([from_ase(ethanol)], model.cutoff))
    assert ethanol.get_potential_energy() == pytest.approx(float(direct.energies[0]) * HARTREE_TO_EV, abs=1e-9)
    assert ethanol.get_potential_energy(force_consistent=True) == ethanol.get_potential_energy()
    assert ethanol.get_forces() == pytest.approx(direct.forces.numpy() * HARTREE_TO_EV, abs=1e-9)


def test_gfn2_of_water_has_the_energy_that_xtb_documents() -> None:
    """-137.9677 eV, as the documentation of tblite's own calculator has it for the same atoms."""
    water = ase_molecule("H2O")
    water.calc = GolfbenchCalculator("gfn2-xtb")
    assert water.get_potential_energy() == pytest.approx(-137.96777, abs=2e-5)


@pytest.mark.parametrize(("name", "step", "tolerance"), [("mmff94", 1e-4, 1e-5), ("gfn2-xtb", 1e-3, 1e-4)])
def test_forces_are_the_derivative_of_the_energy(
    name: str, step: float, tolerance: float, ethanol: Atoms, gfn2: GolfbenchCalculator
) -> None:
    ethanol.calc = gfn2 if name == "gfn2-xtb" else GolfbenchCalculator(name)
    forces = ethanol.get_forces()
    assert np.abs(forces).max() > 0.1
    assert forces[:3] == pytest.approx(calculate_numerical_forces(ethanol, eps=step, iatoms=range(3)), abs=tolerance)


@pytest.mark.parametrize("name", ["mmff94", "gfn2-xtb"])
def test_bfgs_of_ase_finds_a_minimum(name: str, ethanol: Atoms, gfn2: GolfbenchCalculator) -> None:
    ethanol.calc = gfn2 if name == "gfn2-xtb" else GolfbenchCalculator(name)
    start = ethanol.get_potential_energy()
    assert BFGS(ethanol, logfile=None).run(fmax=0.02, steps=60)
    assert np.linalg.norm(ethanol.get_forces(), axis=1).max() < 0.02
    assert start - 2.0 < ethanol.get_potential_energy() < start - 0.01
    assert ethanol.get_distance(1, 2) == pytest.approx(1.42, abs=0.02)  # C-O


def test_a_checkpoint_walks_too(baseline: str) -> None:
    aspirin = embed("CC(=O)Oc1ccccc1C(=O)O", "aspirin", 1, seed=1)[0]
    atoms = to_ase(aspirin)
    atoms.calc = GolfbenchCalculator(checkpoint=baseline, device="cpu")
    direct = load_potential(Path(baseline))[0]
    expected = direct.energy_forces(make_batch([aspirin], direct.cutoff))
    energy, forces = atoms.get_potential_energy(), atoms.get_forces()
    assert energy == pytest.approx(float(expected.energies[0]) * HARTREE_TO_EV, abs=1e-6)
    assert forces == pytest.approx(expected.forces.numpy() * HARTREE_TO_EV, abs=1e-4)
    BFGS(atoms, logfile=None).run(fmax=0.02, steps=5)
    assert atoms.get_potential_energy() < energy - 0.05


def test_a_checkpoint_that_sees_no_charge_says_so(baseline: str) -> None:
    acetate = to_ase(embed("CC(=O)[O-]", "acetate", 1, seed=1)[0])
    acetate.calc = GolfbenchCalculator(checkpoint=baseline)
    with pytest.warns(UserWarning, match="acetate/0: the model does not see charge -1 and multiplicity 1"):
        acetate.get_potential_energy()
    uranium = Atoms("UF6", positions=np.vstack([np.zeros(3), 2 * np.eye(3), -2 * np.eye(3)]), calculator=acetate.calc)
    with pytest.raises(MoleculeError, match="element U is outside what the model has learned"):
        uranium.get_potential_energy()


def test_results_are_kept_until_something_changes() -> None:
    model = Counting()
    atoms = ase_molecule("CH4")
    atoms.calc = GolfbenchCalculator(model)
    for _ in range(2):
        assert atoms.get_potential_energy() == pytest.approx(-HARTREE_TO_EV)
        assert atoms.get_forces()[:, 0] == pytest.approx([HARTREE_TO_EV] * 5)
    assert model.calls == 1
    atoms.cell = np.eye(3) * 20  # not periodic: nothing that the model sees
    atoms.set_initial_charges([0.1, 0, 0, 0, -0.1])
    atoms.get_potential_energy()
    assert model.calls == 1
    for change in (lambda: atoms.rattle(0.01, seed=1), lambda: atoms.info.update(multiplicity=3)):
        change()
        calls = model.calls
        atoms.get_potential_energy()
        atoms.get_forces()
        assert model.calls == calls + 1


def test_constraints_of_ase_work() -> None:
    atoms = ase_molecule("CH4")
    atoms.calc = GolfbenchCalculator(Counting())
    atoms.set_constraint(FixAtoms([0]))
    assert (atoms.get_forces()[0] == 0).all()
    assert (atoms.get_forces(apply_constraint=False)[0] != 0).any()


def test_charge_and_multiplicity_come_from_the_arguments_the_info_or_the_smiles(gfn2: GolfbenchCalculator) -> None:
    ammonium = to_ase(embed("C[NH3+]", "ammonium", 1, seed=1)[0])
    bare = Atoms(ammonium.numbers, ammonium.positions)
    ammonium.calc = gfn2
    expected = ammonium.get_potential_energy()

    def energy(calculator: GolfbenchCalculator, **info: object) -> float:
        atoms = bare.copy()
        atoms.info.update(info)
        atoms.calc = calculator
        return float(atoms.get_potential_energy())

    assert energy(gfn2, charge=1) == pytest.approx(expected, abs=1e-9)
    assert energy(gfn2, smiles="C[NH3+]") == pytest.approx(expected, abs=1e-9)
    assert energy(GolfbenchCalculator("gfn2-xtb:accuracy=0.001", charge=1), charge=0) == pytest.approx(expected)
    assert energy(gfn2, charge=0, multiplicity=2) < expected - 3.0  # the electron affinity, eV
    with pytest.raises(MoleculeError, match="cannot have multiplicity 1"):
        GolfbenchCalculator("gfn2-xtb").get_potential_energy(bare)


def test_a_force_field_needs_the_smiles(ethanol: Atoms) -> None:
    bare = Atoms(ethanol.numbers, ethanol.positions)
    ethanol.calc = GolfbenchCalculator("mmff94")
    bare.calc = GolfbenchCalculator("mmff94", smiles="CCO")
    assert bare.get_potential_energy() == pytest.approx(ethanol.get_potential_energy(), abs=1e-12)
    for smiles, complaint in ((None, "no SMILES"), ("CO", "not those of its SMILES"), ("C(", "not a valid SMILES")):
        bare.calc = GolfbenchCalculator("mmff94", smiles=smiles)
        with pytest.raises(GolfbenchError, match=complaint):
            bare.get_potential_energy()


def test_what_is_no_molecule_is_refused() -> None:
    model = Counting()
    water = ase_molecule("H2O")
    cases = []
    for name, change in {
        "periodic systems are not molecules": lambda a: a.set_pbc([True, False, False]),
        "overlap": lambda a: a.positions.__setitem__(2, a.positions[1]),
        "not finite": lambda a: a.positions.__setitem__(0, np.nan),
        "cannot have multiplicity": lambda a: a.info.update(charge=1),
        "atomic numbers outside": lambda a: a.numbers.__setitem__(0, 0),
    }.items():
        cases.append((name, water.copy()))
        change(cases[-1][1])
    for complaint, atoms in [*cases, ("no atoms", Atoms())]:
        atoms.calc = GolfbenchCalculator(model)
        with pytest.raises(MoleculeError, match=complaint):
            atoms.get_forces()
    assert model.calls == 0


def test_errors_of_a_model_are_errors_of_golfbench() -> None:
    water = ase_molecule("H2O")
    failures = (
        (Counting(error=RuntimeError("out of memory")), GolfbenchError, "OH2: RuntimeError: out of memory"),
        (Counting(error=ConfigurationError("no such basis")), ConfigurationError, "^no such basis$"),
        (Counting(energy=np.nan), GolfbenchError, "not finite"),
        ("gfn2-xtb:max_iterations=1", OracleError, "did not converge"),
    )
    for model, error, complaint in failures:
        water.calc = GolfbenchCalculator(model)
        with pytest.raises(error, match=complaint):
            water.get_potential_energy()


def test_models_that_cannot_be_opened(tmp_path: Path, baseline: str) -> None:
    with pytest.raises(ConfigurationError, match="a model or a checkpoint, one of them"):
        GolfbenchCalculator()
    with pytest.raises(ConfigurationError, match="a model or a checkpoint, one of them"):
        GolfbenchCalculator("mmff94", checkpoint=baseline)
    with pytest.raises(ConfigurationError, match="unknown model 'gfn2-xtbb'"):
        GolfbenchCalculator("gfn2-xtbb")
    with pytest.raises(ConfigurationError, match="trainable"):
        GolfbenchCalculator("painn")
    unfinished = tmp_path / "state.safetensors"
    checkpoints.save(unfinished, {}, {"step": 3})
    with pytest.raises(CheckpointError, match="the state of an unfinished training"):
        GolfbenchCalculator(checkpoint=unfinished)


def test_nothing_is_warned_of_where_there_is_nothing_to_warn_of(ethanol: Atoms, baseline: str) -> None:
    ethanol.calc = GolfbenchCalculator(checkpoint=baseline)
    with warnings.catch_warnings(record=True) as warned:
        warnings.simplefilter("always")
        assert np.isfinite(ethanol.get_potential_energy())
    assert [str(warning.message) for warning in warned] == []
