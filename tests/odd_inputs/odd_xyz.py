"""Odd XYZ and extended XYZ files."""

from __future__ import annotations

import gzip
import math
import random
import re
from collections.abc import Iterator

from odd_table import (
    SEED,
    OddInput,
    bad,
    block,
    either,
    frame,
    good,
    records,
    refused,
    xyz_lines,
)
from odd_xyz_charges import ASSUMED, METHANOL, WATER, M, W, methanol, water, xyz


def inputs() -> Iterator[OddInput]:
    """Yield every odd XYZ."""
    for make in (counts, comments, numbers, symbols, places, encodings, others):
        yield from make()


def counts() -> Iterator[OddInput]:
    lines = "\n".join(WATER) + "\n"
    yield xyz("plain", frame("", WATER), records(good("H2O", charge=0, multiplicity=1), told=ASSUMED), max_steps=None)
    yield xyz("count_too_high_at_end", methanol() + f"4\ncharge=0\n{lines}", records(M, bad()))
    yield xyz(
        "count_too_high_in_the_middle",
        methanol() + f"4\ncharge=0\n{lines}" + methanol() + water(),
        records(M, bad(), M, W),
    )
    yield xyz("count_too_low", f"2\ncharge=0\n{lines}" + methanol(), records(bad(), M), records(bad(), bad(), M))
    yield xyz("count_too_low_at_end", methanol() + f"2\ncharge=0\n{lines}", records(M, bad()), records(M, bad(), bad()))
    yield xyz("no_comment_line", f"3\n{lines}", records(either(W)))
    yield xyz("no_comment_line_twice", f"3\n{lines}3\n{lines}", records(either(W), either(W)))
    yield xyz("no_comment_line_then_good", f"3\n{lines}" + methanol(), records(either(W), M))
    yield xyz("no_count", lines, records(either(W, "number of atoms", "count")))
    yield xyz("no_count_no_comment_then_good", lines + methanol(), records(bad(), M), records(bad()))
    for name, count in (
        ("words", "3 atoms"),
        ("float", "3.0"),
        ("signed", "+3"),
        ("spaces", "   3   "),
        ("zeros", "003"),
    ):
        yield xyz(f"count_{name}", f"{count}\ncharge=0\n{lines}" + methanol(), records(either(W), M))
    for name, count in (("negative", "-3"), ("zero", "0"), ("hex", "0x3"), ("superscript", "³"), ("formula", "H2O")):
        yield xyz(
            f"count_{name}",
            f"{count}\ncharge=0\n{lines}" + methanol(),
            records(bad(), M),
            records(bad()),
            records(bad(), bad(), M),
        )
    yield xyz("count_of_zero_frame", "0\nempty\n" + methanol(), records(bad("no atom", "atoms"), M))
    yield xyz("count_enormous", f"{10**12}\ncharge=0\n{lines}", records(bad()))
    yield xyz("count_of_5000_digits", f"{'9' * 5000}\ncharge=0\n{lines}", records(bad()), refused())
    yield xyz("count_full_width_digit", f"３\ncharge=0\n{lines}", records(either(W)))
    yield xyz("blank_lines_between", methanol() + "\n\n  \n" + water() + "\n" + methanol(), records(M, W, M))
    yield xyz("blank_lines_at_start", "\n\n" + methanol(), records(M))
    yield xyz("blank_lines_at_end", methanol() + "\n\n\n", records(M))
    yield xyz(
        "blank_line_inside",
        f"3\ncharge=0\n{WATER[0]}\n\n{WATER[1]}\n{WATER[2]}\n" + methanol(),
        records(bad(), bad(), M),
        records(either(W), M),
    )
    yield xyz("no_newline_at_end", methanol().rstrip("\n"), records(M))
    yield xyz("forty_frames", methanol() * 40, records(*[M] * 40))
    middle = methanol() + water().replace("O ", "Qq", 1) + methanol()
    yield xyz("damaged_symbol_in_the_middle", middle, records(M, bad("Qq", "symbol", "element"), M))
    short = [*WATER[:1], " ".join(WATER[1].split()[:3]), *WATER[2:]]
    yield xyz("damaged_columns_in_the_middle", methanol() + frame("charge=0", short) + methanol(), records(M, bad(), M))
    lost = methanol() + "\n".join(water().splitlines()[:-1]) + "\n" + methanol() + water()
    yield xyz("atom_lost_in_the_middle", lost, records(M, bad(), M, W))
    yield xyz(
        "count_lost_in_the_middle",
        methanol() + "\n".join(water().splitlines()[1:]) + "\n" + methanol(),
        records(M, bad(), M),
    )
    yield xyz("trailing_garbage", methanol() + "# written by hand\n", records(M), records(M, bad()))
    yield xyz(
        "bond_section_behind", methanol() + "1 2\n2 3\n", records(M, bad()), records(M, told=("behind|after|end|line",))
    )


