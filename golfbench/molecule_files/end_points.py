"""End points that somebody else made: which test molecule each geometry is of, and its atoms in the order of that.

A geometry belongs to a test molecule by its id (``ibuprofen/0``: an SDF's title or data field ``molecule`` or ``id``,
the same names in the comment line of an XYZ frame), else by the name of the molecule where it has one start, else by
its atoms and bonds where they leave one. A name that is known decides alone.

An SDF has bonds, and its atoms in any order. A frame of an XYZ file has those of the test molecule in the order of the
dataset, or in the order of a SMILES of its own.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from functools import cached_property
from pathlib import Path

import numpy as np

from golfbench.benchmark.evaluate import GivenEnds
from golfbench.chemistry import FloatArray, bond_graph_changed, formula, stereo_changes
from golfbench.contracts import TestMolecule
from golfbench.errors import ConfigurationError, MoleculeError
from golfbench.fetching import sha256_of
from golfbench.molecule_files.input_molecules import InputMolecule, Notes, Reading, Unusable
from golfbench.molecule_files.isomorphism import in_order_of, skeleton
from golfbench.molecule_files.reading import SUFFIXES, suffix_of
from golfbench.molecule_files.sdf import read_sdf
from golfbench.molecule_files.text import Text
from golfbench.molecule_files.xyz import read_geometries
from golfbench.molecules import Molecule, group_of
from golfbench.runs.config import EndPoints, RunConfig
from golfbench.runs.runner import open_dataset

#: Names in an SDF's data fields and in a comment line that say whose a geometry is, in lower case.
FIELDS = ("molecule", "id")
#: Molecules that a line names.
NAMED = 3


def read_end_points(
    ends: EndPoints, test: Sequence[TestMolecule], limit: int | None = None
) -> tuple[GivenEnds, list[str]]:
    """Read a file of end points for a test set.

    Args:
        ends: The file.
        test: The whole test set, so that a geometry of a molecule that is left out is known for what it is.
        limit: Only the first so many test molecules are judged.

    Returns:
        The end points by test molecule, and what a person must know of them, a line each.

    Raises:
        ConfigurationError: If the file is of no known kind or not the one that was read before, if two geometries
            belong to one start or one could belong to several, or if none can be used.
    """
    path = ends.path
    if not path.is_file() or sha256_of(path) != ends.sha256:
        raise ConfigurationError(f"end points: {path} is not the file that was read before")
    notes = Notes()
    found, strange = _sorted(path.name, _inputs(path, notes), test)
    judged = test[:limit]
    positions: dict[str, FloatArray] = {}
    unusable: dict[str, MoleculeError] = {}
    for item in judged:
        given = found.get(item.molecule.id)
        try:
            if isinstance(given, Unusable):
                raise given.error
            if given is not None:
                positions[item.molecule.id] = _placed(given, item.molecule)
        except MoleculeError as error:
            unusable[item.molecule.id] = MoleculeError(f"{path.name}: {error}")
    _check_some(path.name, positions, [*unusable.values(), *_errors(strange)])
    lines = [*notes.lines(), *_lines(path.name, judged, positions, unusable, strange)]
    return GivenEnds(path.name, positions, unusable), lines


def given_ends(config: RunConfig) -> tuple[dict[str, GivenEnds], list[str]]:
    """Read the files of end points that a configuration names.

    Returns:
        Their end points by the names that it gives them, and what a person must know of them, a line each.

    Raises:
        ConfigurationError: See ``read_end_points``.
    """
    found: dict[str, GivenEnds] = {}
    told: list[str] = []
    if config.end_points:
        test = open_dataset(config.dataset).test
        for ends in config.end_points:
            found[ends.name], lines = read_end_points(ends, test, config.limit)
            told += lines
    return found, told


def _inputs(path: Path, notes: Notes) -> Iterator[InputMolecule | Unusable]:
    kind = SUFFIXES.get(suffix_of(str(path)))
    reading = Reading(notes=notes)
    if kind in ("sdf", "xyz"):
        text = Text(str(path), notes)
        pending = read_sdf(text, reading) if kind == "sdf" else read_geometries(text)
        return (given for one in pending for given in one(reading))
    known = ", ".join(suffix for suffix, kind in SUFFIXES.items() if kind in ("sdf", "xyz"))
    raise ConfigurationError(f"{path}: end points are geometries, read from {known}, each also with .gz")


def _sorted(
    file: str, inputs: Iterable[InputMolecule | Unusable], test: Sequence[TestMolecule]
) -> tuple[dict[str, InputMolecule | Unusable], list[InputMolecule | Unusable]]:
    """Return the geometries by the start that they are the end of, and those of no test molecule.

    Raises:
        ConfigurationError: If two are of one start, or one could be of several.
    """
    found: dict[str, InputMolecule | Unusable] = {}
    strange = []
    matcher = _Matcher(file, test)
    for given in inputs:
        start = matcher.start_of(given)
        if start is None:
            strange.append(given)
        elif start in found:
            raise ConfigurationError(f"{file}: two geometries for {start}: {_place(found[start])} and {_place(given)}")
        else:
            found[start] = given
    return found, strange


class _Matcher:
    """Tells whose a geometry is.

    Args:
        file: Name of the file, for messages.
        test: The test set.
    """

    def __init__(self, file: str, test: Sequence[TestMolecule]) -> None:
        self._file = file
        self._starts = {item.molecule.id: item.molecule for item in test}
        self._groups: defaultdict[str, list[str]] = defaultdict(list)
        for start in self._starts:
            self._groups[group_of(start)].append(start)

    @cached_property
    def _by_skeleton(self) -> dict[str, list[str]]:
        found: defaultdict[str, list[str]] = defaultdict(list)
        for start, molecule in self._starts.items():
            if molecule.smiles is not None:
                found[skeleton(molecule.smiles)].append(start)
        return found

    @cached_property
    def _by_atoms(self) -> dict[bytes, list[str]]:
        found: defaultdict[bytes, list[str]] = defaultdict(list)
        for start, molecule in self._starts.items():
            found[molecule.numbers.tobytes()].append(start)
        return found

    def start_of(self, given: InputMolecule | Unusable) -> str | None:
        """Return the id of the start whose end a geometry is; ``None`` if it is of no test molecule.

        Raises:
            ConfigurationError: If it could be of several.
        """
        names = _names(given)
        for name in names:
            if name in self._starts:
                return name
        for name in names:
            if name in self._groups:
                return self._only(given, self._groups[name])
            if group_of(name) in self._groups:
                return None  # another start of a test molecule, one that is not in the set
        return self._only(given, self._alike(given)) if isinstance(given, InputMolecule) else None

    def _alike(self, given: InputMolecule) -> list[str]:
        """Return the starts with the atoms, and as far as they are known the bonds, of a geometry."""
        smiles = given.molecule.smiles
        if smiles is None:
            return self._by_atoms.get(given.molecule.numbers.tobytes(), [])
        same = self._by_skeleton.get(skeleton(smiles), [])
        isomers = [start for start in same if len(same) > 1 and _is_isomer(given, self._starts[start])]
        return isomers or same

    def _only(self, given: InputMolecule | Unusable, starts: Sequence[str]) -> str | None:
        if len(starts) > 1:
            raise ConfigurationError(
                f"{self._file}: {_place(given)} could be the end of {_listed(starts)}: write the id of its start into "
                "its title or a field 'molecule'"
            )
        return starts[0] if starts else None


def _names(given: InputMolecule | Unusable) -> list[str]:
    """Return what a geometry is called, the clearest first."""
    if isinstance(given, Unusable):
        return [given.id]
    facts = [(name.lower(), value.strip()) for name, value in given.fields]
    if given.atoms is not None:
        facts += [(name.lower(), str(value).strip()) for name, value in given.atoms.info.items()]
    named = [value for field in FIELDS for name, value in facts if name == field]
    return [*named, given.molecule.id]


def _is_isomer(given: InputMolecule, start: Molecule) -> bool:
    placed = in_order_of(start, str(given.molecule.smiles), given.molecule.positions)
    return not bond_graph_changed(start, placed) and not stereo_changes(start, placed)


def _placed(given: InputMolecule, start: Molecule) -> FloatArray:
    """Return the positions of a geometry in the atom order of its start.

    Raises:
        MoleculeError: If its atoms or bonds are others.
    """
    molecule = given.molecule
    if not np.isfinite(molecule.positions).all():
        raise MoleculeError(f"the coordinates of {_place(given)} are not finite")
    if molecule.smiles is not None and start.smiles is not None:
        try:
            return in_order_of(start, molecule.smiles, molecule.positions)
        except MoleculeError as error:
            raise MoleculeError(f"{_place(given)}: {error}") from None
    if np.array_equal(molecule.numbers, start.numbers):
        return molecule.positions
    raise MoleculeError(f"{_place(given)}: {_difference(molecule, start)}")


def _difference(molecule: Molecule, start: Molecule) -> str:
    """Return in what the atoms of a geometry are not those of its start."""
    ours, theirs = molecule.numbers, start.numbers
    missing = int((theirs == 1).sum() - (ours == 1).sum())
    if missing > 0 and np.array_equal(np.sort(ours[ours != 1]), np.sort(theirs[theirs != 1])):
        return f"{missing} hydrogens are missing: end points are judged with all atoms of {start.id}"
    if np.array_equal(np.sort(ours), np.sort(theirs)):
        return f"its atoms are not in the order of {start.id} in the dataset; give an SDF, whose bonds tell them apart"
    return f"its atoms are {formula(molecule)}, those of {start.id} are {formula(start)}"


def _place(given: InputMolecule | Unusable) -> str:
    """Return where a geometry stands in its file, and what it is called there."""
    number = given.source.rpartition(":")[2]
    id = given.id if isinstance(given, Unusable) else given.molecule.id
    return f"number {number}" if id.endswith(f":{number}") else f"number {number} ({id})"


def _errors(inputs: Iterable[InputMolecule | Unusable]) -> list[MoleculeError]:
    return [given.error for given in inputs if isinstance(given, Unusable)]


def _check_some(file: str, positions: dict[str, FloatArray], errors: Sequence[MoleculeError]) -> None:
    """Refuse a file that gives nothing to judge.

    Raises:
        ConfigurationError: With the first reason.
    """
    if positions:
        return
    if not errors:
        raise ConfigurationError(f"{file}: none of its geometries is of a test molecule")
    more = f" (and {len(errors) - 1} more)" if len(errors) > 1 else ""
    raise ConfigurationError(f"{file}: no geometry can be used: {str(errors[0]).removeprefix(f'{file}: ')}{more}")


def _lines(
    file: str,
    judged: Sequence[TestMolecule],
    positions: dict[str, FloatArray],
    unusable: dict[str, MoleculeError],
    strange: Sequence[InputMolecule | Unusable],
) -> Iterator[str]:
    """Yield what a person must know of a file, a line for each kind of thing."""
    if strange:
        yield f"{file}: {len(strange)} left out, of no test molecule: {_listed([_place(given) for given in strange])}"
    ids = [item.molecule.id for item in judged]
    if missing := [id for id in ids if id not in positions and id not in unusable]:
        yield f"{file}: no geometry for {len(missing)} of {len(ids)} test molecules: {_listed(missing)}"
    if unusable:
        yield f"{file}: {len(unusable)} cannot be used: {next(iter(unusable.values()))}".replace(f": {file}: ", ": ")
    known = [m for item in judged if (m := item.molecule).smiles is not None and m.id in positions]
    if broken := [m.id for m in known if bond_graph_changed(m, positions[m.id])]:
        yield (
            f"{file}: {len(broken)} have other bonds than their molecules: {_listed(broken)}; atoms in another order "
            "look like that, too"
        )


def _listed(names: Sequence[str]) -> str:
    return ", ".join([*names[:NAMED], *(["..."] if len(names) > NAMED else [])])
