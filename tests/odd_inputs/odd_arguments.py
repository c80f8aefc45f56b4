"""Odd arguments: names of files that are none, names that are odd, options that do not fit."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

from odd_sdf import RECORDS, THREE, A, B, C
from odd_table import Answer, OddInput, as_bytes, bad, either, frame, good, records, refused, sdf_record, xyz_lines

WATER_XYZ = frame("charge=0", xyz_lines("O"))
MISSING = refused("not exist|no such file|not found|no file")


def inputs() -> Iterator[OddInput]:
    """Yield every odd command."""
    for make in (missing, names, options, outputs, mixtures, typed):
        yield from make()


def command(name: str, arguments: tuple[str, ...], *answers: Answer, **rest: object) -> OddInput:
    files = {"in.sdf": as_bytes(THREE), "in.xyz": as_bytes(WATER_XYZ), "in.smi": b"CCO ethanol\n"}
    files |= rest.pop("files", {})  # type: ignore[arg-type]
    return OddInput(f"arguments_{name}", arguments, answers, files, numbered=False, **rest)  # type: ignore[arg-type]


def missing() -> Iterator[OddInput]:
    for ending in (
        "sdf",
        "mol",
        "xyz",
        "extxyz",
        "smi",
        "smiles",
        "sdf.gz",
        "xyz.gz",
        "pdb",
        "mol2",
        "csv",
        "cif",
        "txt",
        "inp",
        "SDF",
        "sdf.zip",
        "json",
    ):
        yield command(f"missing_{ending.replace('.', '_')}", (f"none.{ending}",), MISSING, refused("ending"))
    yield command("missing_in_a_folder", ("no/such/folder/x.sdf",), MISSING)
    yield command("missing_folder", ("no/such/folder/",), MISSING, refused("folder|directory"))
    yield command("missing_beside_a_good_one", ("in.sdf", "none.sdf"), MISSING, records(A, B, C, bad("exist|file")))
    yield command("glob_without_a_match", ("*.mol2",), MISSING, refused("match|wildcard|pattern|ending"))
    yield command("glob_in_a_folder", ("poses/*.sdf",), MISSING)
    yield command("home", ("~/none.sdf",), MISSING)
    yield command("dash", ("-",), records(A, B, C), stdin=THREE)
    yield command("dash_and_format", ("-", "--input-format", "sdf"), records(A, B, C), stdin=THREE)
    yield command("dash_of_smiles", ("-",), records(good("C2H6O", "ethanol")), stdin="CCO ethanol\n")
    yield command("dash_of_nothing", ("-",), refused("no molecule"), records(bad("no molecule")), stdin=" ")
    yield command("dash_twice", ("-", "-"), refused("once"))
    yield command("format_unknown", ("-", "--input-format", "cdx"), refused("sdf, mol2"), stdin=THREE)
    yield command("empty_string", ("",), refused("empty|SMILES|nothing"))
    yield command("spaces", ("   ",), refused("empty|SMILES|nothing|blank"))
    yield command("nothing", (), refused("[Mm]issing argument|INPUT"))
    yield command("url", ("https://example.org/a.sdf",), MISSING, refused("URL|http|download"))
    yield command("dot", (".",), refused("folder|directory"))
    yield command("folder", ("poses",), refused("folder|directory"), prepare=lambda folder: (folder / "poses").mkdir())
    yield command("dev_null", ("/dev/null",), refused("ending|empty|no molecule|not a|neither a file"))
    yield command(
        "pipe", ("x.sdf",), refused("pipe|regular|not a file|exist"), prepare=lambda folder: os.mkfifo(folder / "x.sdf")
    )


def names() -> Iterator[OddInput]:
    content = {"files": {}}
    three = records(A, B, C)
    for name, file in (
        ("spaces", "my molecules.sdf"),
        ("comma", "a,b.sdf"),
        ("unicode", "Moleküle 分子.sdf"),
        ("colon", "a:b.sdf"),
        ("quote", 'it\'s "x".sdf'),
        ("brackets", "a[1].sdf"),
        ("hash", "a#b.sdf"),
        ("percent", "a%20b.sdf"),
        ("equals", "a=b.sdf"),
        ("newline", "a\nb.sdf"),
        ("star", "a*.sdf"),
        ("dots", "a.b.c.sdf"),
        ("hidden", ".hidden.sdf"),
        ("long", "x" * 240 + ".sdf"),
        ("smiles", "CCO.sdf"),
        ("escape", "\x1b[31m.sdf"),
    ):
        content = {file: as_bytes(THREE)}
        yield command(f"name_{name}", (file,), three, files=content)
    yield command("name_minus", ("--", "-x.sdf"), three, files={"-x.sdf": as_bytes(THREE)})
    yield command("name_not_utf8", (os.fsdecode(b"caf\xe9.sdf"),), three, prepare=_latin_name, apart=True)
    yield command("ending_only", (".sdf",), three, refused("ending|exist"), files={".sdf": as_bytes(THREE)})
    yield command(
        "smiles_that_is_a_file",
        ("CCO",),
        refused("ending"),
        records(either(good("C2H6O")), told=("CCO",)),
        files={"CCO": as_bytes(THREE)},
    )
    yield command(
        "smiles_that_is_a_folder",
        ("CCO",),
        refused("folder|directory"),
        records(good("C2H6O")),
        prepare=lambda folder: (folder / "CCO").mkdir(),
    )
    yield command("link", ("link.sdf",), three, prepare=lambda folder: (folder / "link.sdf").symlink_to("in.sdf"))
    yield command("same_file_twice", ("in.sdf", "in.sdf"), records(A, B, C, A, B, C))
    yield command(
        "same_name_in_two_folders",
        ("a/x.sdf", "b/x.sdf"),
        records(A, B),
        files={"a/x.sdf": as_bytes(RECORDS[0]), "b/x.sdf": as_bytes(RECORDS[1])},
    )


def _latin_name(folder: Path) -> None:
    Path(os.fsdecode(os.fsencode(folder) + b"/caf\xe9.sdf")).write_text(THREE)


def options() -> Iterator[OddInput]:
    three = records(A, B, C)
    yield command("conformers_of_sdf", ("in.sdf", "-n", "5"), refused("conformer"))
    yield command("conformers_zero", ("in.smi", "-n", "0"), refused("conformers|0"))
    yield command("steps_negative", ("in.sdf", "--max-steps", "-1"), refused("max-steps|-1"))
    yield command("steps_words", ("in.sdf", "--max-steps", "many"), refused("max-steps|many"))
    yield command("steps_zero", ("in.sdf", "--max-steps", "0"), three)
    yield command("force_zero", ("in.sdf", "--force-max", "0"), refused("force"))
    yield command("force_nan", ("in.sdf", "--force-max", "nan"), refused("force"))
    yield command("force_comma", ("in.sdf", "--force-max", "0,02"), refused("force"))
    yield command("seed_negative", ("in.smi", "--seed", "-1"), refused("seed"))
    yield command("seed_huge", ("in.smi", "--seed", str(10**30)), refused("seed"), records(good("C2H6O", "ethanol")))
    yield command("fix_words", ("in.sdf", "--fix-atoms", "all"), refused("1-4,7"))
    yield command("fix_zero", ("in.sdf", "--fix-atoms", "0"), refused("counted from 1"))
    yield command("fix_beyond", ("in.sdf", "--fix-atoms", "1-900"), records(*[bad("no atom 900")] * 3))
    yield command("torsion_of_three", ("in.sdf", "--freeze-torsion", "1,2,3"), refused("four different atoms"))
    yield command("torsion_twice_an_atom", ("in.sdf", "--freeze-torsion", "1,2,3,1"), refused("four different atoms"))
    yield command("spring_negative", ("in.sdf", "--restrain", "1:-2"), refused("above 0"))
    yield command("window_negative", ("in.sdf", "--window", "-1"), refused("window"))
    yield command("workers_zero", ("in.sdf", "--workers", "0"), refused("workers"))
    yield command("minima_of_constrained", ("in.sdf", "--check-minima", "--fix-heavy"), refused("check-minima"))
    yield command("multiplicity_zero", ("in.xyz", "--multiplicity", "0"), refused("multiplicity"))
    yield command("charge_float", ("in.xyz", "--charge", "0.5"), refused("charge"))
    yield command(
        "charge_huge",
        ("in.xyz", "--charge", str(10**30)),
        refused("charge|electron"),
        model="gfn2-xtb",
        output="out.xyz",
        files={"in.xyz": as_bytes(frame("", xyz_lines("O")))},
    )
    yield command("model_unknown", ("in.sdf", "-m", "mmff95"), refused("mmff94"))
    yield command("model_empty", ("in.sdf", "-m", ""), refused("model"))
    yield command("optimizer_unknown", ("in.sdf", "--optimizer", "bfgz"), refused("optimizer"))
    yield command("option_unknown", ("in.sdf", "--fmax", "0.1"), refused("fmax|force-max"))
    yield command("device_unknown", ("in.sdf", "--device", "gpu"), refused("device|gpu"))
    yield command("checkpoint_missing", ("in.sdf", "--checkpoint", "none.pt"), refused("none.pt"))
    yield command("checkpoint_is_an_sdf", ("in.sdf", "--checkpoint", "in.sdf"), refused("checkpoint"))


def outputs() -> Iterator[OddInput]:
    three = records(A, B, C)
    own = {"output": None}
    yield command("output_unknown_ending", ("in.sdf", "-o", "out.pdb"), refused("sdf|ending"), **own)
    yield command("output_no_ending", ("in.sdf", "-o", "out"), refused("sdf|ending"), **own)
    yield command("output_no_folder", ("in.sdf", "-o", "no/out.sdf"), refused("folder|directory"), **own)
    yield command(
        "output_is_a_folder",
        ("in.sdf", "-o", "d.sdf", "--overwrite"),
        refused("folder|directory"),
        prepare=lambda folder: (folder / "d.sdf").mkdir(),
        **own,
    )
    yield command("output_is_the_input", ("in.sdf", "-o", "in.sdf"), refused("exists"), **own)
    yield command("output_empty", ("in.sdf", "-o", ""), refused("output|sdf|ending"), **own)
    yield command("output_cannot_be_written", ("in.sdf", "-o", "/proc/x.sdf"), refused("/proc"), **own)
    yield command("output_sdf_of_xyz", ("in.xyz",), refused("bonds"), model="gfn2-xtb")
    yield command("output_upper_case", ("in.sdf",), three, output="OUT.SDF")
    yield command("output_odd_name", ("in.sdf",), three, output="my out, 分子.sdf")
    yield command("output_long_name", ("in.sdf",), three, refused("name|long"), output="x" * 250 + ".sdf")
    yield command("output_extxyz_of_sdf", ("in.sdf",), three, output="out.extxyz")


def mixtures() -> Iterator[OddInput]:
    water = good("H2O")
    yield command(
        "three_kinds",
        ("in.sdf", "in.xyz", "in.smi", "CCN"),
        records(A, B, C, water, good("C2H6O", "ethanol"), good("C2H7N")),
        model="gfn2-xtb",
        output="out.extxyz",
    )
    for name, bad_file in (("html", b"<html></html>\n"), ("empty", b""), ("binary", bytes(range(256)))):
        yield command(f"good_and_{name}", ("bad.sdf", "in.sdf"), records(bad(), A, B, C), files={"bad.sdf": bad_file})
    yield command(
        "good_and_folder",
        ("bad.sdf", "in.sdf"),
        refused("folder|directory"),
        records(bad("folder|directory"), A, B, C),
        prepare=lambda folder: (folder / "bad.sdf").mkdir(),
    )
    yield command("force_field_and_xyz", ("in.sdf", "in.xyz"), records(A, B, C, bad("bonds")), output="out.extxyz")


def typed() -> Iterator[OddInput]:
    for name, text, record in (
        ("ethanol", "CCO", good("C2H6O", "CCO")),
        ("spaces", " CCO ", good("C2H6O")),
        ("named", "CCO ethanol", either(good("C2H6O"))),
        ("ring_open", "C1CC", bad("SMILES|ring")),
        ("name", "aspirin", bad("SMILES")),
        ("long", "C" * 90, good("C90H182")),
        ("minus_inside", "[O-]C=O", good("CHO2", charge=-1)),
        ("dot", "O.O", good("H4O2")),
        ("reaction", "C>>O", bad("reaction|SMILES")),
        ("slashes", "C/C=C/C", good("C4H8")),
        ("backslashes", r"C/C=C\C", good("C4H8")),
        ("path_like", "C/C", either(good("C2H6"))),
        ("quoted", '"CCO"', bad("SMILES")),
        ("two_in_one", "CCO,CCN", bad("SMILES|comma")),
        ("star", "*", bad("atom|wildcard|dummy|SMILES|exist|element")),
        ("null_like", "None", bad("SMILES|exist")),
        ("number", "42", bad("SMILES|exist")),
        ("unicode", "乙醇", bad("SMILES|exist")),
        ("word_with_ending", "molecule.sdf2", bad("SMILES|exist|ending")),
    ):
        yield command(f"typed_{name}", (text,), records(record), *([MISSING] if record.words else []))
    yield command(
        "typed_good_and_wrong", ("CCO", "C1CC", "CCN"), records(good("C2H6O"), bad("SMILES|ring"), good("C2H7N"))
    )
    yield command("typed_file_in_quotes", ("'in.sdf'",), MISSING, records(bad("SMILES|exist")))
    yield command(
        "record_of_water",
        ("w.sdf",),
        records(good("H2O", "w")),
        files={"w.sdf": as_bytes(sdf_record("O", "w"))},
        apart=True,
    )