def comments() -> Iterator[OddInput]:
    kept = {
        "words": ("water conformer 3", ("water conformer 3",)),
        "keys": ("name=water3 dft_energy=-76.4 config_type=opt", ("water3", "-76.4", "opt")),
        "unicode": ("Wasser für β-Test 水", ("für", "水")),
    }
    for name, (comment, texts) in kept.items():
        yield xyz(f"comment_{name}", frame(comment, WATER), records(W, told=ASSUMED), kept=texts)
    heard = {
        "xtb": " energy: -5.070544440612 gnorm: 0.000057210123 xtb: 6.7.1 (edcfbbe)",
        "crest": "        -5.07054444",
        "orca": "Coordinates from ORCA-job water E -76.323475",
        "cp2k": " i =        0, time =        0.000, E =       -17.22",
        "psi4": "0 1",
        "gaussian": "SCF Done:  E(RB3LYP) =  -76.4089",
        "quote": 'name="water',
        "apostrophe": "d'eau n'est",
        "backslash": r"C:\data\new\table",
        "equals": "= = =",
        "equals_end": "energy=",
        "brackets": "[1, 2, {3}] name=[a",
        "braces": "{x} %s %(a)s",
        "long": "x" * 100_000,
        "ls": "one\u2028two",
        "nel": "one\x85two",
        "ff": "one\x0ctwo",
        "vt": "one\x0btwo",
        "integer": "7",
        "float": "-76.4",
        "true": "T",
        "smiles": "CCO",
        "percent": "100 %",
        "escape": "\x1b[31mred",
        "nul": "a\0b",
        "many_keys": " ".join(f"k{i}={i}" for i in range(2000)),
        "frame_number": "frame 12 of 100",
        "time": "t= 0.500 step=3",
        "dup": "a=1 a=2",
        "html": "<b>water</b>",
        "species": "species=water numbers=3 positions=here",
        "cell": "cell=none",
        "step": "Step 3 Energy -76.4",
        "geometric": "Iteration 12 Energy  -76.40891234",
    }
    for name, comment in heard.items():
        yield xyz(
            f"comment_{name}",
            frame(comment, WATER) + methanol(),
            records(W, M),
            *([refused("NUL|null|no text")] if name == "nul" else []),
        )
    yield xyz("comment_pbc_word", frame("pbc", WATER) + methanol(), records(either(W, "periodic"), M))
    yield xyz(
        "id",
        frame("id=first charge=0", WATER) + frame('id="the second" charge=0', METHANOL),
        records(good("H2O", "first"), good("CH4O", "the second")),
    )
    yield xyz("ids_the_same", frame("id=x charge=0", WATER) + frame("id=x charge=0", METHANOL), records(W, M))
    yield xyz("smiles_of_another", frame("smiles=CCO charge=0", WATER) + methanol(), records(bad("SMILES|smiles"), M))
    trans = xyz_lines("C/C=C/C")
    yield xyz(
        "smiles_of_the_other_isomer",
        frame(r"smiles=C/C=C\C charge=0", trans) + methanol(),
        records(bad("SMILES|smiles|stereo"), M),
    )
    hand = xyz_lines("C[C@H](F)Cl")
    yield xyz(
        "smiles_of_the_other_hand",
        frame("smiles=C[C@@H](F)Cl charge=0", hand) + methanol(),
        records(bad("SMILES|smiles|stereo"), M),
    )
    yield xyz("smiles_right", frame("smiles=C[C@H](F)Cl charge=0", hand), records(good("C2H4ClF")))
    yield xyz(
        "smiles_no_smiles", frame("smiles=nothing charge=0", WATER) + methanol(), records(bad("SMILES|smiles"), M)
    )
    bohr = [re.sub(r"-?\d+\.\d+", lambda m: f"{float(m[0]) / 0.529177:.6f}", line) for line in WATER]
    for name, comment in (
        ("key", "units=bohr charge=0"),
        ("word", "Coordinates in Bohr"),
        ("au", "units=a.u. charge=0"),
        ("unit", "unit=Bohr charge=0"),
        ("length", "length_unit=bohr charge=0"),
    ):
        yield xyz(
            f"bohr_{name}",
            frame(comment, bohr) + methanol(),
            records(bad("[Bb]ohr|unit|Å"), M),
            records(W, M, told=("[Bb]ohr|unit",)),
        )


