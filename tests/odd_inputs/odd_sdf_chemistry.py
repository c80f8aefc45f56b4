"""Odd SDF records whose form is sound: elements, charges and spins, coordinates."""

from __future__ import annotations

from collections.abc import Callable, Iterator

from odd_table import (
    Answer,
    OddInput,
    as_bytes,
    bad,
    block,
    either,
    formula,
    good,
    molecule,
    records,
    sdf_record,
)
from rdkit import Chem

METHANOL, ETHANAL, NITRILE = "CO", "CC=O", "CC#N"
A, B, C = good("CH4O", "methanol"), good("C2H4O", "ethanal"), good("C2H3N", "nitrile")
MOLECULES = ((METHANOL, "methanol"), (ETHANAL, "ethanal"), (NITRILE, "nitrile"))
RECORDS = tuple(sdf_record(smiles, title, ID=f"00{k}") for k, (smiles, title) in enumerate(MOLECULES, start=1))
THREE = "".join(RECORDS)
TAIL = RECORDS[1] + RECORDS[2]


def inputs() -> Iterator[OddInput]:
    """Yield every odd record of sound form."""
    for make in (elements, spins, places):
        yield from make()


def sdf(name: str, content: str | bytes, *answers: Answer, file: str = "in.sdf", **rest: object) -> OddInput:
    return OddInput(f"sdf_{name}", (file,), answers, {file: as_bytes(content)}, **rest)  # type: ignore[arg-type]


def lines_of(smiles: str = METHANOL, title: str = "odd") -> list[str]:
    return block(smiles, title).splitlines()


def changed(change: Callable[[list[str]], None], smiles: str = METHANOL, title: str = "odd") -> str:
    """Return a record whose lines were changed, then two sound ones."""
    lines = lines_of(smiles, title)
    change(lines)
    return "\n".join(lines) + "\n$$$$\n" + TAIL


def placed(text: str, atom: int = 0, axis: int = 0) -> str:
    """Return three records, one coordinate of the first of which is ``text`` (10 columns)."""

    def change(lines: list[str]) -> None:
        line, at = lines[4 + atom], 10 * axis
        lines[4 + atom] = line[:at] + text.rjust(10) + line[at + 10 :]

    return changed(change)


def elements() -> Iterator[OddInput]:
    def named(symbol: str, at: int = 1) -> str:
        def change(lines: list[str]) -> None:
            lines[3 + at] = lines[3 + at][:31] + symbol.ljust(3) + lines[3 + at][34:]

        return changed(change)

    for symbol in ("A", "Q", "*", "X", "R", "R#", "R1", "Du", "LP", "Xx", "Pol", "Me"):
        name = symbol.replace("*", "star").replace("#", "_hash")
        yield sdf(f"symbol_{name}", named(symbol), records(bad("atom", "element", "symbol", "quer", symbol[0]), B, C))
    listed = named("L").replace("M  END", "M  ALS   1  2 F C   N   \nM  END", 1)
    yield sdf("atom_list", listed, records(bad("atom", "quer", "list", "element"), B, C))
    query = changed(lambda lines: lines.__setitem__(10, "  1  2  8  0"))
    yield sdf("query_bond", query, records(bad("bond", "quer"), B, C))
    yield sdf("deuterium_symbol", named("D", 6), records(good("CH4O"), B, C))
    yield sdf("tritium_symbol", named("T", 6), records(good("CH4O"), B, C))
    labelled = block("[2H]C([2H])([2H])O", "methanol") + "$$$$\n" + TAIL
    yield sdf("deuterium_m_iso", labelled, records(A, B, C), max_steps=None, kept=("M  ISO",))
    yield sdf("carbon_13", block("[13CH3]O", "methanol") + "$$$$\n" + TAIL, records(A, B, C), kept=("M  ISO",))
    yield sdf(
        "upper_case_chlorine",
        block("CCl", "x").replace(" Cl ", " CL ") + "$$$$\n" + TAIL,
        records(either(good("CH3Cl"), "CL", "symbol", "element"), B, C),
    )
    salt = block("C[NH3+].CC(=O)[O-]", "salt") + "$$$$\n" + TAIL
    yield sdf("salt", salt, records(good("C3H9NO2", "salt", 0), B, C))
    yield sdf("iodide", block("CI", "x") + "$$$$\n" + TAIL, records(good("CH3I"), B, C))
    yield sdf("boron", block("CB(O)O", "boronic") + "$$$$\n" + TAIL, records(bad("MMFF", "element", " B"), B, C))
    yield sdf("helium", _single("He", 0) + TAIL, records(good("He", "one", 0), B, C), model="gfn2-xtb")
    yield sdf(
        "sodium_ion", _single("Na", 1) + TAIL, records(either(good("Na", "one", 1), "electron"), B, C), model="gfn2-xtb"
    )
    yield sdf("oganesson", _single("Og", 0) + TAIL, records(bad("Og", "element"), B, C), model="gfn2-xtb")


