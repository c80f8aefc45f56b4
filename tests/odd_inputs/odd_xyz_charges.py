"""Odd ways to say a charge, a spin or a column in the comment line of an XYZ frame."""

from __future__ import annotations

from collections.abc import Iterator

from odd_table import Answer, OddInput, as_bytes, bad, either, frame, good, records, xyz_lines

OXALATE = xyz_lines("[O-]C(=O)C(=O)[O-]")
OXYGEN = ["O 0.0 0.0 0.0", "O 0.0 0.0 1.21"]
WATER = xyz_lines("O")
METHANOL = xyz_lines("CO")
W, M = good("H2O"), good("CH4O")
#: What must be told where a charge was assumed.
ASSUMED = ("charge",)


def inputs() -> Iterator[OddInput]:
    """Yield every odd comment line that says a charge, a spin or a column."""
    for make in (charges, spins, columns):
        yield from make()


def xyz(name: str, content: str | bytes, *answers: Answer, file: str = "in.xyz", **rest: object) -> OddInput:
    settings = {"model": "gfn2-xtb", "output": "out.extxyz", **rest}
    return OddInput(f"xyz_{name}", (file,), answers, {file: as_bytes(content)}, **settings)  # type: ignore[arg-type]


def water(comment: str = "charge=0") -> str:
    return frame(comment, WATER)


def methanol(comment: str = "charge=0") -> str:
    return frame(comment, METHANOL)


def charges() -> Iterator[OddInput]:
    right, plain = good("C2O4", charge=-2, multiplicity=1), frame
    read = records(right)
    key = bad("charge", "chrg", "'q'", "spin", "mult", "key", "total")
    known = {
        "charge": "charge=-2",
        "upper_first": "Charge=-2",
        "upper": "CHARGE=-2",
        "total_charge": "total_charge=-2",
        "mace": "charge=-2 spin=1",
        "omol": "source=omol charge=-2 spin=1 num_atoms=6",
        "quoted": 'charge="-2"',
        "float": "charge=-2.0",
        "mult": "charge=-2 mult=1",
        "uhf": "charge=-2 uhf=0",
        "total_charge_upper": "Total_Charge=-2 Multiplicity=1",
        "two_integers": "-2 1",
        "two_integers_and_words": "-2 1 oxalate, from a Q-Chem input",
        "properties": 'Properties=species:S:1:pos:R:3 charge=-2 pbc="F F F"',
    }
    for name, comment in known.items():
        yield xyz(f"charge_{name}", plain(comment, OXALATE), read)
    likely = {
        "spaces": "charge = -2",
        "colon": "charge: -2",
        "colon_tight": "charge:-2",
        "word": "charge -2 mult 1",
        "title": "Charge: -2  Multiplicity: 1",
        "chrg": "chrg=-2 uhf=0",
        "q": "q=-2",
        "net_charge": "net_charge=-2",
        "formal_charge": "formal_charge=-2",
        "mol_charge": "molecular_charge=-2",
        "system_charge": "system_charge=-2",
        "json": '{"charge": -2, "multiplicity": 1}',
        "semicolon": "charge=-2; multiplicity=1",
        "comma": "charge=-2,multiplicity=1",
        "comma_space": "charge=-2, multiplicity=1",
        "tab": "charge=-2\tspin=1",
        "orca": "* xyz -2 1",
        "integers_comma": "-2,1",
        "integers_float": "-2.0 1.0",
        "sign_behind": "charge=2-",
        "unicode_minus": "charge=−2",
        "array": 'charge="[-2]"',
        "german": "Ladung=-2 charge=-2",
        "total_charge_words": "total charge = -2",
        "dash": "total-charge=-2",
        "camel": "totalCharge=-2",
        "e": "charge=-2e",
        "fortran": "&charge=-2",
    }
    for name, comment in likely.items():
        # No key says it: a word on the charge that was assumed will do.
        keyless = [records(good("C2O4"), told=("charge 0 is assumed",))] if name in ("orca", "integers_float") else []
        yield xyz(f"charge_spelled_{name}", plain(comment, OXALATE), read, records(key), *keyless)
    wrong = {
        "word_value": "charge=minus",
        "half": "charge=1.5",
        "empty": "charge=",
        "none": "charge=None",
        "nan": "charge=nan",
        "contradiction": "charge=-2 total_charge=-1",
        "list": 'charge="-2 1"',
        "contradiction_of_case": "charge=-2 Charge=0",
        "not_with_spin": "charge=-2 multiplicity=2",
        "too_many_electrons_taken": "charge=500",
        "enormous": "charge=1e30",
        "digits": "charge=" + "9" * 5000,
    }
    for name, comment in wrong.items():
        yield xyz(f"charge_wrong_{name}", plain(comment, OXALATE) + methanol(), records(bad(), M))
    yield xyz(
        "charge_in_words_only", plain("oxalate dianion", OXALATE), records(good("C2O4", charge=0), told=ASSUMED), read
    )
    yield xyz(
        "charge_unsaid_dication",
        plain("ethylenediammonium", xyz_lines("[NH3+]CC[NH3+]")),
        records(good("C2H10N2", charge=0), told=ASSUMED),
    )
    yield xyz("charge_two_integers_neutral", frame("0 1", WATER), records(good("H2O", charge=0, multiplicity=1)))
    yield xyz("charge_two_integers_cation", frame("1 2", WATER), records(good("H2O", charge=1, multiplicity=2)))
    yield xyz(
        "charge_of_each_frame",
        plain("charge=-2", OXALATE) + frame("charge=1 spin=2", WATER) + methanol(),
        records(right, good("H2O", charge=1, multiplicity=2), good("CH4O", charge=0)),
    )
    yield OddInput(
        "xyz_charge_option_and_comment",
        ("in.xyz", "--charge", "2"),
        (records(right, good("H2O", charge=2)),),
        {"in.xyz": as_bytes(plain("charge=-2", OXALATE) + frame("", WATER))},
        model="gfn2-xtb",
        output="out.extxyz",
    )


