"""Model files of mace-torch: rebuilt networks agree with its own calculator; what cannot be rebuilt is refused."""

import threading
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer

import numpy as np
import pytest
import torch
from ase import Atoms
from typer.testing import CliRunner

from golfbench.batches import make_batch
from golfbench.cli.main import build_app
from golfbench.errors import CheckpointError
from golfbench.imports import contained, importable
from golfbench.learning.opening import load_potential, load_weights
from golfbench.learning.potential import Potential
from golfbench.registry import registry
from golfbench.specs import ModelSpec
from golfbench.store import stored
from golfbench.testing.samples import sample
from golfbench.units import HARTREE_TO_EV
from golfbench_mace.reader import read_model

with importable():
    from e3nn import o3
    from mace import modules
    from mace.calculators import MACECalculator

NUMBERS = [1, 6, 7, 8, 9, 15, 16, 17, 35, 53]
PARACETAMOL, SULFONAMIDE = sample("CC(=O)Nc1ccc(O)cc1"), sample("Cc1ccc(cc1)S(N)(=O)=O")
DENSITY = {
    "interaction_cls_first": modules.RealAgnosticDensityInteractionBlock,
    "interaction_cls": modules.RealAgnosticDensityResidualInteractionBlock,
    "pair_repulsion": True,
    "distance_transform": "Agnesi",
    "hidden_irreps": o3.Irreps("4x0e+4x1o+4x2e"),
    "MLP_irreps": o3.Irreps("6x0e"),
    "radial_MLP": [7, 9],
    "num_bessel": 10,
    "r_max": 6.0,
    "gate": torch.tanh,
}
ONE_HEAD = {"heads": ["one"], "atomic_inter_scale": [2.0], "atomic_inter_shift": [0.1]}
FETCH = ("models", "fetch", "mace:weights=off23-medium")
SCALED = {"atomic_inter_scale": 1.7, "atomic_inter_shift": -0.3}


def model(kind=modules.ScaleShiftMACE, dtype=torch.float64, **changes):
    """Return a model with random weights."""
    arguments = {
        "r_max": 5.0,
        "num_bessel": 8,
        "num_polynomial_cutoff": 5,
        "max_ell": 2,
        "interaction_cls": modules.RealAgnosticResidualInteractionBlock,
        "interaction_cls_first": modules.RealAgnosticResidualInteractionBlock,
        "num_interactions": 2,
        "num_elements": len(NUMBERS),
        "hidden_irreps": o3.Irreps("4x0e"),
        "MLP_irreps": o3.Irreps("16x0e"),
        "atomic_energies": -np.arange(1.0, 11.0) * 13.6,
        "avg_num_neighbors": 14.3,
        "atomic_numbers": NUMBERS,
        "correlation": 2,
        "gate": torch.nn.functional.silu,
        "radial_MLP": [16, 16],
        **(SCALED if kind is modules.ScaleShiftMACE else {}),
    }
    with contained():
        torch.set_default_dtype(dtype)
        torch.manual_seed(3)
        return kind(**arguments | changes)


def saved(made, folder):
    path = folder / "some.model"
    torch.save(made, path)
    return path


def rebuilt(path, dtype):
    weights = read_model(path)
    network = registry().find(ModelSpec, "mace").create(weights.parameters).to(dtype)
    load_weights(network, weights.tensors, "the file")
    return Potential(network, weights.atom_energies, weights.scale), weights


@pytest.fixture(scope="module")
def density(tmp_path_factory):
    made = model(**DENSITY)
    return made, *rebuilt(saved(made, tmp_path_factory.mktemp("density")), torch.float64)


def without_newer_buffers(made):
    """Return the model as older versions of mace-torch made it."""
    for product in made.products:
        for contraction in product.symmetric_contractions.contractions:
            for name in [n for n in contraction._buffers if n.endswith("_zeroed")]:
                del contraction._buffers[name]
    return made


