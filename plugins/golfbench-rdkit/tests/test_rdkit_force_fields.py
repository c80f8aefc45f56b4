"""MMFF94 and UFF against RDKit called directly and against finite differences."""

import subprocess
import sys
from typing import Any

import numpy as np
import pytest
from rdkit import Chem
from rdkit.Chem import rdForceFieldHelpers

from golfbench.chemistry import embed, rdkit_mol
from golfbench.errors import MoleculeError, OracleError
from golfbench.molecules import Molecule
from golfbench.oracles.opening import CheckedOracle, open_oracle
from golfbench.registry import registry
from golfbench.specs import ComponentRef, OracleSpec
from golfbench.units import HARTREE_TO_KCAL_MOL
from golfbench_rdkit import MMFF94_ELEMENTS, force_fields
from golfbench_rdkit.force_fields import Mmff94, Uff

SMILES = (
    "CC(C)(C)NCC(O)c1ccc(O)c(CO)c1",
    "Cc1cc(NS(=O)(=O)c2ccc(N)cc2)no1",
    "CNC1(CCCCC1=O)c1ccccc1Cl",
    "CC(=O)[O-]",
    "C[NH+](C)C",
)


def open_field(name: str) -> CheckedOracle:
    return open_oracle(ComponentRef(name), registry())


def directly(name: str, molecule: Molecule) -> tuple[float, Any]:
    """Return energy and gradient of RDKit's force field with default settings, built at this very conformation."""
    mol = rdkit_mol(molecule)
    if name == "uff":
        field = rdForceFieldHelpers.UFFGetMoleculeForceField(mol)
    else:
        properties = rdForceFieldHelpers.MMFFGetMoleculeProperties(mol)
        field = rdForceFieldHelpers.MMFFGetMoleculeForceField(mol, properties)
    return field.CalcEnergy(), np.array(field.CalcGrad()).reshape(-1, 3)


@pytest.mark.parametrize("name", ["mmff94", "uff"])
@pytest.mark.parametrize("smiles", SMILES)
def test_labels_are_rdkits(name: str, smiles: str) -> None:
    oracle = open_field(name)
    for molecule in embed(smiles, "m", 4, seed=3):  # the first builds the field, the others reuse it
        energy, forces = oracle.label(molecule)
        direct, gradient = directly(name, molecule)
        assert energy * HARTREE_TO_KCAL_MOL == pytest.approx(direct, rel=1e-13)
        np.testing.assert_allclose(-forces * HARTREE_TO_KCAL_MOL, gradient, rtol=1e-13, atol=1e-13)
        assert oracle.energy(molecule) == energy


@pytest.mark.parametrize("name", ["mmff94", "uff"])
def test_forces_are_the_derivative_of_the_energy(name: str) -> None:
    oracle = open_field(name)
    molecule = embed(SMILES[1], "sulfamethoxazole", 1, seed=3)[0]
    _, forces = oracle.label(molecule)
    step = 1e-4
    for atom, axis in ((0, 0), (5, 1), (7, 2), (12, 0), (25, 1)):
        shift = np.zeros_like(forces)
        shift[atom, axis] = step
        up, down = (oracle.energy(molecule.at(molecule.positions + s)) for s in (shift, -shift))
        assert forces[atom, axis] == pytest.approx((down - up) / (2 * step), abs=1e-6)


@pytest.mark.parametrize("engine", [Mmff94, Uff])
def test_a_label_does_not_depend_on_earlier_calls(engine: Any) -> None:
    near, far = (
        Molecule("dimer", m.numbers, m.positions, smiles=m.smiles)
        for m in (embed("CO.CO", "dimer", 1, seed=1)[0], embed("CO.CO", "dimer", 1, seed=2)[0])
    )
    apart = far.positions.copy()
    apart[[2, 3, 8, 9, 10, 11]] += 500.0  # a field built here with RDKit's cutoffs would never see the other fragment
    reused = engine()
    reused.label(far.at(apart))
    assert reused.label(near)[0] == engine().label(near)[0]
    assert (reused.label(near)[1] == engine().label(near)[1]).all()