def spins() -> Iterator[OddInput]:
    triplet = good("O2", charge=0, multiplicity=3)
    key = bad("spin", "mult", "uhf", "magmom", "unpaired", "electron")
    known = {
        "multiplicity": "multiplicity=3",
        "spin": "spin=3",
        "mult": "mult=3",
        "uhf": "uhf=2",
        "two_integers": "0 3",
        "upper": "Multiplicity=3",
        "omol": "charge=0 spin=3",
        "spin_multiplicity": "spin_multiplicity=3",
        "quoted": 'spin="3"',
        "float": "spin=3.0",
    }
    for name, comment in known.items():
        yield xyz(f"spin_{name}", frame(comment, OXYGEN), records(triplet))
    likely = {
        "pyscf": "spin=2",
        "unpaired": "unpaired_electrons=2",
        "nunpaired": "n_unpaired=2",
        "total": "total_spin=1",
        "s": "S=1",
        "two_s": "2S+1=3",
        "word": "charge 0 mult 3",
        "colon": "multiplicity: 3",
        "magmom": "magmom=2.0",
        "psi4": "0 3 oxygen",
        "nelec": "nopen=2",
        "triplet": "spin=triplet",
    }
    for name, comment in likely.items():
        vague = (
            [records(good("O2", charge=0), told=("multiplicity|singlet|spin",))]
            if name in ("s", "nelec", "total")
            else []
        )
        yield xyz(f"spin_spelled_{name}", frame(comment, OXYGEN), records(triplet), records(key), *vague)
    for name, comment in (
        ("zero", "multiplicity=0"),
        ("negative", "multiplicity=-3"),
        ("parity", "multiplicity=2"),
        ("too_many", "multiplicity=99"),
        ("words", "multiplicity=high"),
    ):
        yield xyz(f"spin_wrong_{name}", frame(comment, OXYGEN) + methanol(), records(bad(), M))
    nitric = ["N 0 0 0", "O 0 0 1.15"]
    yield xyz(
        "odd_electrons_unsaid",
        frame("nitric oxide", nitric) + methanol(),
        records(bad("multiplicity", "electrons"), M),
        records(good("NO", charge=0, multiplicity=2), M, told=("multiplicity|doublet",)),
    )
    yield xyz("odd_electrons_said", frame("charge=0 multiplicity=2", nitric), records(good("NO", multiplicity=2)))


