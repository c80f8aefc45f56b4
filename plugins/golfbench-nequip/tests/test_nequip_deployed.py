"""Weights from files of ``nequip-deploy build``, made here by NequIP's own builders and its own command."""

import subprocess
import sys

import numpy as np
import pytest
import torch
import yaml

from golfbench.batches import make_batch
from golfbench.errors import CheckpointError
from golfbench.imports import contained, importable
from golfbench.learning.potential import Potential
from golfbench.molecules import Molecule
from golfbench.registry import registry
from golfbench.specs import ModelSpec
from golfbench.units import HARTREE_TO_EV
from golfbench_nequip.deployed import read

CONFIG = """
model_builders: [SimpleIrrepsConfig, EnergyModel, PerSpeciesRescale, StressForceOutput, RescaleEnergyEtc]
default_dtype: float64
model_dtype: float32
allow_tf32: false
_jit_bailout_depth: 2
chemical_symbols: [H, C, O]
num_features: 4
l_max: 1
parity: true
num_layers: 2
r_max: 4.0
PolynomialCutoff_p: 5
invariant_neurons: 12
avg_num_neighbors: 7.5
per_species_rescale_shifts: [-13.5, -1029.0, -2041.25]
per_species_rescale_scales: [0.5, 1.5, 2.0]
global_rescale_scale: 2.5
"""
#: Trains nothing: weights from a seed, saved as a training saves them, then nequip-deploy.
MAKE = """
import sys, torch, yaml
from pathlib import Path
from golfbench.imports import importable
with importable():
    from nequip.model import model_from_config
    from nequip.scripts.deploy import main
    from nequip.utils import Config
for folder in map(Path, sys.argv[1:]):
    config = Config.from_dict(yaml.safe_load((folder / "given.yaml").read_text()))
    torch.set_default_dtype(torch.float64)
    torch.manual_seed(3)
    model = model_from_config(config, initialize=True)
    torch.save(model.state_dict(), folder / "best_model.pth")
    (folder / "config.yaml").write_text(yaml.safe_dump(Config.as_dict(config)))
    main(["--verbose", "ERROR", "build", "--train-dir", str(folder), str(folder / "deployed.pth")])
"""
ETHANAL = Molecule(
    "ethanal",
    np.array([6, 6, 8, 1, 1, 1, 1]),
    np.array(
        [
            [1.17, -0.15, 0.02],
            [-0.24, 0.39, 0.0],
            [-1.21, -0.28, -0.05],
            [1.15, -1.24, 0.1],
            [1.7, 0.2, 0.87],
            [1.71, 0.22, -0.88],
            [-0.3, 1.5, 0.03],
        ]
    ),
)


#: What is added to the configuration, by the folder of the file that is deployed with it.
VARIANTS = {
    "standard": "",
    "softplus": "num_layers: 1\nnonlinearity_scalars: {e: ssp, o: tanh}",
    "shifted": "num_layers: 1\nper_species_rescale_shifts: null\nglobal_rescale_shift: -100.0",
    "numbered": "num_layers: 1\nchemical_symbols: null\ntype_names: [A, B, D]",
}


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Return a directory with a deployed model for each variant."""
    base = tmp_path_factory.mktemp("deployed")
    for name, addition in VARIANTS.items():
        (base / name).mkdir()
        merged = yaml.safe_load(CONFIG) | (yaml.safe_load(addition) or {})
        (base / name / "given.yaml").write_text(yaml.safe_dump(merged))
    command = [sys.executable, "-W", "ignore", "-c", MAKE, *(str(base / name) for name in VARIANTS)]
    subprocess.run(command, check=True, timeout=300)
    return base


@pytest.fixture(scope="module")
def deployed(folder):
    return folder / "standard" / "deployed.pth"


@pytest.fixture(scope="module")
def imported(deployed):
    return read(deployed)


def nequip_says(path, molecule):
    """Return energy (eV) and forces (eV/Å) as NequIP computes them from the file."""
    with importable():
        from nequip.scripts.deploy import load_deployed_model
    types = {1: 0, 6: 1, 8: 2}
    batch = make_batch([molecule], 4.0)
    with contained():
        model, _ = load_deployed_model(path, set_global_options=False)
        out = model(
            {
                "pos": batch.positions,
                "edge_index": batch.pairs,
                "atom_types": torch.tensor([types[int(z)] for z in molecule.numbers])[:, None],
            }
        )
    return float(out["total_energy"].detach()), out["forces"].numpy()


def test_energies_and_forces_are_those_of_the_file(deployed, imported):
    network = registry().find(ModelSpec, "nequip").create(imported.parameters)
    network.load_state_dict(imported.tensors, strict=True)
    potential = Potential(network, imported.atom_energies, imported.scale)
    result = potential.energy_forces(make_batch([ETHANAL], network.cutoff))
    energy, forces = nequip_says(deployed, ETHANAL)
    assert float(result.energies) * HARTREE_TO_EV == pytest.approx(energy, abs=2e-5)
    assert np.abs(result.forces.numpy() * HARTREE_TO_EV - forces).max() < 1e-5 * np.abs(forces).max()
    assert np.abs(forces).max() > 0.1
    assert energy == pytest.approx(2 * -1029.0 - 2041.25 + 4 * -13.5, abs=50)


def test_shifts_and_scales_are_where_the_suite_looks_for_them(imported):
    assert {z: e * HARTREE_TO_EV for z, e in imported.atom_energies.items()} == pytest.approx(
        {1: -13.5, 6: -1029.0, 8: -2041.25}
    )
    assert imported.scale * HARTREE_TO_EV == pytest.approx(2.5)
    scales = imported.tensors["model.per_species_rescale.scales"]
    assert scales.tolist() == pytest.approx([0.2, 0.6, 0.8])  # NequIP keeps them in units of the global scale
    assert imported.parameters["elements"] == "H C O"
    assert imported.parameters["avg_neighbours"] == 7.5
    assert "eV and Å are assumed" in imported.notice
    assert imported.method == ""


def test_the_format_is_declared_as_one_that_runs_code():
    (declared,) = registry().find(ModelSpec, "nequip").checkpoint_formats
    assert (declared.name, declared.unsafe) == ("nequip-deployed", True)
    assert declared.reader == "golfbench_nequip.deployed:read"


@pytest.mark.parametrize(
    ("variant", "reason"),
    [
        ("softplus", "settings that cannot be rebuilt: on a probe"),
        ("shifted", "shifts total energies"),
        ("numbered", "not chemical elements"),
    ],
)
def test_what_cannot_be_rebuilt_is_refused(folder, variant, reason):
    with pytest.raises(CheckpointError, match=reason):
        read(folder / variant / "deployed.pth")


def test_files_that_are_no_deployed_model_are_refused(tmp_path):
    text, script = tmp_path / "text.pth", tmp_path / "script.pth"
    text.write_text("no model")
    with contained():
        torch.jit.save(torch.jit.script(torch.nn.Linear(2, 2)), script)
    for path in (text, script, tmp_path / "absent.pth"):
        with pytest.raises(CheckpointError, match=f"{path.name}: not a deployed NequIP model"):
            read(path)
