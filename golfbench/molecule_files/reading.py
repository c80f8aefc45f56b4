"""A user's own molecules: SDF, XYZ and SMILES, each read by a module of its own.

A file may list its atoms in any order, while a ``Molecule`` with a SMILES has them in the SMILES's. So an SDF record
becomes a molecule in the order of its canonical SMILES, together with the permutation that puts it back: what is
written has the order, the bonds, the title and the data fields of the file that was read.

One bad record stops nothing: it takes its place in the list as ``Unusable``, with the reason. What had to be assumed or
understood is told in ``Reading.notes``; the readers print nothing.
"""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path

from rdkit import Chem
from rdkit.rdBase import BlockLogs

from golfbench.errors import ConfigurationError, MoleculeError
from golfbench.molecule_files.entries import Entry, Reading, Unusable
from golfbench.molecule_files.sdf import read_sdf
from golfbench.molecule_files.smiles import read_smiles, read_smiles_file
from golfbench.molecule_files.text import file_name
from golfbench.molecule_files.xyz import read_xyz

#: Kind of each file name ending that is read, alone or before ``.gz``.
SUFFIXES = {
    ".sdf": "sdf",
    ".sd": "sdf",
    ".mol": "sdf",
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
        "pdb ent cif mmcif mol2 ml2 cml mrv cdx cdxml inchi pdbqt gro top psf vasp poscar xsf cube in inp out",
        "log gjf com fchk molden json yaml yml txt dat db traj h5 hdf5 npz npy pkl parquet mae maegz zip tar",
        "tgz bz2 xz zst gz xlsx xls",
    )
    for ending in line.split()
)
_ENDINGS = "files are read by their endings: " + ", ".join(SUFFIXES) + ", each also with .gz"


def read_molecules(inputs: Sequence[str], reading: Reading) -> list[Entry | Unusable]:
    """Read files and SMILES, in their order.

    Args:
        inputs: Names of files or, where no such file exists, SMILES.
        reading: Conformers of SMILES; charge and multiplicity of what does not say them. Its notes are added to.

    Raises:
        ConfigurationError: If a file is missing or of no known kind, or conformers are asked for
            and there is no SMILES.
    """
    kinds = [_kind(text) for text in inputs]
    if reading.conformers > 1 and not {"smi", "smiles"} & set(kinds):
        raise ConfigurationError("conformers are made of SMILES only: a file with coordinates is taken as it is")
    entries = [entry for text, kind in zip(inputs, kinds, strict=True) for entry in _read(text, kind, reading)]
    _note_shared_names(entries, reading)
    return entries


def _read(text: str, kind: str, reading: Reading) -> Iterator[Entry | Unusable]:
    """Yield what an input holds; a file that is damaged or no text costs itself alone."""
    try:
        yield from _READERS[kind](text, reading)
    except ConfigurationError as error:
        yield Unusable(file_name(text), text, MoleculeError(str(error).removeprefix(f"{text}: ")))


def _kind(text: str) -> str:
    suffix = suffix_of(text)
    if os.path.isfile(text):  # unlike Path.is_file, this bears with a SMILES that is too long for a file name
        if suffix not in SUFFIXES:
            raise ConfigurationError(f"{text}: {_ENDINGS}")
        return SUFFIXES[suffix]
    if os.path.isdir(text):
        raise ConfigurationError(f"{text} is a folder: name the files in it")
    if text.strip() in ("", "-"):
        raise ConfigurationError("the standard input is not read: name a file, or give SMILES")
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


def _note_shared_names(entries: Sequence[Entry | Unusable], reading: Reading) -> None:
    names = Counter(entry.molecule.id for entry in entries if isinstance(entry, Entry))
    for entry in entries:
        if isinstance(entry, Entry) and names[entry.molecule.id] > 1:
            text = "the same name stands for more than one molecule; the input tells them apart"
            reading.notes.add(text, entry.source)


_READERS: Mapping[str, Callable[[str, Reading], Iterator[Entry | Unusable]]] = {
    "sdf": read_sdf,
    "xyz": read_xyz,
    "smi": read_smiles_file,
    "smiles": read_smiles,
}