def numbers() -> Iterator[OddInput]:
    def rewritten(pattern: str, new: str) -> list[str]:
        return [re.sub(pattern, new, line) for line in WATER]

    forms = {
        "fortran_d": rewritten(r"(\d+\.\d+)", r"\1D+00"),
        "fortran_d_small": rewritten(r"(\d+\.\d+)", r"\1d0"),
        "commas": rewritten(r"\s+", ", "),
        "semicolons": rewritten(r"\s+", "; "),
        "decimal_commas": rewritten(r"\.", ","),
        "tabs": rewritten(r"\s+", "\t"),
        "brackets": rewritten(r"(\d+\.\d+)", r"[\1]"),
        "mathematica": rewritten(r"(\d+\.\d+)", r"\1*^0"),
        "unicode_minus": rewritten("-", "−"),
        "underscores": rewritten(r"(\d)\.", r"0_\1."),
        "no_break_spaces": rewritten(r"\s+", "\u00a0"),
        "exponents": rewritten(r"(\d+\.\d+)", r"\1e0"),
        "integers": ["O 0 0 0", "H 1 0 0", "H 0 1 0"],
        "no_leading_zero": rewritten(r"\b0\.", "."),
        "leading_spaces": ["      " + line for line in WATER],
    }
    for name, lines in forms.items():
        sure = name in ("tabs", "exponents", "integers", "no_leading_zero", "leading_spaces")
        yield xyz(f"numbers_{name}", frame("charge=0", lines) + methanol(), records(W if sure else either(W), M))
    for name, text in (
        ("nan", "nan"),
        ("inf", "inf"),
        ("minus_inf", "-Infinity"),
        ("stars", "*********"),
        ("hex", "0x1p3"),
        ("words", "here"),
        ("fraction", "1/2"),
    ):
        line = " ".join([*WATER[1].split()[:1], text, *WATER[1].split()[2:]])
        yield xyz(f"number_{name}", frame("charge=0", [WATER[0], line, WATER[2]]) + methanol(), records(bad(), M))


def symbols() -> Iterator[OddInput]:
    def called(change: dict[str, str], lines: list[str] = METHANOL) -> str:
        return frame("charge=0", [change.get(line.split()[0], line.split()[0]) + line[2:] for line in lines]) + water()

    yield xyz(
        "atomic_numbers",
        called({"C": "6 ", "O": "8 ", "H": "1 "}),
        records(either(M, "symbol", "number", "element"), W),
    )
    yield xyz("lower_case", called({"C": "c", "O": "o", "H": "h"}), records(either(M, "symbol", "element"), W))
    chloride = xyz_lines("CCl")
    yield xyz(
        "upper_case", called({"Cl": "CL"}, chloride), records(either(good("CH3Cl"), "CL", "symbol", "element"), W)
    )
    labels = frame("charge=0", [re.sub(r"^(\w+)", rf"\g<1>{k}", line) for k, line in enumerate(METHANOL, start=1)])
    yield xyz("numbered_labels", labels + water(), records(either(M, "symbol", "element"), W))
    yield xyz("deuterium", called({"H": "D"}), records(either(M, "D", "symbol", "element"), W))
    for name, symbol in (
        ("x", "X"),
        ("gh", "Gh"),
        ("bq", "Bq"),
        ("h_bq", "H-Bq"),
        ("at", "@H"),
        ("gh_h", "Gh(H)"),
        ("colon", "H:"),
        ("star", "*"),
        ("xx", "Xx"),
        ("zero", "0"),
        ("high", "119"),
        ("du", "Du"),
    ):
        ghost = frame("charge=0", [*WATER, f"{symbol} 5.0 0.0 0.0"])
        yield xyz(f"ghost_{name}", ghost + methanol(), records(bad(), M))
    yield xyz(
        "fragment_labels",
        frame("charge=0", [re.sub(r"^(\w+)", r"\1(Fragment=1)", x) for x in WATER]) + methanol(),
        records(either(W), M),
    )


