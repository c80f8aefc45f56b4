"""Records: what happened to one molecule in one stage of one run, one JSON line each.

A record holds energies, counts and a status, never a metric: metrics are recomputed from records (``metrics``). The
first of these that applies is the status of a molecule:

* ``skipped``, ``error``, ``interrupted``: there is no end point to judge. They stay in every denominator.
* ``oracle_failed``: the oracle gave no energy for the end point, so the end point is not judged, and the record has no
  final energy.
* ``diverged``: the end point lies above the start under the oracle (Tsypin et al. 2024, Eq. 9), or the walk blew up
  before it had an end point.
* ``topology_changed``: the bond graph of the end point is not that of the SMILES, or it is another stereoisomer than
  the start. It takes part in the mean pct, as in the paper, which leaves out only the diverged; it is never a success.
* ``converged``, ``step_limit``, ``time_limit``: how the walk stopped.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterable, Sequence
from enum import StrEnum
from io import FileIO
from pathlib import Path
from typing import Any, Literal

from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    NonNegativeFloat,
    NonNegativeInt,
    PositiveInt,
    SerializerFunctionWrapHandler,
    ValidationError,
    model_serializer,
    model_validator,
)

from golfbench.durable import append_whole, write_errors
from golfbench.errors import ConfigurationError

SCHEMA_VERSION = 1
#: Energies closer than this (Hartree) are the same: about 0.0006 kcal/mol, above the noise of a converged engine.
ENERGY_TOLERANCE_HARTREE = 1e-6

Stage = Literal["reference", "before", "after"]


class Status(StrEnum):
    """What became of a molecule."""

    CONVERGED = "converged"
    STEP_LIMIT = "step_limit"
    TIME_LIMIT = "time_limit"
    DIVERGED = "diverged"
    TOPOLOGY_CHANGED = "topology_changed"
    ORACLE_FAILED = "oracle_failed"
    ERROR = "error"
    SKIPPED = "skipped"
    INTERRUPTED = "interrupted"

    @property
    def finished(self) -> bool:
        """Whether there is an end point that did not diverge."""
        return self in _FINISHED

    @property
    def judged(self) -> bool:
        """Whether the oracle compared the end of the walk with its start, or the walk blew up."""
        return self.finished or self is Status.DIVERGED

    @property
    def failed(self) -> bool:
        """Whether something broke, so that nothing is known of the walk's end."""
        return not self.judged


_FINISHED = (Status.CONVERGED, Status.STEP_LIMIT, Status.TIME_LIMIT, Status.TOPOLOGY_CHANGED)


