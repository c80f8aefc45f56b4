"""Odd SMILES files."""

from __future__ import annotations

import gzip
import random
from collections.abc import Iterator

from odd_table import SEED, Answer, OddInput, as_bytes, bad, either, formula, good, records, refused

E, W, G = good("C2H6O", "ethanol"), good("H2O", "water"), good("C2H5NO2", "glycine")
TWO = "CCO ethanol\nO water\n"


def inputs() -> Iterator[OddInput]:
    """Yield every odd SMILES file."""
    for make in (tables, lines, extensions, chemistry, stereo, wrong, sizes, encodings):
        yield from make()


def smi(name: str, content: str | bytes, *answers: Answer, file: str = "in.smi", **rest: object) -> OddInput:
    settings = {"numbered": False, **rest}
    return OddInput(f"smi_{name}", (file,), answers, {file: as_bytes(content)}, **settings)  # type: ignore[arg-type]


def tables() -> Iterator[OddInput]:
    two, told = records(E, W), records(either(E), either(W), told=("comma|column|separat|header|CSV|SMILES",))
    comma = "comma|CSV|separat"
    yield smi("plain", TWO, two, max_steps=None)
    for name, head in (
        ("smiles", "SMILES"),
        ("smiles_name", "SMILES Name"),
        ("tab", "smiles\tname"),
        ("canonical", "canonical_smiles\tid"),
        ("hash", "#SMILES name"),
        ("isomeric", "Isomeric_SMILES Title"),
        ("upper", "SMILES ID"),
    ):
        tab = "\t" if "\t" in head else " "
        yield smi(f"header_{name}", f"{head}\n" + TWO.replace(" ", tab), two)
    yield smi("header_structure", "Structure Name\n" + TWO, two, records(bad("SMILES"), E, W))
    yield smi("csv", "CCO,ethanol\nO,water\n", two, records(bad(comma), bad(comma)))
    yield smi(
        "csv_header",
        "SMILES,Name\nCCO,ethanol\nO,water\n",
        two,
        records(bad(comma), bad(comma)),
        records(bad(comma), bad(comma), bad(comma)),
        refused("comma|CSV"),
    )
    yield smi(
        "csv_quotes",
        '"SMILES","Name"\n"CCO","ethanol"\n"O","water"\n',
        two,
        told,
        refused("comma|quote|CSV"),
        records(bad(comma), bad(comma)),
        records(bad(comma), bad(comma), bad(comma)),
    )
    semicolon = bad("comma|semicolon|CSV|separat")
    yield smi(
        "csv_semicolon",
        "SMILES;Name\nCCO;ethanol\nO;water\n",
        two,
        told,
        refused("comma|semicolon|CSV"),
        records(semicolon, semicolon),
        records(semicolon, semicolon, semicolon),
    )
    yield smi(
        "csv_name_first",
        "Name,SMILES\nethanol,CCO\nwater,O\n",
        two,
        refused("comma|SMILES|header|column|CSV"),
        records(bad("SMILES"), bad("SMILES")),
        records(bad(), bad("SMILES"), bad("SMILES")),
    )
    yield smi(
        "tsv_more_columns",
        "CCO\tethanol\t-1.2\t7\nO\twater\t0.5\t8\n",
        records(good("C2H6O"), good("H2O")),
        kept=("ethanol", "water"),
    )
    yield smi("name_first", "ethanol CCO\nwater O\n", records(bad("SMILES"), bad("SMILES")), two)
    yield smi("csv_ending", "SMILES,Name\nCCO,ethanol\nO,water\n", refused("ending"), two, file="in.csv")
    yield smi("txt_ending", TWO, refused("ending"), two, file="in.txt")
    yield smi("tsv_ending", TWO.replace(" ", "\t"), refused("ending"), two, file="in.tsv")
    yield smi("smiles_ending", TWO, two, file="in.smiles")
    yield smi("upper_case_ending", TWO, two, file="IN.SMI")
    yield smi("no_ending", TWO, refused("ending"), two, file="molecules")


