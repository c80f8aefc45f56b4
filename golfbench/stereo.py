"""Stereoisomers: the centres and double bonds of a SMILES or a start, and whether other positions agree.

Each centre is compared by itself, by the sense in which its neighbours are arranged, on the same atoms, without labels
that depend on ranks. A molecule in which several centres differ may still be the same one (a meso form), so the
canonical SMILES of the whole molecule decides. Ring double bonds, amides and other hindered single bonds have no stereo
here. An amine that inverts is the same isomer, unless its SMILES gives the nitrogen's configuration.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import lru_cache

import numpy as np
import numpy.typing as npt
from rdkit import Chem
from rdkit.Chem import rdCIPLabeler
from rdkit.rdBase import BlockLogs

FloatArray = npt.NDArray[np.float64]

#: The sign of the volume that an atom's neighbours span, in the order of its bonds, for RDKit's two marks.
_SENSES = {Chem.ChiralType.CHI_TETRAHEDRAL_CCW: 1, Chem.ChiralType.CHI_TETRAHEDRAL_CW: -1}
#: An atom is flat below this determinant of its bonds as unit vectors (in a tetrahedron 0.77 of three, 3.1 of four).
FLAT_VOLUME = 0.1
_CIS = (Chem.BondStereo.STEREOZ, Chem.BondStereo.STEREOCIS)
_TRANS = (Chem.BondStereo.STEREOE, Chem.BondStereo.STEREOTRANS)
_CACHED = 4096


def differences(template: Chem.Mol, reference: FloatArray | None, positions: FloatArray) -> tuple[str, ...]:
    """Return which stereo elements of a molecule differ, in words, or nothing for the same stereoisomer.

    Args:
        template: The molecule with its hydrogens and the stereo that its SMILES says.
        reference: (n_atoms, 3), Å, of the isomer to compare with; ``None`` for what the SMILES says alone.
        positions: (n_atoms, 3), Å, finite.
    """
    expected = template if reference is None else _seen(template, reference)
    atoms, bonds = _elements(template, expected)
    turned = [k for k in atoms if _sense(template, k, reference) != _sense(template, k, positions)]
    flipped = [k for k in bonds if _is_cis(expected, k, reference) != _is_cis(expected, k, positions)]
    if not turned and not flipped:
        return ()
    before = _marked(expected, atoms, bonds, reference)
    after = _marked(_seen(template, positions), atoms, bonds, positions)
    return () if _isomer(before) == _isomer(after) else tuple(_words(before, after, turned, flipped))


def _elements(template: Chem.Mol, expected: Chem.Mol) -> tuple[list[int], list[int]]:
    """Return the atoms and the bonds whose arrangement is to be kept.

    What the SMILES leaves open is taken from the start, if it does not change by itself at room temperature.
    """
    atoms = [
        after.GetIdx()
        for said, after in zip(template.GetAtoms(), expected.GetAtoms(), strict=True)
        if said.GetChiralTag() in _SENSES or (after.GetChiralTag() in _SENSES and not _inverts(after))
    ]
    bonds = [
        after.GetIdx()
        for said, after in zip(template.GetBonds(), expected.GetBonds(), strict=True)
        if _has_sides(after) and (_has_sides(said) or _is_held(after))
    ]
    return atoms, bonds


def _inverts(atom: Chem.Atom) -> bool:
    return bool(atom.GetAtomicNum() == 7 and atom.GetDegree() < 4)


def _has_sides(bond: Chem.Bond) -> bool:
    return bond.GetStereo() in _CIS + _TRANS and len(bond.GetStereoAtoms()) == 2


def _is_cis(mol: Chem.Mol, index: int, positions: FloatArray | None) -> bool:
    """Return whether the marked neighbours of a double bond are on one side; without positions, as it is marked."""
    bond = mol.GetBondWithIdx(index)
    if positions is None:
        return bond.GetStereo() in _CIS
    first, second = bond.GetStereoAtoms()
    begin, end = bond.GetBeginAtomIdx(), bond.GetEndAtomIdx()
    if mol.GetBondBetweenAtoms(first, begin) is None:
        first, second = second, first
    axis = positions[end] - positions[begin]
    a, b = positions[first] - positions[begin], positions[second] - positions[end]
    return bool(np.cross(axis, a) @ np.cross(axis, b) > 0)


def _sense(template: Chem.Mol, index: int, positions: FloatArray | None) -> int:
    """Return 1 or -1 for the two arrangements of an atom's neighbours, 0 for a flat one; without positions, as said."""
    atom = template.GetAtomWithIdx(index)
    if positions is None:
        return _SENSES.get(atom.GetChiralTag(), 0)
    arms = np.array([positions[bond.GetOtherAtomIdx(index)] - positions[index] for bond in atom.GetBonds()])
    if len(arms) not in (3, 4) or not (lengths := np.linalg.norm(arms, axis=1, keepdims=True)).all():
        return 0
    arms /= lengths
    volume = float(np.linalg.det(arms[:3] - arms[3] if len(arms) == 4 else arms))
    return 0 if abs(volume) < FLAT_VOLUME else int(np.sign(volume))


