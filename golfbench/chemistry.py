"""RDKit and ASE conversions: SMILES to conformers, RMSD, changes of the bond graph, formulas, scaffolds.

The atom order of a SMILES is the one that ``AddHs(MolFromSmiles(smiles))`` gives: heavy atoms as written, then the
hydrogens. A ``Molecule`` that carries a SMILES has its atoms in this order, which is what makes the SMILES usable as
its topology.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from functools import lru_cache
from typing import Any

import numpy as np
import numpy.typing as npt
from ase import Atoms
from ase.data import chemical_symbols, covalent_radii
from ase.formula import Formula
from rdkit import Chem
from rdkit.Chem import rdDistGeom, rdMolAlign
from rdkit.Chem.Scaffolds import MurckoScaffold
from rdkit.rdBase import BlockLogs

from golfbench.errors import MoleculeError
from golfbench.molecules import MINIMUM_DISTANCE, Molecule, closest_pair
from golfbench.seeds import derived
from golfbench.spins import unpaired_electrons
from golfbench.states import State, stated
from golfbench.stereo import differences

FloatArray = npt.NDArray[np.float64]
IntArray = npt.NDArray[np.int64]

#: A bond of the SMILES is broken beyond this multiple of the sum of the covalent radii (C-C 2.20 Å, C-H 1.55 Å).
BROKEN_FACTOR = 1.45
#: Atoms at least three bonds apart count as bonded below this multiple of the sum (C-C 1.75 Å, O-H 1.12 Å).
FORMED_FACTOR = 1.15
#: Distance between the enclosing spheres of the fragments of an embedded molecule, Å: no atoms in contact.
FRAGMENT_GAP = 3.0
#: Symmetry-equivalent atom mappings that ``best_rmsd`` tries at most.
MAX_MATCHES = 10_000
#: A new bond is looked for between these only: an ion pair in a salt is close without any change of the bond graph.
_NONMETALS = (1, 5, 6, 7, 8, 9, 14, 15, 16, 17, 34, 35, 53)
_CACHED_TOPOLOGIES = 4096
#: RDKit's seeds go from 1 to one less than this; 0 would make all conformers alike.
_SEEDS = 0x7FFFFFFF
#: Tries at a conformer whose atoms do not overlap.
_ATTEMPTS = 5
_SEED_FACTOR, _SEED_POWER = 1_597_334_677, 65_537


def mol_from_smiles(smiles: str) -> Chem.Mol:
    """Parse a SMILES and append all hydrogens explicitly. Several fragments are allowed.

    Raises:
        MoleculeError: If RDKit cannot parse it or it has no atoms.
    """
    return Chem.Mol(_template(smiles))


@lru_cache(maxsize=_CACHED_TOPOLOGIES)
def _template(smiles: str) -> Chem.Mol:
    """Return the parsed molecule of a SMILES; shared, so it is never modified."""
    if odd := next((letter for letter in smiles if not letter.isascii()), None):  # RDKit would stop there
        raise MoleculeError(f"'{smiles}' is not a valid SMILES: '{odd}' is no ASCII character")
    with BlockLogs():
        mol = Chem.MolFromSmiles(smiles)
        if mol is None or mol.GetNumAtoms() == 0:
            raise MoleculeError(f"'{smiles}' is not a valid SMILES{_refusal(smiles)}")
        if any(atom.GetAtomicNum() == 0 for atom in mol.GetAtoms()):
            raise MoleculeError(f"'{smiles}' has a wildcard atom (*), which is no element")
        return Chem.AddHs(mol)


def _refusal(smiles: str) -> str:
    """Return RDKit's objection to the atoms and bonds of a SMILES, behind a colon; nothing if it is no SMILES."""
    mol = Chem.MolFromSmiles(smiles, sanitize=False)
    try:
        if mol is not None:
            Chem.SanitizeMol(mol)
    except ValueError as error:
        return f": {' '.join(str(error).split())}"
    return ""


@lru_cache(maxsize=_CACHED_TOPOLOGIES)
def _numbers(smiles: str) -> IntArray:
    numbers = np.array([atom.GetAtomicNum() for atom in _template(smiles).GetAtoms()], dtype=np.int64)
    numbers.flags.writeable = False
    return numbers


