"""Geometries for the viewer: start, reference minimum and end points of each molecule in one frame, compactly.

The frame is that of the heavy atoms of the reference minimum (of the start, where there is none): centroid at the
origin, principal axes along x, y and z. Every other geometry is superposed on it by least squares over heavy atoms
(Kabsch 1976, doi 10.1107/S0567739476001873), atom by atom, without permutations of equivalent ones.
"""

from __future__ import annotations

import base64
from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt
from ase.data import chemical_symbols, covalent_radii

from golfbench.chemistry import FloatArray, IntArray, check_topology, mol_from_smiles, superposed
from golfbench.contracts import TestMolecule
from golfbench.errors import MoleculeError
from golfbench.leaderboard.content import Section
from golfbench.leaderboard.entries import SeedRun
from golfbench.leaderboard.geometries import unpack
from golfbench.molecules import Molecule

#: Coordinates are whole thousandths of an Å.
PER_ANGSTROM = 1000
#: Two atoms are drawn with a bond below this multiple of the sum of their covalent radii, where no SMILES says so.
BOND_FACTOR = 1.25


def geometries(shown: Section) -> dict[str, Any]:
    """Return the geometries of a section.

    Returns:
        ``molecules``, in the order of the section: ``symbols``, ``bonds`` (pairs of atoms), ``start`` and
        ``reference``. ``ends``: by entry, for each seed a list over molecules of ``[positions, bonds]``, with
        ``bonds`` only where they are not the molecule's, or ``null``. Positions are encoded by ``encoded``.
    """
    frames = [_Frame(item) for item in shown.dataset.test]
    return {
        "molecules": [frame.content() for frame in frames],
        "ends": {s.entry.entry_id: [_ends(run, frames) for run in s.entry.runs] for s in shown.standings},
    }


class _Frame:
    """One molecule with the frame that its geometries are shown in."""

    def __init__(self, item: TestMolecule) -> None:
        self.item, self.molecule = item, item.molecule
        self.heavy = self.molecule.numbers > 1
        if not self.heavy.any():
            self.heavy[:] = True
        basis = self.molecule.positions if item.minimum_positions is None else item.minimum_positions
        self.target = principal(basis, self.heavy)

    def content(self) -> dict[str, Any]:
        reference = None if self.item.minimum_positions is None else encoded(self.target)
        return {
            "symbols": [chemical_symbols[z] for z in self.molecule.numbers],
            "bonds": _bonds(self.molecule),
            "start": encoded(superposed(self.molecule.positions, self.target, self.heavy)),
            "reference": reference,
        }

    def end(self, positions: FloatArray, bonds_changed: bool) -> list[Any]:
        bonds = bonds_by_distance(self.molecule.numbers, positions) if bonds_changed else None
        return [encoded(superposed(positions, self.target, self.heavy)), bonds]


def _ends(run: SeedRun, frames: list[_Frame]) -> list[list[Any] | None]:
    ends: Mapping[str, FloatArray] = unpack(run.end_points)
    changed = {record.molecule for record in run.records if record.bond_graph_changed}
    return [_end(frame, ends.get(frame.molecule.id), frame.molecule.id in changed) for frame in frames]


def _end(frame: _Frame, positions: FloatArray | None, bonds_changed: bool) -> list[Any] | None:
    if positions is None or len(positions) != len(frame.molecule):
        return None
    return frame.end(positions, bonds_changed)


def principal(positions: FloatArray, kept: npt.NDArray[np.bool_]) -> FloatArray:
    """Return positions (n_atoms, 3), Å, centred and turned so that the kept atoms extend most along x, least along z.

    The signs of the axes are fixed by the atom that is farthest along each, and the handedness is kept.
    """
    centred = positions - positions[kept].mean(axis=0)
    axes = np.linalg.svd(centred[kept], full_matrices=True)[2]
    turned = centred @ axes.T
    signs = [1.0 if column[np.abs(column).argmax()] >= 0 else -1.0 for column in turned.T[:2]]
    signs.append(float(np.linalg.det(axes)) * signs[0] * signs[1])
    return np.asarray(turned * np.sign(signs), dtype=np.float64)


def encoded(positions: FloatArray) -> str | list[int]:
    """Return coordinates in thousandths of an Å: base64 of little-endian int16, or a list if one does not fit."""
    whole = np.rint(positions.ravel() * PER_ANGSTROM)
    if np.abs(whole).max(initial=0.0) > np.iinfo(np.int16).max:
        return [int(x) for x in whole]
    return base64.b64encode(whole.astype("<i2").tobytes()).decode()


def _bonds(molecule: Molecule) -> list[list[int]]:
    """Return the bonds of the SMILES; those that the distances make where there is none."""
    try:
        mol = mol_from_smiles(check_topology(molecule))
    except MoleculeError:
        return bonds_by_distance(molecule.numbers, molecule.positions)
    return [[bond.GetBeginAtomIdx(), bond.GetEndAtomIdx()] for bond in mol.GetBonds()]


def bonds_by_distance(numbers: IntArray, positions: FloatArray) -> list[list[int]]:
    """Return the pairs of atoms closer than ``BOND_FACTOR`` times the sum of their covalent radii."""
    radii = covalent_radii[numbers]
    near = np.linalg.norm(positions[:, None] - positions[None], axis=-1) < BOND_FACTOR * (radii[:, None] + radii)
    return [[int(i), int(j)] for i, j in np.argwhere(np.triu(near, 1))]
