"""Model files of so3krates-torch: rebuilt networks agree with its own calculator; what cannot be rebuilt is refused."""

import importlib.metadata
from dataclasses import replace

import numpy as np
import pytest
import torch
from ase import Atoms

from golfbench.batches import make_batch
from golfbench.errors import CheckpointError, MoleculeError
from golfbench.fetching import sha256_of
from golfbench.imports import contained, importable
from golfbench.learning.learner import load_weights
from golfbench.learning.opening import load_potential
from golfbench.learning.potential import Potential
from golfbench.registry import registry
from golfbench.specs import ModelSpec
from golfbench.store import fetch_command, stored
from golfbench.testing.samples import sample
from golfbench.units import HARTREE_TO_EV
from golfbench_so3lr.networks import LONG_RANGE_CUTOFF, LONG_RANGE_DAMPING
from golfbench_so3lr.reader import read_model

with importable():
    from so3krates_torch.calculator.so3 import TorchkratesCalculator
    from so3krates_torch.modules.models import SO3LR, MultiHeadSO3LR, So3krates

DRUGS = [sample(smiles) for smiles in ("CC(=O)Nc1ccc(O)cc1", "Cc1ccc(cc1)S(N)(=O)=O", "FC(Cl)CP")]
IONS = [sample(smiles) for smiles in ("C[NH+](C)Cc1ccccc1", "CC(C)C(=O)[O-]", "[NH3+]CC(=O)[O-]", "[NH3+]CC[NH3+]")]
SPEC = registry().find(ModelSpec, "so3lr")


def model(kind=SO3LR, learned=(1, 6, 7, 8), **changes):
    """Return a model with random weights that has learned some elements."""
    arguments = {
        "r_max": 4.0,
        "num_radial_basis_fn": 6,
        "degrees": [1, 2],
        "num_features": 8,
        "num_heads": 2,
        "num_layers": 2,
        "avg_num_neighbors": 9.5,
        "energy_regression_dim": 8,
        "radial_basis_fn": "bernstein",
        "cutoff_fn": "phys",
        "layer_normalization_1": True,
        "layer_normalization_2": True,
        "residual_mlp_1": True,
        "use_charge_embed": True,
        "use_spin_embed": True,
    }
    with contained():
        torch.manual_seed(3)
        made = kind(**arguments | changes)
    head = made.atomic_energy_output_block
    with torch.no_grad():
        for z in learned:
            head.energy_scales.weight[0, z - 1] = 1 + 0.05 * z
            head.energy_shifts[z - 1] = -13.6 * z
    return made


def saved(made, folder):
    path = folder / "some.model"
    torch.save(made, path)
    return path


def rebuilt(path):
    weights = read_model(path)
    network = SPEC.create(weights.parameters)
    load_weights(network, weights.tensors, "the file")
    return Potential(network.double().eval(), weights.atom_energies, weights.scale), weights


def assert_agree(potential, made, molecules):
    """Compare one mixed batch with the package's calculator, molecule by molecule, in eV and float64."""
    evaluation = potential.energy_forces(make_batch(molecules, potential.cutoff))
    blocks = evaluation.forces.split([len(m) for m in molecules])
    with contained():
        calculator = TorchkratesCalculator(
            models=made,
            r_max_lr=LONG_RANGE_CUTOFF,
            dispersion_energy_cutoff_lr_damping=LONG_RANGE_DAMPING,
            default_dtype="float64",
        )
        for molecule, energy, forces in zip(molecules, evaluation.energies.tolist(), blocks, strict=True):
            torch.set_default_dtype(torch.float64)
            calculator.reset()  # it keeps its results as long as only the charge changes
            state = {"charge": molecule.charge, "total_spin": (molecule.multiplicity - 1) / 2}
            atoms = Atoms(molecule.numbers, molecule.positions, info=state, calculator=calculator)
            assert energy * HARTREE_TO_EV == pytest.approx(atoms.get_potential_energy(), abs=1e-8)
            assert np.abs(forces.numpy() * HARTREE_TO_EV - atoms.get_forces()).max() < 1e-8


@pytest.fixture(scope="module")
def published():
    """The file that the package brings."""
    path = importlib.metadata.distribution("so3krates-torch").locate_file(SPEC.weights[0].source.member)
    if sha256_of(path) != SPEC.weights[0].sha256:
        pytest.skip("the installed so3krates-torch brings another SO3LR than 0.2.1")
    return path


@pytest.fixture(scope="module")
def pretrained(published):
    return rebuilt(published)


