"""Stereoisomers: pairs that are the same compound or not, by the rules of the textbook; positions made by ETKDG."""

import numpy as np
import pytest

from golfbench.chemistry import embed, stereo_changes, stereo_contradictions
from golfbench.molecule_files.isomers import fixed_isomer
from golfbench.stereo import open_elements

MIRROR = np.array([1.0, 1.0, -1.0])
OTHERS = [
    ("C/C=C/C", "C/C=C\\C", "bond C1=C2: E became Z"),
    ("C/C=N/O", "C/C=N\\O", "bond C1=N2: E became Z"),
    ("N#C/C=C\\C#N", "N#C/C=C/C#N", "bond C2=C3: Z became E"),
    ("C[C@H](F)Cl", "C[C@@H](F)Cl", "atom 1 (C): "),
    ("C[S@](=O)CC", "C[S@@](=O)CC", "atom 1 (S): "),
    ("C[P@](CC)c1ccccc1", "C[P@@](CC)c1ccccc1", "atom 1 (P): "),
    ("C[C@H]1CC[C@@H](C)CC1", "C[C@H]1CC[C@H](C)CC1", "atom "),
]


@pytest.mark.parametrize(("smiles", "other", "words"), OTHERS)
def test_another_isomer_is_noticed_and_named(smiles, other, words):
    here, there = embed(smiles, "m", 1, 1)[0], embed(other, "m", 1, 2)[0]
    assert stereo_contradictions(here) == ()
    assert stereo_changes(here, here.positions) == ()
    assert words in "; ".join(stereo_changes(here, there.positions))


@pytest.mark.parametrize(
    ("smiles", "other"),
    [
        ("C[C@@H](O)[C@H](C)O", "C[C@H](O)[C@@H](C)O"),  # meso
        ("C/C=C/C/C=C\\C", "C/C=C\\C/C=C/C"),  # the same from the other end
        ("C[C@H]1CC[C@@H](C)CC1", "C[C@@H]1CC[C@H](C)CC1"),
    ],
)
def test_one_compound_drawn_in_two_ways_is_no_change(smiles, other):
    here, there = embed(smiles, "m", 1, 1)[0], embed(other, "m", 1, 2)[0]
    assert stereo_changes(here, there.positions) == ()


@pytest.mark.parametrize(
    "smiles", ["CN(C)C=O", "CNCC", "C1=CCCCC1", "CNC(N)=N", "NC(=N)c1ccccc1", "Cc1ccccc1-c1ccccc1C", "CC1CN1C", "OO"]
)
def test_what_turns_by_itself_is_no_stereo(smiles):
    """Amides, amines, amidines, biaryls: all conformers are one compound, whichever way they are turned."""
    made = embed(smiles, "m", 6, 3)
    alike = [m for m in made if not stereo_changes(made[0], m.positions)]
    centre = smiles == "CC1CN1C"  # its carbon is a centre that the SMILES leaves open; its nitrogen inverts
    assert len(alike) == len(made) or centre
    assert all("(N)" not in "".join(stereo_changes(made[0], m.positions)) for m in made)


def test_a_start_counts_where_the_smiles_leaves_it_open():
    e, z = embed("C/C=C/C", "e", 1, 1)[0], embed("C/C=C\\C", "z", 1, 1)[0]
    open_ = embed("CC=CC", "open", 1, 1)[0].at(e.positions)
    assert stereo_contradictions(open_) == ()
    assert stereo_changes(open_, z.positions) == ("bond C1=C2: E became Z",)


def test_a_flat_centre_has_lost_its_configuration():
    molecule = embed("C[C@H](F)Cl", "m", 1, 1)[0]
    flat = molecule.positions * np.array([1.0, 1.0, 0.0])
    assert stereo_changes(molecule, flat) == ("atom 1 (C) changed",)
    assert stereo_changes(molecule, molecule.positions * MIRROR)[0].startswith("atom 1 (C): ")


@pytest.mark.parametrize(
    ("smiles", "fixed"),
    [
        ("OC(=O)C=CC(=O)O", "OC(=O)/C=C/C(=O)O"),
        ("CC=NO", "C/C=N/O"),
        ("CC(=O)Nc1ccccc1", "CC(=O)Nc1ccccc1"),
        ("C1=CCCCC1", "C1=CCCCC1"),
        ("CC=C=CC", "CC=C=CC"),
    ],
)
def test_an_open_double_bond_becomes_e(smiles, fixed):
    assert fixed_isomer(smiles) == fixed


@pytest.mark.parametrize("smiles", ["CC(F)(Cl)Br", "CC(O)C(N)C=CC", "C1CC2CCC1N2C", "OC1CCC(C)CC1"])
def test_an_open_smiles_gets_one_isomer_for_all_conformers(smiles):
    fixed = fixed_isomer(smiles)
    assert open_elements(smiles)
    made = embed(fixed, "m", 5, 4)
    assert all(stereo_contradictions(m) == () for m in made)
    assert all(stereo_changes(made[0], m.positions) == () for m in made)