@lru_cache(maxsize=_CACHED_TOPOLOGIES)
def _charge(smiles: str) -> int:
    return Chem.GetFormalCharge(_template(smiles))


def embed(smiles: str, id: str, count: int, seed: int) -> list[Molecule]:
    """Make conformers with ETKDGv3 (Riniker and Landrum 2015, doi 10.1021/acs.jcim.5b00654; Wang et al. 2020).

    Deterministic: the same SMILES, count and seed give the same coordinates. A molecule that does not embed from the
    default start is tried once more from random coordinates. Fragments are embedded one by one and put side by side,
    ``FRAGMENT_GAP`` apart.

    Args:
        smiles: The molecule; charge and multiplicity follow from it (see ``charge_and_multiplicity``).
        id: Name of the molecule; its conformers are ``<id>/0``, ``<id>/1``, ...
        count: Conformers asked for; fewer come back when some attempts fail.
        seed: Any non-negative integer. RDKit multiplies it by the number of the conformer, so that the second
            conformer of seed 1 is the first of seed 2: where many seeds are compared, ``spread_seed`` keeps them apart.

    Raises:
        MoleculeError: If the SMILES is not valid or no conformer could be embedded.
    """
    mol = mol_from_smiles(smiles)
    parameters: Any = rdDistGeom.ETKDGv3()
    parameters.randomSeed = seed if 0 < seed < _SEEDS else _drawn_seed(seed)
    parameters.numThreads = 1
    with BlockLogs():
        made = list(rdDistGeom.EmbedMultipleConfs(mol, count, parameters))
        if not made:
            parameters.useRandomCoords = True
            made = list(rdDistGeom.EmbedMultipleConfs(mol, count, parameters))
    if not made:
        raise MoleculeError(f"{id}: '{smiles}' does not embed in three dimensions")
    charge, multiplicity = charge_and_multiplicity(smiles)
    positions = [_spread_fragments(mol, _apart(mol, c, parameters)) for c in made]
    return [Molecule(f"{id}/{k}", _numbers(smiles), p, charge, multiplicity, smiles) for k, p in enumerate(positions)]


def _apart(mol: Chem.Mol, conformer: int, parameters: Any) -> FloatArray:
    """Return the positions of a conformer, or of another one where two atoms overlap in RDKit's."""
    positions: FloatArray = mol.GetConformer(conformer).GetPositions()
    again = Chem.Mol(mol)
    for attempt in range(_ATTEMPTS):
        if closest_pair(positions)[0] >= MINIMUM_DISTANCE:
            break
        parameters.randomSeed = _drawn_seed(conformer * _ATTEMPTS + attempt)
        if rdDistGeom.EmbedMolecule(again, parameters) == 0:
            positions = again.GetConformer().GetPositions()
    return positions


def spread_seed(seed: int) -> int:
    """Return the seed for ``embed`` that belongs to a user's seed; 0 gives 1.

    One to one below 2^31 - 1, and such that the conformers of neighbouring seeds have nothing in common.

    Args:
        seed: Any non-negative integer.
    """
    # 2^31 - 1 is prime: a product permutes the numbers below it, and so does a power that has no factor of one less.
    spread = pow(1 + seed * _SEED_FACTOR, _SEED_POWER, _SEEDS) if seed < _SEEDS else 0
    return spread or _drawn_seed(seed)


def _drawn_seed(seed: int) -> int:
    """Return RDKit's seed for one that RDKit does not take: 0, or more than 31 bits."""
    return int(derived(seed, "conformers").integers(1, _SEEDS))


def _spread_fragments(mol: Chem.Mol, positions: FloatArray) -> FloatArray:
    """Put the enclosing spheres of the fragments in a row along x; RDKit leaves them on top of each other."""
    fragments = Chem.GetMolFrags(mol)
    if len(fragments) == 1:
        return positions
    spread, edge = positions.copy(), 0.0
    for fragment in map(list, fragments):
        centred = positions[fragment] - positions[fragment].mean(axis=0)
        radius = float(np.linalg.norm(centred, axis=1).max())
        spread[fragment] = centred + np.array([edge + radius, 0.0, 0.0])
        edge += 2 * radius + FRAGMENT_GAP
    return spread


