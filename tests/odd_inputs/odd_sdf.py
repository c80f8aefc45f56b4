"""Odd SDF and MOL files."""

from __future__ import annotations

import gzip
import io
import os
import random
import zipfile
from collections.abc import Iterator
from pathlib import Path

from odd_sdf_chemistry import ETHANAL, METHANOL, MOLECULES, NITRILE, RECORDS, TAIL, THREE, A, B, C, changed, sdf
from odd_table import (
    SEED,
    OddInput,
    bad,
    block,
    either,
    good,
    item,
    molecule,
    records,
    refused,
    sdf_record,
)
from rdkit import Chem


def inputs() -> Iterator[OddInput]:
    """Yield every odd SDF."""
    for make in (separators, ends, encodings, forms, counts, titles, fields, torn, wrappings):
        yield from make()


def separators() -> Iterator[OddInput]:
    values = [block(s, t) + f">  <score>\n{k}.5\n" for k, (s, t) in enumerate(MOLECULES, start=1)]
    bare = [block(s, t) for s, t in MOLECULES]
    yield sdf("plain", THREE, records(A, B, C), max_steps=None, kept=("001", "002", "003"))
    yield sdf("no_blank_before_separator", "$$$$\n".join([*values, ""]), records(A, B, C), kept=("1.5", "2.5", "3.5"))
    yield sdf("space_on_blank_lines", THREE.replace("\n\n$$$$", "\n \n$$$$"), records(A, B, C), kept=("002", "003"))
    many = "".join(block(s, t) + item("a", "x1") + item("b", "x2") + "$$$$\n" for s, t in MOLECULES)
    for name, blank in (("space", " "), ("tab", "\t"), ("spaces", "    ")):
        text = many.replace("x1\n\n", f"x1\n{blank}\n").replace("x2\n\n", f"x2\n{blank}\n")
        yield sdf(f"{name}_between_items", text, records(A, B, C), kept=("x1", "x2"))
    for name, head in (("bare", ">"), ("empty", ">  <>"), ("number", "> 25"), ("words", "> not in brackets")):
        text = "".join(b + f"{head}\nvalue\n\n" + item("ID", f"00{k}") + "$$$$\n" for k, b in enumerate(bare, start=1))
        yield sdf(f"item_without_name_{name}", text, records(A, B, C), kept=("001", "002", "003"))
    yield sdf("separator_with_spaces", THREE.replace("$$$$", "$$$$  "), records(A, B, C))
    yield sdf("separator_with_tab", THREE.replace("$$$$", "$$$$\t"), records(A, B, C))
    yield sdf("concatenated_mol", "".join(bare), records(A, B, C))
    yield sdf("concatenated_mol_blank_lines", "\n".join(bare), records(A, either(B), either(C)), records(A, B, C))
    yield sdf("concatenated_mol_file", "".join(bare), records(A, B, C), file="in.mol")
    yield sdf("separator_missing_once", THREE.replace("$$$$\n", "", 1), records(A, B, C))
    yield sdf("last_separator_missing", THREE[: -len("$$$$\n")], records(A, B, C))
    yield sdf("last_newline_missing", THREE[:-1], records(A, B, C))
    yield sdf("blank_line_after_separator", THREE.replace("$$$$\n", "$$$$\n\n"), records(A, either(B), either(C)))
    yield sdf("doubled_separator", RECORDS[0] + "$$$$\n" + TAIL, records(A, B, C), records(A, bad(), B, C))
    yield sdf("blank_lines_at_end", THREE + "\n\n \n", records(A, B, C))
    yield sdf(
        "five_dollars", THREE.replace("$$$$", "$$$$$"), records(A, B, C), records(either(A), either(B), either(C))
    )


