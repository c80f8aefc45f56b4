"""SPICE's HDF5 format, in small files that are made here."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from rdkit import Chem

from golfbench import training_sets
from golfbench.chemistry import embed, mol_from_smiles
from golfbench.errors import ComponentMissingError, ConfigurationError
from golfbench.registry import registry
from golfbench.specs import DatasetSpec

h5py = pytest.importorskip("h5py", reason="h5py is not installed: pip install 'golfbench-datasets[spice]'")

NAME, BOHR = "SPICE-2.0.1.hdf5", 0.529177210544
SMILES = {"1": "CCO", "2": "N[C@@H](C)C(=O)O", "3": "c1ccccc1S", "4": "CC#N"}


def numbered(smiles: str, seed: int) -> tuple[str, np.ndarray]:
    """A SMILES that numbers all atoms, in an order that is not that of the SMILES, and that order."""
    mol = mol_from_smiles(smiles)
    order = np.random.default_rng(seed).permutation(mol.GetNumAtoms())
    for place, index in enumerate(order):
        mol.GetAtomWithIdx(int(index)).SetAtomMapNum(place + 1)
    return Chem.MolToSmiles(mol), order


def write(path: Path, **changes) -> Path:
    with h5py.File(path, "w") as file:
        for name, smiles in SMILES.items():
            conformers = embed(smiles, name, 3, seed=5)
            mapped, order = numbered(smiles, int(name))
            group = file.create_group(name)
            positions = np.array([c.positions[order] for c in conformers])
            ways = positions[:, :, None] - positions[:, None]
            far = np.linalg.norm(ways, axis=-1, keepdims=True) + np.eye(positions.shape[1])[None, :, :, None]
            forces = (0.02 * np.sin(3 * far) / far * ways).sum(axis=2)  # Hartree/Å, along the lines between the atoms
            formation = -0.17 * len(order) - 0.001 * np.arange(len(conformers))
            written = {
                "subset": [f"SPICE PubChem Set {name} v1.0" if name != "4" else "SPICE Dipeptides v1.0"],
                "smiles": [mapped],
                "atomic_numbers": conformers[0].numbers[order].astype("i2"),
                "conformations": positions / BOHR,
                "dft_total_gradient": -forces * BOHR,
                "formation_energy": formation,
                "dft_total_energy": formation - 20.0 * len(order),
            } | {key: value for (at, key), value in changes.get("data", {}).items() if at == name}
            for key, value in written.items():
                group.create_dataset(key, data=value)
            group["conformations"].attrs["units"] = changes.get("units", "bohr")
    return path


def reader(folder: Path, **parameters: str):
    given = ",".join(f"{key}={value}" for key, value in ({"path": f'"{folder}"'} | parameters).items())
    return registry().component(DatasetSpec, f"spice:{given}").create()


def test_units_signs_and_the_order_of_atoms(tmp_path):
    write(tmp_path / NAME)
    dataset = reader(tmp_path, subset="all").read()
    assert dataset.method == "wB97M-D3(BJ)/def2-TZVPPD"
    assert len(dataset.initial) == 9
    assert len(dataset.test) == 1
    items = {item.molecule.id: item for item in dataset.initial}
    for name, smiles in SMILES.items():
        for k, made in enumerate(embed(smiles, name, 3, seed=5)):
            item = items.get(f"{name}/{k}")
            if item is None:
                continue
            molecule = item.molecule
            assert Chem.CanonSmiles(molecule.smiles) == Chem.CanonSmiles(smiles)
            distances = [
                np.sort(np.linalg.norm(p[:, None] - p[None], axis=-1).ravel())
                for p in (molecule.positions, made.positions)
            ]
            assert np.allclose(*distances, atol=1e-9)
            here = np.linalg.norm(molecule.positions[:, None] - made.positions[None], axis=-1).argmin(axis=1)
            assert np.array_equal(made.numbers[here], molecule.numbers)
            ways = made.positions[:, None] - made.positions[None]
            far = np.linalg.norm(ways, axis=-1, keepdims=True) + np.eye(len(made))[..., None]
            forces = (0.02 * np.sin(3 * far) / far * ways).sum(axis=1)
            assert np.allclose(item.label.forces, forces[here], atol=1e-9)
            assert item.label.energy == pytest.approx(-20.17 * len(made) - 0.001 * k, abs=1e-9)


def test_a_subset_and_rows_that_stay_in_the_file(tmp_path, monkeypatch):
    write(tmp_path / NAME)
    monkeypatch.setattr(training_sets, "MOST_IN_MEMORY", 2)
    dataset = reader(tmp_path).read()  # PubChem: without molecule 4
    initial = dataset.initial
    assert len(initial) == 6
    assert {name.partition("/")[0] for name in initial.ids()} | {dataset.test[0].molecule.id[0]} == {"1", "2", "3"}
    assert [initial[k].molecule.id for k in range(6)] == list(initial.ids())
    assert initial.place(4).endswith(f"{initial.ids()[4][0]}, conformation 1")
    assert initial[1:3][1].molecule.id == initial.ids()[2]
    assert initial.structures({initial[0].molecule.smiles, "C"}) == {initial[0].molecule.smiles}
    with pytest.raises(IndexError):
        initial[6]


WRONG = {
    "units": ({"units": "angstrom"}, "conformations must be in bohr; the file says angstrom"),
    "zero": ({"data": {("1", "dft_total_gradient"): np.zeros((3, 9, 3))}}, "all its forces are zero"),
    "smiles": ({"data": {("1", "smiles"): [numbered("CCN", 1)[0]]}}, "1.*its atoms are not those of its SMILES"),
    "no-numbers": ({"data": {("1", "smiles"): ["CCO"]}}, "does not number each atom"),
    "eV": (
        {"data": {(n, "formation_energy"): np.full(3, -40.0 * 9) for n in SMILES}},
        "formation energies of .* are they in another unit",
    ),
    "angstrom": (
        {"data": {("1", "conformations"): embed("CCO", "1", 3, 5)[0].positions[None].repeat(3, 0) * 0.2}},
        "overlap",
    ),
}


@pytest.mark.parametrize("wrong", WRONG)
def test_what_is_wrong_is_named(tmp_path, wrong):
    changes, reason = WRONG[wrong]
    write(tmp_path / NAME, **changes)
    with pytest.raises(ConfigurationError, match=reason) as caught:
        reader(tmp_path, subset="all").read()
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("content", [b"<html></html>", b"", "half"])
def test_a_file_that_is_none(tmp_path, content):
    path = write(tmp_path / NAME)
    path.write_bytes(path.read_bytes()[:3000] if content == "half" else content)
    with pytest.raises(ConfigurationError, match="is not a readable HDF5 file"):
        reader(tmp_path).read()


def test_a_file_with_other_things_in_it(tmp_path):
    with h5py.File(tmp_path / NAME, "w") as file:
        file.create_group("1").create_dataset("energies", data=[1.0])
    with pytest.raises(ConfigurationError, match="1: no 'subset'; SPICE has conformations"):
        reader(tmp_path).read()


def test_not_fetched(tmp_path):
    with pytest.raises(ComponentMissingError, match=r"golfbench datasets fetch spice --split 2\.0\.1$"):
        reader(tmp_path).read()
