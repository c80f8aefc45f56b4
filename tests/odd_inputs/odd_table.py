"""What an odd input is made of: files, a command, and what a chemist expects of it.

The expectations say what is *right*, not what the program does. Where two answers are right (a file is read, or refused
by a clear line), both are listed, and the input passes with either.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path

from rdkit import Chem
from rdkit.Chem import rdDistGeom

SEED = 20240
#: Any reason but one that says nothing.
ANY_REASON = r"^(?!is not a valid mol block$|is not a valid SMILES$)."


@dataclass(frozen=True, slots=True)
class Record:
    """What is expected of one record, frame or line.

    Attributes:
        formula: In Hill order without a charge; ``""`` for a record that cannot be read.
        words: Patterns, one of which the reason must hold when the record is refused; ``()`` when it must be read.
        title: Its id, where that is certain.
        charge: Total charge, where it matters.
        multiplicity: 2S + 1, where it matters.
    """

    formula: str
    words: tuple[str, ...] = ()
    title: str | None = None
    charge: int | None = None
    multiplicity: int | None = None


def good(formula: str, title: str | None = None, charge: int | None = None, multiplicity: int | None = None) -> Record:
    """Return a record that must be read and written."""
    return Record(formula, (), title, charge, multiplicity)


def bad(*words: str) -> Record:
    """Return a record that must be refused, with one of these patterns in the reason."""
    return Record("", words or (ANY_REASON,))


def either(record: Record, *words: str) -> Record:
    """Return a record that is read as ``record``, or refused with one of these patterns in the reason."""
    return Record(record.formula, words or (ANY_REASON,), record.title, record.charge, record.multiplicity)


@dataclass(frozen=True, slots=True)
class Answer:
    """One right answer to an input.

    Attributes:
        records: What is expected of each record, in the order of the file.
        told: Patterns that must all be found on stderr.
        refused: Patterns, one of which must be on stderr, when the input is refused as a whole: exit 2, no molecule.
    """

    records: tuple[Record, ...] = ()
    told: tuple[str, ...] = ()
    refused: tuple[str, ...] = ()

    @property
    def exit_codes(self) -> frozenset[int]:
        """Exit codes that fit (a molecule that is only at its step limit gives 1, too)."""
        if self.refused or all(record.formula == "" for record in self.records):
            return frozenset({2})
        if all(not record.words for record in self.records):
            return frozenset({0, 1})
        sure = any(record.formula and not record.words for record in self.records)
        return frozenset({1}) if sure and any(not record.formula for record in self.records) else frozenset({0, 1, 2})


def records(*expected: Record, told: Iterable[str] = ()) -> Answer:
    """Return the answer that has a row for each of these records."""
    return Answer(expected, tuple(told))


def refused(*words: str) -> Answer:
    """Return the answer that refuses the whole input with one line."""
    return Answer(refused=words or (ANY_REASON,))


@dataclass(frozen=True, slots=True)
class OddInput:
    """A command with its files.

    Attributes:
        name: Of the test, and of the folder that ``make.py`` writes.
        arguments: Of ``golfbench minimize``, the input file first.
        answers: What is right; any of them will do.
        files: Content of each file by its name.
        prepare: Does in the folder what a file's content cannot (folders, links, permissions).
        model: What walks.
        output: Name of the output; ``None`` where the arguments say it.
        max_steps: Steps allowed; ``None`` walks until it converges.
        kept: Texts that the output must hold.
        absent: Texts that neither the output nor the answer may hold.
        apart: Run in a process of its own, as a person would.
        numbered: Whether ``input`` of each row is the file and the number of the record.
        stdin: What the process is given on stdin.
    """

    name: str
    arguments: tuple[str, ...]
    answers: tuple[Answer, ...]
    files: dict[str, bytes] = field(default_factory=dict)
    prepare: Callable[[Path], None] | None = None
    model: str = "mmff94"
    output: str | None = "out.sdf"
    max_steps: int | None = 5
    kept: tuple[str, ...] = ()
    absent: tuple[str, ...] = ("\ufffd", "\ufeff")
    apart: bool = False
    numbered: bool = True
    stdin: str = ""

    @property
    def command(self) -> list[str]:
        """Arguments of ``golfbench``."""
        output = [] if self.output is None else ["-o", self.output]
        steps = [] if self.max_steps is None else ["--max-steps", str(self.max_steps)]
        return ["minimize", "--model", self.model, *output, *steps, "--json", *self.arguments]

    def write(self, folder: Path) -> None:
        """Write the files into a folder that exists."""
        for name, content in self.files.items():
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            (folder / name).write_bytes(content)
        if self.prepare is not None:
            self.prepare(folder)


def as_bytes(text: str | bytes) -> bytes:
    """Return UTF-8."""
    return text if isinstance(text, bytes) else text.encode()


def hill(symbols: Iterable[str]) -> str:
    """Return the formula in Hill order."""
    counts = Counter(symbols)
    first = [s for s in ("C", "H") if "C" in counts and s in counts]
    order = first + sorted(set(counts) - set(first))
    return "".join(s + (str(counts[s]) if counts[s] > 1 else "") for s in order)


@cache
def molecule(smiles: str) -> Chem.Mol:
    """Return a conformer with its hydrogens; the same one each time. Do not change it."""
    mol = Chem.AddHs(Chem.MolFromSmiles(smiles))
    if rdDistGeom.EmbedMolecule(mol, randomSeed=SEED) != 0:
        raise AssertionError(f"{smiles} does not embed")
    places = mol.GetConformer().GetPositions()
    for k, fragment in enumerate(Chem.GetMolFrags(mol)):  # they are embedded one upon the other
        places[list(fragment)] += [6.0 * k, 0.0, 0.0]
    mol.GetConformer().SetPositions(places)
    return mol


def formula(smiles: str) -> str:
    """Return the formula of a SMILES."""
    return hill(atom.GetSymbol() for atom in Chem.AddHs(Chem.MolFromSmiles(smiles)).GetAtoms())


def block(smiles: str, title: str = "", v3000: bool = False) -> str:
    """Return a mol block that ends behind ``M  END``."""
    mol = Chem.Mol(molecule(smiles))
    mol.SetProp("_Name", "")
    text: str = Chem.MolToMolBlock(mol, forceV3000=v3000)
    return title + text


def item(name: str, value: str) -> str:
    """Return a data item of an SDF."""
    return f">  <{name}>\n{value}\n\n"


def sdf_record(smiles: str, title: str = "", **fields: str) -> str:
    """Return a sound record with its separator."""
    return block(smiles, title) + "".join(item(k, v) for k, v in fields.items()) + "$$$$\n"


def xyz_lines(smiles: str) -> list[str]:
    """Return the atom lines of an XYZ frame."""
    mol = molecule(smiles)
    places = mol.GetConformer().GetPositions()
    return [
        f"{a.GetSymbol():2s} {x:12.6f} {y:12.6f} {z:12.6f}" for a, (x, y, z) in zip(mol.GetAtoms(), places, strict=True)
    ]


def frame(comment: str, lines: list[str]) -> str:
    """Return an XYZ frame."""
    return "\n".join([str(len(lines)), comment, *lines]) + "\n"