class FrozenModel(BaseModel):
    """Base of the published documents: frozen, no unknown field, no NaN."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False, protected_namespaces=())


class Identity(FrozenModel):
    """What a record, and a row of a table, is about.

    Attributes:
        combination: Id of model × optimizer × selection × oracle × seed, see ``combination_id``.
        model: The model as it was typed.
        optimizer: The optimizer as it was typed.
        selection: The selection as it was typed.
        oracle: The oracle as it was typed.
        seed: Seed of the run; ``None`` where nothing was drawn.
        stage: ``reference`` (a fixed model to compare with), ``before`` or ``after`` the training.
        method: Level of theory of every energy, for example ``GFN2-xTB``.
        budget: Labels that had been asked for, of a model that was judged on the way; ``None`` at the end of a training
            and where nothing is trained.
    """

    combination: str = Field(min_length=1)
    model: str
    optimizer: str
    selection: str
    oracle: str
    seed: int | None
    stage: Stage
    method: str = Field(min_length=1)
    budget: PositiveInt | None = None


class Record(Identity):
    """One molecule of one stage.

    Attributes:
        schema_version: Version of this schema.
        molecule: Id of the molecule (one conformation).
        group: Id of the compound; conformations of one group are matched in COV and MAT.
        n_atoms: Number of atoms.
        status: What became of it.
        converged: The force criterion was met, with any status.
        n_steps: Optimizer updates.
        model_calls: Force evaluations.
        energy_initial_hartree: Oracle's energy of the start.
        energy_final_hartree: Oracle's energy of the end point.
        energy_reference_hartree: Oracle's energy of the reference minimum that belongs to this start.
        energies_at_step_hartree: Oracle's energy at the evaluation steps.
        force_max_final_hartree_per_angstrom: The model's largest force norm of an atom at the end point.
        bond_graph_changed: Whether the bond graph of the end point differs from that of the SMILES.
        stereo_changed: Whether the end point, with the same bonds, is another stereoisomer than the start; ``None``
            where that was not looked at.
        rmsd_to_references_angstrom: RDKit's GetBestRMS of the end point to each reference minimum of the group, by
            the id of the molecule that the minimum was reached from; its own minimum is among them.
        wall_s: Wall time of the minimization.
        error_type: Type of the exception.
        error_message: Its first line.
        log: Where all of it is, relative to the run directory.
    """

    schema_version: Literal[1] = 1
    molecule: str = Field(min_length=1)
    group: str = Field(min_length=1)
    n_atoms: PositiveInt
    status: Status
    converged: bool
    n_steps: NonNegativeInt
    model_calls: NonNegativeInt
    energy_initial_hartree: float | None
    energy_final_hartree: float | None
    energy_reference_hartree: float | None
    energies_at_step_hartree: dict[NonNegativeInt, float] = Field(default_factory=dict)
    force_max_final_hartree_per_angstrom: NonNegativeFloat | None = None
    bond_graph_changed: bool | None = None
    stereo_changed: bool | None = None
    rmsd_to_references_angstrom: dict[str, NonNegativeFloat] = Field(default_factory=dict)
    wall_s: NonNegativeFloat
    error_type: str | None = None
    error_message: str | None = None
    log: str | None = None

    @model_serializer(mode="wrap")
    def _without_what_was_not_looked_at(self, dump: SerializerFunctionWrapHandler) -> dict[str, Any]:
        """Leave out a field that older records do not have: their text, and the hashes over it, stay the same."""
        fields: dict[str, Any] = dump(self)
        for name in ("stereo_changed", "budget"):
            if getattr(self, name) is None:
                fields.pop(name, None)
        return fields

    @model_validator(mode="after")
    def _agree(self) -> Record:
        for contradiction, applies in self._contradictions().items():
            if applies:
                raise ValueError(f"{self.molecule}: status is {self.status}, but {contradiction}")
        return self

    def _contradictions(self) -> dict[str, bool]:
        status, start, end = self.status, self.energy_initial_hartree, self.energy_final_hartree
        known = start is not None and end is not None
        rose = start is not None and end is not None and end > start + ENERGY_TOLERANCE_HARTREE
        limited = status in (Status.STEP_LIMIT, Status.TIME_LIMIT)
        measured = self.molecule in self.rmsd_to_references_angstrom
        return {
            "its initial or final energy is missing": status.finished and not known,
            "the final energy is above the initial one": status.finished and rose,
            "it has a final energy": status is Status.ORACLE_FAILED and end is not None,
            "the force criterion was not met": status is Status.CONVERGED and not self.converged,
            "the force criterion was met": limited and self.converged,
            "neither the bond graph nor the stereoisomer is said to have changed": (
                status is Status.TOPOLOGY_CHANGED and not (self.bond_graph_changed or self.stereo_changed)
            ),
            "the bond graph or the stereoisomer changed": (
                status.finished
                and status is not Status.TOPOLOGY_CHANGED
                and bool(self.bond_graph_changed or self.stereo_changed)
            ),
            "no error type is given": status in (Status.ERROR, Status.ORACLE_FAILED) and not self.error_type,
            "the distance to its own reference minimum is missing": (
                bool(self.rmsd_to_references_angstrom) and self.energy_reference_hartree is not None and not measured
            ),
        }


def combination_id(
    model: str, optimizer: str, selection: str, oracle: str, seed: int | None, budget: int | None = None
) -> str:
    """Return the id of a combination, for example ``painn:preset=small|lbfgs|golf|gfn2-xtb|seed=0``.

    A model that is judged on the way has one of its own: ``...|gfn2-xtb|budget=16|seed=0``.
    """
    names = "|".join((model, optimizer, selection, oracle))
    names += "" if budget is None else f"|budget={budget}"
    return names if seed is None else f"{names}|seed={seed}"


def json_schema() -> dict[str, Any]:
    """Return the JSON Schema of one line of ``records.jsonl``."""
    return Record.model_json_schema()


def latest_records(records: Iterable[Record]) -> list[Record]:
    """Return the last record of each molecule, stage and combination, in the order of their first ones.

    Files of records only grow: a molecule that was interrupted has another line after the run was resumed.
    """
    return list({(r.combination, r.stage, r.molecule): r for r in records}.values())


class RecordFile:
    """The records of a run, and which molecules have one: read once, and updated when records are appended.

    Args:
        path: ``records.jsonl``; it may be missing.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._judged: dict[tuple[str, str], set[str]] | None = None

    def judged(self, combination: str, stage: str) -> set[str]:
        """Return the ids of the molecules that have a record in a stage of a combination."""
        if self._judged is None:
            self._judged = {}
            self._index(read_records(self.path) if self.path.exists() else [])
        return set(self._judged.get((combination, stage), ()))

    def append(self, records: Sequence[Record]) -> None:
        """Append records; see ``append_records``."""
        append_records(self.path, records)
        self._index(records)

    def _index(self, records: Iterable[Record]) -> None:
        if self._judged is not None:
            for record in records:
                self._judged.setdefault((record.combination, record.stage), set()).add(record.molecule)