def assert_agree(potential, made, dtype, tolerance):
    molecules = [PARACETAMOL, SULFONAMIDE]
    evaluation = potential.energy_forces(make_batch(molecules, potential.cutoff))
    blocks = evaluation.forces.split([len(m) for m in molecules])
    calculator = MACECalculator(models=made, default_dtype=str(dtype).removeprefix("torch."))
    for molecule, energy, forces in zip(molecules, evaluation.energies.tolist(), blocks, strict=True):
        atoms = Atoms(molecule.numbers, molecule.positions, calculator=calculator)
        expected = atoms.get_forces()
        assert energy * HARTREE_TO_EV == pytest.approx(atoms.get_potential_energy(), rel=tolerance)
        assert np.abs(forces.numpy() * HARTREE_TO_EV - expected).max() < tolerance * np.abs(expected).max()


@pytest.mark.parametrize(
    ("make", "dtype", "tolerance"),
    [
        (lambda: model(dtype=torch.float32, **ONE_HEAD), torch.float32, 5e-6),
        (lambda: model(modules.MACE, interaction_cls_first=modules.RealAgnosticInteractionBlock), torch.float64, 1e-12),
        (lambda: model(hidden_irreps=o3.Irreps("96x0e"), max_ell=3, correlation=3, r_max=4.5), torch.float64, 1e-12),
        (lambda: without_newer_buffers(model(hidden_irreps=o3.Irreps("4x0e+4x1o"))), torch.float64, 1e-12),
    ],
    ids=["float32", "plain", "off-small", "older"],
)
def test_rebuilt_model_says_what_the_calculator_says(make, dtype, tolerance, tmp_path):
    made = make()
    potential, weights = rebuilt(saved(made, tmp_path), dtype)
    assert {t.dtype for t in weights.tensors.values() if t.is_floating_point()} == {dtype}
    assert_agree(potential, made, dtype, tolerance)


def test_density_blocks_with_transform_and_repulsion_say_what_the_calculator_says(density):
    made, potential, _ = density
    assert_agree(potential, made, torch.float64, 1e-12)


def test_parameters_units_and_notice(density):
    _, _, weights = density
    expected = {
        "channels": 4,
        "max_l": 2,
        "correlation": 2,
        "harmonics": 2,
        "interactions": 2,
        "cutoff": 6.0,
        "radial": 10,
        "elements": "H C N O F P S Cl Br I",
        "avg_neighbours": 14.3,
        "readout": 6,
        "radial_mlp": "7 9",
        "envelope": 5,
        "basis": "bessel",
        "transform": "agnesi",
        "first_block": "density",
        "block": "density-residual",
        "repulsion": True,
        "gate": "tanh",
    }
    assert weights.parameters == expected
    assert weights.scale == pytest.approx(1 / 27.2114, rel=1e-6)
    assert weights.atom_energies[6] == pytest.approx(-2 * 13.6 / 27.2114, rel=1e-6)
    assert float(weights.tensors["mace.scale_shift.scale"]) == 1.7
    assert float(weights.tensors["mace.scale_shift.shift"]) == -0.3
    assert weights.method == ""
    assert "Academic Software License" in weights.notice


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        (
            {
                "heads": ["one", "two"],
                "atomic_energies": np.zeros((2, 10)),
                "atomic_inter_scale": [1.0, 1.0],
                "atomic_inter_shift": [0.0, 0.0],
            },
            "it has the heads one, two: keep one with",
        ),
        ({"interaction_cls": modules.RealAgnosticAttResidualInteractionBlock}, "RealAgnosticAttResidual.* not supp"),
        ({"apply_cutoff": False}, "it has a part that is not supported: energies differ by"),
        ({"use_last_readout_only": True}, "not every interaction has a readout"),
    ],
    ids=["heads", "attention", "cutoff", "readout"],
)
def test_what_cannot_be_rebuilt_is_refused(changes, reason, tmp_path):
    with pytest.raises(CheckpointError, match=f"cannot be rebuilt: .*{reason}"):
        read_model(saved(model(**changes), tmp_path))