def charge_and_multiplicity(smiles: str) -> tuple[int, int]:
    """Return the total charge of a SMILES and the multiplicity that its open valences suggest (see ``spins``)."""
    return _charge(smiles), unpaired_electrons(_template(smiles)).count + 1


def rdkit_mol(molecule: Molecule) -> Chem.Mol:
    """Return the RDKit molecule of ``molecule.smiles`` with one conformer, at ``molecule.positions``.

    Raises:
        MoleculeError: As for ``check_topology``.
    """
    mol = Chem.Mol(_template(check_topology(molecule)))
    conformer = Chem.Conformer(len(molecule))
    conformer.SetPositions(molecule.positions)
    mol.AddConformer(conformer, assignId=True)
    return mol


def check_topology(molecule: Molecule) -> str:
    """Return the SMILES of a molecule after checking that its atoms are in the SMILES's order.

    Raises:
        MoleculeError: If there is no SMILES, it is not valid, or its atoms or its charge are not the molecule's.
    """
    if molecule.smiles is None:
        raise MoleculeError(f"{molecule.id}: no SMILES, so its bonds are not known")
    if not np.array_equal(_numbers(molecule.smiles), molecule.numbers):
        raise MoleculeError(f"{molecule.id}: its atoms are not those of its SMILES '{molecule.smiles}'")
    charge = _charge(molecule.smiles)
    if charge != molecule.charge:
        raise MoleculeError(
            f"{molecule.id}: charge {molecule.charge:+d}, but its SMILES '{molecule.smiles}' has {charge:+d}"
        )
    return molecule.smiles


def to_ase(molecule: Molecule) -> Atoms:
    """Return ASE atoms; id, charge, multiplicity and SMILES go into ``atoms.info``."""
    info = {"id": molecule.id, "charge": molecule.charge, "multiplicity": molecule.multiplicity}
    if molecule.smiles is not None:
        info["smiles"] = molecule.smiles
    return Atoms(numbers=molecule.numbers, positions=molecule.positions, info=info)


def from_ase(
    atoms: Atoms,
    id: str | None = None,
    *,
    charge: int | None = None,
    multiplicity: int | None = None,
) -> Molecule:
    """Return the molecule of ASE atoms.

    Charge and multiplicity are what ``atoms.info``, the initial charges and the initial magnetic moments say, in any
    spelling of ``golfbench.states``; else what the SMILES says; else those of a neutral singlet.

    Args:
        atoms: Not periodic.
        id: Its name; ``atoms.info["id"]`` or else the formula when not given.
        charge: Total charge, e, instead of that of the atoms.
        multiplicity: 2S + 1, instead of that of the atoms.

    Raises:
        MoleculeError: If the atoms are periodic, or what they say of charge and spin is not understood, does not fit
            or contradicts itself.
    """
    name = id or str(atoms.info.get("id") or atoms.symbols)
    if atoms.pbc.any():
        raise MoleculeError(f"{name}: periodic systems are not molecules")
    info, numbers = atoms.info, atoms.numbers
    smiles = None if info.get("smiles") is None else str(info["smiles"])
    bonds = (0, 1) if smiles is None else charge_and_multiplicity(smiles)
    state = stated(name, numbers, info, atoms.arrays, known=State(charge, multiplicity), otherwise=bonds[0])
    return Molecule(
        id=name,
        numbers=numbers,
        positions=atoms.positions.copy(),
        charge=bonds[0] if state.charge is None else state.charge,
        multiplicity=bonds[1] if state.multiplicity is None else state.multiplicity,
        smiles=smiles,
    )


def best_rmsd(molecule: Molecule, positions_a: FloatArray, positions_b: FloatArray) -> float:
    """Return the symmetry-corrected RMSD (Å) of two conformations over heavy atoms, after alignment.

    RDKit's ``GetBestRMS``, as in the GOLF paper. Heavy atoms only: with hydrogens every methyl group multiplies the
    number of equivalent mappings by six. Terminal conjugated groups (carboxylate, nitro) count as symmetric. Beyond
    ``MAX_MATCHES`` mappings the value is an upper bound.

    Args:
        molecule: Gives the topology; its own positions do not matter.
        positions_a: (n_atoms, 3), Å.
        positions_b: (n_atoms, 3), Å.

    Raises:
        MoleculeError: If the molecule has no usable SMILES.
    """
    return best_rmsd_between(molecule.at(positions_a), molecule.at(positions_b))


