"""An oracle as a model: its numbers in the places of the batch, failures beside them."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
import torch

from golfbench.batches import make_batch
from golfbench.chemistry import embed
from golfbench.contracts import Label, Model
from golfbench.errors import ComponentMissingError, ConfigurationError, OracleError
from golfbench.learning.opening import open_fixed_model
from golfbench.minimization import StoppingRule, minimize
from golfbench.molecules import Molecule
from golfbench.oracles.as_model import OracleModel
from golfbench.oracles.ledger import read_calls
from golfbench.oracles.opening import open_oracle
from golfbench.oracles.service import Account, OracleService
from golfbench.registry import registry
from golfbench.specs import ComponentRef, OptimizerSpec


@pytest.fixture(scope="module")
def conformers() -> list[Molecule]:
    return [embed(smiles, name, 1, seed=4)[0] for name, smiles in (("water", "O"), ("ethanol", "CCO"), ("HCN", "C#N"))]


@pytest.mark.parametrize("name", ["mmff94", "uff"])
def test_a_fixed_model_gives_the_oracles_own_numbers(name: str, conformers: list[Molecule]) -> None:
    model, oracle = open_fixed_model(ComponentRef(name)), open_oracle(ComponentRef(name), registry())
    assert isinstance(model, Model)
    assert model.cutoff == 0.0
    batch = make_batch(conformers, model.cutoff)
    assert batch.pairs.numel() == 0
    found = model.energy_forces(batch)
    expected = [oracle.label(molecule) for molecule in conformers]
    assert found.energies.tolist() == [energy for energy, _ in expected]
    assert found.forces.numpy().tobytes() == np.concatenate([forces for _, forces in expected]).tobytes()
    assert found.forces.dtype == found.energies.dtype == torch.float64
    assert found.errors == {}


def test_the_tensor_counts_not_the_molecules_own_positions(conformers: list[Molecule]) -> None:
    model, oracle = open_fixed_model(ComponentRef("mmff94")), open_oracle(ComponentRef("mmff94"), registry())
    batch = make_batch(conformers, 0.0)
    found = model.energy_forces(batch.replace_positions(batch.positions * 1.1))
    stretched = [oracle.label(m.at(m.positions * 1.1))[0] for m in conformers]
    assert found.energies.tolist() == stretched
    assert abs(stretched[1] - oracle.label(conformers[1])[0]) > 0.01


def test_a_failure_is_a_gap_in_its_own_place(conformers: list[Molecule]) -> None:
    model = open_fixed_model(ComponentRef("mmff94"))
    radical = Molecule("OH", np.array([8, 1]), np.array([[0, 0, 0], [0, 0, 0.97]]), multiplicity=2, smiles="[OH]")
    lost = conformers[1].at(np.full((9, 3), np.nan))
    found = model.energy_forces(make_batch([radical, conformers[0], lost, conformers[2]], 0.0))
    assert {row: str(error) for row, error in found.errors.items()} == {
        0: "OH: mmff94 takes closed shells only, multiplicity is 2",
        2: "ethanol/0: coordinates are not finite",
    }
    assert torch.isnan(found.energies).tolist() == [True, False, True, False]
    assert torch.isnan(found.forces).all(1).tolist() == [True] * 2 + [False] * 3 + [True] * 9 + [False] * 3
    alone = model.energy_forces(make_batch([conformers[0], conformers[2]], 0.0))
    assert found.energies[[1, 3]].tolist() == alone.energies.tolist()


def test_only_a_failed_label_is_a_failure_of_the_molecule(conformers: list[Molecule]) -> None:
    def label_all(molecules: Sequence[Molecule]) -> list[Label | OracleError]:
        raise ComponentMissingError("'psi4' is not installed")

    with pytest.raises(ComponentMissingError):
        OracleModel(label_all).energy_forces(make_batch(conformers, 0.0))


def test_a_trainable_model_is_no_fixed_one() -> None:
    with pytest.raises(ConfigurationError, match="'painn' is trainable: it is no fixed reference"):
        open_fixed_model(ComponentRef("painn"))


def test_minima_under_the_oracle_itself_pass_through_the_service(tmp_path: Path) -> None:
    service = OracleService(tmp_path, workers=1)
    xtb = ComponentRef("gfn2-xtb")
    (water,) = embed("O", "water", 1, seed=4)
    account = Account("", "reference", "reference")
    model = OracleModel(lambda molecules: service.label_all(xtb, molecules, account))
    lbfgs = registry().find(OptimizerSpec, "lbfgs").create({})
    (outcome,) = minimize(model, [water], lbfgs, StoppingRule(0.01, 50))
    assert outcome.status == "converged"
    assert len(list(read_calls(service.ledger.path))) == outcome.model_calls
    assert {c.purpose for c in read_calls(service.ledger.path)} == {"reference"}
    label = service.submit(xtb, water.at(outcome.point.positions), account).result()
    assert label.energy == outcome.point.energy
    assert len(list(read_calls(service.ledger.path))) == outcome.model_calls  # known already
    bond = np.linalg.norm(outcome.point.positions[0] - outcome.point.positions[1])
    assert bond == pytest.approx(0.959, abs=0.005)
    service.close()
