"""Rows of the label cache: what is kept of a label, its checksum, and its form as a line of JSON."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any, NamedTuple, get_type_hints

import numpy as np

from golfbench.contracts import FloatArray, Label
from golfbench.errors import ConfigurationError
from golfbench.molecules import Molecule
from golfbench.oracles.question import Question, label_key

#: Of the file (``PRAGMA user_version``) and of exported lines.
SCHEMA_VERSION = 1
#: A path in an option: absolute, from a home folder, ``./``, on Windows, or a URL. ``B3LYP/6-31G*`` is none.
_FILE_NAME = re.compile(r"""(?:^|[\s"'(=:,;\[])(?:(?:~[\w.-]*|\.{1,2})?/|[A-Za-z]:\\)""")
#: Beyond this a charge or a multiplicity is garbage.
_LARGEST = 999


class LabelRow(NamedTuple):
    """A label as it is kept: the columns of the table after ``id``. Arrays are little-endian: int16 and float64."""

    key: str
    oracle: str
    method: str
    options: str
    options_sha256: str
    engine: str
    geometry_sha256: str
    numbers: bytes
    positions_angstrom: bytes
    charge: int
    multiplicity: int
    energy_hartree: float
    forces_hartree_per_angstrom: bytes
    wall_s: float
    cpu_s: float | None
    created_utc: str
    sha256: str

    @classmethod
    def of(cls, question: Question, label: Label, engine: str, wall_s: float, cpu_s: float | None) -> LabelRow:
        """Return the row of an answer to a question, sealed by its checksum."""
        molecule = question.molecule
        row = cls(
            key=question.key,
            oracle=question.oracle,
            method=label.method,  # of another method, it does not fit the key
            options=_options_text(question.options),
            options_sha256=question.options_sha256,
            engine=engine,
            geometry_sha256=question.geometry_sha256,
            numbers=molecule.numbers.astype("<i2").tobytes(),
            positions_angstrom=molecule.positions.astype("<f8").tobytes(),
            charge=int(molecule.charge),
            multiplicity=int(molecule.multiplicity),
            energy_hartree=float(label.energy) + 0.0,  # SQLite has no -0.0
            forces_hartree_per_angstrom=np.asarray(label.forces).astype("<f8").tobytes(),
            wall_s=float(wall_s),
            cpu_s=None if cpu_s is None else float(cpu_s),
            created_utc=utc_text(datetime.now(UTC)),
            sha256="",
        )
        return row._replace(sha256=row.checksum())

    def checksum(self) -> str:
        """Return SHA-256 over all columns but the last, whatever their types."""
        content = [value.hex() if isinstance(value, (bytes, float)) else value for value in self[:-1]]
        return hashlib.sha256(json.dumps(content).encode()).hexdigest()

    def is_sound(self) -> bool:
        """Return whether it is what was written."""
        return self.sha256 == self.checksum()

    def problem(self) -> str:
        """Return what is wrong with it, or an empty text."""
        try:
            return next((text for wrong, text in self._checks() if wrong), "")
        except (ConfigurationError, TypeError, ValueError) as error:
            return f"the content is malformed ({error})"

    def _checks(self) -> Iterator[tuple[bool, str]]:
        yield not self.is_sound(), "the checksum is wrong"
        bad = [name for value, (name, kind) in zip(self, COLUMNS.items(), strict=True) if not isinstance(value, kind)]
        yield bool(bad), f"{', '.join(bad)}: the type is wrong"
        names = (self.oracle, self.method, self.engine)
        yield not all(name.isprintable() for name in names), "a name has characters that do not print"
        yield self.options_sha256 != hashlib.sha256(self.options.encode()).hexdigest(), "the options' hash is wrong"
        positions, forces = _vectors(self.positions_angstrom), _vectors(self.forces_hartree_per_angstrom)
        molecule = Molecule("", atomic_numbers(self.numbers), positions, self.charge, self.multiplicity)
        yield self.geometry_sha256 != molecule.geometry_hash(), "the geometry hash is wrong"
        yield max(abs(self.charge), abs(self.multiplicity)) > _LARGEST, "charge and multiplicity are out of range"
        key = label_key(self.oracle, self.method, self.options_sha256, self.geometry_sha256)
        yield self.key != key, "the method and the address do not belong together"
        yield forces.shape != positions.shape, "the forces do not fit the atoms"
        costs = np.array([self.wall_s, self.cpu_s or 0.0])
        values = np.concatenate([positions.ravel(), forces.ravel(), costs, [self.energy_hartree]])
        yield not np.isfinite(values).all(), "a number is not finite"
        yield bool((costs < 0).any()), "a time is negative"
        yield utc_text(datetime.fromisoformat(self.created_utc)) != self.created_utc, "the date is not ISO 8601 in UTC"
        named = _FILE_NAME.search(self.options) or _FILE_NAME.search(self.engine)
        yield named is not None, "its options name a file or an address, which does not say what is in it"

    def label(self) -> Label:
        """Return the label."""
        return Label(self.energy_hartree, _vectors(self.forces_hartree_per_angstrom), self.method)

    def line(self) -> str:
        """Return it as a line of JSON whose numbers are exact."""
        facts: dict[str, Any] = {"schema_version": SCHEMA_VERSION} | self._asdict()
        del facts["key"]
        facts["options"], facts["numbers"] = json.loads(self.options), atomic_numbers(self.numbers).tolist()
        for name in _ARRAYS:
            facts[name] = _vectors(facts[name]).tolist()
        return json.dumps(facts, allow_nan=False) + "\n"


COLUMNS = get_type_hints(LabelRow)
_ARRAYS = ("positions_angstrom", "forces_hartree_per_angstrom")


def parse_line(line: bytes) -> LabelRow | str:
    """Return the label on a line of JSON, or why the line is refused."""
    try:
        facts = json.loads(line)
        if facts.pop("schema_version", None) != SCHEMA_VERSION:
            return f"the schema version is not {SCHEMA_VERSION}"
        if strange := set(facts) ^ {*LabelRow._fields[1:]}:
            return f"{', '.join(sorted(strange))}: missing or unknown"
        address = [facts[name] for name in ("oracle", "method", "options_sha256", "geometry_sha256")]
        facts["options"] = _options_text(facts["options"])
        facts["numbers"] = np.array(facts["numbers"], dtype="<i2").tobytes()
        for name in _ARRAYS:
            facts[name] = np.array(facts[name], dtype="<f8").reshape(-1, 3).tobytes()
        row = LabelRow(key=label_key(*address), **facts)
    except (AttributeError, OverflowError, RecursionError, TypeError, ValueError):
        return "this is no label"
    return row.problem() or row


def _options_text(options: Any) -> str:
    """Return options in the form that ``Question.options_sha256`` is the hash of."""
    return json.dumps(options, sort_keys=True, allow_nan=False)


def _vectors(data: bytes) -> FloatArray:
    """Return (n, 3) numbers from little-endian float64."""
    return np.frombuffer(data, "<f8").astype(np.float64).reshape(-1, 3)


def atomic_numbers(data: bytes) -> np.ndarray[Any, np.dtype[np.int64]]:
    """Return atomic numbers (n_atoms,) from little-endian int16."""
    return np.frombuffer(data, "<i2").astype(np.int64)


def utc_text(moment: datetime) -> str:
    """Return a time in the one form whose order as text is the order in time."""
    return moment.astimezone(UTC).isoformat(timespec="milliseconds")
