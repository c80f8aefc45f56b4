"""geomeTRIC under the driver against geomeTRIC itself."""

import logging
import os

import numpy as np
import pytest

from golfbench.chemistry import embed
from golfbench.imports import contained
from golfbench.learning.opening import open_fixed_model
from golfbench.minimization import StoppingRule, minimize
from golfbench.registry import registry
from golfbench.specs import ComponentRef, OptimizerSpec

pytest.importorskip("geometric", reason="geomeTRIC is not installed (pip install geometric)")
pytest.importorskip("golfbench_rdkit", reason="the forces are RDKit's (pip install golfbench-rdkit)")


def walked(molecules, in_flight, max_steps=60, **parameters):
    """Return outcomes and places by name of the molecule."""
    places = {}

    def note(point):
        places.setdefault(molecules[point.index].id, []).append(point.positions)
        return False

    optimizer = registry().find(OptimizerSpec, "geometric").create(parameters)
    model = open_fixed_model(ComponentRef("mmff94"))
    found = minimize(model, molecules, optimizer, StoppingRule(0.01, max_steps), note, in_flight)
    return {molecules[o.point.index].id: o for o in found}, places


def alone(molecule, smiles, coordinates, folder):
    """Return the places that geomeTRIC's own program asks about."""
    from geometric.ase_engine import EngineASE
    from geometric.molecule import Molecule as GeometricMolecule
    from geometric.optimize import run_optimizer

    from golfbench.ase import GolfbenchCalculator

    path = folder / "start.xyz"
    atoms = zip(_symbols(molecule), molecule.positions, strict=True)
    rows = [f"{symbol} {x:.17g} {y:.17g} {z:.17g}" for symbol, (x, y, z) in atoms]
    path.write_text("\n".join([str(len(rows)), "", *rows, ""]))
    engine = EngineASE(GeometricMolecule(str(path)), GolfbenchCalculator("mmff94", smiles=smiles))
    with contained():  # it configures the process's logging
        progress = run_optimizer(customengine=engine, input=str(path), coordsys=coordinates)
    return progress.xyzs


def _symbols(molecule):
    from ase.data import chemical_symbols

    return [chemical_symbols[z] for z in molecule.numbers]


@pytest.mark.parametrize("coordinates", ["tric", "cart"])
def test_the_path_is_that_of_geometric_alone(coordinates, tmp_path, monkeypatch, capsys):
    (molecule,) = embed("CCO", "ethanol", 1, 5)
    outcomes, places = walked([molecule], 1, coordinates=coordinates)
    monkeypatch.chdir(tmp_path)
    theirs = alone(molecule, "CCO", coordinates, tmp_path)
    both = min(len(theirs), len(places["ethanol/0"]))  # the two stop by other criteria
    assert outcomes["ethanol/0"].status == "converged"
    assert both >= 5
    assert np.abs(np.array(places["ethanol/0"][:both]) - np.array(theirs[:both])).max() < 1e-6


def test_the_path_is_the_same_alone_in_a_batch_and_in_another_order():
    molecules = [embed(smiles, smiles, 1, 5)[0] for smiles in ("CCO", "C1CC1", "NC=O")]
    _, one_by_one = walked(molecules, 1)
    _, together = walked(molecules[::-1], 3)
    assert all(np.array_equal(one_by_one[name], together[name]) for name in one_by_one)


@pytest.mark.parametrize("coordinates", ["tric-p", "dlc", "hdlc", "prim"])
def test_every_system_of_coordinates_reaches_a_minimum(coordinates):
    outcomes, _ = walked(embed("CCO", "ethanol", 1, 5), 1, coordinates=coordinates)
    assert outcomes["ethanol/0"].status == "converged"


def test_it_leaves_no_files_and_tells_nothing(tmp_path, monkeypatch, capsys, caplog):
    monkeypatch.chdir(tmp_path)
    handlers = list(logging.root.handlers)
    walked(embed("O", "water", 1, 5), 1)
    assert os.listdir(tmp_path) == []
    assert capsys.readouterr() == ("", "")
    assert caplog.records == []
    assert logging.root.handlers == handlers
