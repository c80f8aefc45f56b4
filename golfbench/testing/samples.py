"""The molecules that components are examined with: made from SMILES, the same everywhere, slightly distorted."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache

import numpy as np
from ase.data import chemical_symbols
from rdkit import Chem

from golfbench.chemistry import IntArray, embed, mol_from_smiles
from golfbench.molecules import Molecule
from golfbench.seeds import derived
from golfbench.testing.results import CheckSkipped

#: Small drug-like molecules of H C N O F S Cl Br, 3 to 12 atoms.
STANDARD = ("CCO", "O", "CC(N)=O", "Clc1ccncc1", "CS(N)(=O)=O", "CC(F)F", "Brc1ccoc1")
#: For engines whose calls are expensive: 6 and 3 atoms.
SMALLEST = ("NC=O", "O")
#: The smallest everyday molecule with each element.
BY_ELEMENT = {
    1: "C",
    6: "C",
    7: "CN",
    8: "CO",
    9: "CF",
    15: "CP",
    16: "CS",
    17: "CCl",
    35: "CBr",
    53: "CI",
}
#: Standard deviation of the noise on each coordinate, Å: forces of some 0.1 Hartree/Å, and no symmetry left.
NOISE = 0.05
_SEED = 7


@lru_cache
def sample(smiles: str, noise: float = NOISE) -> Molecule:
    """Return the molecule of a SMILES, embedded and distorted by a fixed seed."""
    molecule = embed(smiles, smiles, 1, _SEED)[0]
    shift = derived(_SEED, "sample", smiles).normal(scale=noise, size=molecule.positions.shape) if noise else 0.0
    return molecule.at(molecule.positions + shift)


def samples(wanted: Sequence[str], elements: frozenset[int] | None) -> list[Molecule]:
    """Return those of the molecules that consist of the given elements.

    Raises:
        CheckSkipped: If there is none.
    """
    made = [sample(smiles) for smiles in wanted]
    fitting = [m for m in made if elements is None or set(m.numbers.tolist()) <= elements]
    if not fitting:
        raise CheckSkipped(f"none of {', '.join(wanted)} consists of the declared elements")
    return fitting


def molecules_by_element(elements: frozenset[int] | None) -> dict[str, Molecule]:
    """Return a molecule for each declared element of drug-like molecules, by the element's symbol."""
    declared = {z: sample(smiles) for z, smiles in BY_ELEMENT.items() if elements is None or z in elements}
    return {
        chemical_symbols[z]: m for z, m in declared.items() if elements is None or set(m.numbers.tolist()) <= elements
    }


def reordered(molecule: Molecule) -> tuple[Molecule, IntArray]:
    """Return the molecule with its atoms in another order, and a new SMILES in that order.

    Returns:
        The molecule, and for each of its atoms the index that it had.
    """
    heavy = Chem.MolFromSmiles(molecule.smiles)
    smiles = Chem.MolToSmiles(heavy, rootedAtAtom=heavy.GetNumAtoms() - 1, canonical=False)
    rewritten = mol_from_smiles(smiles)
    order = np.array(mol_from_smiles(str(molecule.smiles)).GetSubstructMatch(rewritten))
    for atom in rewritten.GetAtoms():  # hydrogens on one atom are alike: turned round, they still fit the SMILES
        hydrogens = [n.GetIdx() for n in atom.GetNeighbors() if n.GetAtomicNum() == 1]
        order[hydrogens] = order[hydrogens[::-1]]
    numbers, positions = molecule.numbers[order], molecule.positions[order]
    name = f"{molecule.id} reordered"
    return Molecule(name, numbers, positions, molecule.charge, molecule.multiplicity, smiles), order
