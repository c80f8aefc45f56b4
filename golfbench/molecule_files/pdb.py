"""Ligands in PDB files: their bonds from double CONECT records, or by RDKit from the distances and the charge."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import partial

import numpy as np
from rdkit import Chem
from rdkit.Chem import rdDetermineBonds
from rdkit.rdBase import BlockLogs

from golfbench.chemistry import FloatArray
from golfbench.errors import MoleculeError
from golfbench.molecule_files.input_molecules import InputMolecule, Pending, Reading, attempt
from golfbench.molecule_files.sdf import input_of_mol, kekulized
from golfbench.molecule_files.text import Text, empty, file_name

_ATOMS = ("ATOM  ", "HETATM")
#: RDKit's search for bond orders takes minutes for larger molecules.
MOST_ATOMS = 250
_AMINO_ACIDS = frozenset(
    "ALA ARG ASN ASP CYS GLN GLU GLY HIS ILE LEU LYS MET PHE PRO SER THR TRP TYR VAL".split()  # noqa: SIM905
)
_WATER = frozenset({"HOH", "WAT", "DOD", "TIP", "SOL"})
#: A carbon with two neighbours is straight above this angle (degrees), one with three is flat above this sum of angles.
_STRAIGHT, _FLAT = 150.0, 345.0
#: Å; a carbon with one neighbour has all its bonds to it below this.
_TRIPLE = 1.22
_ADVICE = "give it as SDF, with bonds and hydrogens"


def read_pdb(text: Text, reading: Reading) -> Iterator[Pending]:
    """Yield the models of a PDB file; one that holds several molecules has an END behind each."""
    number = 0
    for number, lines in enumerate(_models(text.lines()), start=1):
        id = _name(lines) or f"{file_name(text.label)}:{number}"
        yield partial(attempt, id, f"{text.label}:{number}", partial(_from_model, lines))
    if not number:
        yield partial(empty, text.label)


def _models(lines: Iterator[str]) -> Iterator[list[str]]:
    """Yield the lines of each model, with the bonds that stand behind the last one of an entry."""
    entry: list[str] = []
    for line in lines:
        if line.rstrip() == "END":
            yield from _parted(entry)
            entry = []
        else:
            entry.append(line)
    yield from _parted(entry)


def _parted(entry: list[str]) -> Iterator[list[str]]:
    models: list[list[str]] = [[]]
    shared = [line for line in entry if line.startswith(("CONECT", "COMPND"))]
    for line in entry:
        if line.startswith(("MODEL ", "ENDMDL")):
            models.append([])
        elif line.startswith(_ATOMS):
            models[-1].append(line)
    yield from ([*shared, *model] for model in models if model)


def _name(lines: Sequence[str]) -> str:
    said = [line[10:].strip() for line in lines if line.startswith("COMPND")]
    return said[0] if said and "MOL_ID" not in said[0] else ""


def _from_model(lines: list[str], id: str, source: str, reading: Reading) -> InputMolecule:
    residues = {line[17:20].strip().upper() for line in lines if line.startswith(_ATOMS)}
    if len(residues & _AMINO_ACIDS) > 1 or (residues - _WATER and residues & _WATER):
        raise MoleculeError(f"{id}: holds a protein or water beside a ligand: give the ligand alone")
    with BlockLogs():
        block = "\n".join(
            [*(k for k in lines if k.startswith(_ATOMS)), *(k for k in lines if k[:6] == "CONECT"), "END"]
        )
        mol = Chem.MolFromPDBBlock(block, sanitize=False, removeHs=False, proximityBonding=False)
    if mol is None:
        raise MoleculeError(f"{id}: is not a valid PDB model")
    if unknown := [atom.GetPDBResidueInfo().GetName().strip() for atom in mol.GetAtoms() if not atom.GetAtomicNum()]:
        raise MoleculeError(f"{id}: the element of atom '{unknown[0]}' is not known")
    return input_of_mol(_bonded(mol, id, source, reading), id, source, reading)


def _bonded(mol: Chem.Mol, id: str, source: str, reading: Reading) -> Chem.Mol:
    """Return the molecule with its bonds: those of the file where they leave no valence open, or RDKit's."""
    said = _with_said_bonds(mol)
    if said is not None and reading.charge in (None, Chem.GetFormalCharge(said)):
        return said
    if mol.GetNumAtoms() > MOST_ATOMS:
        raise MoleculeError(f"{id}: the bonds of more than {MOST_ATOMS} atoms are not worked out: {_ADVICE}")
    charge = int(Chem.GetFormalCharge(mol)) if reading.charge is None else reading.charge
    bare = Chem.RWMol(mol)
    for bond in list(bare.GetBonds()):
        bare.RemoveBond(bond.GetBeginAtomIdx(), bond.GetEndAtomIdx())
    for atom in bare.GetAtoms():
        atom.SetFormalCharge(0)
        atom.SetNoImplicit(True)
    try:
        with BlockLogs():
            rdDetermineBonds.DetermineConnectivity(bare)
            _check_hydrogens(bare, id)
            rdDetermineBonds.DetermineBondOrders(bare, charge=charge, embedChiral=False)
    except (ValueError, RuntimeError) as error:
        if isinstance(error, MoleculeError):
            raise
        hint = "" if reading.charge is not None else "; another charge is said with --charge"
        raise MoleculeError(f"{id}: no bonds fit its distances at charge {charge:+d}{hint}, or {_ADVICE}") from error
    if reading.charge is None:
        reading.notes.add(f"the bonds of a PDB file are RDKit's, at charge {charge:+d}; --charge says another", source)
    return kekulized(bare.GetMol(), id)


def _with_said_bonds(mol: Chem.Mol) -> Chem.Mol | None:
    """Return the molecule with the bonds of its CONECT records, if they are all there and leave no valence open."""
    said = Chem.Mol(mol)
    orders = {bond.GetBondTypeAsDouble() for bond in said.GetBonds()}
    try:
        with BlockLogs():
            Chem.SanitizeMol(said)
            complete = not any(atom.GetTotalNumHs() or atom.GetNumRadicalElectrons() for atom in said.GetAtoms())
            return kekulized(said, "") if orders and complete else None
    except (ValueError, RuntimeError):
        return None


def _check_hydrogens(mol: Chem.Mol, id: str) -> None:
    """Refuse a carbon that its neighbours say lacks hydrogens: bonds made up for it would be wrong ones."""
    positions: FloatArray = mol.GetConformer().GetPositions()
    for atom in mol.GetAtoms():
        if atom.GetAtomicNum() == 6 and _lacks_hydrogen(
            atom.GetIdx(), [n.GetIdx() for n in atom.GetNeighbors()], positions
        ):
            raise MoleculeError(f"{id}: hydrogens are missing at atom {atom.GetIdx() + 1}: {_ADVICE}")


def _lacks_hydrogen(centre: int, around: list[int], positions: FloatArray) -> bool:
    arms = positions[around] - positions[centre]
    lengths = np.linalg.norm(arms, axis=1)
    if len(around) == 0:
        return True
    if len(around) == 1:
        return bool(lengths[0] > _TRIPLE)
    if len(around) > 3:
        return False
    unit = arms / lengths[:, None]
    angles = np.degrees(np.arccos(np.clip(unit @ unit.T, -1, 1)))[np.triu_indices(len(around), 1)]
    return bool(angles.sum() < (_STRAIGHT if len(around) == 2 else _FLAT))