def ends() -> Iterator[OddInput]:
    for name, end in (("missing", ""), ("one_space", "M END\n"), ("lower_case", "m  end\n"), ("typo", "M  EDN\n")):
        torn = RECORDS[0].replace("M  END\n", end)
        yield sdf(f"m_end_{name}", torn + TAIL, records(either(A), B, C), max_steps=None)
        yield sdf(f"m_end_{name}_in_the_middle", TAIL[: len(RECORDS[1])] + torn + RECORDS[2], records(B, either(A), C))
        yield sdf(f"m_end_{name}_at_the_end", TAIL + torn, records(B, C, either(A)))
    yield sdf("m_end_missing_in_all", THREE.replace("M  END\n", ""), records(either(A), either(B), either(C)))
    yield sdf("m_end_with_spaces", THREE.replace("M  END", "M  END   "), records(A, B, C))
    yield sdf(
        "m_end_missing_without_fields",
        block(METHANOL, "methanol").replace("M  END\n", "") + "$$$$\n" + TAIL,
        records(either(A), B, C),
    )


def encodings() -> Iterator[OddInput]:
    cafe = sdf_record(METHANOL, "café", note="crème brûlée") + RECORDS[1]
    read = records(good("CH4O", "café"), B)
    yield sdf("crlf", THREE.replace("\n", "\r\n"), records(A, B, C), kept=("001", "003"))
    yield sdf("cr_only", THREE.replace("\n", "\r"), records(A, B, C), refused("line end", "carriage"))
    yield sdf("mixed_line_ends", RECORDS[0].replace("\n", "\r\n") + TAIL, records(A, B, C))
    yield sdf("bom", "\ufeff" + THREE, records(A, B, C))
    yield sdf("bom_empty_title", "\ufeff" + sdf_record(METHANOL) + TAIL, records(good("CH4O", "in.sdf:1"), B, C))
    yield sdf("utf8", cafe, read, kept=("café", "crème brûlée"))
    yield sdf("latin1", cafe.encode("latin-1"), read, kept=("café", "crème brûlée"))
    windows = sdf_record(METHANOL, "5 Å… “x”") + RECORDS[1]
    yield sdf("windows_1252", windows.encode("cp1252"), records(good("CH4O"), B))
    for form in ("utf-16", "utf-16-le", "utf-32"):
        yield sdf(
            form.replace("-", "_"), THREE.encode(form), records(A, B, C), refused("UTF-?16|UTF-?32|encod|UTF-8|no text")
        )
    for name, mark in (
        ("ls", "\u2028"),
        ("nel", "\x85"),
        ("form_feed", "\x0c"),
        ("vertical_tab", "\x0b"),
        ("file_separator", "\x1c"),
    ):
        text = sdf_record(METHANOL, "methanol", note=f"one{mark}two") + TAIL
        yield sdf(f"field_with_{name}", text, records(A, B, C), kept=("one", "two"))
        yield sdf(f"title_with_{name}", sdf_record(METHANOL, f"one{mark}two") + TAIL, records(good("CH4O"), B, C))
    yield sdf(
        "null_in_title",
        sdf_record(METHANOL, "me\0thanol") + TAIL,
        records(either(good("CH4O")), B, C),
        refused("NUL|null|no text"),
    )
    yield sdf("escape_in_title", sdf_record(METHANOL, "\x1b[31mred\x1b]0;x\x07") + TAIL, records(good("CH4O"), B, C))


