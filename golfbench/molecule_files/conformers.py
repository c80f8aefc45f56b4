"""Conformers of molecules: embedded, walked on a fast model, thinned out, walked again and ranked on a better one.

The fast model decides which conformers are the same and which are hopeless; energies, ranks and weights are the better
model's alone. What the fast model does not take or fails on goes to the better one as it was embedded. Where an oracle
is named, it takes the lowest few to its own minima (``finishing``), and its energies rank these.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
from ase import units

from golfbench.chemistry import FloatArray
from golfbench.errors import ConfigurationError, MoleculeError
from golfbench.molecule_files.driver import Driver
from golfbench.molecule_files.input_molecules import EndPoint, InputMolecule, Notes, Reading, Unusable
from golfbench.molecule_files.minimizing import minimize_own, open_optimizer, stopping_rule
from golfbench.molecule_files.output import Kept, Output, add_together, open_output
from golfbench.molecule_files.ranking import Ranking, rank, shape_of
from golfbench.molecule_files.reading import Inputs
from golfbench.molecule_files.rows import OwnRow
from golfbench.molecule_files.writing import molecule_bytes

#: What walks when nothing is given: a force field first, then a network at the quality of density functional theory.
DEFAULT_FIRST_WALK, DEFAULT_MODEL = "mmff94", "aimnet2"
#: Instead of a model: there is no first walk.
NO_WALK = "none"
#: kcal/mol; conformers this far above the window are left out after the first walk. Force fields are wrong by 1 to 2.
MARGIN = 5.0
#: Conformers of a stereoisomer that an oracle takes to its own minima.
VERIFIED = 3
#: Places of an output that the conformers of one record have.
_PLACES = 1_000_000


@dataclass(frozen=True, slots=True)
class Search:
    """How conformers are searched.

    Attributes:
        count: Conformers embedded of each stereoisomer.
        window: Conformers higher above the lowest are left out, kcal/mol.
        temperature: Of the weights, K.
        seed: Seed of the embedding.
        every_isomer: Whether all stereoisomers are made that a SMILES leaves open.
        optimizer: Geometry optimizer.
        force_max: Threshold, eV/Å.
        max_steps: Steps of each walk.
        oracle: Takes the lowest conformers to its own minima; ``None`` for no such stage.
        verify: How many of each stereoisomer; the others are left out.
    """

    count: int = 20
    window: float = 6.0
    temperature: float = 298.15
    seed: int = 0
    every_isomer: bool = False
    optimizer: str = "rfo-internal"
    force_max: float = 0.02
    max_steps: int = 500
    oracle: str | None = None
    verify: int = VERIFIED

    def __post_init__(self) -> None:
        if self.count < 1:
            raise ConfigurationError(f"at least one conformer is needed, not {self.count}")
        if not 0 < self.temperature < math.inf:
            raise ConfigurationError(f"the temperature must be above 0 K, not {self.temperature}")
        if self.verify < 1:
            raise ConfigurationError(f"at least one conformer is to be verified, not {self.verify}")
        self.rankings()
        stopping_rule(self.force_max, self.max_steps)
        open_optimizer(self.optimizer)

    def rankings(self) -> tuple[Ranking, Ranking]:
        """Return how the ends of the first walk and of the second are thinned out."""
        return Ranking(True, self.window + MARGIN, True), Ranking(True, self.window, True)

    def reading(self) -> Reading:
        """Return how molecules are read: their bonds count, of which conformers are made."""
        return Reading(self.count, self.seed, bonds_only=True, every_isomer=self.every_isomer)

    def command(self, inputs: Inputs, first: Driver | None, better: Driver) -> str:
        """Return what must be the same for an unfinished output to be gone on with, a line each."""
        walks = [f"{driver.name} ({driver.method})" for driver in (first, better) if driver is not None]
        facts = {"conformers of": walks, "search": self, "input": inputs.digests()}
        return "".join(f"{name} {value!r}\n" for name, value in facts.items())


@dataclass(frozen=True, slots=True)
class Conformer:
    """One conformer, or one that was lost.

    Attributes:
        row: What became of it on the better model, with its weight.
        end: Where it came to rest; ``None`` where it was lost, and ``row`` says why.
    """

    row: OwnRow
    end: EndPoint | None


#: Takes conformers of one molecule, the lowest first, and their place in the output, to the oracle's minima: returns
#: those that are left, the lowest first by the oracle, and those that failed.
Finish = Callable[[Sequence[Conformer], int], tuple[list[Conformer], list[Conformer]]]


def unfinished(conformers: Sequence[Conformer], place: int) -> tuple[list[Conformer], list[Conformer]]:
    """Be a ``Finish`` without an oracle: leave everything as it is."""
    return list(conformers), []


@dataclass(frozen=True, slots=True)
class Ensemble:
    """The conformers of one stereoisomer.

    Attributes:
        id: Its name.
        smiles: Its SMILES; ``None`` where it was no molecule.
        embedded: Conformers that were embedded.
        walked: Those that were left for the better model.
        ranked: Those that were left after it.
        conformers: Those that are left in the end, the lowest first.
        lost: Those that failed.
    """

    id: str
    smiles: str | None
    embedded: int
    walked: int
    ranked: int
    conformers: tuple[Conformer, ...]
    lost: tuple[Conformer, ...]


def ensembles_of(
    inputs: Sequence[InputMolecule | Unusable],
    first: Driver | None,
    better: Driver,
    search: Search,
    notes: Notes,
    finish: Finish = unfinished,
    place: int = 0,
) -> Iterator[Ensemble]:
    """Yield the ensembles of the embedded conformers of one record, one for each stereoisomer.

    Args:
        inputs: Conformers with bonds, or why there are none.
        first: The fast model; ``None`` for no first walk.
        better: The model that ranks.
        search: How.
        notes: Told what a person should know.
        finish: Takes the lowest to the oracle's minima.
        place: Place of the first of them in the output; those of all records differ.
    """
    isomers: dict[str, list[InputMolecule]] = {}
    for given in inputs:
        if isinstance(given, InputMolecule):
            isomers.setdefault(f"{given.molecule.smiles}", []).append(given)
    unusable = [given for given in inputs if isinstance(given, Unusable)]
    for smiles, group in isomers.items():
        chosen = group if first is None else _first_walk(group, first, search, notes)
        ranked, lost = _walk(chosen, better, search, search.rankings()[1])
        left, failed = finish(ranked, place)
        place += len(ranked)
        id = group[0].molecule.id.rpartition("/")[0] if search.count > 1 else group[0].molecule.id
        missing = [given for given in unusable if given.id.rpartition("/")[0] == id]  # conformers that do not embed
        unusable = [given for given in unusable if given not in missing]
        lost += failed + _walk(missing, better, search, Ranking())[1]
        counts, weighted = (len(group), len(chosen), len(ranked)), _weighted(left, search.temperature)
        yield Ensemble(id, smiles, *counts, tuple(weighted), tuple(lost))
    if unusable:
        _, lost = _walk(unusable, better, search, Ranking())
        yield Ensemble(unusable[0].id, None, 0, 0, 0, (), tuple(lost))


def _first_walk(group: Sequence[InputMolecule], driver: Driver, search: Search, notes: Notes) -> list[InputMolecule]:
    """Return the conformers that are left for the better model, at the ends of their walks."""
    try:
        driver.check(group[0].molecule)
    except MoleculeError as error:
        notes.add(f"no first walk: {str(error).removeprefix(f'{group[0].molecule.id}: ')}", group[0].source)
        return list(group)
    left, lost = _walk(group, driver, search, search.rankings()[0])
    again = [group[conformer.row.record - 1] for conformer in lost]
    return [_at_end(conformer.end) for conformer in left if conformer.end is not None] + again


def _at_end(end: EndPoint) -> InputMolecule:
    return replace(end.given, molecule=end.given.molecule.at(end.positions))


def _walk(
    inputs: Sequence[InputMolecule | Unusable], driver: Driver, search: Search, ranking: Ranking
) -> tuple[list[Conformer], list[Conformer]]:
    """Walk conformers of one molecule; return those that are left, the lowest first, and those that failed."""
    found: dict[int, EndPoint | None] = {}
    with open_output(None, False) as kept:
        rule = stopping_rule(search.force_max, search.max_steps)
        for one in minimize_own(inputs, driver, open_optimizer(search.optimizer), rule, may_raise=False):
            row = one.row.model_copy(update={"record": one.place + 1})
            shape = shape_of(row, one.end)
            found[one.place] = None if shape is None else one.end
            kept.add(Kept(one.place, row, None, shape))
        return ranked_of(kept, found, ranking)


def ranked_of(
    kept: Output, found: Mapping[int, EndPoint | None], ranking: Ranking
) -> tuple[list[Conformer], list[Conformer]]:
    """Rank conformers of one molecule; return those that are left, the lowest first, and those that failed.

    Args:
        kept: Their rows; ``record`` is the place and one.
        found: Their end points by place; ``None`` for those that failed.
        ranking: Who is left out.
    """
    rank(kept, ranking)
    ends = [Conformer(row, found[row.record - 1]) for row in kept.rows(ranked=True)]
    left = [conformer for conformer in ends if conformer.end is not None and conformer.row.left_out is None]
    return left, [conformer for conformer in ends if conformer.end is None]


def _weighted(conformers: Sequence[Conformer], temperature: float) -> Iterator[Conformer]:
    relative = np.array([conformer.row.energy_relative_kcal_mol for conformer in conformers], dtype=np.float64)
    for conformer, weight in zip(conformers, boltzmann_weights(relative, temperature), strict=True):
        row, end = conformer.row.model_copy(update={"boltzmann_weight": float(weight)}), conformer.end
        assert end is not None
        yield Conformer(row, replace(end, facts={**end.facts, "boltzmann_weight": round(float(weight), 6)}))


def boltzmann_weights(relative_kcal_mol: FloatArray, temperature: float) -> FloatArray:
    """Return the Boltzmann weights (n,) of energies: of the energies alone, without vibrations and degeneracy.

    Args:
        relative_kcal_mol: (n,) energies above the lowest.
        temperature: K.
    """
    if not len(relative_kcal_mol):
        return relative_kcal_mol
    thermal = units.kB * temperature / (units.kcal / units.mol)
    factors = np.exp(-(relative_kcal_mol - relative_kcal_mol.min()) / thermal)
    return np.asarray(factors / factors.sum(), dtype=np.float64)


def search_library(
    inputs: Inputs,
    reading: Reading,
    first: Driver | None,
    better: Driver,
    search: Search,
    output: Output,
    finish: Finish = unfinished,
) -> Iterator[Ensemble]:
    """Search the conformers of all records that are not done; yield each ensemble when it is kept.

    Args:
        inputs: The molecules.
        reading: How they are read, as ``search.reading`` says; its notes are added to.
        first: The fast model; ``None`` for no first walk.
        better: The model that ranks.
        search: How.
        output: Where conformers are kept, and why some were lost.
        finish: Takes the lowest to the oracle's minima.
    """
    for number, pending in enumerate(inputs.pending()):
        place = number * _PLACES
        if output.done(place, place + _PLACES - 1):
            continue
        made = list(ensembles_of(list(pending(reading)), first, better, search, reading.notes, finish, place))
        rows = [conformer for ensemble in made for conformer in (*ensemble.conformers, *ensemble.lost)]
        add_together(output, [_kept(output, place + k, number, conformer) for k, conformer in enumerate(rows)])
        yield from made


def _kept(output: Output, place: int, number: int, conformer: Conformer) -> Kept:
    row, end = conformer.row.model_copy(update={"record": number + 1}), conformer.end
    suffix = None if output.path is None else output.path.suffix
    data = molecule_bytes(suffix, end) if end is not None and suffix is not None else None
    return Kept(place, row, data, shape_of(row, end))