def places() -> Iterator[OddInput]:
    flat_ethane = [re.sub(r"\S+$", "0.000000", line) for line in xyz_lines("CC")]
    spread = [f"{line.split()[0]} {4 * k:.3f} {3 * (k % 2):.3f} 0.000" for k, line in enumerate(METHANOL)]
    yield xyz(
        "flat_drawing",
        frame("charge=0", spread_flat(xyz_lines("CCO"))),
        records(either(good("C2H6O"), "flat"), told=("flat|plane|drawing|2D",)),
    )
    yield xyz(
        "flat_overlap", frame("charge=0", flat_ethane) + water(), records(either(good("C2H6"), "overlap", "flat"), W)
    )
    yield xyz("atoms_far_apart", frame("charge=0", spread) + water(), records(either(M, "apart", "far", "fragment"), W))
    first, second = METHANOL, [re.sub(r"\S+$", lambda m: f"{float(m[0]) + 500:.6f}", x) for x in METHANOL]
    yield xyz("two_molecules_500_angstrom_apart", frame("charge=0", first + second), records(either(good("C2H8O2"))))
    huge = [re.sub(r"\S+$", lambda m: f"{float(m[0]) * 1e6:.6f}", line) for line in METHANOL]
    yield xyz("coordinates_1e6", frame("charge=0", huge) + water(), records(either(M), W))
    yield xyz("coordinates_1e300", frame("charge=0", [*WATER[:2], "H 1e300 0 0"]) + methanol(), records(bad(), M))
    pm = [re.sub(r"-?\d+\.\d+", lambda m: f"{float(m[0]) * 100:.3f}", line) for line in METHANOL]
    nm = [re.sub(r"-?\d+\.\d+", lambda m: f"{float(m[0]) / 10:.7f}", line) for line in METHANOL]
    yield xyz("picometres", frame("charge=0", pm) + water(), records(either(M), W))
    yield xyz("nanometres", frame("charge=0", nm) + water(), records(bad("overlap|close|Å"), W))
    far = [re.sub(r"\S+$", lambda m: f"{float(m[0]) + 1e5:.6f}", line) for line in METHANOL]
    yield xyz("far_from_origin", frame("charge=0", far) + water(), records(either(M), W))
    crystal = [re.sub(r"\S+$", lambda m: f"{float(m[0]) + 1e3:.6f}", line) for line in METHANOL]
    yield xyz("1000_angstrom_from_origin", frame("charge=0", crystal), records(M))
    overlap = bad("overlap|close|same place")
    yield xyz(
        "all_at_origin", frame("charge=0", [f"{x.split()[0]} 0 0 0" for x in METHANOL]) + water(), records(overlap, W)
    )
    twice = [*METHANOL, METHANOL[-1]]
    yield xyz("atom_twice", frame("charge=1", twice) + water(), records(overlap, W))
    for name, comment, line, record in (
        ("helium", "charge=0", "He 0 0 0", good("He", charge=0)),
        ("sodium_ion", "charge=1", "Na 0 0 0", either(good("Na", charge=1), "electron")),
        ("chloride", "charge=-1", "Cl 1 2 3", good("Cl", charge=-1)),
        ("proton", "charge=1", "H 0 0 0", either(good("H", charge=1))),
        ("hydrogen_atom", "charge=0 multiplicity=2", "H 0 0 0", either(good("H", multiplicity=2))),
        ("oganesson", "charge=0", "Og 0 0 0", bad("Og", "element")),
        ("gold", "charge=1", "Au 0 0 0", good("Au", charge=1)),
    ):
        yield xyz(f"one_{name}", frame(comment, [line]) + water(), records(record, W))
    yield xyz(
        "soup_in_2_angstrom",
        frame("charge=0", soup()) + methanol(),
        records(either(good("C6H5N5O5")), M),
        max_steps=50,
        apart=True,
    )