def lines() -> Iterator[OddInput]:
    two = records(E, W)
    yield smi("blank_lines", "\n\nCCO ethanol\n\n   \nO water\n\n", two)
    yield smi("comments", "# my molecules\nCCO ethanol\n# the solvent\nO water\n", two)
    yield smi("comment_slashes", "// my molecules\nCCO ethanol\nO water\n", records(bad(), E, W), two)
    yield smi("comment_at_end", "CCO ethanol # the good one\nO water\n", records(good("C2H6O"), W))
    yield smi("spaces_in_front", "   CCO ethanol\n\tO water\n", two)
    yield smi("spaces_behind", "CCO ethanol   \nO water\t\n", two)
    yield smi("many_spaces", "CCO      ethanol\nO \t water\n", two)
    yield smi(
        "names_with_spaces",
        "CCO ethyl alcohol, 96 %\nO water of life\n",
        records(good("C2H6O", "ethyl alcohol, 96 %"), good("H2O", "water of life")),
    )
    yield smi("no_names", "CCO\nO\n", records(good("C2H6O"), good("H2O")))
    yield smi("some_names", "CCO\nO water\n", records(good("C2H6O"), W))
    yield smi("names_the_same", "CCO x\nO x\n", records(good("C2H6O"), good("H2O")))
    yield smi("names_numbers", "CCO 1\nO 2\n", records(good("C2H6O", "1"), good("H2O", "2")))
    yield smi("name_quotes", 'CCO "it\'s"\nO water\n', records(good("C2H6O"), W))
    yield smi("name_path", "CCO ../../etc/x\nO a/b\n", records(good("C2H6O", "../../etc/x"), good("H2O", "a/b")))
    yield smi(
        "name_unicode", "CCO Äthanol 乙醇\nO water\n", records(good("C2H6O", "Äthanol 乙醇"), W), kept=("Äthanol 乙醇",)
    )
    yield smi("name_long", f"CCO {'x' * 5000}\nO water\n", records(good("C2H6O"), W))
    yield smi("name_escape", "CCO \x1b[31mred\nO water\n", records(good("C2H6O"), W))
    for name, mark in (("ls", "\u2028"), ("nel", "\x85"), ("form_feed", "\x0c"), ("vertical_tab", "\x0b")):
        yield smi(f"name_{name}", f"CCO one{mark}two\nO water\n", records(good("C2H6O"), W))
    yield smi("name_dollars", "CCO $$$$\nO water\n", records(good("C2H6O"), W))
    yield smi("no_newline_at_end", TWO.rstrip("\n"), two)
    yield smi("tab_in_front", "\tethanol\nO water\n", records(bad(), W))
    yield smi("smiles_as_name", "CCO CCN\nO water\n", records(good("C2H6O", "CCN"), W))