def forms() -> Iterator[OddInput]:
    v3000 = block(METHANOL, "methanol", v3000=True)
    end = "$$$$\n"
    yield sdf("mol", block(METHANOL, "methanol"), records(A), file="in.mol")
    yield sdf("upper_case_ending", THREE, records(A, B, C), file="IN.SDF")
    yield sdf("sd_ending", THREE, records(A, B, C), file="in.sd")
    yield sdf("v3000", v3000 + end + TAIL, records(A, B, C))
    wrong = v3000.replace("COUNTS 6 5", "COUNTS 7 5")
    yield sdf("v3000_counts_wrong", wrong + end + TAIL, records(either(A), B, C))
    yield sdf("v3000_no_end_ctab", v3000.replace("M  V30 END CTAB\n", "") + end + TAIL, records(either(A), B, C))
    yield sdf("v3000_cut", v3000[: v3000.index("M  V30 BEGIN BOND")] + end + TAIL, records(bad(), B, C))
    yield sdf(
        "v3000_said_v2000_meant",
        changed(lambda x: x.__setitem__(3, x[3].replace("V2000", "V3000"))),
        records(bad(), B, C),
    )
    yield sdf("no_version", changed(lambda x: x.__setitem__(3, x[3][:6])), records(either(good("CH4O")), B, C))
    yield sdf("aromatic_bonds", _kekulized_not("c1ccccc1") + end + TAIL, records(good("C6H6"), B, C))
    nitro = block("C[N+](=O)[O-]", "nitro").splitlines()
    pentavalent = [line for line in nitro if not line.startswith("M  CHG")]
    pentavalent = [line if not line.startswith("  2  4  1") else "  2  4  2" + line[9:] for line in pentavalent]
    yield sdf("pentavalent_nitro", "\n".join(pentavalent) + "\n" + end + TAIL, records(either(good("CH3NO2")), B, C))
    alias = block(METHANOL, "methanol").replace("M  END", "A    1\nMe\nM  END")
    yield sdf("atom_alias", alias + end + TAIL, records(A, B, C))
    group = "M  STY  1   1 DAT\nM  SAL   1  1   1\nM  SDT   1 note\nM  SED   1 hello\nM  END"
    yield sdf("data_group", block(METHANOL, "methanol").replace("M  END", group) + end + TAIL, records(A, B, C))
    yield sdf(
        "unknown_property_line",
        block(METHANOL, "methanol").replace("M  END", "M  XYZ  1   1   1\nM  END") + end + TAIL,
        records(A, B, C),
    )


def _kekulized_not(smiles: str) -> str:
    mol = Chem.Mol(molecule(smiles))
    mol.SetProp("_Name", "aromatic")
    return Chem.MolToMolBlock(mol, kekulize=False)


def counts() -> Iterator[OddInput]:
    def counted(atoms: str, bonds: str) -> str:
        return changed(lambda lines: lines.__setitem__(3, atoms + bonds + lines[3][6:]))

    for name, atoms, bonds in (
        ("atoms_too_few", "  5", "  5"),
        ("atoms_too_many", "  7", "  5"),
        ("bonds_too_many", "  6", "  6"),
        ("letters", "  x", "  y"),
        ("negative", " -6", "  5"),
        ("huge", "999", "999"),
        ("empty", "   ", "   "),
    ):
        yield sdf(f"counts_{name}", counted(atoms, bonds), records(bad(), B, C))
    yield sdf("counts_bonds_too_few", counted("  6", "  4"), records(bad(), B, C))
    yield sdf("counts_to_the_left", counted("6  ", "5  "), records(either(good("CH4O")), B, C))
    yield sdf("counts_missing", changed(lambda lines: lines.pop(3)), records(bad(), B, C))
    yield sdf(
        "zero_atoms",
        "empty\n\n\n  0  0  0  0  0  0  0  0  0  0999 V2000\nM  END\n$$$$\n" + TAIL,
        records(bad("no atom"), B, C),
    )
    yield sdf("two_header_lines", changed(lambda lines: lines.pop(1)), records(either(good("CH4O")), B, C))
    yield sdf("four_header_lines", changed(lambda lines: lines.insert(1, "")), records(either(good("CH4O")), B, C))
    bond = "  1  9  1  0"
    yield sdf("bond_to_no_atom", changed(lambda lines: lines.__setitem__(10, bond)), records(bad(), B, C))
    yield sdf("bond_to_itself", changed(lambda lines: lines.__setitem__(10, "  1  1  1  0")), records(bad(), B, C))
    yield sdf("bond_twice", changed(lambda lines: lines.__setitem__(11, lines[10])), records(bad(), B, C))
    yield sdf(
        "bond_type_9", changed(lambda lines: lines.__setitem__(10, "  1  2  9  0")), records(either(good("CH4O")), B, C)
    )
    yield sdf(
        "999_atoms", RECORDS[0] + alkanol(332) + RECORDS[2], records(A, good("C332H666O", "chain"), C), apart=True
    )
    yield sdf(
        "1500_atoms", RECORDS[0] + alkanol(499) + RECORDS[2], records(A, either(good("C499H1000O")), C), apart=True
    )
    yield sdf(
        "300_records",
        "".join(sdf_record("O", f"w{k}") for k in range(300)),
        records(*(good("H2O", f"w{k}") for k in range(300))),
    )


