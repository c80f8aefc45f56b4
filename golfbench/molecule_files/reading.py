"""A user's own molecules: SDF, MOL2, PDB, XYZ and SMILES, each read by a module of its own.

A file may list its atoms in any order, while a ``Molecule`` with a SMILES has them in the SMILES's. So a record with
bonds becomes a molecule in the order of its canonical SMILES, together with the permutation that puts it back: what is
written has the order, the bonds, the title and the data fields of the file that was read.

A file is cut into records while it is read, and a record is understood when its turn comes
(``input_molecules.Pending``), so that a library takes no more memory than a molecule. One bad record stops nothing: it
takes its place as ``Unusable``, with the reason. What had to be assumed or understood is told in ``Reading.notes``; the
readers print nothing.
"""

from __future__ import annotations

import os
import re
import shutil
import sys
import tempfile
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from functools import partial
from itertools import islice
from pathlib import Path
from typing import IO, Protocol

from rdkit import Chem
from rdkit.rdBase import BlockLogs

from golfbench.errors import ConfigurationError, MoleculeError
from golfbench.molecule_files.input_molecules import InputMolecule, Notes, Pending, Reading, Unusable
from golfbench.molecule_files.mol2 import read_mol2
from golfbench.molecule_files.pdb import read_pdb
from golfbench.molecule_files.sdf import read_sdf
from golfbench.molecule_files.smiles import embedded, read_smiles, read_smiles_file
from golfbench.molecule_files.text import Text, file_name, legible
from golfbench.molecule_files.xyz import read_xyz

#: Kind of each file name ending that is read, alone or before ``.gz``.
SUFFIXES = {
    ".sdf": "sdf",
    ".sd": "sdf",
    ".mol": "sdf",
    ".mol2": "mol2",
    ".ml2": "mol2",
    ".pdb": "pdb",
    ".ent": "pdb",
    ".xyz": "xyz",
    ".extxyz": "xyz",
    ".smi": "smi",
    ".smiles": "smi",
    ".csv": "smi",
    ".tsv": "smi",
}
#: Endings of files that people have molecules in, and that are not read.
_OTHER_SUFFIXES = frozenset(
    f".{ending}"
    for line in (
        "cif mmcif cml mrv cdx cdxml inchi pdbqt gro top psf vasp poscar xsf cube in inp out",
        "log gjf com fchk molden json yaml yml txt dat db traj h5 hdf5 npz npy pkl parquet mae maegz zip tar",
        "tgz bz2 xz zst gz xlsx xls",
    )
    for ending in line.split()
)
_ENDINGS = "files are read by their endings: " + ", ".join(SUFFIXES) + ", each also with .gz"
#: What is written for the standard input, and what its records are called.
STDIN, STDIN_LABEL = "-", "stdin"
#: What a line of each kind of file looks like, in this order; SMILES are what is left.
_MARKS = {
    "mol2": re.compile(r"@<TRIPOS>"),
    "sdf": re.compile(r"\$\$\$\$|M  END|.*V[23]000\s*$"),
    "pdb": re.compile(r"(ATOM  |HETATM)|(HEADER|COMPND|TITLE |REMARK|CRYST1|MODEL ) "),
    "xyz": re.compile(r"\s*\d+\s*$"),
}
SHARED_NAME = "the same name stands for more than one molecule; the input and golfbench_id tell them apart"
#: Lines of the standard input that say what it is.
_LOOKED_AT = 2000


class Records(Protocol):
    """Molecules one after the other, which can be read more than once."""

    def pending(self) -> Iterator[Pending]:
        """Yield the records, each to be read."""

    def again(self) -> Iterator[Pending]:
        """Yield all of them once more, counted and noted nowhere."""


class Inputs:
    """Files, SMILES and the standard input, in their order.

    Args:
        inputs: Names of files, ``-`` for the standard input or, where no such file exists, SMILES.
        reading: How they are read. Its notes are added to.
        stdin_format: What the standard input is; left out, what it looks like.

    Attributes:
        read: Records that were given so far.

    Raises:
        ConfigurationError: If a file is missing or of no known kind, or conformers are asked for
            and there is no SMILES.
    """

    def __init__(self, inputs: Sequence[str], reading: Reading, stdin_format: str | None = None) -> None:
        self._reading, self.read = reading, 0
        kinds = [_kind(text) for text in inputs]
        if stdin_format is not None and stdin_format not in _READERS:
            raise ConfigurationError(f"unknown input format '{stdin_format}': there are {', '.join(_READERS)}")
        if inputs.count(STDIN) > 1:
            raise ConfigurationError("the standard input can be read once only")
        self._spool: IO[bytes] | None = None
        self._parts: list[tuple[str, str | Text | Unusable]] = []
        for text, kind in zip(inputs, kinds, strict=True):
            self._parts.append(self._opened(text, kind, stdin_format))
        of_bonds = reading.bonds_only or {"smi", "smiles"} & {kind for kind, _ in self._parts}
        if reading.conformers > 1 and not of_bonds:
            raise ConfigurationError("conformers are made of SMILES only: a file with coordinates is taken as it is")

    def _opened(self, text: str, kind: str, stdin_format: str | None) -> tuple[str, str | Text | Unusable]:
        if kind == "smiles":
            return kind, text
        path, label = (self._spooled(), STDIN_LABEL) if text == STDIN else (text, legible(text))
        try:
            opened = Text(path, self._reading.notes, label)
            return (stdin_format or _guessed(opened)) if text == STDIN else kind, opened
        except ConfigurationError as error:  # a file that is damaged or no text costs itself alone
            reason = MoleculeError(str(error).removeprefix(f"{label}: "))
            return kind, Unusable(file_name(label), label, reason)

    def _spooled(self) -> str:
        """Copy the standard input to a file, which is read more than once."""
        if sys.stdin is None or sys.stdin.isatty():
            raise ConfigurationError("the standard input is a terminal: pipe molecules into it, or name a file")
        self._spool = tempfile.NamedTemporaryFile(prefix="golfbench-stdin-")  # noqa: SIM115 - lives as long as this
        shutil.copyfileobj(sys.stdin.buffer, self._spool)
        self._spool.flush()
        return self._spool.name

    def pending(self) -> Iterator[Pending]:
        """Yield the records, frames, lines and SMILES."""
        for pending in self._pending(self._reading):
            self.read += 1
            yield pending

    def again(self) -> Iterator[Pending]:
        """Yield all of them once more, counted and noted nowhere."""
        return self._pending(replace(self._reading, notes=Notes()))

    def _pending(self, reading: Reading) -> Iterator[Pending]:
        for kind, part in self._parts:
            if isinstance(part, Text):
                made = _READERS[kind](part, reading)
                spatial = kind not in _OF_BONDS and reading.bonds_only
                yield from (partial(_of_its_bonds, pending) for pending in made) if spatial else made
            elif isinstance(part, Unusable):
                yield partial(_as_it_is, part)
            else:
                yield partial(read_smiles, part)

    def share(self) -> float:
        """Return how much of the files has been given, from 0 to 1; SMILES as typed do not count."""
        texts = [part for _, part in self._parts if isinstance(part, Text)]
        total = sum(text.size for text in texts)
        return sum(text.size * text.share() for text in texts) / total if total else 1.0

    def digests(self) -> list[str]:
        """Return what tells the inputs from others: SMILES as typed, and the digests of files."""
        return [part.digest if isinstance(part, Text) else str(part) for _, part in self._parts]


