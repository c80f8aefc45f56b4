"""A user's own molecules: SDF, XYZ and SMILES, each read by a module of its own.

A file may list its atoms in any order, while a ``Molecule`` with a SMILES has them in the SMILES's. So an SDF record
becomes a molecule in the order of its canonical SMILES, together with the permutation that puts it back: what is
written has the order, the bonds, the title and the data fields of the file that was read.

One bad record stops nothing: it takes its place in the list as ``Unusable``, with the reason.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path

from golfbench.errors import ConfigurationError
from golfbench.molecule_files.entries import Entry, Reading, Unusable
from golfbench.molecule_files.sdf import read_sdf
from golfbench.molecule_files.smiles import read_smiles, read_smiles_file
from golfbench.molecule_files.xyz import read_xyz

#: Kind of each file name ending that is read.
SUFFIXES = {
    ".sdf": "sdf",
    ".sd": "sdf",
    ".mol": "sdf",
    ".xyz": "xyz",
    ".extxyz": "xyz",
    ".smi": "smi",
    ".smiles": "smi",
}


def read_molecules(inputs: Sequence[str], reading: Reading) -> list[Entry | Unusable]:
    """Read files and SMILES, in their order.

    Args:
        inputs: Names of files or, where no such file exists, SMILES.
        reading: Conformers of SMILES; charge and multiplicity of XYZ.

    Raises:
        ConfigurationError: If a file is missing, cannot be read or is of no known kind, or an option is for a kind of
            input that is not there.
    """
    kinds = [_kind(text) for text in inputs]
    if reading.conformers > 1 and not {"smi", "smiles"} & set(kinds):
        raise ConfigurationError("conformers are made of SMILES only: a file with coordinates is taken as it is")
    if (reading.charge is not None or reading.multiplicity is not None) and "xyz" not in kinds:
        raise ConfigurationError("charge and multiplicity are options for XYZ only: SDF and SMILES say them themselves")
    return [entry for text, kind in zip(inputs, kinds, strict=True) for entry in _READERS[kind](text, reading)]


def _kind(text: str) -> str:
    suffix = Path(text).suffix.lower()
    if os.path.isfile(text):  # unlike Path.is_file, this bears with a SMILES that is too long for a file name
        if suffix not in SUFFIXES:
            raise ConfigurationError(f"{text}: files are read by their endings: {', '.join(SUFFIXES)}")
        return SUFFIXES[suffix]
    if suffix in SUFFIXES:
        raise ConfigurationError(f"{text} does not exist")
    return "smiles"


_READERS: Mapping[str, Callable[[str, Reading], Iterator[Entry | Unusable]]] = {
    "sdf": read_sdf,
    "xyz": read_xyz,
    "smi": read_smiles_file,
    "smiles": read_smiles,
}