def best_rmsd_between(a: Molecule, b: Molecule) -> float:
    """Return ``best_rmsd`` of two molecules with the same bonds, whose SMILES may list the atoms in another order.

    Raises:
        MoleculeError: If one has no usable SMILES.
    """
    heavy = []
    for molecule in (a, b):
        template, kept = _heavy_template(check_topology(molecule))
        heavy.append(_at(template, molecule.positions[kept]))
    first, second = heavy
    with BlockLogs():
        return float(rdMolAlign.GetBestRMS(first, second, maxMatches=MAX_MATCHES, numThreads=1))


def conformer_rmsds(conformers: Sequence[Molecule]) -> FloatArray:
    """Return ``best_rmsd`` of each pair of conformers of one molecule, Å.

    Returns:
        (n (n - 1) / 2,) of the pairs (1, 0), (2, 0), (2, 1), (3, 0), ..., in the order of RDKit's Butina clustering.

    Raises:
        MoleculeError: If there is none, or they have no usable SMILES.
    """
    if not conformers:
        raise MoleculeError("no conformers to compare")
    template, kept = _heavy_template(check_topology(conformers[0]))
    mol = Chem.Mol(template)
    for molecule in conformers:
        mol.AddConformer(_at(template, molecule.positions[kept]).GetConformer(), assignId=True)
    with BlockLogs():
        found = rdMolAlign.GetAllConformerBestRMS(mol, numThreads=1, maxMatches=MAX_MATCHES)
    return np.asarray(found, dtype=np.float64)


@lru_cache(maxsize=_CACHED_TOPOLOGIES)
def _heavy_template(smiles: str) -> tuple[Chem.Mol, IntArray]:
    """Return the molecule without hydrogens and the indices of its atoms among all atoms."""
    marked = Chem.Mol(_template(smiles))
    for atom in marked.GetAtoms():
        atom.SetIntProp("index", atom.GetIdx())
    heavy = Chem.RemoveHs(marked)
    return heavy, np.array([atom.GetIntProp("index") for atom in heavy.GetAtoms()])


def _at(template: Chem.Mol, positions: FloatArray) -> Chem.Mol:
    mol = Chem.Mol(template)
    conformer = Chem.Conformer(len(positions))
    conformer.SetPositions(np.ascontiguousarray(positions, dtype=np.float64))
    mol.AddConformer(conformer, assignId=True)
    return mol


def superposed(positions: FloatArray, target: FloatArray, kept: npt.NDArray[np.bool_]) -> FloatArray:
    """Return positions (n_atoms, 3), Å, superposed on a target by least squares over the kept atoms.

    A geometry is never mirrored.
    """
    centre, goal = positions[kept].mean(axis=0), target[kept].mean(axis=0)
    left, _, right = np.linalg.svd((positions[kept] - centre).T @ (target[kept] - goal))
    handed = np.diag([1.0, 1.0, np.sign(np.linalg.det(left @ right)) or 1.0])
    return np.asarray((positions - centre) @ (left @ handed @ right) + goal, dtype=np.float64)


def bond_graph_changed(molecule: Molecule, positions: FloatArray) -> bool:
    """Tell whether a conformation still has the bonds of its SMILES.

    A bond is broken when it is longer than ``BROKEN_FACTOR`` times the sum of the covalent radii (Cordero et al. 2008,
    doi 10.1039/b801115j). A bond is formed when two nonmetal atoms at least three bonds apart, or in different
    fragments, are closer than ``FORMED_FACTOR`` times that sum. Atoms with a common neighbour are left out: their
    distance is set by the angle, and a bond between them that matters breaks another one. Coordinates that are not
    finite count as changed.

    Args:
        molecule: Gives the topology; its own positions do not matter.
        positions: (n_atoms, 3), Å.

    Raises:
        MoleculeError: If the molecule has no usable SMILES.
    """
    shortest, longest = _distance_limits(check_topology(molecule))
    distances = np.linalg.norm(positions[:, None] - positions[None], axis=-1)
    return not bool(((distances >= shortest) & (distances <= longest)).all())


