"""TorchScript files: rebuilt networks say what the scripts say; what cannot be rebuilt is refused."""

import importlib
from pathlib import Path

import pytest
import torch

from golfbench.batches import make_batch
from golfbench.errors import CheckpointError, ConfigurationError
from golfbench.learning.foreign import ForeignFile, open_foreign
from golfbench.specs import ComponentRef
from golfbench.testing.samples import samples
from golfbench.units import HARTREE_TO_EV
from golfbench_aimnet.reader import read_script

MOLECULES = samples(
    ("CC(=O)Nc1ccc(O)cc1", "C[NH+](C)C", "CC(=O)[O-]", "[NH3+]CC(=O)[O-]", "Brc1ccccc1S(N)(=O)=O", "Clc1ccncc1", "O"),
    None,
)


@pytest.fixture(scope="module")
def scripts():
    """Return the module with networks that can be scripted: TorchScript wants an importable name of its classes."""
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(Path(__file__).parent / "dense")
        yield importlib.import_module("dense_aimnet")


def saved(module, folder):
    path = folder / "some.jpt"
    torch.jit.script(module).save(str(path))
    return path


def of_script(module, molecule):
    """Return energy (eV) and forces (eV/Å) of the module itself, in float64."""
    positions = torch.tensor(molecule.positions)[None].requires_grad_(True)
    data = {
        "coord": positions,
        "numbers": torch.tensor(molecule.numbers)[None],
        "charge": torch.tensor([float(molecule.charge)], dtype=torch.float64),
    }
    energy = module.double()(data)["energy"].sum()
    return float(energy.detach()), -torch.autograd.grad(energy, positions)[0][0]


def read(path):
    potential, header = open_foreign(ForeignFile(path, "aimnet2", unsafe=True), ComponentRef("aimnet2"))
    for network in potential.networks:
        network.double()
    return potential, header


def assert_says(potential, module, tolerance=2e-6):
    evaluation = potential.energy_forces(make_batch(MOLECULES, potential.cutoff))
    blocks = evaluation.forces.split([len(m) for m in MOLECULES])
    for molecule, energy, forces in zip(MOLECULES, evaluation.energies.tolist(), blocks, strict=True):
        expected, expected_forces = of_script(module, molecule)
        assert energy * HARTREE_TO_EV == pytest.approx(expected, abs=tolerance)
        assert (forces * HARTREE_TO_EV - expected_forces).abs().max() < tolerance


@pytest.mark.parametrize("capped", [True, False])
def test_a_rebuilt_network_says_what_the_script_says_in_a_mixed_batch(scripts, capped, tmp_path):
    module = scripts.dense(capped=capped)
    potential, header = read(saved(module, tmp_path))
    assert_says(potential, module)
    assert header["imported"]["method"] == "wB97M-D3/def2-TZVPP"
    assert "MIT" in header["imported"]["notice"]
    found = {name: header["parameters"][name] for name in ("features", "radial", "vectors", "hidden", "cutoff")}
    assert found == {"features": 3, "radial": 4, "vectors": 2, "hidden": "9 7", "cutoff": 4.0}
    assert all(p.requires_grad for p in potential.network.parameters())


def test_an_ensemble_becomes_a_committee_whose_members_keep_their_energies_of_atoms(scripts, tmp_path):
    members = [scripts.dense(seed) for seed in (1, 2, 3)]
    potential, _ = read(saved(scripts.Ensemble(members), tmp_path))
    assert len(potential.networks) == 3
    for k, member in enumerate(members):
        assert_says(potential.member(k), member)
    spread = potential.energy_forces(make_batch(MOLECULES, None)).spread
    energies = torch.tensor([[of_script(m, x)[0] for x in MOLECULES] for m in members], dtype=torch.float64)
    assert (spread.energies * HARTREE_TO_EV - energies.std(dim=0, correction=0)).abs().max() < 1e-5


def test_a_network_that_computes_something_else_is_refused(scripts, tmp_path):
    module = scripts.dense()
    module.mlps[0][1] = torch.nn.SiLU()
    with pytest.raises(CheckpointError, match=r"cannot be rebuilt: .*energies differ by .* eV"):
        read_script(saved(module, tmp_path))


def test_other_outputs_and_elements_are_refused(scripts, tmp_path):
    with pytest.raises(CheckpointError, match="3 passes with the outputs dipole are not supported"):
        read_script(saved(scripts.Other(), tmp_path))
    module = scripts.dense()
    with torch.no_grad():
        module.outputs["atomic_shift"].shifts.weight[35] = 0.0
    with pytest.raises(CheckpointError, match=r"it knows the atomic numbers \[1, 5, .* 34, 53\]"):
        read_script(saved(module, tmp_path))


def test_files_that_are_no_networks_are_refused(tmp_path):
    with pytest.raises(CheckpointError, match="it holds no AIMNet2"):
        read_script(saved(torch.nn.Linear(1, 1), tmp_path))
    text = tmp_path / "text.jpt"
    text.write_text("no script")
    with pytest.raises(CheckpointError, match="is not readable as TorchScript"):
        read_script(text)
    with pytest.raises(CheckpointError, match="does not exist"):
        read_script(tmp_path / "missing.jpt")
    with pytest.raises(ConfigurationError, match="can run code when it is read"):
        open_foreign(ForeignFile(text, "aimnet2"), ComponentRef("aimnet2"))