def extensions() -> Iterator[OddInput]:
    yield smi("cxsmiles_coordinates", "CCO |(0,0,;1,0,;2,0,)| ethanol\nO water\n", records(E, W))
    yield smi("cxsmiles_labels", "CCO |$;;OH$| ethanol\nO water\n", records(E, W))
    yield smi(
        "cxsmiles_radical", "C[CH2] |^1:1| ethyl\nO water\n", records(good("C2H5", "ethyl", 0, 2), W), model="gfn2-xtb"
    )
    yield smi("cxsmiles_racemate", "C[C@H](F)Cl |&1:1| rac\nO water\n", records(good("C2H4ClF", "rac"), W))
    yield smi("cxsmiles_cut", "CCO |(0,0 ethanol\nO water\n", records(either(good("C2H6O")), W))
    yield smi("name_with_bars", "CCO a|b|c\nO water\n", records(good("C2H6O", "a|b|c"), W))
    yield smi("reaction", "CC=O>>CCO reduction\nO water\n", records(bad("reaction|SMILES"), W))
    yield smi("reaction_with_agent", "CC=O>[H][H]>CCO reduction\nO water\n", records(bad("reaction|SMILES"), W))
    for name, text in (
        ("star", "*CC"),
        ("polymer", "*CC*"),
        ("star_labelled", "[*:1]CC"),
        ("alone", "*"),
        ("r", "[R1]CC"),
        ("polymer_cx", "*CC* |Sg:n:1,2::ht|"),
        ("du", "[Du]C"),
    ):
        yield smi(f"wildcard_{name}", f"{text} x\nO water\n", records(bad("atom|wildcard|dummy|SMILES|element|\\*"), W))
    for name, text in (
        ("any", "[#6]~[#7]"),
        ("or", "[C,N]C"),
        ("not", "[!C]C"),
        ("recursive", "[$(CC)]O"),
        ("h", "[C;H3]O"),
    ):
        yield smi(f"smarts_{name}", f"{text} x\nO water\n", records(bad(), W))
    yield smi("inchi", "InChI=1S/CH4O/c1-2/h2H,1H3 methanol\nO water\n", records(bad("SMILES|InChI"), W))
    yield smi("name_instead", "aspirin\nO water\n", records(bad("SMILES"), W))
    yield smi("formula_instead", "C2H6O ethanol\nO water\n", records(bad("SMILES"), W))
    yield smi("dative", "[NH3]->[BH3] x\nO water\n", records(either(good("BH6N")), W), model="gfn2-xtb")
    yield smi("zero_order", "C~O x\nO water\n", records(bad(), W))
    yield smi("ring_closure_percent", "C%10CC%10 x\nO water\n", records(good("C3H6"), W))
    yield smi("dot_ring_closure", "C1.C1 x\nO water\n", records(good("C2H6"), W))
    yield smi("atom_maps", "[CH3:1][OH:2] x\nO water\n", records(good("CH4O"), W))
    yield smi("explicit_hydrogens", "[H]C([H])([H])O[H] x\nO water\n", records(good("CH4O"), W))
    yield smi("kekule_lower_upper", "C1=CC=CC=C1 x\nc1ccccc1 y\n", records(good("C6H6", "x"), good("C6H6", "y")))


def chemistry() -> Iterator[OddInput]:
    xtb = {"model": "gfn2-xtb"}
    sound = {
        "salt": ("C[N+](C)(C)C.[Cl-]", 0),
        "ammonium": ("C[N+](C)(C)C", 1),
        "isotopes": ("[2H]O[2H]", 0),
        "carbon_13": ("[13CH4]", 0),
        "hydrogen": ("[H][H]", 0),
        "dication": ("C[N+](C)(C)C[N+](C)(C)C", 2),
    }
    for name, (text, charge) in sound.items():
        yield smi(f"sound_{name}", f"{text} x\nO water\n", records(good(formula(text), "x", charge), W), **xtb)
    yield smi("helium", "[He] x\nO water\n", records(good("He", "x"), W), **xtb)
    yield smi("salt_of_sodium", "[Na+].[Cl-] salt\nO water\n", records(good("ClNa", "salt", 0), W), **xtb)
    yield smi("radical", "C[CH2] ethyl\nO water\n", records(good("C2H5", "ethyl", 0, 2), W), **xtb)
    yield smi("nitroxide", "CN(C)[O] x\nO water\n", records(good("C2H6NO", "x", 0, 2), W), **xtb)
    guess = "singlet|triplet|multiplicity|guess"
    for name, text, formula_ in (
        ("methylene", "[CH2]", "CH2"),
        ("difluoro", "F[C]F", "CF2"),
        ("nhc", "CN1C=CN(C)[C]1", "C5H8N2"),
        ("silylene", "C[Si]C", "C2H6Si"),
    ):
        yield smi(
            f"carbene_{name}",
            f"{text} carbene\nO water\n",
            records(good(formula_, "carbene", 0, 1), W),
            records(good(formula_, "carbene", 0), W, told=(guess,)),
            **xtb,
        )
    yield smi(
        "oxygen",
        "O=O x\nO water\n",
        records(good("O2", "x", 0, 3), W),
        records(good("O2", "x", 0), W, told=("triplet|multiplicity",)),
        **xtb,
    )
    yield smi("metal", "[NH3][Pt](Cl)(Cl)[NH3] x\nO water\n", records(either(good("Cl2H6N2Pt")), W), **xtb)
    yield smi("metal_not_in_force_field", "C[Hg]C x\nO water\n", records(bad("MMFF|element|Hg"), W))
    yield smi("iron_atom", "[Fe] x\nO water\n", records(either(good("Fe")), W), **xtb)
    yield smi("oganesson", "[Og] x\nO water\n", records(bad("Og|element"), W), **xtb)
    yield smi("proton", "[H+] x\nO water\n", records(either(good("H")), W), **xtb)
    yield smi("hydride", "[H-] x\nO water\n", records(good("H", "x", -1), W), **xtb)
    walked = {**xtb, "max_steps": None}
    yield smi("hexafluorophosphate", "F[P-](F)(F)(F)(F)F x\nO water\n", records(good("F6P", "x", -1), W), **walked)
    yield smi("sulfur_hexafluoride", "FS(F)(F)(F)(F)F x\nO water\n", records(good("F6S", "x"), W), **walked)
    yield smi("cubane", "C12C3C4C1C5C2C3C45 cubane\nO water\n", records(good("C8H8", "cubane"), W))
    yield smi("impossible_ring", "C1C/C=C/C1 x\nO water\n", records(either(good("C5H8"), "embed|conformer|stereo"), W))
    yield smi("catenane", "C1CC1.C1CC1 x\nO water\n", records(good("C6H12", "x"), W))


