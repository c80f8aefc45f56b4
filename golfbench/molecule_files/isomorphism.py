"""The atoms of one drawing of a molecule in the order of another: by elements and by what is bonded to what.

Bond orders and charges are left out, which two programs may write differently for one molecule; with all hydrogens
there, elements and neighbours say which molecule it is.
"""

from __future__ import annotations

from rdkit import Chem

from golfbench.chemistry import FloatArray, mol_from_smiles
from golfbench.errors import MoleculeError
from golfbench.molecules import Molecule


def skeleton(smiles: str) -> str:
    """Return a text that is the same for all drawings of a molecule, whatever its stereochemistry."""
    return str(Chem.MolToSmiles(_skeleton(mol_from_smiles(smiles))[0]))


def in_order_of(target: Molecule, smiles: str, positions: FloatArray) -> FloatArray:
    """Return positions (n_atoms, 3), Å, in the atom order of another molecule with the same bonds.

    Which of several equivalent atoms takes which place is left open: energies, RMSD and the comparison of stereoisomers
    do not depend on it.

    Args:
        target: With a SMILES.
        smiles: Whose atoms, with all hydrogens, are those of ``positions``.
        positions: (n_atoms, 3), Å.

    Raises:
        MoleculeError: If they are two molecules.
    """
    if smiles == target.smiles:
        return positions
    order = _order(mol_from_smiles(smiles), mol_from_smiles(str(target.smiles)))
    if order is None:
        raise MoleculeError(f"its atoms and bonds ({smiles}) are not those of {target.id} ({target.smiles})")
    return positions[order]


def _order(mol: Chem.Mol, target: Chem.Mol) -> list[int] | None:
    """Return, for each atom of ``target``, the atom of ``mol`` that takes its place; ``None`` if they differ."""
    (ours, kept), (theirs, wanted) = _skeleton(mol), _skeleton(target)
    if (ours.GetNumAtoms(), ours.GetNumBonds()) != (theirs.GetNumAtoms(), theirs.GetNumBonds()):
        return None
    match = ours.GetSubstructMatch(theirs)
    order: dict[int, int] = {}
    for place, found in zip(wanted, (kept[k] for k in match), strict=False):
        hydrogens = zip(_leaves(target.GetAtomWithIdx(place)), _leaves(mol.GetAtomWithIdx(found)), strict=True)
        order |= {place: found, **dict(hydrogens)}
    return [order[k] for k in range(target.GetNumAtoms())] if match else None


def _skeleton(mol: Chem.Mol) -> tuple[Chem.Mol, list[int]]:
    """Return the atoms but the hydrogens at the ends, with single bonds, and their indices in ``mol``.

    The number of hydrogens of an atom stands where RDKit has its isotope, so that it must agree.
    """
    leaves = {leaf for atom in mol.GetAtoms() for leaf in _leaves(atom)}
    kept = [atom.GetIdx() for atom in mol.GetAtoms() if atom.GetIdx() not in leaves]
    place = {index: k for k, index in enumerate(kept)}
    made = Chem.RWMol()
    for index in kept:
        atom = Chem.Atom(mol.GetAtomWithIdx(index).GetAtomicNum())
        atom.SetNoImplicit(True)
        atom.SetIsotope(1 + len(_leaves(mol.GetAtomWithIdx(index))))
        made.AddAtom(atom)
    for bond in mol.GetBonds():
        if leaves.isdisjoint(ends := (bond.GetBeginAtomIdx(), bond.GetEndAtomIdx())):
            made.AddBond(place[ends[0]], place[ends[1]], Chem.BondType.SINGLE)
    return made.GetMol(), kept


def _leaves(atom: Chem.Atom) -> list[int]:
    """Return the hydrogens that are bonded to an atom, which is none itself, and to nothing else."""
    if atom.GetAtomicNum() == 1:
        return []
    return [n.GetIdx() for n in atom.GetNeighbors() if n.GetAtomicNum() == 1 and n.GetDegree() == 1]
