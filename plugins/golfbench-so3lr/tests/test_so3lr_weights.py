"""The published weights on their way through the suite: fetched without a network, fitted to labels, their elements."""

import importlib.metadata

import numpy as np
import pytest
import torch

from golfbench.batches import make_batch
from golfbench.contracts import Label, LabelledMolecule
from golfbench.errors import CheckpointError, ComponentMissingError, MoleculeError
from golfbench.fetching import sha256_of
from golfbench.learning.fetch import Wish, fetch
from golfbench.learning.foreign import adopt
from golfbench.learning.opening import load_potential
from golfbench.learning.potential import Potential
from golfbench.learning.weights import ModelChoice
from golfbench.registry import registry
from golfbench.runs.baseline import check_weights
from golfbench.runs.config import RunConfig
from golfbench.runs.runner import open_dataset
from golfbench.specs import ModelSpec
from golfbench.testing.samples import sample

SPEC = registry().find(ModelSpec, "so3lr")
(WEIGHTS,) = SPEC.weights
#: Hartree, made up.
REFERENCES = {1: -0.4, 6: -37.0, 8: -75.5, 17: -460.0, 35: -2571.0}


@pytest.fixture(scope="module")
def store(tmp_path_factory):
    """A store of the test with what the installed package brings; pip would find no index."""
    with pytest.MonkeyPatch.context() as patch:
        folder = tmp_path_factory.mktemp("store")
        patch.setenv("GOLFBENCH_WEIGHTS", str(folder))
        patch.setenv("PIP_NO_INDEX", "1")
        try:
            path = fetch(SPEC, WEIGHTS, Wish())
        except ComponentMissingError as error:
            pytest.skip(f"another version of so3krates-torch is installed: {error}")
        yield path


def test_the_store_has_what_the_spec_says(store):
    potential, header = load_potential(store)
    assert store.name == "so3lr-b5145564911f.safetensors"
    assert potential.parameters == 529_477  # the 529 734, less the 257 that nothing depends on
    assert potential.elements == {1, 6, 7, 8, 9, 15, 16, 17}
    assert header["method"] == "PBE0+MBD"
    assert header["imported"]["file_sha256"] == WEIGHTS.sha256
    assert "MIT" in header["imported"]["notice"]


def test_another_file_is_refused(store, tmp_path, monkeypatch):
    monkeypatch.setenv("GOLFBENCH_WEIGHTS", str(tmp_path))
    torch.save(torch.nn.Linear(1, 1), tmp_path / "other.model")
    with pytest.raises(CheckpointError, match=r"other\.model is another file than the one known by that name"):
        fetch(SPEC, WEIGHTS, Wish(file=tmp_path / "other.model"))


def test_references_are_fitted_and_bromine_gets_one(store, tmp_path):
    """Labels that are this network plus made-up references: the fit finds just these."""
    potential, header = ModelChoice.parse("so3lr:weights=so3lr").open(unsafe=False)
    made_up = Potential(potential.network, REFERENCES, potential.scale)
    smiles = ("C", "CO", "O", "CC", "CCl", "CBr", "OCCBr", "CC(=O)[O-]", "ClCBr")
    labels = []
    for molecule in map(sample, smiles):
        energy = float(made_up.energy_forces(make_batch([molecule], None)).energies[0])
        labels.append(LabelledMolecule(molecule, Label(energy, np.zeros((len(molecule), 3)), "GFN2-xTB")))
    with pytest.raises(MoleculeError, match="element Br is outside what the model has learned"):
        potential.energy_forces(make_batch([labels[5].molecule], None))
    notice = adopt(potential, header, labels, "GFN2-xTB", None, (), tmp_path / "start.safetensors")
    fitted, own = load_potential(tmp_path / "start.safetensors")
    assert "MIT" in notice
    assert own["method"] == "GFN2-xTB"
    assert {z: fitted.atom_energies[z] for z in REFERENCES} == pytest.approx(REFERENCES, abs=1e-5)
    assert fitted.atom_energies[16] == potential.atom_energies[16]  # no label has sulfur


def test_a_line_says_which_molecules_hold_what_is_not_learned(store):
    dataset = open_dataset("druglike-xtb")
    (line,) = check_weights(RunConfig(models=("so3lr",), dataset="druglike-xtb"), dataset, "GFN2-xTB", False)
    holders = [item.molecule.id for item in dataset.test if 35 in item.molecule.numbers]
    assert holders
    assert line.startswith(f"weights 'so3lr' have not learned Br, which {len(holders)} of {len(dataset.test)} test mol")
    assert f"({', '.join(holders)})" in line


def test_no_line_where_all_elements_are_learned(store):
    dataset = open_dataset("druglike-mini")
    strange = {int(z) for item in dataset.test for z in item.molecule.numbers} - WEIGHTS.elements
    lines = check_weights(RunConfig(models=("so3lr",), dataset="druglike-mini"), dataset, "GFN2-xTB", False)
    assert bool(lines) == bool(strange)


def test_the_file_of_the_spec_is_the_one_that_is_installed(store):
    path = importlib.metadata.distribution("so3krates-torch").locate_file(WEIGHTS.source.member)
    assert sha256_of(path) == WEIGHTS.sha256
    assert path.stat().st_size == WEIGHTS.source.size_bytes
