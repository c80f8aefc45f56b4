"""``golfbench.conformers``: the low conformers of molecules in memory, with energies and Boltzmann weights."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rdkit import Chem

from golfbench.api.frames import frame_of
from golfbench.api.minimizing import Minimized, Progress
from golfbench.api.molecules import Start, as_mol, bonds_of, in_python, listed
from golfbench.errors import MoleculeError
from golfbench.molecule_files.conformers import (
    DEFAULT_FIRST_WALK,
    DEFAULT_MODEL,
    NO_WALK,
    VERIFIED,
    Conformer,
    Ensemble,
    Search,
    ensembles_of,
)
from golfbench.molecule_files.driver import Driver, open_driver, open_fast
from golfbench.molecule_files.finishing import open_finish
from golfbench.molecule_files.input_molecules import InputMolecule, Unusable
from golfbench.molecule_files.oracle_walks import Verification
from golfbench.molecule_files.state import State
from golfbench.runs.baseline import Permission
from golfbench.runs.grid import check_device


@dataclass(frozen=True, slots=True)
class Conformers(Sequence[Minimized]):
    """The conformers of one stereoisomer, the lowest first.

    Attributes:
        id: Its name.
        given: Which of the things that were given it is from, counted from 0.
        smiles: Its SMILES; ``None`` where it was no molecule.
        embedded: Conformers that were embedded.
        walked: Those that were left for the better model.
        ranked: Those that were left after it.
        items: Those that are left in the end. Their rows have ``energy_relative_kcal_mol`` and ``boltzmann_weight``.
        lost: Those that failed; their rows say why.
        model: The model that ranks.
        method: Level of theory of its energies.
        oracle: Who took the lowest to its own minima, and ranks these; ``None`` where nobody did.
    """

    id: str
    given: int
    smiles: str | None
    embedded: int
    walked: int
    ranked: int
    items: tuple[Minimized, ...]
    lost: tuple[Minimized, ...]
    model: str
    method: str
    oracle: str | None = None

    def __len__(self) -> int:
        return len(self.items)

    def __getitem__(self, place: Any) -> Any:
        return self.items[place]

    @property
    def molecule(self) -> Chem.Mol:
        """One RDKit molecule with all conformers, the lowest first; energies and weights are properties of these.

        Raises:
            MoleculeError: If there is no conformer, with the reason.
        """
        if not self.items:
            reason = self.lost[0].row.error_message if self.lost else "none is left"
            raise MoleculeError(f"{self.id}: no conformer: {reason}")
        whole: Chem.Mol = self.items[0].molecule
        whole.RemoveAllConformers()
        whole.SetProp("_Name", self.id)
        for item in self.items:
            conformer = Chem.Conformer(item.molecule.GetConformer())
            relative, weight = item.row.energy_relative_kcal_mol, item.row.boltzmann_weight
            assert relative is not None
            assert weight is not None
            conformer.SetDoubleProp("energy_relative_kcal_mol", relative)
            conformer.SetDoubleProp("boltzmann_weight", weight)
            whole.AddConformer(conformer, assignId=True)
        return whole

    def frame(self) -> Any:
        """Return a ``pandas.DataFrame``, one row a conformer, the lowest first.

        Raises:
            ComponentMissingError: If pandas is not installed.
        """
        return frame_of(item.facts() for item in self.items)


def conformers(
    molecules: Any,
    *,
    count: int = 20,
    window: float = 6.0,
    model: str | None = None,
    checkpoint: str | Path | None = None,
    first_walk: str | None = DEFAULT_FIRST_WALK,
    oracle: str | None = None,
    verify: int = VERIFIED,
    every_isomer: bool = False,
    seed: int = 0,
    temperature: float = 298.15,
    optimizer: str = "rfo-internal",
    force_max: float = 0.02,
    max_steps: int = 500,
    device: str = "cpu",
    progress: Progress | None = None,
) -> list[Conformers]:
    """Find the low conformers of molecules: embed, walk on a fast model, walk again and rank on a better one.

    After the first walk each conformer is there once, and those far above the window are left out. The second walk
    ranks: duplicates and what is above the window are left out again.

    Args:
        molecules: One or several, also mixed: SMILES, RDKit molecules (their bonds count, their first conformer says
            the stereoisomer; atoms keep their order), ``pathlib.Path`` of files.
        count: Conformers embedded of each stereoisomer, by ETKDGv3.
        window: Conformers higher above the lowest are left out, kcal/mol.
        model: Ranks; AIMNet2 if not given.
        checkpoint: A trained model instead; the file says which.
        first_walk: The fast model; ``None`` or ``none`` for no such walk.
        oracle: Takes the lowest conformers to its own minima, with 25 labels for each at most; its energies rank them.
        verify: How many of each stereoisomer; the others are left out.
        every_isomer: Make all stereoisomers that are left open, not one of them.
        seed: Seed of the embedding.
        temperature: Of the weights, K.
        optimizer: Geometry optimizer, with parameters.
        force_max: Threshold of both walks, eV/Å.
        max_steps: Steps of each walk.
        device: Where networks live.
        progress: Told how many molecules are done, of how many.

    Returns:
        One for each stereoisomer, and for what was no molecule: that has no conformer, and ``lost`` says why.

    Raises:
        ConfigurationError: For an unknown name or parameter, or something whose bonds are not known.
        ComponentMissingError: If what a model needs is not installed.
    """
    walks = optimizer, force_max, max_steps
    search = Search(count, window, temperature, seed, every_isomer, *walks, oracle, verify)
    check_device(device)
    if oracle is not None:
        Verification(oracle).check()
    fast = None if first_walk in (None, NO_WALK) else first_walk
    given, reading = list(listed(molecules)), search.reading()
    path, permission = None if checkpoint is None else Path(checkpoint), Permission()
    found: list[Conformers] = []
    with (
        open_driver(model, path, DEFAULT_MODEL, permission=permission, device=device) as better,
        open_fast(fast, permission, device) as first,
        open_finish(search, better, State()) as finish,
    ):
        place = 0
        for number, one in enumerate(given):
            for inputs in bonds_of(one, f"molecules[{number}]", reading):
                made = ensembles_of(inputs, first, better, search, reading.notes, finish, place)
                found.extend(_made(ensemble, number, better, oracle) for ensemble in made)
                place += len(inputs)
            if progress is not None:
                progress(number + 1, len(given))
    return found


def _made(ensemble: Ensemble, number: int, better: Driver, oracle: str | None) -> Conformers:
    items, lost = (
        tuple(_minimized(conformer, number) for conformer in group) for group in (ensemble.conformers, ensemble.lost)
    )
    counts = ensemble.embedded, ensemble.walked, ensemble.ranked
    return Conformers(ensemble.id, number, ensemble.smiles, *counts, items, lost, better.name, better.method, oracle)


def _minimized(conformer: Conformer, number: int) -> Minimized:
    row, end = conformer.row, conformer.end
    message = None if row.error_message is None else in_python(row.error_message)
    read: InputMolecule | Unusable = end.given if end else Unusable(row.id, row.input, MoleculeError(message or ""))
    return Minimized(row.model_copy(update={"error_message": message}), number, end, Start(read, as_mol, number))
