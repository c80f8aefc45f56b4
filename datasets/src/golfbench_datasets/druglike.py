"""Which molecules are in the datasets that ship, and their starting conformers.

Test part: known drugs, listed in ``drugs.csv``; druglike-dft has a list of its own, of small ones. Training part: a
diverse pick (MaxMin; Ashton et al. 2002, doi 10.1002/qsar.200290002) from the screening compounds that RDKit installs
for testing its PAINS filters, without any Murcko scaffold of a test drug. The small molecules are picked first, the
others follow as far from them as possible, so that druglike-mini is a subset of druglike-xtb and is diverse by itself.
The pick goes on in the same way for druglike-xtb-10k, whose size is that of the initial set of the GOLF paper.
"""

from __future__ import annotations

import csv
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cache
from itertools import chain, islice
from pathlib import Path

from rdkit import Chem, RDConfig
from rdkit.Chem import rdFingerprintGenerator, rdForceFieldHelpers
from rdkit.SimDivFilters.rdSimDivPickers import MaxMinPicker

from golfbench.chemistry import bond_graph_changed, embed, flat_smiles, formula, mol_from_smiles, rdkit_mol, scaffold
from golfbench.errors import ConfigurationError, MoleculeError
from golfbench.molecules import Molecule, check_molecule
from golfbench.specs import DRUGLIKE_ELEMENTS

SEED = 2024
#: Atoms of a molecule, hydrogens included: the fewest and the most.
SIZES, SIZES_DFT = (18, 60), (12, 22)
ATOMS_MAX_SMALL = 30
TRAIN_SMALL, TRAIN_LARGE, TRAIN_DFT, TEST_SMALL = 30, 80, 24, 12
CONFORMERS_TRAIN, CONFORMERS_DFT, CONFORMERS_TEST = 8, 3, 1
#: As in the paper: 10 000 conformations of 4000 molecules, three of one and two of the next.
TRAIN_10K, CONFORMERS_10K = 4000, (3, 2)
#: Picked beyond what is needed, in the place of molecules that do not embed: so many, and so large a share.
RESERVE, RESERVE_SHARE = 20, 0.05
RECIPES = ("druglike-mini", "druglike-xtb", "druglike-xtb-10k", "druglike-dft")
#: The dataset whose test part another one has.
TEST_OF = {"druglike-xtb-10k": "druglike-xtb"}
SCREENING_FILE = Path(RDConfig.RDDataDir, "Pains", "test_data", "wehi_mols.csv")


@dataclass(frozen=True, slots=True)
class Compound:
    """One molecule of the plan.

    Attributes:
        name: Its name, the first part of the ids of its conformers.
        smiles: Written so that ``golfbench.chemistry.embed`` can use it.
        formula: The known formula, empty for screening compounds.
    """

    name: str
    smiles: str
    formula: str = ""

    @property
    def atoms(self) -> int:
        """Number of atoms, hydrogens included."""
        return int(mol_from_smiles(self.smiles).GetNumAtoms())

    def conformers(self, count: int) -> list[Molecule]:
        """Return starting conformers (ETKDGv3, not optimized).

        Raises:
            MoleculeError: If not all of them can be embedded and have the bonds of the SMILES.
        """
        return list(_embedded(self, count))


@cache
def _embedded(compound: Compound, count: int) -> tuple[Molecule, ...]:
    """Embed once for the pick and the labels; see ``Compound.conformers``."""
    made = embed(compound.smiles, compound.name, count, SEED)
    if len(made) < count:
        raise MoleculeError(f"{compound.name}: only {len(made)} of {count} conformers embed")
    for molecule in made:
        check_molecule(molecule, DRUGLIKE_ELEMENTS, "this dataset")
        if bond_graph_changed(molecule, molecule.positions):
            raise MoleculeError(f"{molecule.id}: the embedded conformer has other bonds than its SMILES")
    return tuple(made)


@dataclass(frozen=True, slots=True)
class Plan:
    """The molecules of one dataset.

    Attributes:
        training: Those of the initial set; many of them are looked at one after the other, while others are labelled.
        test: Those of the test part; none where it is the test part of another dataset.
        conformers: Of the training molecules in turn: (3, 2) is three of the first, two of the second, three again.
        relaxed: Whether the last conformers of a molecule are moved along the walk of a force field (``relaxing``).
    """

    training: Iterable[Compound]
    test: tuple[Compound, ...]
    conformers: tuple[int, ...] = (CONFORMERS_TRAIN,)
    relaxed: bool = False

    def starts(self) -> Iterator[list[Molecule]]:
        """Yield the conformers of each training molecule."""
        for turn, compound in enumerate(self.training):
            yield compound.conformers(self.conformers[turn % len(self.conformers)])