def _single(symbol: str, charge: int) -> str:
    property_ = f"M  CHG  1   1  {charge:2d}\n" if charge else ""
    atom = f"    0.0000    0.0000    0.0000 {symbol:3s} 0  0  0  0  0 15  0  0  0  0  0  0\n"
    return f"one\n\n\n  1  0  0  0  0  0  0  0  0  0999 V2000\n{atom}{property_}M  END\n$$$$\n"


def spins() -> Iterator[OddInput]:
    xtb = {"model": "gfn2-xtb"}
    end = "$$$$\n"

    def charged(smiles: str) -> str:
        return block(smiles, "ion") + end + TAIL

    yield sdf("m_chg_cation", charged("C[NH3+]"), records(good("CH6N", "ion", 1, 1), B, C))
    yield sdf("m_chg_dianion", charged("[O-]C(=O)C(=O)[O-]"), records(good("C2O4", "ion", -2, 1), B, C))
    for code, smiles, atom, charge in (("3", "C[NH3+]", "N", 1), ("5", "CC(=O)[O-]", "O", -1)):
        lines = [line for line in block(smiles, "ion").splitlines() if not line.startswith("M  CHG")]
        mol = molecule(smiles)
        (at,) = [a.GetIdx() for a in mol.GetAtoms() if a.GetFormalCharge() and a.GetSymbol() == atom]
        line = lines[4 + at]
        lines[4 + at] = line[:36] + code.rjust(3) + line[39:48] + "  0" + line[51:]
        text = "\n".join(lines) + "\n" + end + TAIL
        yield sdf(f"charge_in_atom_block_{code}", text, records(good(formula(smiles), "ion", charge, 1), B, C))
    radical = block("[CH3]", "radical").splitlines()
    plain = [line for line in radical if not line.startswith("M  RAD")]
    methyl = good("CH3", "radical", 0, 2)
    yield sdf("m_rad_2", "\n".join(radical) + "\n" + end + TAIL, records(methyl, B, C), **xtb)
    old = [line if line[31:34] != "C  " else line[:36] + "  4" + line[39:48] + "  0" + line[51:] for line in plain]
    yield sdf("radical_in_atom_block", "\n".join(old) + "\n" + end + TAIL, records(methyl, B, C), **xtb)
    carbene = [line for line in block("[CH2]", "radical").splitlines() if not line.startswith("M  RAD")]
    for state, multiplicity in ((1, 1), (3, 3)):
        lines = [*carbene[:-1], f"M  RAD  1   1   {state}", carbene[-1]]
        expected = records(good("CH2", "radical", 0, multiplicity), B, C)
        yield sdf(f"m_rad_{state}", "\n".join(lines) + "\n" + end + TAIL, expected, **xtb)
    unsaid = records(either(good("CH2", "radical", 0), "hydrogen", "multiplicity", "radical"), B, C)
    yield sdf("carbene_without_m_rad", "\n".join(carbene) + "\n" + end + TAIL, unsaid, **xtb)
    oxygen = block("O=O", "oxygen") + end + TAIL
    yield sdf(
        "oxygen_molecule",
        oxygen,
        records(good("O2", "oxygen", 0, 3), B, C),
        records(good("O2", "oxygen", 0), B, C, told=("oxygen.*(triplet|multiplicity)",)),
        **xtb,
    )
    yield sdf("nitric_oxide", block("[N]=O", "no") + end + TAIL, records(good("NO", "no", 0, 2), B, C), **xtb)