@pytest.mark.parametrize(
    "changes", [{}, {"degrees": [1, 2, 3, 4], "num_heads": 4, "num_layers": 1}, {"num_features": 12, "degrees": [2]}]
)
def test_rebuilt_model_says_what_the_calculator_says(changes, tmp_path):
    width = changes.get("num_features", 8)
    made = model(**changes, energy_regression_dim=width)
    potential, _ = rebuilt(saved(made, tmp_path))
    assert_agree(potential, made, [sample("CCO"), sample("C[NH3+]"), sample("CC(=O)[O-]")])


@pytest.mark.parametrize("molecules", [DRUGS, IONS, [*IONS, *DRUGS]], ids=["neutral", "ions", "mixed"])
def test_the_published_weights_say_what_the_calculator_says(molecules, published, pretrained):
    with importable():
        made = torch.load(published, weights_only=False)
    assert_agree(pretrained[0], made, molecules)


def test_a_radical_too(published, pretrained):
    with importable():
        made = torch.load(published, weights_only=False)
    radical = replace(sample("CCO"), charge=1, multiplicity=2, smiles=None)
    assert_agree(pretrained[0], made, [radical, replace(radical, charge=0, multiplicity=3)])


def test_parameters_and_references(tmp_path):
    weights = read_model(saved(model(), tmp_path))
    assert weights.parameters == {
        "features": 8,
        "heads": 2,
        "layers": 2,
        "radial": 6,
        "degrees": "1 2",
        "cutoff": 4.0,
        "avg_neighbours": 9.5,
    }
    assert weights.scale == pytest.approx(1 / 27.2114, rel=1e-6)
    assert set(weights.atom_energies) == {1, 6, 7, 8}
    assert weights.atom_energies[6] == pytest.approx(-6 * 13.6 / 27.2114, rel=1e-6)
    assert weights.method == ""
    assert "MIT" in weights.notice


def test_the_published_weights_are_what_the_spec_says(pretrained):
    potential, weights = pretrained
    assert weights.parameters == SPEC.resolve({})
    assert potential.elements == SPEC.weights[0].elements == {1, 6, 7, 8, 9, 15, 16, 17}
    with pytest.raises(MoleculeError, match="element Br is outside what the model has learned"):
        potential.energy_forces(make_batch([sample("CBr")], None))


def test_the_store_has_the_same_weights(pretrained):
    path = stored(SPEC, SPEC.weights[0])
    if path is None:
        pytest.skip(f"the weights are not in the store: {fetch_command(SPEC, SPEC.weights[0])}")
    potential, header = load_potential(path, dtype=torch.float64)
    assert header["imported"]["license"] == "MIT"
    assert header["method"] == "PBE0+MBD"
    batch = make_batch(IONS, None)
    assert torch.equal(potential.energy_forces(batch).energies, pretrained[0].energy_forces(batch).energies)


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"cutoff_fn": "cosine"}, "it has a part that is not supported: energies differ by"),
        ({"dispersion_energy_scale": 1.0}, "it has a part that is not supported: energies differ by"),
        ({"zbl_repulsion_bool": False}, "it has a part that is not supported: energies differ by"),
        ({"residual_mlp_1": False}, "it has no so3lr.euclidean_transformers.0.mlp_1.1.weight"),
        ({"use_spin_embed": False}, "it has no so3lr.spin_embedding"),
        ({"degrees": [0, 1]}, "degrees=0 1: rising degrees from 1 to 4"),
        ({"learned": ()}, "it has learned no element"),
    ],
    ids=["cutoff", "dispersion", "repulsion", "mlp", "spin", "degrees", "untrained"],
)
def test_what_cannot_be_rebuilt_is_refused(changes, reason, tmp_path):
    with pytest.raises(CheckpointError, match=f"cannot be rebuilt: {reason}"):
        read_model(saved(model(**changes), tmp_path))


def test_files_that_are_no_models_are_refused(tmp_path):
    with pytest.raises(CheckpointError, match="holds dict, not an SO3LR model"):
        read_model(saved({"weight": torch.zeros(1)}, tmp_path))
    with pytest.raises(CheckpointError, match="holds So3krates, not an SO3LR model"):
        read_model(saved(model(So3krates), tmp_path))
    with pytest.raises(CheckpointError, match="holds MultiHeadSO3LR, not an SO3LR model"):
        read_model(saved(model(MultiHeadSO3LR, learned=(), num_output_heads=2), tmp_path))
    text = tmp_path / "text.model"
    text.write_text("no model")
    with pytest.raises(CheckpointError, match="is not readable as a whole model"):
        read_model(text)
    with pytest.raises(CheckpointError, match="does not exist"):
        read_model(tmp_path / "missing.model")