def make_plan(name: str, drugs_csv: Path) -> Plan:
    """Select the molecules of a dataset that ships, one of ``RECIPES``. Deterministic.

    Raises:
        ConfigurationError: If the name is another one, or the list of drugs has a formula that does not fit.
    """
    if name not in RECIPES:
        raise ConfigurationError(f"no recipe for '{name}': {', '.join(RECIPES)} can be built")
    if name == "druglike-dft":
        drugs = read_drugs(drugs_csv, SIZES_DFT)
        few = list(screening_compounds(drugs, SIZES_DFT))
        return Plan(tuple(_diverse(few, [], TRAIN_DFT, CONFORMERS_DFT)), tuple(drugs), (CONFORMERS_DFT,))
    drugs = read_drugs(drugs_csv)
    candidates = list(screening_compounds(drugs))
    small = tuple(_diverse([c for c in candidates if c.atoms <= ATOMS_MAX_SMALL], [], TRAIN_SMALL))
    if name == "druglike-mini":
        small_drugs = [drug for drug in drugs if drug.atoms <= ATOMS_MAX_SMALL]
        return Plan(small, tuple(small_drugs[:TEST_SMALL]))
    chosen = (*small, *_diverse(candidates, small, TRAIN_LARGE))
    if name == "druglike-xtb":
        return Plan(chosen, tuple(drugs))
    more = _diverse(candidates, chosen, TRAIN_10K - len(chosen), max(CONFORMERS_10K))
    return Plan(chain(chosen, more), (), CONFORMERS_10K, relaxed=True)


def read_drugs(path: Path, sizes: tuple[int, int] = SIZES) -> list[Compound]:
    """Read a list of drugs, check each formula, and settle each stereocentre that is drawn without configuration.

    Args:
        path: The list.
        sizes: Atoms of a molecule, the fewest and the most.

    Raises:
        ConfigurationError: If a formula does not fit the SMILES or a drug does not belong into the dataset.
    """
    with path.open(encoding="utf-8", newline="") as lines:
        drugs = [Compound(row["name"], row["smiles"], row["formula"]) for row in csv.DictReader(lines)]
    for drug in drugs:
        if formula(drug.smiles) != drug.formula:
            raise ConfigurationError(f"{path.name}: {drug.name} is {drug.formula}, not {formula(drug.smiles)}")
        if not eligible(drug.smiles, sizes):
            raise ConfigurationError(f"{path.name}: {drug.name} does not belong into this dataset")
    return [settle_stereo(drug) for drug in drugs]


def screening_compounds(drugs: Sequence[Compound], sizes: tuple[int, int] = SIZES) -> Iterator[Compound]:
    """Yield the eligible screening compounds that share no scaffold and no identity with a drug, each once.

    Molecules without rings have no scaffold; among them only identical molecules are kept apart.
    """
    scaffolds = {scaffold(drug.smiles) for drug in drugs} - {""}
    seen = {flat_smiles(drug.smiles) for drug in drugs}
    with SCREENING_FILE.open(encoding="utf-8", newline="") as lines:
        for smiles, identifier in csv.reader(lines):
            if not eligible(smiles, sizes) or scaffold(smiles) in scaffolds or (flat := flat_smiles(smiles)) in seen:
                continue
            seen.add(flat)
            yield Compound(identifier.lower(), smiles)


def eligible(smiles: str, sizes: tuple[int, int] = SIZES) -> bool:
    """Tell whether a molecule is neutral, closed-shell, in one piece, of the right elements and size, and in MMFF94."""
    try:
        mol = mol_from_smiles(smiles)
    except MoleculeError:
        return False
    atoms = mol.GetAtoms()
    return (
        sizes[0] <= mol.GetNumAtoms() <= sizes[1]
        and {atom.GetAtomicNum() for atom in atoms} <= DRUGLIKE_ELEMENTS
        and not any(atom.GetNumRadicalElectrons() or atom.GetIsotope() for atom in atoms)
        and Chem.GetFormalCharge(mol) == 0
        and len(Chem.GetMolFrags(mol)) == 1
        and bool(rdForceFieldHelpers.MMFFHasAllMoleculeParams(mol))
    )


def settle_stereo(compound: Compound) -> Compound:
    """Return the compound with every stereocentre and double bond in one configuration.

    What is drawn is kept; what is left open (a racemate) is taken from one embedded conformer, so that all conformers
    of a molecule are the same stereoisomer.
    """
    mol = rdkit_mol(embed(compound.smiles, compound.name, 1, SEED)[0])
    Chem.AssignStereochemistryFrom3D(mol)
    return replace(compound, smiles=Chem.MolToSmiles(Chem.RemoveHs(mol)))


def _diverse(
    pool: Sequence[Compound], chosen: Sequence[Compound], count: int, conformers: int = CONFORMERS_TRAIN
) -> Iterator[Compound]:
    """Yield ``count`` molecules of the pool, far from each other and from those already chosen (MaxMin).

    Each of them has so many ``conformers``.
    """
    generator = rdFingerprintGenerator.GetMorganGenerator(radius=2, fpSize=2048)
    position = {compound.name: i for i, compound in enumerate(pool)}
    first = [position[compound.name] for compound in chosen]
    prints = [generator.GetFingerprint(Chem.RemoveHs(mol_from_smiles(c.smiles))) for c in pool]
    wanted = min(len(pool), len(first) + count + max(RESERVE, int(RESERVE_SHARE * count)))
    picks = list(MaxMinPicker().LazyBitVectorPick(prints, len(pool), wanted, first, SEED))[len(first) :]
    found = (settled for i in picks if (settled := usable(pool[i], conformers)) is not None)
    yield from islice(found, count)


def usable(compound: Compound, conformers: int) -> Compound | None:
    """Return the compound with settled stereochemistry, or ``None`` if it cannot be embedded.

    Imines whose configuration depends on an explicit ``[H]`` are left out too: it would stand among the heavy atoms.
    """
    try:
        settled = settle_stereo(compound)
        settled.conformers(conformers)
    except MoleculeError:
        return None
    return None if "[H]" in settled.smiles else settled