def alkanol(carbons: int) -> str:
    """Return the record of a stretched 1-alkanol, built without an embedding."""
    mol, places = Chem.RWMol(), []
    across, up, out = 1.268, 0.428, 0.876

    def add(symbol: str, x: float, y: float, z: float, parent: int | None) -> int:
        at = mol.AddAtom(Chem.Atom(symbol))
        places.append((x, y, z))
        if parent is not None:
            mol.AddBond(parent, at, Chem.BondType.SINGLE)
        return at

    last = None
    for k in range(carbons):
        side = 1 if k % 2 else -1
        last = add("C", across * k, up * side, 0.0, last)
        for z in (out, -out):
            add("H", across * k, up * side + 0.648 * side, z, last)
    side = 1 if carbons % 2 else -1
    add("H", -0.9, up * 0.45, 0.0, 0)
    oxygen = add("O", across * (carbons - 1) + 1.18, up * side * 0.95, 0.0, last)
    add("H", across * (carbons - 1) + 1.18 + 0.8, up * side * 0.95 - 0.53 * side, 0.0, oxygen)
    conformer = Chem.Conformer(mol.GetNumAtoms())
    for k, place in enumerate(places):
        conformer.SetAtomPosition(k, place)
    mol.AddConformer(conformer)
    Chem.SanitizeMol(mol)
    mol.SetProp("_Name", "chain")
    return Chem.MolToMolBlock(mol) + "$$$$\n"


def titles() -> Iterator[OddInput]:
    def titled(title: str) -> str:
        return sdf_record(METHANOL, title) + TAIL

    same = sdf_record(METHANOL, "x") + sdf_record(ETHANAL, "x") + sdf_record(NITRILE, "x")
    yield sdf("titles_the_same", same, records(good("CH4O"), good("C2H4O"), good("C2H3N")))
    empty = "".join(sdf_record(smiles) for smiles, _ in MOLECULES)
    numbered = [good(f, f"in.sdf:{k}") for k, f in enumerate(("CH4O", "C2H4O", "C2H3N"), start=1)]
    yield sdf("titles_empty", empty, records(*numbered))
    yield sdf("title_of_spaces", titled("     "), records(good("CH4O", "in.sdf:1"), B, C))
    long = "methanol " * 400
    yield sdf("title_long", titled(long), records(good("CH4O"), B, C), kept=(long.strip()[:79],))
    for name, title in (
        ("quotes", "\"2-(4'-x)\" 'y'"),
        ("commas", "a, b; c|d"),
        ("unicode", "β-D-Glucose 葡萄糖 🙂"),
        ("backslash", r"C:\new\table"),
        ("brackets", "[red]methanol[/red] {x}"),
        ("percent", "100 %s {0}"),
        ("markup", "<script>&amp;"),
        ("path", "../../etc/x"),
        ("minus", "--help"),
        ("item", "> <x>"),
        ("equals", "id=3 charge=5"),
    ):
        yield sdf(f"title_{name}", titled(title), records(good("CH4O", title), B, C), kept=(title,))
    yield sdf("title_tab", titled("a\tb"), records(good("CH4O"), B, C))
    yield sdf("title_m_end", titled("M  END"), records(either(good("CH4O")), B, C))
    yield sdf("title_version", titled("  0  0  0     0  0            999 V2000"), records(either(good("CH4O")), B, C))
    yield sdf("title_smiles", titled("CCCCCC"), records(good("CH4O", "CCCCCC"), B, C))