def places() -> Iterator[OddInput]:
    flat = Chem.Mol(molecule("C1CCCCC1"))
    conformer = flat.GetConformer()
    conformer.SetPositions(conformer.GetPositions() * [1.0, 1.0, 0.0])
    flat.SetProp("_Name", "flat")
    said_3d = Chem.MolToMolBlock(flat)
    flat.GetConformer().Set3D(False)
    drawing = bad("flat", "drawing", "2D")
    yield sdf("drawing_2d", Chem.MolToMolBlock(flat) + "$$$$\n" + TAIL, records(drawing, B, C))
    yield sdf(
        "drawing_called_3d",
        said_3d + "$$$$\n" + TAIL,
        records(drawing, B, C),
        records(good("C6H12", "flat"), B, C, told=("flat|drawing|2D",)),
    )
    bare = Chem.RemoveHs(molecule("CCO"))
    bare.SetProp("_Name", "bare")
    yield sdf("no_hydrogens", Chem.MolToMolBlock(bare) + "$$$$\n" + TAIL, records(bad("hydrogen"), B, C))
    polar = Chem.Mol(molecule("CCO"))
    editable = Chem.RWMol(polar)
    for k in sorted((a.GetIdx() for a in polar.GetAtoms() if a.GetSymbol() == "H"), reverse=True)[1:]:
        editable.RemoveAtom(k)
    editable.SetProp("_Name", "polar")
    yield sdf("polar_hydrogens_only", Chem.MolToMolBlock(editable) + "$$$$\n" + TAIL, records(bad("hydrogen"), B, C))
    not_finite = bad("coordinate", "finite", "number", "float", "mol block", "line")
    for name, text in (
        ("nan", "nan"),
        ("inf", "inf"),
        ("stars", "**********"),
        ("letters", "abc"),
        ("empty", ""),
        ("comma", "1,2345"),
        ("unicode_minus", "−1.2345"),
        ("fortran_d", "0.1234D+01"),
    ):
        yield sdf(f"coordinate_{name}", placed(text), records(not_finite, B, C))
    yield sdf("coordinate_huge", placed("1.0e10"), records(either(good("CH4O")), B, C))
    far = [placed("9999.0000"), placed("99999.0000")]
    yield sdf("coordinate_far", far[0], records(either(good("CH4O"), "apart", "bond", "distance", "far"), B, C))

    def zero(lines: list[str]) -> None:
        for k in range(4, 10):
            lines[k] = "    0.0000    0.0000    0.0000" + lines[k][30:]

    def doubled(lines: list[str]) -> None:
        lines[9] = lines[8][:30] + lines[9][30:]

    overlap = bad("overlap", "same place", "coincid", "coordinates")
    yield sdf("all_at_origin", changed(zero), records(overlap, B, C))
    yield sdf("atom_on_atom", changed(doubled), records(overlap, B, C))

    def tabbed(lines: list[str]) -> None:
        lines[4:10] = ["\t".join(line.split()) for line in lines[4:10]]

    def shifted(lines: list[str]) -> None:
        lines[4:10] = [" ".join(line.split()) for line in lines[4:10]]

    yield sdf("tabs_in_atom_block", changed(tabbed), records(either(good("CH4O")), B, C))
    yield sdf("free_columns", changed(shifted), records(either(good("CH4O")), B, C))
    squeezed = changed(
        lambda lines: lines.__setitem__(slice(4, 10), [x.replace("0000 ", "0.01 ") for x in lines[4:10]])
    )
    yield sdf("odd_digits", squeezed, records(either(good("CH4O")), B, C))
    mirrored = block("C[C@H](F)Cl", "chiral").replace("  0  0  0  0  0  0", "  0  0  2  0  0  0", 1)
    yield sdf("parity_against_coordinates", mirrored + "$$$$\n" + TAIL, records(good("C2H4ClF", "chiral"), B, C))