def _as_it_is(made: Unusable, reading: Reading) -> list[Unusable]:
    return [made]


def _of_its_bonds(pending: Pending, reading: Reading) -> Iterator[InputMolecule | Unusable]:
    """Yield conformers of what was read with coordinates, as of its SMILES."""
    for made in pending(replace(reading, conformers=1)):
        if isinstance(made, Unusable):
            yield made
        elif made.molecule.smiles is None:
            reason = MoleculeError(f"{made.molecule.id}: it has no bonds; give an SDF or a SMILES")
            yield Unusable(made.molecule.id, made.source, reason)
        else:
            alike = replace(reading, multiplicity=made.molecule.multiplicity)
            yield from embedded(made.molecule.smiles, made.molecule.id, made.source, made.fields, alike)


def read_molecules(
    inputs: Sequence[str], reading: Reading, stdin_format: str | None = None
) -> list[InputMolecule | Unusable]:
    """Read files and SMILES, in their order; see ``Inputs``."""
    found = [given for pending in Inputs(inputs, reading, stdin_format).pending() for given in pending(reading)]
    _note_shared_names(found, reading)
    return found


def _guessed(text: Text) -> str:
    """Return what a text looks like; the first line alone says that it is XYZ."""
    first = [line for line in islice(text.lines(), _LOOKED_AT) if line.strip()]
    for kind, mark in _MARKS.items():
        if any(map(mark.match, first[:1] if kind == "xyz" else first)):
            return kind
    return "smi"


def _kind(text: str) -> str:
    suffix = suffix_of(text)
    if os.path.isfile(text):  # unlike Path.is_file, this bears with a SMILES that is too long for a file name
        if suffix not in SUFFIXES:
            raise ConfigurationError(f"{text}: {_ENDINGS}")
        return SUFFIXES[suffix]
    if os.path.isdir(text):
        raise ConfigurationError(f"{text} is a folder: name the files in it")
    if text == STDIN:
        return STDIN_LABEL
    if not text.strip():
        raise ConfigurationError("an input is empty: name a file, give SMILES, or - for the standard input")
    if _is_smiles(text):
        return "smiles"
    if suffix in SUFFIXES or suffix in _OTHER_SUFFIXES:
        also = "" if suffix in SUFFIXES else f" (and such a file would not be read: {_ENDINGS})"
        raise ConfigurationError(f"{text} does not exist{also}")
    if _looks_like_path(text):
        raise ConfigurationError(f"{text} is neither a file that exists nor a valid SMILES")
    return "smiles"


def suffix_of(text: str) -> str:
    """Return the ending of a file name in lower case, without that of its compression."""
    path = Path(text)
    inner = Path(path.stem).suffix.lower() if path.suffix.lower() == ".gz" else ""
    return inner or path.suffix.lower()


def _is_smiles(text: str) -> bool:
    with BlockLogs():
        return Chem.MolFromSmiles(text, sanitize=False) is not None


def _looks_like_path(text: str) -> bool:
    """Return whether a text that is no SMILES begins as a path does; bonds may be slashes, too."""
    return text.startswith(("/", "./", "../", "~")) or (os.sep in text and os.path.isdir(os.path.dirname(text)))


def _note_shared_names(inputs: Sequence[InputMolecule | Unusable], reading: Reading) -> None:
    names = Counter(given.molecule.id for given in inputs if isinstance(given, InputMolecule))
    for given in inputs:
        if isinstance(given, InputMolecule) and names[given.molecule.id] > 1:
            reading.notes.add(SHARED_NAME, given.source)


_READERS: Mapping[str, Callable[[Text, Reading], Iterator[Pending]]] = {
    "sdf": read_sdf,
    "mol2": read_mol2,
    "pdb": read_pdb,
    "xyz": read_xyz,
    "smi": read_smiles_file,
}
#: Kinds whose readers make conformers themselves.
_OF_BONDS = ("sdf", "smi")
FORMATS = tuple(_READERS)