def fields() -> Iterator[OddInput]:
    own = {name: f"mine-{name}" for name in ("status", "model", "method", "energy", "energy_final_hartree")}
    own |= {"force_max_final_ev_per_angstrom": "mine-force", "_Name": "mine-name", "id": "mine-id"}
    yield sdf(
        "fields_of_our_names",
        sdf_record(METHANOL, "methanol", **own) + TAIL,
        records(A, B, C),
        kept=tuple(v for k, v in own.items() if k != "_Name"),
    )
    yield sdf(
        "field_many_lines",
        sdf_record(METHANOL, "methanol", note="one\ntwo\nthree") + TAIL,
        records(A, B, C),
        kept=("one\ntwo\nthree\n",),
    )
    yield sdf(
        "field_with_dollars",
        sdf_record(METHANOL, "methanol", note="costs $$$$ a gram") + TAIL,
        records(A, B, C),
        kept=("costs $$$$ a gram",),
    )
    line = sdf_record(METHANOL, "methanol", note="first\n$$$$ 12\nlast") + TAIL
    yield sdf("field_line_begins_with_dollars", line, records(A, B, C), records(A, bad(), B, C))
    yield sdf(
        "field_line_is_dollars",
        sdf_record(METHANOL, "methanol", note="first\n$$$$\nlast") + TAIL,
        records(A, bad(), B, C),
    )
    yield sdf("field_begins_with_angle", sdf_record(METHANOL, "methanol", note="> 5 mg") + TAIL, records(A, B, C))
    yield sdf(
        "field_holds_blank_line",
        block(METHANOL, "methanol") + ">  <note>\none\n\ntwo\n\n$$$$\n" + TAIL,
        records(A, B, C),
    )
    yield sdf("field_long", sdf_record(METHANOL, "methanol", note="x" * 100_000) + TAIL, records(A, B, C))
    yield sdf("field_empty", sdf_record(METHANOL, "methanol", note="") + TAIL, records(A, B, C), kept=("<note>",))
    yield sdf(
        "field_twice", block(METHANOL, "methanol") + item("a", "1") + item("a", "2") + "$$$$\n" + TAIL, records(A, B, C)
    )
    yield sdf(
        "field_name_with_spaces",
        sdf_record(METHANOL, "methanol", **{"IC50 (nM), > 5": "7.5"}) + TAIL,
        records(A, B, C),
        kept=("7.5",),
    )
    yield sdf(
        "field_holds_mol_block",
        sdf_record(METHANOL, "methanol", note=block(ETHANAL, "in")[:-1]) + TAIL,
        records(either(A), B, C),
        records(A, either(good("C2H4O")), B, C),
    )
    yield sdf(
        "field_number_kept_as_written",
        sdf_record(METHANOL, "methanol", a="007", b="1.50e+00") + TAIL,
        records(A, B, C),
        kept=("007", "1.50e+00"),
    )
    yield sdf(
        "thousand_fields",
        sdf_record(METHANOL, "methanol", **{f"f{k}": f"v{k}" for k in range(1000)}) + TAIL,
        records(A, B, C),
        kept=("v999",),
    )


