"""Weights made elsewhere: the published PaiNN's format, and a pickled MACE that only a child process may read."""

import os
import subprocess
import sys

import numpy as np
import pytest
import torch

from golfbench.batches import make_batch
from golfbench.errors import CheckpointError, ConfigurationError
from golfbench.learning.foreign import ForeignFile, adopt, open_foreign
from golfbench.learning.opening import load_potential, new_network
from golfbench.specs import ComponentRef

PUBLISHED = ComponentRef("painn", {"preset": "published"})
#: A pickle that leaves a file when it is read.
TRAP = """
import os, sys, torch
class Trap:
    def __reduce__(self):
        return os.mkdir, (sys.argv[2],)
torch.save(Trap(), sys.argv[1])
"""


@pytest.fixture(scope="module")
def published(tmp_path_factory):
    """A file in the format of the published code, with the weights of seed 3, and the network that it is of."""
    network = new_network(PUBLISHED, 3)
    path = tmp_path_factory.mktemp("published") / "NNP_checkpoint"
    names = {name: "model." + name.replace("outnet.", "output_modules.0.outnet.") for name in network.state_dict()}
    torch.save({names[name]: tensor for name, tensor in network.state_dict().items()}, path)
    return path, network


def energies(potential, molecules):
    batch = make_batch(molecules, potential.cutoff)
    return potential.energy_forces(batch).energies.numpy()


def test_the_published_format_is_rebuilt_with_its_references(published, labelled):
    path, network = published
    potential, header = open_foreign(ForeignFile(path, "golf"), ComponentRef("painn"))
    (water,) = (item.molecule for item in labelled[:1])
    batch = make_batch([water], 5.0)
    references = sum(potential.atom_energies[int(z)] for z in water.numbers)
    assert energies(potential, [water])[0] == pytest.approx(float(network(batch).detach()) + references, abs=1e-9)
    assert potential.atom_energies[6] == -37.7980993425
    assert header["method"] == "wB97X-D/def2-SVP"
    assert header["imported"]["format"] == "golf"
    assert "MIT" in header["imported"]["notice"]


def test_at_its_own_level_of_theory_nothing_is_fitted(published, labelled, tmp_path):
    path, _ = published
    target = tmp_path / "imported.safetensors"
    adopt(*open_foreign(ForeignFile(path, "golf"), PUBLISHED), labelled, "wB97X-D/def2-SVP", None, [], target)
    potential, header = load_potential(target)
    assert potential.atom_energies[1] == -0.5024932584
    assert header["imported"]["file_sha256"]


def test_at_another_level_the_references_are_corrected_and_untouched_elements_stay(published, labelled, tmp_path):
    path, _ = published
    target = tmp_path / "imported.safetensors"
    adopt(*open_foreign(ForeignFile(path, "golf"), PUBLISHED), labelled, "GFN2-xTB", None, [], target)
    potential, _ = load_potential(target)
    before, _ = open_foreign(ForeignFile(path, "golf"), PUBLISHED)
    molecules = [item.molecule for item in labelled]
    labels = np.array([item.label.energy for item in labelled])
    wrong, right = (np.abs(energies(p, molecules) - labels).mean() for p in (before, potential))
    assert wrong > 100  # Hartree: another level of theory
    assert right < 1.0
    assert potential.atom_energies[53] == before.atom_energies[53]  # no iodine in the set


def test_a_parameter_that_is_not_the_files_is_refused(published):
    with pytest.raises(CheckpointError, match="its preset is published, not small"):
        open_foreign(ForeignFile(published[0], "golf"), ComponentRef("painn", {"preset": "small"}))


@pytest.mark.parametrize(
    ("model", "form", "message"),
    [
        ("schnet", "golf", "model 'schnet' reads no foreign checkpoints"),
        ("painn", "gulf", "unknown checkpoint format 'gulf': did you mean 'golf'"),
    ],
)
def test_formats_that_are_not_there(published, model, form, message):
    with pytest.raises(ConfigurationError, match=message):
        open_foreign(ForeignFile(published[0], form), ComponentRef(model))


