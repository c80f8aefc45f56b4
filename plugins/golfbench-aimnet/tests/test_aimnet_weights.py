"""The published weights, where the store has them: what the authors' TorchScript files say, to 1e-5 eV and eV/Å.

``reference.json`` holds energies and forces of the files themselves, evaluated one molecule at a time with their
parameters in float64: neutral drugs, an ammonium, a carboxylate, a zwitterion, S, Cl and Br.
"""

import json
import os
from functools import cache
from pathlib import Path

import numpy as np
import pytest
import torch

from golfbench.batches import make_batch
from golfbench.learning.opening import load_potential
from golfbench.molecules import Molecule
from golfbench.registry import registry
from golfbench.specs import ModelSpec
from golfbench.store import fetch_command, stored
from golfbench.units import HARTREE_TO_EV

SPEC = registry().find(ModelSpec, "aimnet2")
REFERENCE = json.loads((Path(__file__).parent / "reference.json").read_text())
MOLECULES = [Molecule(r["smiles"], np.array(r["numbers"]), np.array(r["positions"]), r["charge"]) for r in REFERENCE]
TOLERANCE = 1e-5


@cache
def potential(name):
    weights = next(w for w in SPEC.weights if w.name == name)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("GOLFBENCH_WEIGHTS", os.environ["GOLFBENCH_SETUP_WEIGHTS"])
        path = stored(SPEC, weights)
    if path is None:
        pytest.skip(f"the weights are not in the store: {fetch_command(SPEC, weights)}")
    return load_potential(path)


def evaluated(model, molecules):
    evaluation = model.energy_forces(make_batch(molecules, model.cutoff))
    forces = (evaluation.forces * HARTREE_TO_EV).split([len(m) for m in molecules])
    return (evaluation.energies * HARTREE_TO_EV).tolist(), [f.numpy() for f in forces]


def assert_reference(energies, forces):
    for record, energy, force in zip(REFERENCE, energies, forces, strict=True):
        assert energy == pytest.approx(record["energy_ev"], abs=TOLERANCE), record["smiles"]
        assert np.abs(force - record["forces_ev_per_angstrom"]).max() < TOLERANCE, record["smiles"]


def test_one_by_one_and_in_a_mixed_batch_it_says_what_the_file_says():
    model, header = potential("wb97m-d3")
    assert header["method"] == "wB97M-D3/def2-TZVPP"
    assert next(model.network.parameters()).dtype == torch.float32
    assert_reference(*evaluated(model, MOLECULES))
    alone = [evaluated(model, [m]) for m in MOLECULES]
    assert_reference([e[0] for e, _ in alone], [f[0] for _, f in alone])


def test_the_members_of_the_ensemble_say_what_the_file_says():
    model, _ = potential("wb97m-d3-ensemble")
    assert len(model.networks) == 4
    members = [evaluated(model.member(k), MOLECULES)[0] for k in range(4)]
    expected = [record["member_energies_ev"] for record in REFERENCE]
    assert np.abs(np.array(members).T - expected).max() < TOLERANCE
    _, forces = evaluated(model, MOLECULES)
    for record, force in zip(REFERENCE, forces, strict=True):
        assert np.abs(force - record["ensemble_forces_ev_per_angstrom"]).max() < TOLERANCE, record["smiles"]
    spread = model.energy_forces(make_batch(MOLECULES, None)).spread
    assert (spread.energies * HARTREE_TO_EV).numpy() == pytest.approx(np.std(expected, axis=1), abs=TOLERANCE)


def test_charges_are_those_of_chemistry():
    model, _ = potential("wb97m-d3")
    water = MOLECULES[-1]
    oxygen, *hydrogens = model.network.charges(make_batch([water], None)).tolist()
    assert -0.9 < oxygen < -0.5
    assert hydrogens == pytest.approx([-oxygen / 2] * 2, abs=0.05)


def test_all_its_weights_can_be_trained():
    model, _ = potential("wb97m-d3")
    assert model.parameters == 2_205_493