def torn() -> Iterator[OddInput]:
    last = RECORDS[2]
    atoms, bonds = last.index("\n", 120), last.index("M  END") - 14
    yield sdf("cut_in_atoms", RECORDS[0] + RECORDS[1] + last[:atoms], records(A, B, bad()))
    yield sdf("cut_in_bonds", RECORDS[0] + RECORDS[1] + last[:bonds], records(A, B, bad()))
    yield sdf("cut_in_header", RECORDS[0] + RECORDS[1] + "nitrile\n     RDKit", records(A, B, bad()))
    yield sdf("cut_in_item", THREE[: THREE.rindex("003") + 1], records(A, B, C))
    yield sdf("torn_in_the_middle", RECORDS[0] + RECORDS[1][:150] + "\n$$$$\n" + last, records(A, bad(), C))
    yield sdf(
        "torn_without_separator", RECORDS[0] + RECORDS[1][:150] + "\n" + last, records(A, bad(), C), records(A, bad())
    )
    garbage = "this is no molecule\nbut a mail\n\nbest wishes\n"
    yield sdf(
        "garbage_at_end", THREE + garbage, records(A, B, C, bad()), records(A, B, C, told=("end|behind|after|4",))
    )
    yield sdf("garbage_at_start", garbage + THREE, records(bad(), B, C), records(bad(), A, B, C))
    yield sdf("garbage_between", RECORDS[0] + garbage + "$$$$\n" + TAIL, records(A, bad(), B, C))
    noise = bytes(random.Random(SEED).randrange(256) for _ in range(20_000))
    nothing = refused("mol block", "no molecule", "not a", "SDF", "binary", "not .*text")
    yield sdf("binary", noise, nothing)
    yield sdf(
        "binary_in_the_middle", RECORDS[0].encode() + noise[:500] + b"\n$$$$\n" + TAIL.encode(), records(A, bad(), B, C)
    )
    page = (
        "<!DOCTYPE html>\n<html><head><title>404 Not Found</title></head>\n<body><h1>Not Found</h1>\n</body></html>\n"
    )
    yield sdf("html", page, nothing, refused("HTML"))
    yield sdf("json", '{"error": "rate limit exceeded", "status": 429}\n', nothing)
    yield sdf("pdf", b"%PDF-1.7\n%\xe2\xe3\xcf\xd3\n1 0 obj\n<< /Type /Catalog >>\n", nothing)
    yield sdf("xyz_inside", "3\nwater\nO 0 0 0\nH 0.96 0 0\nH -0.24 0.93 0\n", nothing)
    yield sdf("smiles_inside", "CCO ethanol\nCCN amine\n", nothing)
    yield sdf(
        "pdb_inside", "HETATM    1  O   HOH A   1       0.000   0.000   0.000  1.00  0.00           O\nEND\n", nothing
    )
    for name, text in (("empty", ""), ("blank", "\n\n  \n"), ("bom_only", "\ufeff"), ("separator_only", "$$$$\n")):
        yield sdf(f"file_{name}", text, refused("no molecule", "empty", "no atom", "mol block"))
    yield sdf("git_lfs_pointer", "version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 1\n", nothing)


def wrappings() -> Iterator[OddInput]:
    packed = gzip.compress(THREE.encode(), mtime=0)
    yield sdf("gz", packed, records(A, B, C), file="in.sdf.gz", kept=("001", "003"))
    yield sdf("gz_without_ending", packed, records(A, B, C), refused("gzip|compressed"))
    yield sdf("gz_ending_only", THREE, records(A, B, C), refused("gz"), file="in.sdf.gz")
    yield sdf("gz_cut", packed[: len(packed) // 2], refused("gz|compress|cut|end"), file="in.sdf.gz")
    yield sdf("gz_upper_case", packed, records(A, B, C), file="IN.SDF.GZ")
    yield sdf(
        "gz_two_members",
        gzip.compress(RECORDS[0].encode(), mtime=0) + gzip.compress(TAIL.encode(), mtime=0),
        records(A, B, C),
        file="in.sdf.gz",
    )
    archive = io.BytesIO()
    with zipfile.ZipFile(archive, "w") as opened:
        opened.writestr(zipfile.ZipInfo("in.sdf"), THREE)
    yield sdf("zip", archive.getvalue(), refused("zip|compress|archive|binary|not .*text"))
    yield sdf("zip_ending", archive.getvalue(), refused("ending|zip|read"), file="in.sdf.zip")
    nothing = refused("folder", "directory")
    yield OddInput("sdf_folder", ("x.sdf",), (nothing,), prepare=lambda folder: (folder / "x.sdf").mkdir())
    yield OddInput(
        "sdf_link_to_nothing",
        ("x.sdf",),
        (refused("not exist", "No such file", "link"),),
        prepare=lambda folder: (folder / "x.sdf").symlink_to("gone.sdf"),
    )

    def closed(folder: Path) -> None:
        (folder / "in.sdf").write_text(THREE)
        (folder / "in.sdf").chmod(0)

    readable = () if os.geteuid() else (records(A, B, C),)  # root reads everything
    yield OddInput("sdf_permission", ("in.sdf",), (refused("[Pp]ermission"), *readable), prepare=closed)
