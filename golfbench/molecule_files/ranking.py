"""Ranks among the conformers of each molecule: energy above the lowest, and what is left out."""

from __future__ import annotations

import hashlib
import math
from dataclasses import dataclass
from functools import lru_cache
from itertools import groupby

import numpy as np
from ase.data import covalent_radii
from rdkit import Chem
from rdkit.rdBase import BlockLogs

from golfbench.benchmark.records import Status
from golfbench.chemistry import BROKEN_FACTOR, FloatArray, IntArray, best_rmsd_between, superposed
from golfbench.errors import ConfigurationError, GolfbenchError
from golfbench.molecule_files.input_molecules import EndPoint
from golfbench.molecule_files.rows import OwnRow, Verdict
from golfbench.molecule_files.state import Shape, State
from golfbench.molecules import Molecule
from golfbench.units import HARTREE_TO_KCAL_MOL

#: Two end points are the same when their energies (kcal/mol) and their heavy atoms (Å, RMSD with symmetry) differ by no
#: more. CREST takes 0.05 and 0.125; walks that stop at 0.02 eV/Å leave twice as much of the energy open.
SAME_KCAL_MOL, SAME_ANGSTROM = 0.1, 0.125
#: End points of these are ranked.
_RANKED = (Status.CONVERGED, Status.STEP_LIMIT, *Verdict)


@dataclass(frozen=True, slots=True)
class Ranking:
    """How the output is ranked.

    Attributes:
        sort: Conformers of one molecule together, the lowest first.
        window: Those higher above the lowest (kcal/mol) are left out.
        deduplicate: Of those that are the same, the lowest alone stays.
    """

    sort: bool = False
    window: float | None = None
    deduplicate: bool = False

    def __post_init__(self) -> None:
        if self.window is not None and not 0 <= self.window < math.inf:
            raise ConfigurationError(f"the window must be 0 kcal/mol or more, not {self.window}")

    def __bool__(self) -> bool:
        return self.sort or self.window is not None or self.deduplicate


def shape_of(row: OwnRow, end: EndPoint | None) -> Shape | None:
    """Return the part of an end point that is ranked; ``None`` where it is no conformer of the molecule that began.

    Conformers of one molecule have the same SMILES or, where bonds are not known, the same elements and neighbours in
    the same order; and the same charge and multiplicity. Where an oracle was asked, its energies rank, and what it gave
    no label for is not ranked.
    """
    asked = row.oracle_labels is not None
    energy = row.oracle_energy_hartree if asked else row.energy_final_hartree
    if end is None or row.status not in _RANKED or energy is None:
        return None
    molecule = end.given.molecule
    bonds = _neighbours(molecule.numbers, end.positions) if molecule.smiles is None else _canonical(molecule.smiles)
    kind = f"{bonds} {molecule.charge} {molecule.multiplicity}"
    return Shape(kind, energy, molecule.numbers, end.positions)


@lru_cache(maxsize=256)
def _canonical(smiles: str) -> str:
    with BlockLogs():
        return str(Chem.CanonSmiles(smiles))


def _neighbours(numbers: IntArray, positions: FloatArray) -> str:
    radii = covalent_radii[numbers]
    near = np.linalg.norm(positions[:, None] - positions, axis=-1) < BROKEN_FACTOR * (radii[:, None] + radii)
    return hashlib.sha256(numbers.tobytes() + np.packbits(near).tobytes()).hexdigest()


def rank(output: State, ranking: Ranking) -> None:
    """Give every end point its rank; the conformers of one molecule are in memory together, the others are not."""
    with output.ranking():
        for _, group in groupby(output.shapes(), key=lambda found: found[1].kind):
            near: list[tuple[float, Shape, str | None, str]] = []
            lowest = None
            for place, shape, smiles in group:
                lowest = shape.energy if lowest is None else lowest
                relative = (shape.energy - lowest) * HARTREE_TO_KCAL_MOL
                output.rank(place, relative, None)
                if ranking.window is not None and relative > ranking.window:
                    output.rank(place, relative, f"more than {ranking.window:g} kcal/mol above the lowest")
                elif ranking.deduplicate:
                    near = [kept for kept in near if relative - kept[0] <= SAME_KCAL_MOL]
                    if twin := next((kept[3] for kept in near if _same(kept[1], kept[2], shape, smiles)), None):
                        output.rank(place, relative, f"same as record {twin}")
                    else:
                        near.append((relative, shape, smiles, str(place + 1)))


def _same(a: Shape, a_smiles: str | None, b: Shape, b_smiles: str | None) -> bool:
    if a_smiles is None or b_smiles is None:
        heavy = a.numbers > 1
        if not heavy.any():
            heavy = np.ones(len(heavy), dtype=bool)
        moved = superposed(a.positions, b.positions, heavy)
        return bool(np.sqrt(((moved - b.positions)[heavy] ** 2).sum(axis=1).mean()) <= SAME_ANGSTROM)
    first, second = (
        Molecule("", shape.numbers, shape.positions, smiles=smiles) for shape, smiles in ((a, a_smiles), (b, b_smiles))
    )
    try:
        return best_rmsd_between(first, second) <= SAME_ANGSTROM
    except (GolfbenchError, RuntimeError):
        return False