def test_fragments_interact() -> None:
    pair = Molecule("salt", np.array([11, 17]), np.array([[0, 0, 0], [3.0, 0, 0]]), smiles="[Na+].[Cl-]")
    energy, forces = Mmff94().label(pair)
    assert energy * HARTREE_TO_KCAL_MOL < -80
    assert forces[0, 0] > 0 > forces[1, 0]


def test_five_coordinate_atoms_are_built_anew_for_each_conformation() -> None:
    first = embed("FP(F)(F)(F)F", "PF5", 1, seed=1)[0]
    turned = first.positions.copy()
    turned[[0, 2]] = turned[[2, 0]]  # other fluorines are axial
    turned[[3, 4]] = turned[[4, 3]]
    reused = Uff()
    reused.label(first)
    assert reused.label(first.at(turned))[0] == Uff().label(first.at(turned))[0]


@pytest.mark.parametrize(
    ("name", "smiles"), [("mmff94", "CB(O)O"), ("mmff94", "FP(F)(F)(F)F"), ("mmff94", "C[Si](C)=O")]
)
def test_no_parameters_is_an_input_error_with_the_smiles(
    name: str, smiles: str, capfd: pytest.CaptureFixture[str]
) -> None:
    molecule = embed(smiles, "odd", 1, seed=1)[0]
    with pytest.raises(OracleError) as caught:
        open_field(name).label(molecule)
    assert caught.value.kind == "input"
    assert "element B is outside mmff94" in str(caught.value) or smiles in str(caught.value)
    with pytest.raises(OracleError, match="has no parameters") as caught:
        Mmff94().energy(molecule)
    assert caught.value.kind == "input"
    assert capfd.readouterr().err == ""


def test_a_molecule_needs_the_right_smiles() -> None:
    water = embed("O", "water", 1, seed=1)[0]
    oracle = open_field("mmff94")
    for smiles, message in ((None, "no SMILES"), ("N", "not those of its SMILES")):
        with pytest.raises(OracleError, match=message) as caught:
            oracle.label(Molecule("water", water.numbers, water.positions, smiles=smiles))
        assert caught.value.kind == "input"
    with pytest.raises(OracleError, match="closed shells only") as caught:
        oracle.label(embed("[CH3]", "methyl", 1, seed=1)[0])
    assert caught.value.kind == "input"
    with pytest.raises(MoleculeError, match="no SMILES"):
        Uff().energy(Molecule("water", water.numbers, water.positions))


def test_fields_kept_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(force_fields, "CACHED_FIELDS", 3)
    oracle = Mmff94()
    chains = [embed("C" * n, "alkane", 1, seed=1)[0] for n in range(1, 6)]
    first = [oracle.energy(m) for m in chains]
    assert list(oracle._fields) == ["CCC", "CCCC", "CCCCC"]
    assert [oracle.energy(m) for m in chains] == first


def test_supported_elements_are_those_that_rdkit_has_types_for() -> None:
    ions = {3: 1, 11: 1, 12: 2, 19: 1, 20: 2, 26: 2, 29: 2, 30: 2}
    for z in range(1, 55):
        symbol = Chem.GetPeriodicTable().GetElementSymbol(z)
        smiles = (
            f"[{symbol}+{ions[z]}]" if z in ions else {9: "CF", 17: "CCl", 35: "CBr", 53: "CI"}.get(z, f"[{symbol}]")
        )
        smiles = {1: "C", 6: "C", 7: "N", 8: "O", 14: "[SiH4]", 15: "P", 16: "S"}.get(z, smiles)
        mol = Chem.AddHs(Chem.MolFromSmiles(smiles))
        assert rdForceFieldHelpers.MMFFHasAllMoleculeParams(mol) is (z in MMFF94_ELEMENTS), symbol


def test_specs() -> None:
    for name, method in (("mmff94", "MMFF94"), ("uff", "UFF")):
        spec = registry().find(OracleSpec, name)
        assert spec.level_of_theory({}) == method
        assert spec.cheap
        assert not spec.isolated
        assert open_field(name).version.startswith("rdkit 20")


def test_listing_imports_no_engine() -> None:
    code = "import sys, golfbench_rdkit as g; g.golfbench_oracles(); print({'rdkit', 'torch'} & set(sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "set()"
