"""Stereoisomers of a SMILES that leaves them open: one, which is the same whatever the seed, or all."""

from __future__ import annotations

from rdkit import Chem
from rdkit.Chem.EnumerateStereoisomers import EnumerateStereoisomers, StereoEnumerationOptions
from rdkit.rdBase import BlockLogs

from golfbench.chemistry import embed, mol_from_smiles
from golfbench.errors import MoleculeError
from golfbench.stereo import open_elements, with_stereo_of

#: Seed of the conformer whose centres are taken: the isomer of a SMILES never changes.
_SEED = 1
#: Isomers of one molecule: more are a mistake, or a task for a person.
MOST_ISOMERS = 64


def fixed_isomer(smiles: str) -> str:
    """Return the SMILES of one stereoisomer, or the SMILES as it is if it leaves nothing open.

    Double bonds are E where that can be. Centres are as in one conformer, which is always the same, so that rings and
    bridges are possible ones. The atoms keep their order where RDKit can write it.

    Args:
        smiles: A valid SMILES.

    Raises:
        MoleculeError: If it does not embed.
    """
    if not open_elements(smiles):
        return smiles
    try:
        conformer = embed(_with_e_bonds(smiles), smiles, 1, _SEED)[0]
    except MoleculeError:
        conformer = embed(smiles, smiles, 1, _SEED)[0]
    with BlockLogs():
        mol = Chem.RemoveHs(with_stereo_of(mol_from_smiles(str(conformer.smiles)), conformer.positions))
    straight = str(Chem.MolToSmiles(mol, canonical=False))
    written = list(mol.GetPropsAsDict(True, True)["_smilesAtomOutputOrder"])
    return straight if written == sorted(written) else str(Chem.MolToSmiles(mol))


def every_isomer(smiles: str) -> list[str]:
    """Return the SMILES of every stereoisomer of a SMILES, or the SMILES as it is if it leaves nothing open.

    What is stated stays. Isomers that do not embed, such as a bridge across a ring, are left out.

    Args:
        smiles: A valid SMILES.

    Raises:
        MoleculeError: If there may be more than ``MOST_ISOMERS``.
    """
    count = open_elements(smiles)
    if not count:
        return [smiles]
    if 2**count > MOST_ISOMERS:
        raise MoleculeError(
            f"'{smiles}' leaves {count} centres and double bonds open, which are up to {2**count} isomers: state some, "
            f"so that there are {MOST_ISOMERS} at most"
        )
    options = StereoEnumerationOptions(tryEmbedding=True, unique=True, onlyUnassigned=True, maxIsomers=0, rand=_SEED)
    with BlockLogs():
        found = EnumerateStereoisomers(Chem.MolFromSmiles(smiles), options)
        isomers = list(dict.fromkeys(str(Chem.MolToSmiles(mol)) for mol in found))
    return isomers or [smiles]


def _with_e_bonds(smiles: str) -> str:
    """Return a SMILES whose open double bonds are E, its atoms in the same order; as it is where RDKit changes that."""
    with BlockLogs():
        mol = Chem.MolFromSmiles(smiles)
        Chem.FindPotentialStereoBonds(mol)
        for bond in mol.GetBonds():
            if bond.GetStereo() == Chem.BondStereo.STEREOANY:
                bond.SetStereo(Chem.BondStereo.STEREOE)
        Chem.SetDoubleBondNeighborDirections(mol)
        mol.ClearComputedProps(False)
        Chem.AssignStereochemistry(mol, cleanIt=True, force=True)
        written = str(Chem.MolToSmiles(mol, canonical=False))
    order = list(mol.GetPropsAsDict(True, True)["_smilesAtomOutputOrder"])
    return written if order == sorted(order) else str(Chem.MolToSmiles(mol))
