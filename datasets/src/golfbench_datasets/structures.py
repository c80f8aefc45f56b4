"""The user's own molecules for a dataset: each molecule once, named, and split by scaffold."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

from rdkit import Chem
from rdkit.ML.Cluster import Butina

from golfbench.chemistry import (
    bond_graph_changed,
    conformer_rmsds,
    embed,
    flat_smiles,
    mol_from_smiles,
    scaffold,
    spread_seed,
)
from golfbench.errors import ConfigurationError, MoleculeError
from golfbench.molecule_files.input_molecules import InputMolecule, Reading, Unusable
from golfbench.molecule_files.reading import read_molecules
from golfbench.molecules import Molecule
from golfbench.seeds import derived

#: Conformers that are clustered: so many, and so many for each that is wanted.
POOL, POOL_SHARE = 30, 10
#: Conformers that are nearer to each other than this (Å, heavy atoms) are one cluster.
CLUSTER_RMSD = 0.5


@dataclass(frozen=True, slots=True)
class Structure:
    """One molecule.

    Attributes:
        name: The first part of the ids of its conformers.
        smiles: One stereoisomer; atoms are in its order.
        multiplicity: 2S + 1.
    """

    name: str
    smiles: str
    multiplicity: int

    @property
    def family(self) -> str:
        """What must not be in both parts: the Murcko scaffold, and where there is no ring, the molecule itself."""
        return scaffold(self.smiles) or flat_smiles(self.smiles)


def read_structures(inputs: Sequence[str], left_out: list[str], notes: list[str]) -> list[Structure]:
    """Read files and SMILES; of an SDF, the bonds and the stereoisomer count, not the conformation.

    Args:
        inputs: Names of files, or SMILES.
        left_out: Is given each input that is no molecule, with the reason.
        notes: Is given how inputs were read, and what was assumed.

    Returns:
        Each molecule once, in the order of the input, with a name of its own.

    Raises:
        ConfigurationError: If a file is missing or of no known kind.
    """
    reading = Reading(bonds_only=True)
    read = read_molecules(inputs, reading)
    notes += reading.notes.lines()
    found: dict[str, Structure] = {}
    twice = 0
    names: set[str] = set()
    for given in read:
        if reason := _objection(given):
            left_out.append(reason)
            continue
        assert isinstance(given, InputMolecule)
        smiles = str(given.molecule.smiles)
        identity = str(Chem.MolToSmiles(Chem.RemoveHs(mol_from_smiles(smiles))))
        if identity in found:
            twice += 1
            continue
        name = _unused(_plain(given.molecule.id), names)
        found[identity] = Structure(name, smiles, given.molecule.multiplicity)
    if twice:
        notes.append(f"{twice} inputs repeat a molecule: the first of each is taken")
    return list(found.values())


def _objection(given: InputMolecule | Unusable) -> str:
    """Return why an input is no molecule of a dataset, or an empty text."""
    if isinstance(given, Unusable):
        return _at(given.source, given.id, str(given.error))
    if given.molecule.smiles is None:
        return _at(given.source, given.molecule.id, "it has no bonds; give an SDF or a SMILES")
    if len(given.molecule) == 1:
        return _at(given.source, given.molecule.id, "a single atom has no geometry")
    return ""


def _at(source: str, id: str, reason: str) -> str:
    where = source if source.endswith(id) else f"{source}: {id}"
    return f"{where}: {reason.removeprefix(f'{id}: ')}"


def _plain(name: str) -> str:
    """Return a name that the database takes, which refuses texts that are numbers, and that has no slash."""
    text = re.sub(r"[^\w.+-]+", "-", name).strip("-") or "molecule"
    try:
        float(text)
    except ValueError:
        return text if text not in ("True", "False") else f"molecule-{text}"
    return f"molecule-{text}"


def _unused(name: str, names: set[str]) -> str:
    number, unused = 1, name
    while unused in names:
        number += 1
        unused = f"{name}-{number}"
    names.add(unused)
    return unused


def split(structures: Sequence[Structure], share: float, seed: int) -> tuple[list[Structure], list[Structure]]:
    """Part molecules into training and test, without a scaffold that is in both.

    Families (see ``Structure.family``) come in a random order; each goes to the test part as long as there is room.

    Args:
        structures: All molecules.
        share: Of the molecules, for the test part; at least one is taken.
        seed: Of the order.

    Returns:
        Training and test molecules, in the order that they had.

    Raises:
        ConfigurationError: If all have the same scaffold.
    """
    families: dict[str, list[Structure]] = {}
    for structure in structures:
        families.setdefault(structure.family, []).append(structure)
    if len(families) < 2:
        core = next(iter(families))
        what = f"all {len(structures)} have the scaffold {core}" if len(structures) > 1 else f"{core} is alone"
        raise ConfigurationError(f"no molecule is left for the test part: {what}. Give test molecules with --test")
    order = derived(seed, "split").permutation(len(families)).tolist()
    room, chosen = max(1, round(share * len(structures))), set[str]()
    keys = list(families)
    for key in [keys[k] for k in order]:
        if len(families[key]) <= room and len(chosen) < len(families) - 1:
            chosen.add(key)
            room -= len(families[key])
    chosen = chosen or {min(keys, key=lambda key: len(families[key]))}
    training, test = ([s for s in structures if (s.family in chosen) == wanted] for wanted in (False, True))
    return training, test


def apart(training: Sequence[Structure], test: Sequence[Structure], left_out: list[str]) -> list[Structure]:
    """Return the training molecules that share neither scaffold nor identity with a test molecule.

    Args:
        training: See there.
        test: See there.
        left_out: Is given the others, with the reason.
    """
    families = {structure.family: structure.name for structure in reversed(test)}
    kept = []
    for structure in training:
        if (other := families.get(structure.family)) is None:
            kept.append(structure)
        else:
            shared = f"the scaffold {core}" if (core := scaffold(structure.smiles)) else "all atoms and bonds"
            left_out.append(f"{structure.name}: shares {shared} with the test molecule {other}")
    return kept


def renamed(training: Sequence[Structure], test: Sequence[Structure]) -> list[Structure]:
    """Return the test molecules with names that no training molecule has."""
    names = {structure.name for structure in training}
    return [replace(structure, name=_unused(structure.name, names)) for structure in test]


def centroids(structure: Structure, most: int, seed: int) -> list[Molecule]:
    """Return conformers of a molecule: the centroids of the largest clusters, the largest first.

    ETKDGv3 conformers, not optimized, clustered by the RMSD of heavy atoms with all symmetry-equivalent mappings
    (Butina 1999, doi 10.1021/ci9803381).

    Args:
        structure: The molecule.
        most: Conformers wanted; a stiff molecule has fewer.
        seed: Of the coordinates.

    Raises:
        MoleculeError: If it does not embed with the bonds of its SMILES.
    """
    made = embed(structure.smiles, structure.name, max(POOL, POOL_SHARE * most), spread_seed(seed))
    sound = [molecule for molecule in made if not bond_graph_changed(molecule, molecule.positions)]
    if not sound:
        raise MoleculeError(f"{structure.name}: its conformers have other bonds than its SMILES")
    clusters = Butina.ClusterData(conformer_rmsds(sound), len(sound), CLUSTER_RMSD, isDistData=True, reordering=True)
    chosen = [sound[cluster[0]] for cluster in clusters[:most]]
    return [
        replace(molecule, id=f"{structure.name}/{number}", multiplicity=structure.multiplicity)
        for number, molecule in enumerate(chosen)
    ]


def all_centroids(structures: Sequence[Structure], most: int, seed: int) -> Iterator[list[Molecule] | MoleculeError]:
    """Yield the conformers of each molecule, or why there are none."""
    for structure in structures:
        try:
            yield centroids(structure, most, seed)
        except MoleculeError as error:
            yield error