def append_records(path: str | os.PathLike[str], records: Iterable[Record]) -> None:
    """Append one line per record and wait until the disk has them.

    A torn last line, left by a crash, is removed first. When writing fails, the file is put back to what it was.

    Args:
        path: The JSONL file; it is created if it is missing.
        records: They are validated once more, since ``model_copy`` and ``model_construct`` do not.

    Raises:
        pydantic.ValidationError: If a record is not valid (a NaN, for example); nothing is written then.
        golfbench.errors.WriteError: If the disk is full or the file cannot be written.
    """
    block = "".join(_line(record) for record in records).encode()
    if not block:
        return
    with write_errors(str(path)), open(path, "a+b", buffering=0) as file:
        _mend(file)
        append_whole(file, block, sync=True)


def read_records(path: str | os.PathLike[str]) -> list[Record]:
    """Read every record of a file, in the order of the lines.

    A last line that a crash has torn (no line end, not a record) is dropped.

    Raises:
        golfbench.errors.ConfigurationError: If the file cannot be read, or any other line is not a valid record; the
            line and the field are named.
    """
    try:
        lines = Path(path).read_bytes().split(b"\n")
    except OSError as error:
        raise ConfigurationError(f"{path}: {error.strerror or error}") from error
    tail = lines.pop()
    records = [_parse(line, f"{path}, line {number}") for number, line in enumerate(lines, start=1)]
    if tail:
        with contextlib.suppress(ConfigurationError):
            records.append(_parse(tail, str(path)))
    return records


def _line(record: Record) -> str:
    return Record.model_validate(record.model_dump()).model_dump_json() + "\n"


def _parse(line: bytes, where: str) -> Record:
    try:
        return Record.model_validate_json(line)
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        field = ".".join(map(str, first["loc"]))
        raise ConfigurationError(f"{where}: {field + ': ' if field else ''}{first['msg']}") from None


def _mend(file: FileIO) -> None:
    """Make the file end with a line end, as ``read_records`` understands its tail."""
    size = file.seek(0, os.SEEK_END)
    if size == 0:
        return
    file.seek(-1, os.SEEK_END)
    if file.read(1) == b"\n":
        return
    file.seek(0)
    tail = file.readall().rpartition(b"\n")[2]
    try:
        _parse(tail, "the last line")
    except ConfigurationError:
        file.truncate(size - len(tail))
    else:
        append_whole(file, b"\n")