def stereo() -> Iterator[OddInput]:
    told = ("stereo|isomer|unspecified",)
    yield smi(
        "open_centre",
        "CC(F)Cl x\nO water\n",
        records(good("C2H4ClF"), W, told=told),
        records(good("C2H4ClF"), good("C2H4ClF"), W),
    )
    yield smi(
        "open_double_bond",
        "CC=CC x\nO water\n",
        records(good("C4H8"), W, told=told),
        records(good("C4H8"), good("C4H8"), W),
    )
    yield smi("e_and_z", "C/C=C/C E\nC/C=C\\C Z\n", records(good("C4H8", "E"), good("C4H8", "Z")), kept=())
    yield smi("both_hands", "C[C@H](F)Cl R\nC[C@@H](F)Cl S\n", records(good("C2H4ClF", "R"), good("C2H4ClF", "S")))
    yield smi("allene", "CC=C=CC x\nO water\n", records(good("C5H8"), W), records(good("C5H8"), good("C5H8"), W))
    yield smi("contradicting_bonds", "C/C(\\F)=C/C x\nO water\n", records(either(good("C4H7F")), W))
    yield smi(
        "square_planar", "C[Pt@SP1](F)(Cl)[H] x\nO water\n", records(either(good("CH4ClFPt")), W), model="gfn2-xtb"
    )
    yield smi("centre_that_is_none", "C[C@H](C)F x\nO water\n", records(good("C3H7F"), W))


