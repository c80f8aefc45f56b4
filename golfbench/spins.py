"""Unpaired electrons of a bond graph: what its open valences suggest where the multiplicity is not given.

A Lewis structure says how many electrons take no part in bonds, not how their spins are. One on each of several atoms
are taken as parallel. Two on one atom are a pair where the ground state is known to be a singlet (carbenes beside a
heteroatom or a double bond, silylenes, germylenes, stannylenes, aminonitrenes), and parallel where it is a triplet
(alkyl and aryl carbenes, nitrenes, the oxygen atom). Every such choice is a guess, and the user is told of it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from rdkit import Chem

#: Elements whose s electrons stay a pair in the ground state: groups 2, 12, 13, and 14 from silicon on.
_INERT_PAIR = frozenset({4, 12, 20, 38, 56, 30, 48, 80, 5, 13, 31, 49, 81, 14, 32, 50, 82})
#: Neighbours that give a carbene their lone pair, and so make it a singlet.
_PI_DONORS = frozenset({7, 8, 9, 15, 16, 17, 34, 35, 53})
#: Metals whose d or f electrons may be unpaired, which bonds do not show.
_OPEN_METALS = frozenset([*range(21, 30), *range(39, 48), *range(57, 80), *range(89, 112)])
_CARBON, _NITROGEN = 6, 7
#: Elements that make diatomic molecules with a double bond and a triplet ground state: O2, S2, SO, Se2.
_CHALCOGENS = frozenset({8, 16, 34, 52})


@dataclass(frozen=True, slots=True)
class Unpaired:
    """Unpaired electrons of a molecule.

    Attributes:
        count: How many, all parallel.
        guessed: Whether another count is possible for the same bonds.
    """

    count: int
    guessed: bool


def unpaired_electrons(mol: Chem.Mol, told: Mapping[int, int] | None = None) -> Unpaired:
    """Return the unpaired electrons of a molecule.

    Args:
        mol: Sanitized.
        told: Unpaired electrons of single atoms, by index, where the file says them (``M  RAD``).
    """
    told = told or {}
    open_atoms = [atom for atom in mol.GetAtoms() if atom.GetNumRadicalElectrons()]
    counts = {atom.GetIdx(): told.get(atom.GetIdx(), _of_atom(atom)) for atom in open_atoms}
    biradical_bonds = sum(map(_is_biradical, mol.GetBonds()))
    count = sum(counts.values()) + 2 * biradical_bonds
    silent = [atom for atom in open_atoms if atom.GetIdx() not in told]
    metal = any(atom.GetAtomicNum() in _OPEN_METALS for atom in mol.GetAtoms())
    guessed = metal or bool(biradical_bonds) or any(a.GetNumRadicalElectrons() > 1 for a in silent)
    return Unpaired(count, guessed or len(counts) > 1)


def _of_atom(atom: Chem.Atom) -> int:
    radical = int(atom.GetNumRadicalElectrons())
    if radical < 2 or not _has_pair(atom, radical):
        return radical
    return radical - 2


def _has_pair(atom: Chem.Atom, radical: int) -> bool:
    number = atom.GetAtomicNum()
    neighbours = {neighbour.GetAtomicNum() for neighbour in atom.GetNeighbors()}
    if number in _INERT_PAIR:
        return True
    if number == _CARBON:
        unsaturated = any(bond.GetBondTypeAsDouble() > 1 for bond in atom.GetBonds())
        return radical > 2 or unsaturated or bool(neighbours & _PI_DONORS)
    return number == _NITROGEN and radical == 2 and bool(neighbours & {7, 15})


def _is_biradical(bond: Chem.Bond) -> bool:
    ends = (bond.GetBeginAtom(), bond.GetEndAtom())
    return bond.GetBondType() == Chem.BondType.DOUBLE and all(
        atom.GetAtomicNum() in _CHALCOGENS and atom.GetTotalDegree() == 1 and not atom.GetFormalCharge()
        for atom in ends
    )