def test_files_that_are_no_models_are_refused(tmp_path):
    with pytest.raises(CheckpointError, match="holds dict, not a MACE"):
        read_model(saved({"weight": torch.zeros(1)}, tmp_path))
    with pytest.raises(CheckpointError, match="holds Linear, not a MACE"):
        read_model(saved(torch.nn.Linear(1, 1), tmp_path))
    text = tmp_path / "text.model"
    text.write_text("no model")
    with pytest.raises(CheckpointError, match="is not readable as a whole model"):
        read_model(text)
    with pytest.raises(CheckpointError, match="does not exist"):
        read_model(tmp_path / "missing.model")


# --- The published sets by name: a small model of the test, pickled as theirs are, behind a server of the test ------


class Quiet(SimpleHTTPRequestHandler):
    def log_message(self, *arguments):
        pass


@pytest.fixture(scope="module")
def small():
    return model(dtype=torch.float32)


@pytest.fixture
def address(small, tmp_path, monkeypatch):
    """A server with the file, and an empty store."""
    monkeypatch.setenv("GOLFBENCH_WEIGHTS", str(tmp_path / "store"))
    (tmp_path / "served").mkdir()
    saved(small, tmp_path / "served")
    server = ThreadingHTTPServer(("127.0.0.1", 0), partial(Quiet, directory=str(tmp_path / "served")))
    threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}/some.model"
    server.shutdown()
    server.server_close()


def golfbench(*arguments):
    return CliRunner().invoke(build_app(), arguments)


def test_the_sets_are_described():
    spec = registry().find(ModelSpec, "mace")
    assert [w.name for w in spec.weights] == ["off23-small", "off23-medium", "off23-large", "off24-medium"]
    for weights in spec.weights:
        assert sorted(weights.elements) == NUMBERS
        assert weights.accept_licence
        assert not weights.charged
        assert weights.source.url.startswith("https://raw.githubusercontent.com/ACEsuit/mace-off/main/mace_off2")


def test_a_set_is_fetched_once_its_licence_is_accepted_and_the_file_allowed(address, small, tmp_path):
    refused = golfbench(*FETCH, "--url", address)
    assert refused.exit_code == 2
    assert "Academic-Software-License: https://github.com/gabor1/ASL" in refused.stderr
    assert "then golfbench models fetch mace:weights=off23-medium --accept-licence" in refused.stderr.splitlines()[-1]
    # a mirror may serve a pickle that does anything
    asked = golfbench(*FETCH, "--url", address, "--accept-licence")
    assert asked.exit_code == 2
    assert "no hash of weights" in asked.stderr
    done = golfbench(*FETCH, "--url", address, "--unsafe")
    assert done.exit_code == 0, done.stderr
    spec = registry().find(ModelSpec, "mace")
    path = stored(spec, spec.weights[1])
    potential, header = load_potential(path)
    assert_agree(potential, small, torch.float32, 5e-6)
    assert header["method"] == "wB97M-D3(BJ)/def2-TZVPPD"
    assert "licence" not in header["imported"]["notice"]
    assert "LicenseRef-Academic-Software-License (https://github.com/gabor1/ASL)" in header["imported"]["notice"]
    # the first file is the one that the name stands for, from then on
    path.unlink()
    torch.save(model(dtype=torch.float64), tmp_path / "served" / "some.model")
    other = golfbench(*FETCH, "--url", address)
    assert other.exit_code == 2
    assert "is another file than the one known by that name" in other.stderr


def test_an_address_without_the_file_is_one_line(address):
    done = golfbench(*FETCH, "--url", address + "s", "--unsafe", "--accept-licence")
    assert done.exit_code == 3
    assert "HTTP 404 File not found; bring the file by other means" in done.stderr.splitlines()[-1]