def columns() -> Iterator[OddInput]:
    def extended(columns_: str, values: list[str], lines: list[str], more: str = "") -> str:
        rows = [f"{line} {value}" for line, value in zip(lines, values, strict=True)]
        return frame(f"Properties=species:S:1:pos:R:3:{columns_} {more}".strip(), rows)

    right = records(good("C2O4", charge=-2, multiplicity=1))
    charge = ["-1", "0", "0", "0", "0", "-1"]
    partial = ["-0.70", "0.10", "-0.40", "0.10", "-0.40", "-0.70"]
    triplet = records(good("O2", charge=0, multiplicity=3))
    yield xyz("initial_charges", extended("initial_charges:R:1", charge, OXALATE), right)
    yield xyz("initial_charges_partial", extended("initial_charges:R:1", partial, OXALATE), right)
    yield xyz("initial_charges_integers", extended("initial_charges:I:1", charge, OXALATE), right)
    yield xyz(
        "initial_charges_not_whole",
        extended("initial_charges:R:1", ["-0.3", *partial[1:]], OXALATE) + methanol(),
        records(bad("charge"), M),
    )
    yield xyz(
        "initial_charges_against_charge",
        extended("initial_charges:R:1", charge, OXALATE, "charge=-1 mult=2") + methanol(),
        records(bad("charge"), M),
    )
    yield xyz(
        "charges_column",
        extended("charges:R:1", partial, OXALATE),
        right,
        records(bad("charge")),
        records(good("C2O4"), told=("charges",)),
    )
    yield xyz("initial_magmoms", extended("initial_magmoms:R:1", ["1.0", "1.0"], OXYGEN), triplet)
    yield xyz("magmoms", extended("magmoms:R:1", ["1.0", "1.0"], OXYGEN), triplet)
    yield xyz(
        "magmoms_antiferro",
        extended("initial_magmoms:R:1", ["1.0", "-1.0"], OXYGEN),
        records(good("O2", multiplicity=1)),
        records(bad("magmom", "spin", "mult")),
    )
    yield xyz(
        "magmoms_not_whole",
        extended("initial_magmoms:R:1", ["0.7", "0.6"], OXYGEN),
        records(bad("magmom", "spin", "mult", "unpaired")),
    )
    both = ["-1 0.0", "0 0.0", "0 0.0", "0 0.0", "0 0.0", "-1 0.0"]
    yield xyz("charges_and_magmoms", extended("initial_charges:R:1:initial_magmoms:R:1", both, OXALATE), right)
    forces = ["0.1 0.2 0.3"] * 3
    told = 'energy=-9999.5 dipole="1 2 3" charge=0 pbc="F F F"'
    yield xyz("forces_and_energy_of_others", extended("forces:R:3", forces, WATER, told), records(W), max_steps=None)
    yield xyz(
        "energy_called_ours", frame("energy_final_hartree=-1.0 status=mine model=mine charge=0", WATER), records(W)
    )
    yield xyz("extra_columns", frame("charge=0", [f"{line}  0.1 0.2 0.3" for line in WATER]), records(W))
    yield xyz("extra_word", frame("charge=0", [f"{line}  # atom" for line in WATER]), records(either(W)))
    yield xyz("extra_charge_column", frame("charge=0", [f"{line}  -0.4" for line in WATER]), records(W))
    yield xyz("columns_unequal", frame("charge=0", [WATER[0] + " 1 2", *WATER[1:]]), records(either(W)))
    yield xyz(
        "index_first",
        frame("charge=0", [f"{k} {line}" for k, line in enumerate(WATER, start=1)]),
        records(bad()),
        records(W),
    )
    reordered = [f"{' '.join(line.split()[1:])} {line.split()[0]}" for line in WATER]
    yield xyz("symbol_last", frame("Properties=pos:R:3:species:S:1 charge=0", reordered), records(either(W)))
    yield xyz(
        "properties_wrong",
        frame("Properties=species:S:1:pos:R:3:forces:R:3 charge=0", WATER) + methanol(),
        records(either(W), M),
    )
    yield xyz(
        "properties_without_pos",
        frame("Properties=species:S:1:place:R:3 charge=0", WATER) + methanol(),
        records(either(W), M),
    )
    cell = 'Lattice="20 0 0 0 20 0 0 0 20"'
    yield xyz("periodic", frame(f'{cell} charge=0 pbc="T T T"', WATER) + methanol(), records(bad("periodic"), M))
    yield xyz("cell_only", frame(f"{cell} charge=0", WATER) + methanol(), records(either(W, "periodic", "cell"), M))
    yield xyz("cell_not_periodic", frame(f'{cell} charge=0 pbc="F F F"', WATER), records(W))
    yield xyz("slab", frame(f'{cell} charge=0 pbc="T T F"', WATER) + methanol(), records(bad("periodic"), M))
    yield xyz("cell_of_zeros", frame('Lattice="0 0 0 0 0 0 0 0 0" charge=0 pbc="F F F"', WATER), records(W))
    yield xyz("lattice_broken", frame('Lattice="20 0 0" charge=0', WATER) + methanol(), records(either(W), M))
