"""Charge and multiplicity in other programs' spellings: against what those programs' manuals say they mean."""

import numpy as np
import pytest
from ase import Atoms

from golfbench.chemistry import from_ase
from golfbench.errors import MoleculeError
from golfbench.states import State, looks_like_state, stated

OXYGEN = np.array([8, 8])  # 16 electrons
METHYL = np.array([6, 1, 1, 1])  # 9 electrons


@pytest.mark.parametrize(
    ("info", "charge", "multiplicity"),
    [
        ({"charge": -2}, -2, None),
        ({"Charge": -2.0}, -2, None),
        ({"total_charge": 2, "total_spin": 1}, 2, 1),  # MACE
        ({"charge": 0, "spin": 3}, 0, 3),  # OMol25: spin is 2S+1
        ({"charge": 0, "spin": 1}, 0, 1),
        ({"spin": 2}, None, 3),  # PySCF: 2S, as an even number of electrons asks
        ({"spin": 0}, None, 1),
        ({"chrg": "2+", "uhf": 2}, 2, 3),  # xtb
        ({"netCharge": "-2"}, -2, None),
        ({"REF_total_charge": 4}, 4, None),
        ({"spin_multiplicity": 5}, None, 5),
        ({"spinMultiplicity": 3}, None, 3),
        ({"mult": 1}, None, 1),
        ({"nopen": 2}, None, 3),
        ({"num_unpaired_electrons": 4}, None, 5),
        ({"magmom": 1.999}, None, 3),
        ({"S": 0}, None, 1),
        ({"q": -2, "Q": -2}, -2, None),
        ({"q": 0.37, "S": 192.5}, None, None),  # a coordinate and an entropy
        ({"charge_method": "cm5", "spin_polarized": True, "spin_contamination": 0.02}, None, None),
        ({"charge": True}, None, None),  # a bare word of a comment line
    ],
)
def test_keys_of_other_programs(info, charge, multiplicity):
    state = stated("O2", OXYGEN, info)
    assert (state.charge, state.multiplicity) == (charge, multiplicity)


@pytest.mark.parametrize(
    ("numbers", "info", "multiplicity"),
    [(METHYL, {"spin": 1}, 2), (METHYL, {"spin": 2}, 2), (METHYL, {"spin": 0.5}, 2), (METHYL, {"spin": 3}, 4)],
)
def test_the_number_of_electrons_tells_how_a_spin_is_meant(numbers, info, multiplicity):
    state = stated("CH3", numbers, info)
    assert state.multiplicity == multiplicity
    assert any("'spin' is read as" in note for note in state.notes)


@pytest.mark.parametrize(
    ("comment", "charge", "multiplicity"),
    [
        ("-2 1", -2, 1),
        ("  2 3 superoxide or not", 2, 3),
        ("charge: -2", -2, None),
        ("dimer, Charge = 2, multiplicity 3", 2, 3),
        ("q = 0 | S = 0", 0, None),
        ("conformer 3 of 12", None, None),
        ("1 2 3", None, None),
        ("5 -76.3", None, None),
        ("a word on charge", None, None),
        ('title="charge 5"', None, None),
        ("initial_charge 4", None, None),
    ],
)
def test_comment_lines(comment, charge, multiplicity):
    state = stated("O2", OXYGEN, {}, comment=comment)
    assert (state.charge, state.multiplicity) == (charge, multiplicity)


@pytest.mark.parametrize(
    ("columns", "charge", "multiplicity"),
    [
        ({"initial_charges": [-0.5, -1.5]}, -2, None),
        ({"mulliken_charges": [-1.004, -1.0]}, -2, None),
        ({"initial_magmoms": [1.0, 1.0]}, None, 3),
        ({"magmoms": [1.0, -1.0]}, None, 1),
        ({"initial_charges": [0.0, 0.0], "initial_magmoms": [0.0, 0.0]}, None, None),
        ({"nuclear_charges": [8.0, 8.0], "tags": [1, 2]}, None, None),
    ],
)
def test_columns_add_up(columns, charge, multiplicity):
    arrays = {key: np.array(values) for key, values in columns.items()}
    state = stated("O2", OXYGEN, {}, arrays)
    assert (state.charge, state.multiplicity) == (charge, multiplicity)


@pytest.mark.parametrize(
    ("info", "columns", "comment", "why"),
    [
        ({"charge": 1, "total_charge": 2}, {}, "", "'charge' \\(1\\) and 'total_charge' \\(2\\) contradict"),
        ({"charge": 0}, {"initial_charges": [-1.0, -1.0]}, "", "the sum of 'initial_charges' \\(-2\\) contradict"),
        ({"mult": 3}, {"initial_magmoms": [1.0, 3.0]}, "", "contradict one another about its multiplicity"),
        ({"charge": -1}, {}, "-2 1", "the comment line \\(-2\\) contradict"),
        ({"mult": 2}, {}, "", "'mult' \\(2\\) does not fit 16 electrons"),
        ({"charge": 1, "uhf": 2}, {}, "", "does not fit 15 electrons"),
        ({"charge": 0.5}, {}, "", "charge must be an integer, not 0.5"),
        ({"charge": "neutral"}, {}, "", "charge must be an integer, not neutral"),
        ({"cluster_charge_2": 1}, {}, "", "'cluster_charge_2' looks like a charge or spin, but is not understood"),
        ({"spin_up": 3}, {}, "", "'spin_up' looks like"),
        ({"S": 1}, {}, "", "may be its spin"),
        ({}, {"initial_charges": [-0.5, -1.4]}, "", "'initial_charges' adds up to -1.900"),
        ({}, {"magmoms": [[0, 0, 1], [0, 0, 1]]}, "", "'magmoms' holds vectors"),
    ],
)
def test_what_contradicts_itself_or_is_not_understood_is_refused(info, columns, comment, why):
    arrays = {key: np.array(values) for key, values in columns.items()}
    with pytest.raises(MoleculeError, match=why):
        stated("O2", OXYGEN, info, arrays, comment)


def test_what_is_known_already_counts_more_and_data_fields_are_no_reason_to_refuse():
    assert stated("O2", OXYGEN, {"charge": 1, "mult": 2}, known=State(0, 3)).multiplicity == 3
    assert stated("O2", OXYGEN, {"spin_up": 3, "charge": "n/a"}, strict=False).charge is None
    assert looks_like_state("Total_Charge")
    assert not looks_like_state("energy")


def test_ase_atoms_say_their_charge_in_any_way():
    oxalate = Atoms("C2O4", positions=np.arange(18.0).reshape(6, 3))
    oxalate.set_initial_charges([0, 0, -0.5, -0.5, -0.5, -0.5])
    assert from_ase(oxalate).charge == -2
    assert from_ase(oxalate, charge=0).charge == 0
    oxygen = Atoms("O2", positions=[[0, 0, 0], [0, 0, 1.2]], magmoms=[1, 1])
    assert from_ase(oxygen).multiplicity == 3
    oxygen.info["mult"] = 1
    with pytest.raises(MoleculeError, match="contradict"):
        from_ase(oxygen)
    acetate = Atoms("C2O2H3", positions=np.arange(21.0).reshape(7, 3), info={"smiles": "CC(=O)[O-]"})
    assert (from_ase(acetate).charge, from_ase(acetate).multiplicity) == (-1, 1)