def soup() -> list[str]:
    """Return 21 atoms in a box of 2 Å, none nearer than 0.45 Å to another."""
    dice, placed = random.Random(SEED), list[list[float]]()
    while len(placed) < 21:
        place = [dice.uniform(0, 2) for _ in range(3)]
        if all(math.dist(place, other) > 0.45 for other in placed):
            placed.append(place)
    return [f"{s} {x:.4f} {y:.4f} {z:.4f}" for s, (x, y, z) in zip("CHNO" * 5 + "C", placed, strict=True)]


def spread_flat(lines: list[str]) -> list[str]:
    """Return the atoms without z, pushed apart where two came too near."""
    placed: list[tuple[float, float]] = []
    out = []
    for line in lines:
        symbol, x, y = line.split()[0], float(line.split()[1]), float(line.split()[2])
        while any((x - a) ** 2 + (y - b) ** 2 < 0.8**2 for a, b in placed):
            x, y = x * 1.1 + 0.05, y * 1.1 - 0.05
        placed.append((x, y))
        out.append(f"{symbol} {x:.6f} {y:.6f} 0.000000")
    return out


def encodings() -> Iterator[OddInput]:
    both = water("charge=0") + methanol("charge=0")
    yield xyz("crlf", both.replace("\n", "\r\n"), records(W, M))
    yield xyz("cr_only", both.replace("\n", "\r"), records(W, M), refused("line end"))
    yield xyz("bom", "\ufeff" + both, records(W, M))
    yield xyz("latin1", frame("café charge=0", WATER).encode("latin-1"), records(W), kept=("café",))
    yield xyz("utf_16", both.encode("utf-16"), records(W, M), refused("UTF-?16|encod|UTF-8"))
    yield xyz("binary", bytes(random.Random(SEED).randrange(256) for _ in range(5000)), refused(), absent=())
    for name, text in (("empty", ""), ("blank", "\n \n")):
        yield xyz(f"file_{name}", text, refused("no molecule", "empty"))
    yield xyz("gz", gzip.compress(both.encode(), mtime=0), records(W, M), file="in.xyz.gz")
    yield xyz("gz_without_ending", gzip.compress(both.encode(), mtime=0), records(W, M), refused("gzip|compress"))
    yield xyz("extxyz_ending", both, records(W, M), file="in.extxyz")
    yield xyz("upper_case_ending", both, records(W, M), file="IN.XYZ")


def others() -> Iterator[OddInput]:
    nothing = refused("number of atoms|no molecule|XYZ|Turbomole|coord|SDF|mol block")
    turbomole = (
        "$coord\n    0.00000000      0.00000000      0.22000000      o\n    1.4 0.0 -0.9 h\n   -1.4 0.0 -0.9 h\n$end\n"
    )
    yield xyz("turbomole_inside", turbomole, nothing)
    yield xyz("orca_input_inside", "! B3LYP def2-SVP Opt\n* xyz 0 1\n" + "\n".join(WATER) + "\n*\n", nothing)
    yield xyz(
        "gaussian_input_inside", "%chk=a.chk\n# B3LYP/6-31G*\n\nwater\n\n0 1\n" + "\n".join(WATER) + "\n\n", nothing
    )
    yield xyz("sdf_inside", block("CO", "methanol") + "$$$$\n", nothing)
    yield xyz("zmatrix_inside", "3\nzmat charge=0\nO\nH 1 0.96\nH 1 0.96 2 104.5\n", records(bad()))
    yield xyz("html_inside", "<!DOCTYPE html>\n<html><body>Not Found</body></html>\n", refused())
    yield xyz("smiles_inside", "CCO ethanol\n", nothing)
    yield xyz("numbers_only", "1 2 3\n4 5 6\n", nothing)
