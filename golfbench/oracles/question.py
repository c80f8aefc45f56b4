"""A question to an oracle, and its address: the same question has the same answer, whoever asks it."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property

from golfbench.molecules import Molecule
from golfbench.registry import registry
from golfbench.specs import Named, OracleSpec, Scalar


@dataclass(frozen=True, eq=False)
class Question:
    """One geometry at one level of theory.

    Attributes:
        oracle: Name of the oracle, without parameters.
        method: Level of theory.
        options: Parameters that the label depends on, resolved; threads, memory and the like are not among them.
        molecule: Whose energy and forces are asked for.
    """

    oracle: str
    method: str
    options: Mapping[str, Scalar]
    molecule: Molecule

    @classmethod
    def of(cls, oracle: Named, molecule: Molecule) -> Question:
        """Return the question that an oracle is asked about a molecule."""
        asked = registry().component(OracleSpec, oracle)
        spec, given = asked.spec, asked.parameters
        return cls(spec.name, spec.level_of_theory(given), spec.options(given), molecule)

    @cached_property
    def geometry_sha256(self) -> str:
        """Address of the geometry: numbers, positions, charge and multiplicity."""
        return self.molecule.geometry_hash()

    @cached_property
    def options_sha256(self) -> str:
        """Hash of the options."""
        return hashlib.sha256(json.dumps(self.options, sort_keys=True, allow_nan=False).encode()).hexdigest()

    @cached_property
    def key(self) -> str:
        """Address of the answer, whichever version of the engine gives it."""
        return label_key(self.oracle, self.method, self.options_sha256, self.geometry_sha256)


def label_key(oracle: str, method: str, options_sha256: str, geometry_sha256: str) -> str:
    """Return the address of a label: a SHA-256."""
    return hashlib.sha256("/".join((oracle, method, options_sha256, geometry_sha256)).encode()).hexdigest()