def test_what_is_no_checkpoint_is_refused_in_one_line(tmp_path):
    (tmp_path / "text").write_text("no weights")
    torch.save({"a": torch.zeros(1)}, tmp_path / "other")
    for name, message in (
        ("text", "is not readable: UnpicklingError"),
        ("other", "is no state dict of the published GOLF code"),
        ("none", "does not exist"),
    ):
        with pytest.raises(CheckpointError, match=message) as raised:
            open_foreign(ForeignFile(tmp_path / name, "golf"), ComponentRef("painn"))
        assert "\n" not in str(raised.value)


def make_trap(tmp_path):
    """Write a file that makes a folder where it is unpickled."""
    file, folder = tmp_path / "trap.model", tmp_path / "sprung"
    subprocess.run([sys.executable, "-c", TRAP, str(file), str(folder)], check=True)
    return file, folder


def test_a_pickle_is_not_touched_without_permission(tmp_path):
    pytest.importorskip("golfbench_mace")
    file, sprung = make_trap(tmp_path)
    with pytest.raises(ConfigurationError, match="can run code when it is read; if you trust its author, add --unsafe"):
        open_foreign(ForeignFile(file, "mace"), ComponentRef("mace"))
    assert not sprung.exists()
    # the safe reader of another model does not unpickle it, either
    with pytest.raises(CheckpointError, match="is not readable"):
        open_foreign(ForeignFile(file, "golf"), ComponentRef("painn"))
    assert not sprung.exists()


def test_with_permission_it_is_read_in_a_process_of_its_own(tmp_path):
    pytest.importorskip("golfbench_mace")
    file, sprung = make_trap(tmp_path)
    with pytest.raises(CheckpointError) as raised:
        open_foreign(ForeignFile(file, "mace", unsafe=True), ComponentRef("mace"))
    assert sprung.exists()  # it ran, there
    assert "\n" not in str(raised.value)


def test_a_whole_mace_model_comes_back_as_tensors(tmp_path, labelled):
    """mace-torch's own file, its energies against those of mace-torch."""
    pytest.importorskip("mace")
    file = tmp_path / "own.model"
    code = """
import sys, numpy, torch
from golfbench.imports import importable
with importable():
    from e3nn import o3
    from mace import modules
    torch.manual_seed(1)
    model = modules.ScaleShiftMACE(
        r_max=4.0, num_bessel=6, num_polynomial_cutoff=5, max_ell=1, num_interactions=2, num_elements=4,
        interaction_cls=modules.RealAgnosticResidualInteractionBlock,
        interaction_cls_first=modules.RealAgnosticResidualInteractionBlock,
        hidden_irreps=o3.Irreps("4x0e"), MLP_irreps=o3.Irreps("4x0e"), gate=torch.nn.functional.silu,
        atomic_energies=numpy.array([-13.0, -1029.0, -1485.0, -2042.0]), avg_num_neighbors=9.0,
        atomic_numbers=[1, 6, 7, 8], correlation=2, atomic_inter_scale=0.7, atomic_inter_shift=0.1)
torch.save(model, sys.argv[1])
"""
    subprocess.run([sys.executable, "-c", code, str(file)], check=True, env={**os.environ, "PYTHONWARNINGS": "ignore"})
    potential, header = open_foreign(ForeignFile(file, "mace", unsafe=True), ComponentRef("mace"))
    assert header["parameters"]["channels"] == 4
    assert header["parameters"]["elements"] == "H C N O"
    assert header["imported"]["method"] == ""
    assert "licence" in header["imported"]["notice"].lower()
    usable = [item.molecule for item in labelled if set(item.molecule.numbers.tolist()) <= {1, 6, 7, 8}]
    (molecule, *_) = usable
    direct = subprocess.run(
        [sys.executable, "-c", MACE_ENERGY, str(file)],
        input=repr((molecule.numbers.tolist(), molecule.positions.tolist())),
        capture_output=True,
        text=True,
        check=True,
    )
    assert energies(potential, [molecule])[0] == pytest.approx(float(direct.stdout.split()[-1]), abs=1e-4)


MACE_ENERGY = """
import ast, sys
from ase import Atoms
from golfbench.imports import importable
from golfbench.units import HARTREE_TO_EV
with importable():
    from mace.calculators import MACECalculator
    numbers, positions = ast.literal_eval(sys.stdin.read())
    atoms = Atoms(numbers, positions)
    atoms.calc = MACECalculator(model_paths=sys.argv[1], device="cpu", default_dtype="float64")
    print(atoms.get_potential_energy() / HARTREE_TO_EV)
"""
