"""SMILES, in a file or as typed: conformers made by ETKDG."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np

from golfbench.chemistry import embed, rdkit_mol
from golfbench.errors import MoleculeError
from golfbench.molecule_files.entries import Entry, Reading, Unusable, empty, text_of


def read_smiles_file(path: str, reading: Reading) -> Iterator[Entry | Unusable]:
    """Read ``SMILES name`` lines; blank lines, comments (``#``) and a header that begins with ``SMILES`` are none."""
    found = False
    for number, line in enumerate(text_of(path).splitlines(), start=1):
        smiles, _, name = line.strip().partition(" ") if "\t" not in line else line.strip().partition("\t")
        if not smiles or smiles.startswith("#") or (number == 1 and smiles.lower() == "smiles"):
            continue
        found = True
        id = name.strip() or f"{Path(path).name}:{number}"
        yield from _embedded(smiles, id, f"{path}:{number}", reading)
    if not found:
        yield empty(path)


def read_smiles(smiles: str, reading: Reading) -> Iterator[Entry | Unusable]:
    """Yield the conformers of a SMILES as it was typed."""
    return _embedded(smiles, smiles, smiles, reading)


def _embedded(smiles: str, id: str, source: str, reading: Reading) -> Iterator[Entry | Unusable]:
    try:
        made = embed(smiles, id, reading.conformers, reading.seed)
    except MoleculeError as error:
        yield Unusable(id, source, error)
        return
    except RuntimeError as error:  # RDKit's invariants, for what its distance geometry has no rules for
        reason = str(error).strip().splitlines()[0]
        yield Unusable(id, source, MoleculeError(f"{id}: '{smiles}' does not embed: {reason}"))
        return
    for molecule in made:
        named = molecule if reading.conformers > 1 else replace(molecule, id=id)
        yield Entry(named, source, np.arange(len(named)), rdkit_mol(named))
    for k in range(len(made), reading.conformers):
        lost = f"{id}/{k}: only {len(made)} of {reading.conformers} conformers could be embedded"
        yield Unusable(f"{id}/{k}", source, MoleculeError(lost))