def _seen(template: Chem.Mol, positions: FloatArray) -> Chem.Mol:
    """Return the molecule with the stereo that its positions have."""
    mol = _placed(template, positions)
    with BlockLogs():
        Chem.AssignStereochemistryFrom3D(mol, replaceExistingTags=True)
    return mol


def _placed(template: Chem.Mol, positions: FloatArray) -> Chem.Mol:
    mol = Chem.Mol(template)
    mol.RemoveAllConformers()
    conformer = Chem.Conformer(len(positions))
    conformer.SetPositions(np.ascontiguousarray(positions, dtype=np.float64))
    conformer.Set3D(True)
    mol.AddConformer(conformer, assignId=True)
    return mol


def _marked(mol: Chem.Mol, atoms: list[int], bonds: list[int], positions: FloatArray | None) -> Chem.Mol:
    """Return the molecule with the stereo that these atoms and bonds, and no others, have at some positions."""
    marks = {sense: tag for tag, sense in _SENSES.items()}
    marked = Chem.Mol(mol)
    for atom in marked.GetAtoms():
        k = atom.GetIdx()
        sense = _sense(mol, k, positions) if k in atoms else 0
        atom.SetChiralTag(marks.get(sense, Chem.ChiralType.CHI_UNSPECIFIED))
    for bond in marked.GetBonds():
        if bond.GetIdx() not in bonds:
            bond.SetStereo(Chem.BondStereo.STEREONONE)
    return marked


def _isomer(mol: Chem.Mol) -> str:
    with BlockLogs():
        return str(Chem.MolToSmiles(Chem.RemoveHs(mol)))


def _words(before: Chem.Mol, after: Chem.Mol, atoms: list[int], bonds: list[int]) -> Iterator[str]:
    for mol in (before, after):
        rdCIPLabeler.AssignCIPLabels(mol)
    for k in atoms:
        old, new = _label(before, k), _label(after, k)
        symbol = before.GetAtomWithIdx(k).GetSymbol()
        yield f"atom {k} ({symbol}): {old} became {new}" if {old, new} == {"R", "S"} else f"atom {k} ({symbol}) changed"
    for k in bonds:
        bond = before.GetBondWithIdx(k)
        begin, end = bond.GetBeginAtom(), bond.GetEndAtom()
        old, new = ("Z", "E") if _bond_label(bond) == "Z" else ("E", "Z")
        yield f"bond {begin.GetSymbol()}{begin.GetIdx()}={end.GetSymbol()}{end.GetIdx()}: {old} became {new}"


def _bond_label(bond: Chem.Bond) -> str:
    return str(bond.GetProp("_CIPCode")) if bond.HasProp("_CIPCode") else "?"


def _label(mol: Chem.Mol, index: int) -> str:
    atom = mol.GetAtomWithIdx(index)
    return str(atom.GetProp("_CIPCode")) if atom.HasProp("_CIPCode") else "?"


def with_stereo_of(template: Chem.Mol, positions: FloatArray) -> Chem.Mol:
    """Return the molecule with the stereo that its positions have, where it keeps it at room temperature.

    Args:
        template: The molecule with its hydrogens and the stereo that its SMILES says, which stays.
        positions: (n_atoms, 3), Å.
    """
    seen = _seen(template, positions)
    seen.RemoveAllConformers()
    return _marked(seen, *_elements(template, seen), positions)


@lru_cache(maxsize=_CACHED)
def open_elements(smiles: str) -> int:
    """Return how many centres and double bonds a SMILES leaves open.

    Nitrogen centres that invert are none.

    Args:
        smiles: A valid SMILES.
    """
    with BlockLogs():
        mol = Chem.AddHs(Chem.MolFromSmiles(smiles))
        found = Chem.FindPotentialStereo(mol)
    return sum(info.specified == Chem.StereoSpecified.Unspecified and _stays(mol, info) for info in found)


def _stays(mol: Chem.Mol, info: Chem.StereoInfo) -> bool:
    """Return whether a potential stereo element keeps its configuration at room temperature."""
    if info.type == Chem.StereoType.Atom_Tetrahedral:
        return not _inverts(mol.GetAtomWithIdx(info.centeredOn))
    if info.type != Chem.StereoType.Bond_Double:
        return False
    return _is_held(mol.GetBondWithIdx(info.centeredOn))


def _is_held(bond: Chem.Bond) -> bool:
    return not any(_turns(atom, bond) for atom in (bond.GetBeginAtom(), bond.GetEndAtom()))


def _turns(atom: Chem.Atom, bond: Chem.Bond) -> bool:
    """Return whether an end of a double bond is an NH, or has another double bond beside it."""
    others = [other for other in atom.GetBonds() if other.GetIdx() != bond.GetIdx()]
    bare = atom.GetAtomicNum() == 7 and all(other.GetOtherAtom(atom).GetAtomicNum() == 1 for other in others)
    return bare or any(other.GetBondType() == Chem.BondType.DOUBLE for other in others)
