"""Implicit solvents against the program xtb 6.5.1: `xtb coord --gfn N --alpb SOLVENT --acc 0.1`."""

import pytest
from ase.build import molecule as ase_molecule

from golfbench.errors import ConfigurationError
from golfbench.molecules import Molecule
from golfbench.oracles.opening import open_oracle
from golfbench.registry import registry
from golfbench.specs import ComponentRef, OracleSpec

#: Total energies, Hartree, of ASE's geometries of the G2 set.
XTB = {
    ("CH3CONH2", "gfn2-xtb", "water"): -13.831658626737,
    ("CH3CONH2", "gfn1-xtb", "toluene"): -14.853495128554,
    ("CH3COOH", "gfn2-xtb", "dmso"): -14.473457620000,
    ("CH3COOH", "gfn1-xtb", "methanol"): -15.810217410512,
}


@pytest.mark.parametrize(("name", "oracle", "solvent"), XTB)
def test_energies_in_solvents_are_those_of_xtb_alpb(name, oracle, solvent):
    atoms = ase_molecule(name)
    ref = ComponentRef(oracle, {"solvent": solvent, "accuracy": 0.1})
    with open_oracle(registry().component(OracleSpec, str(ref)), registry()) as opened:
        energy, _ = opened.label(Molecule(name, atoms.numbers, atoms.positions))
    assert energy == pytest.approx(XTB[name, oracle, solvent], abs=1e-7)


def test_the_level_of_theory_names_the_solvent_and_labels_without_one_stay_what_they_were():
    spec = registry().find(OracleSpec, "gfn2-xtb")
    assert spec.level_of_theory({"solvent": "water"}) == "GFN2-xTB/ALPB(water)"
    assert spec.level_of_theory({}) == "GFN2-xTB"
    assert "solvent" not in spec.options({})
    assert spec.options({"solvent": "water"})["solvent"] == "water"
    with pytest.raises(ConfigurationError, match="solvent=beer is not one of acetone"):
        registry().component(OracleSpec, "gfn2-xtb:solvent=beer").parameters and spec.resolve({"solvent": "beer"})