def most_stretched_bond(molecule: Molecule) -> float:
    """Return the length of the longest bond of the SMILES, in sums of the covalent radii; 0 if it has no bond.

    Args:
        molecule: At its positions.

    Raises:
        MoleculeError: If the molecule has no usable SMILES.
    """
    bonds = _bonds(check_topology(molecule))
    lengths = np.linalg.norm(molecule.positions[bonds[:, 0]] - molecule.positions[bonds[:, 1]], axis=1)
    radii = covalent_radii[molecule.numbers]
    return float((lengths / radii[bonds].sum(axis=1)).max(initial=0.0))


@lru_cache(maxsize=_CACHED_TOPOLOGIES)
def _bonds(smiles: str) -> IntArray:
    ends = [(bond.GetBeginAtomIdx(), bond.GetEndAtomIdx()) for bond in _template(smiles).GetBonds()]
    return np.array(ends, dtype=np.int64).reshape(-1, 2)


def stereo_changes(molecule: Molecule, positions: FloatArray) -> tuple[str, ...]:
    """Return in which centres and double bonds a conformation is another stereoisomer than ``molecule``, in words.

    Args:
        molecule: At the positions to compare with; its bonds are those of its SMILES there.
        positions: (n_atoms, 3), Å, with the same bonds.

    Raises:
        MoleculeError: If the molecule has no usable SMILES.
    """
    return differences(_template(check_topology(molecule)), molecule.positions, positions)


def stereo_contradictions(molecule: Molecule) -> tuple[str, ...]:
    """Return in which centres and double bonds the positions are another stereoisomer than the SMILES says, in words.

    Raises:
        MoleculeError: If the molecule has no usable SMILES.
    """
    return differences(_template(check_topology(molecule)), None, molecule.positions)


@lru_cache(maxsize=_CACHED_TOPOLOGIES)
def _distance_limits(smiles: str) -> tuple[FloatArray, FloatArray]:
    """Return the shortest and longest allowed distances (n_atoms, n_atoms), Å, of a bond graph."""
    numbers = _numbers(smiles)
    radii = covalent_radii[numbers]
    sums = radii[:, None] + radii[None]
    bonds_apart = Chem.GetDistanceMatrix(_template(smiles))
    nonmetal = np.isin(numbers, _NONMETALS)
    may_form = (bonds_apart > 2) & nonmetal[:, None] & nonmetal[None]
    shortest = np.where(may_form, FORMED_FACTOR * sums, 0.0)
    longest = np.where(bonds_apart == 1, BROKEN_FACTOR * sums, np.finfo(np.float64).max)
    return shortest, longest


def formula(molecule: Molecule | str) -> str:
    """Return the Hill formula of a molecule or a SMILES, with its charge: ``C9H8O4``, ``C2H3O2-``.

    Raises:
        MoleculeError: If the SMILES is not valid.
    """
    if isinstance(molecule, str):
        numbers, charge = _numbers(molecule), _charge(molecule)
    else:
        numbers, charge = molecule.numbers, molecule.charge
    neutral = Formula.from_dict(Counter(chemical_symbols[z] for z in numbers)).format("hill")
    size = str(abs(charge)) if abs(charge) > 1 else ""
    return f"{neutral}{'+' if charge > 0 else '-'}{size}" if charge else f"{neutral}"


def flat_smiles(smiles: str) -> str:
    """Return the canonical SMILES without stereochemistry.

    Raises:
        MoleculeError: If the SMILES is not valid.
    """
    return str(Chem.MolToSmiles(Chem.RemoveHs(_template(smiles)), isomericSmiles=False))


def scaffold(smiles: str) -> str:
    """Return the Murcko scaffold (doi 10.1021/jm9602928) as canonical SMILES without stereochemistry.

    Empty for a molecule without rings.

    Raises:
        MoleculeError: If the SMILES is not valid.
    """
    murcko: Any = MurckoScaffold
    core = murcko.GetScaffoldForMol(Chem.RemoveHs(_template(smiles)))
    return Chem.MolToSmiles(core, isomericSmiles=False)
