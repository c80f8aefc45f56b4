"""Charge and multiplicity, in the spellings of common programs.

``charge=-2 multiplicity=1`` is golfbench's own. ASE has ``initial_charges`` and ``initial_magmoms``, MACE
``total_charge`` and ``total_spin``, OMol25 ``charge`` and ``spin``, xtb ``chrg`` and ``uhf``, others ``Charge``,
``net_charge``, ``mult``, ``nopen``. Gaussian, ORCA and Q-Chem begin a geometry with two integers. A key that looks
like one of these and is not understood is refused: an anion taken for a neutral molecule would get a wrong energy that
looks right.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from golfbench.errors import MoleculeError

#: Words of a key that do not change what it means: ``REF_total_charge`` is ``charge``.
_FILLERS = frozenset(
    word
    for line in (
        "total tot net overall system sys mol molecule molecular ref dft qm formal pubchem state num number no n of",
        "the electron electrons input",
    )
    for word in line.split()
)
#: What remains of a key without these words, and the meaning of its value.
_MEANINGS: Mapping[frozenset[str], str] = {
    frozenset(words.split()): meaning
    for meaning, spellings in {
        "charge": ("charge", "charges", "chrg", "q", "qtot", "molcharge", "totalcharge", "netcharge"),
        "multiplicity": (
            *("multiplicity", "mult", "multip", "spin multiplicity", "spin mult"),
            *("spinmultiplicity", "spinmult", "2s+1"),
        ),
        "unpaired": ("uhf", "nopen", "unpaired", "nunpaired", "unpaired spin", "unpaired spins"),
        "spin": ("spin", "totalspin"),
        "moment": ("magmom", "magnetic moment"),
    }.items()
    for words in spellings
}
_LOOKS_LIKE = re.compile(r"charge|chrg|spin|multiplicit|magmom|unpaired|uhf|nopen")
#: Keys that speak of charges and spins without giving those of the molecule.
_HARMLESS = re.compile(
    r"nuclear|core|effective|born|transfer|density|energy|contamination|squared|s2|polari|restrict|method|model|"
    r"source|scheme|type|penalty|constraint|weight|loss|error|spinor|recharge|discharge"
)
_STATE_WORDS = (
    r"total[ _]charge|net[ _]charge|charge|chrg|q(?=\s*[:=])|spin[ _]multiplicity|multiplicity|mult|uhf|nopen|spin"
)
#: ``charge: -2``, ``Charge = -2`` and ``charge -2`` in a line that is no list of ``key=value``.
_IN_WORDS = re.compile(rf"(?<![\w-])({_STATE_WORDS})\s*(?:[:=]\s*)?([+-]?\d+(?:\.\d+)?[+-]?)(?![\w.])", re.IGNORECASE)
#: ``-2 1`` or ``-2 1 oxalate``: charge and multiplicity, as in the input of quantum chemistry programs.
LEADING_INTEGERS = re.compile(r"^\s*([+-]?\d{1,2})[\s,]+(\d{1,2})(?=\s*$|\s+[^\W\d])")
#: ``{"charge": "-2"}``: a key or a number in quotation marks.
_QUOTED_WORD = re.compile(r"[\"']([\w ]{1,40}(?=[\"']\s*[:=])|[+-]?\d{1,3}[+-]?(?=[\"']))[\"']")
_QUOTED = re.compile(r'"(?:[^"\\]|\\.)*"|\'[^\']*\'')
#: Partial charges and moments are rounded in files: their sum may miss an integer by this.
SUM_TOLERANCE = 0.02


@dataclass(frozen=True, slots=True)
class State:
    """What is stated of a molecule's electrons.

    Attributes:
        charge: Total charge, e; ``None`` where it is not said.
        multiplicity: 2S + 1; ``None`` where it is not said.
        notes: How the input was read, in words, for the user to check.
    """

    charge: int | None = None
    multiplicity: int | None = None
    notes: tuple[str, ...] = ()


def looks_like_state(key: str) -> bool:
    """Return whether a key seems to speak of charge or spin."""
    return _meaning(key) is not None or (
        _LOOKS_LIKE.search(key.lower()) is not None and _HARMLESS.search(key.lower()) is None
    )


def stated(
    id: str,
    numbers: npt.NDArray[np.int64],
    info: Mapping[str, Any],
    columns: Mapping[str, npt.NDArray[Any]] | None = None,
    comment: str = "",
    *,
    known: State = State(),
    otherwise: int = 0,
    strict: bool = True,
) -> State:
    """Return what facts, columns and the comment line of a molecule say of its charge and multiplicity.

    Args:
        id: Its name, for messages.
        numbers: (n_atoms,) atomic numbers.
        info: Facts by name, as in ``atoms.info``.
        columns: (n_atoms,) or (n_atoms, k) values by name, as in ``atoms.arrays``.
        comment: The comment line of an XYZ frame.
        known: Charge and multiplicity that are known already: those in the file are ignored.
        otherwise: The charge where nothing says it; the number of electrons tells how a spin is meant.
        strict: Whether a key that looks like charge or spin and is not understood is refused.

    Raises:
        MoleculeError: If two of them contradict one another, do not fit the number of electrons, or are not understood.
    """
    said = [*_of_info(id, info, strict), *_of_columns(id, columns or {}), *_of_comment(comment)]
    notes = []
    total = (
        known.charge if known.charge is not None else _agreed(id, "charge", [s for s in said if s.meaning == "charge"])
    )
    electrons = int(numbers.sum()) - (otherwise if total is None else total)
    spins = []
    for one in said:
        if one.meaning != "charge" and known.multiplicity is None:
            spins.append(_as_multiplicity(id, one, electrons))
            if one.meaning == "spin":
                notes.append(f"'{one.shown}' is read as {'2S+1' if spins[-1].value == one.value else '2S'}")
    notes += [f"the charge is the sum of '{s.shown}'" for s in said if s.summed and s.meaning == "charge"]
    notes += ["the two integers that begin the comment line are charge and multiplicity"] * any(
        s.key == _COMMENT for s in said
    )
    spin = known.multiplicity if known.multiplicity is not None else _agreed(id, "multiplicity", spins)
    return State(total, spin, tuple(dict.fromkeys(notes)))


_COMMENT = "the comment line"


@dataclass(frozen=True, slots=True)
class _Said:
    key: str
    meaning: str
    value: float
    summed: bool = False

    def __str__(self) -> str:
        where = self.key if self.key == _COMMENT else f"'{self.shown}'"
        return f"{'the sum of ' * self.summed}{where} ({self.value:g})"

    @property
    def shown(self) -> str:
        """The key as the file has it: results that ASE knows have been renamed."""
        return self.key.removeprefix("input_")


def _words(key: str) -> frozenset[str]:
    parted = re.sub(r"(?<=[a-z])(?=[A-Z])", "_", key).lower()
    return frozenset(word for word in re.split(r"[\s_.\-/]+", parted) if word and word not in _FILLERS)


def _meaning(key: str) -> str | None:
    return _MEANINGS.get(_words(key))


def _of_info(id: str, info: Mapping[str, Any], strict: bool) -> Iterator[_Said]:
    for key, value in info.items():
        meaning = _meaning(key)
        if key == "S" and strict:
            yield from _capital_s(id, value)
        elif meaning is None:
            if strict and looks_like_state(key) and _number(value) is not None:
                raise MoleculeError(f"{id}: '{key}' looks like a charge or spin, but is not understood: {_REMEDY}")
        elif not isinstance(value, bool | np.bool_):  # a bare word of a comment line, which ASE reads as true
            yield from _scalar(id, key, meaning, value, strict)


_REMEDY = "write charge=... and multiplicity=..."


def _scalar(id: str, key: str, meaning: str, value: Any, strict: bool) -> Iterator[_Said]:
    number = _number(value)
    whole = number is not None and number == round(number)
    half = number is not None and meaning == "spin" and 2 * number == round(2 * number)
    near = number is not None and meaning == "moment" and abs(number - round(number)) <= SUM_TOLERANCE
    if number is not None and (whole or half or near):
        yield _Said(key, meaning, float(round(number) if near else number))
    elif strict and key.lower() != "q":  # what is no integer under a letter alone is something else
        raise MoleculeError(f"{id}: {key} must be an integer, not {value}")


def _capital_s(id: str, value: Any) -> Iterator[_Said]:
    """Yield S, the spin, as collections of complexes have it: 0 is clear, and 192.5 is an entropy."""
    number = _number(value)
    if number == 0:
        yield _Said("S", "unpaired", 0.0)
    elif number is not None and 0 < number <= 4 and 2 * number == round(2 * number):
        raise MoleculeError(f"{id}: 'S={value}' may be its spin: write multiplicity=... (2S+1) instead")


def _of_columns(id: str, columns: Mapping[str, npt.NDArray[Any]]) -> Iterator[_Said]:
    for key, values in columns.items():
        low = key.lower()
        charges = "charge" in low and not _HARMLESS.search(low)
        moments = ("magmom" in low or "spin" in low) and not _HARMLESS.search(low)
        if not (charges or moments) or values.dtype.kind not in "iuf" or not np.any(values):
            continue  # programs write a column of zeros where nothing was given
        if values.ndim != 1:
            if moments:
                raise MoleculeError(f"{id}: the column '{key}' holds vectors: {_REMEDY} instead of it")
            continue
        total = float(values.sum())
        if abs(total - round(total)) > SUM_TOLERANCE:
            raise MoleculeError(f"{id}: the column '{key}' adds up to {total:.3f}, which is no integer: {_REMEDY}")
        yield _Said(key, "charge" if charges else "moment", float(round(total)), summed=True)


def _of_comment(comment: str) -> Iterator[_Said]:
    bare = _QUOTED.sub("", _QUOTED_WORD.sub(r"\1", comment))
    leading = LEADING_INTEGERS.match(bare)
    if leading:
        yield _Said(_COMMENT, "charge", float(leading[1]))
        yield _Said(_COMMENT, "multiplicity", float(leading[2]))
    for key, text in _IN_WORDS.findall(bare):
        number, meaning = _number(text), _meaning(key)
        if number is not None and meaning is not None and (meaning == "spin" or number == round(number)):
            yield _Said(key, meaning, number)


def _number(value: Any) -> float | None:
    """Return a number, also of ``2-`` and ``+1``; ``None`` for anything else, booleans and arrays included."""
    if isinstance(value, str):
        text = value.strip()
        value = text[-1] + text[:-1] if re.fullmatch(r"\d+[+-]", text) else text
    elif isinstance(value, bool | np.bool_) or np.ndim(value):
        return None
    try:
        number = float(value)
    except (TypeError, ValueError):
        return None
    return number if np.isfinite(number) else None


def _as_multiplicity(id: str, said: _Said, electrons: int) -> _Said:
    """Return a spin in any convention as 2S + 1; the number of electrons tells 2S from 2S + 1."""
    value = said.value
    if said.meaning in ("unpaired", "moment"):
        value = abs(value) + 1
    elif said.meaning == "spin" and value != round(value):  # S of an odd number of electrons
        value = 2 * abs(value) + 1
    elif said.meaning == "spin" and (electrons + value) % 2 == 0:
        value = abs(value) + 1
    if value < 1 or (electrons - (value - 1)) % 2:
        raise MoleculeError(f"{id}: {said} does not fit {electrons} electrons: {_REMEDY}")
    return _Said(said.key, "multiplicity", value, said.summed)


def _agreed(id: str, what: str, said: list[_Said]) -> int | None:
    for one in said:
        if one.value != said[0].value:
            raise MoleculeError(f"{id}: {said[0]} and {one} contradict one another about its {what}")
    return int(said[0].value) if said else None