def wrong() -> Iterator[OddInput]:
    reasons = {
        "ring_open": ("C1CC", "ring|SMILES"),
        "bracket_open": ("C(C", "SMILES|paren"),
        "bracket_shut": ("CC)C", "SMILES|paren"),
        "square_open": ("[CH4", "SMILES"),
        "valence": ("C(C)(C)(C)(C)C", "valence"),
        "valence_n": ("CN(C)(C)C", "valence"),
        "aromatic": ("c1cccc1", "kekul|aromatic"),
        "aromatic_outside": ("cc", "aromatic|kekul"),
        "element": ("[Xx]C", "SMILES"),
        "bond_twice": ("C12CC12", "SMILES|ring|bond"),
        "unknown_letter": ("CJC", "SMILES"),
        "double_dot": ("C..C", "SMILES|dot"),
        "dot_only": (".", "SMILES"),
        "bond_only": ("=", "SMILES"),
        "number": ("12345", "SMILES"),
        "unicode": ("CС", "SMILES"),
        "dash": ("C–C", "SMILES"),
        "quote": ("'CCO'", "SMILES"),
        "charge_huge": ("[C+99]", "."),
        "isotope_huge": ("[99999C]", "."),
        "trailing_bond": ("CC=", "SMILES"),
        "percent": ("C%1CC%1", "SMILES|ring"),
        "url": ("https://example.org/a.smi", "SMILES"),
        "null": ("C\0C", "SMILES"),
        "html": ("<html>", "SMILES"),
        "dollars": ("$$$$", "SMILES|quadruple"),
    }
    for name, (text, word) in reasons.items():
        more = {"url": [records(W, told=("first line",))], "null": [refused("NUL|null|no text")]}.get(name, [])
        yield smi(f"wrong_{name}", f"{text} x\nO water\n", records(bad(word), W), *more)
    yield smi("wrong_all", "C1CC a\nc1cccc1 b\n", records(bad("SMILES|ring"), bad("kekul|aromatic|SMILES")))
    yield smi("wrong_in_the_middle", "CCO ethanol\nC1CC x\nO water\n", records(E, bad("SMILES|ring"), W))


def sizes() -> Iterator[OddInput]:
    chain = "C" * 199 + "O"
    yield smi(
        "600_atoms", f"O water\n{chain} chain\nCCO ethanol\n", records(W, good("C199H400O", "chain"), E), apart=True
    )
    yield smi(
        "2000_atoms",
        f"O water\n{'C' * 666} chain\nCCO ethanol\n",
        records(W, either(good("C666H1334", "chain")), E),
        apart=True,
    )
    peptide = "".join("N[C@@H](C)C(=O)" for _ in range(25)) + "O"
    yield smi("peptide", f"O water\n{peptide} peptide\n", records(W, good(formula(peptide), "peptide")), apart=True)
    yield smi("brackets_30000_deep", "C(" * 30_000 + "\nO water\n", records(bad("SMILES|paren"), W), apart=True)
    yield smi("rings_many", "C1" * 200 + "\nO water\n", records(bad(), W))
    yield smi(
        "500_lines", "".join(f"O w{k}\n" for k in range(500)), records(*(good("H2O", f"w{k}") for k in range(500)))
    )


def encodings() -> Iterator[OddInput]:
    two = records(E, W)
    yield smi("crlf", TWO.replace("\n", "\r\n"), two)
    yield smi("cr_only", TWO.replace("\n", "\r"), two, refused("line end"))
    yield smi("bom", "\ufeff" + TWO, two)
    yield smi("bom_header", "\ufeffSMILES name\n" + TWO, two)
    yield smi("bom_comment", "\ufeff# mine\n" + TWO, two)
    yield smi(
        "latin1", "CCO Äthanol\nO water\n".encode("latin-1"), records(good("C2H6O", "Äthanol"), W), kept=("Äthanol",)
    )
    yield smi("utf_16", TWO.encode("utf-16"), two, refused("UTF-?16|encod|UTF-8"))
    yield smi("no_break_space", "CCO\u00a0ethanol\nO water\n", records(either(E), W))
    yield smi("zero_width_space", "CCO\u200b ethanol\nO water\n", records(either(E), W))
    yield smi("gz", gzip.compress(TWO.encode(), mtime=0), two, file="in.smi.gz")
    yield smi("gz_without_ending", gzip.compress(TWO.encode(), mtime=0), two, refused("gzip|compress"), absent=())
    yield smi(
        "binary",
        bytes(random.Random(SEED).randrange(256) for _ in range(300)),
        refused("SMILES|text|binary"),
        *(records(*[bad(".")] * k) for k in range(2, 12)),
        absent=(),
    )
    for name, text in (
        ("empty", ""),
        ("blank", "\n\n"),
        ("comments", "# none\n"),
        ("header", "SMILES name\n"),
        ("bom", "\ufeff"),
    ):
        yield smi(f"file_{name}", text, refused("no molecule|empty"))
