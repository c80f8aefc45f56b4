"""One stereoisomer for a SMILES that leaves it open, whatever the seed."""

from __future__ import annotations

from rdkit import Chem
from rdkit.rdBase import BlockLogs

from golfbench.chemistry import embed, mol_from_smiles
from golfbench.errors import MoleculeError
from golfbench.stereo import open_elements, with_stereo_of

#: Seed of the conformer whose centres are taken: the isomer of a SMILES never changes.
_SEED = 1


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
