"""Ground states: against experiment and high-level theory (the triplets and singlets that textbooks name)."""

import pytest

from golfbench.chemistry import charge_and_multiplicity, mol_from_smiles
from golfbench.spins import unpaired_electrons

TRIPLETS = ["[CH2]", "C[C]C", "c1ccccc1[C]c1ccccc1", "[NH]", "C[N]", "[O]", "[S]", "O=O", "[O][O]", "S=S", "S=O", "[C]"]
SINGLETS = [
    *("CN1C=CN(C)[C]1", "F[C]F", "Cl[C]Cl", "CO[C]OC", "C=[C]", "C[Si]C", "[SiH2]", "Cl[Ge]Cl", "Cl[Sn]Cl", "[Mg]"),
    *("CN(C)[N]", "[BH]", "O=S=O", "O=[O+][O-]", "CC(=O)C"),
]


@pytest.mark.parametrize(
    ("smiles", "multiplicity"),
    [*((s, 3) for s in TRIPLETS), *((s, 1) for s in SINGLETS), ("[CH3]", 2), ("[CH]", 2), ("[N]", 4), ("[B]", 2)],
)
def test_ground_states(smiles, multiplicity):
    assert charge_and_multiplicity(smiles)[1] == multiplicity


def test_a_guess_is_known_as_one_and_what_is_told_is_none():
    carbene = mol_from_smiles("C[C]C")
    assert unpaired_electrons(carbene).guessed
    assert (unpaired_electrons(carbene, {1: 0}).count, unpaired_electrons(carbene, {1: 0}).guessed) == (0, False)
    assert (unpaired_electrons(carbene, {1: 2}).count, unpaired_electrons(carbene, {1: 2}).guessed) == (2, False)
    for smiles, guessed in (("CCO", False), ("[CH3]", False), ("[CH2]CC[CH2]", True), ("O=O", True), ("[Fe+2]", True)):
        assert unpaired_electrons(mol_from_smiles(smiles)).guessed is guessed
