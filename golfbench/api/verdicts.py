"""What an oracle says of end points, asked through the suite's one door to oracles: cached, counted, retried."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np

from golfbench.contracts import Label
from golfbench.errors import OracleError
from golfbench.molecules import Molecule
from golfbench.oracles.cache import LabelCache, default_path
from golfbench.oracles.service import Account, OracleService
from golfbench.registry import registry
from golfbench.specs import OracleSpec
from golfbench.units import HARTREE_TO_EV


@dataclass(frozen=True, slots=True)
class Judgement:
    """What an oracle says of one end point.

    Attributes:
        verified: Whether the oracle's largest force is below the threshold, too.
        energy_hartree: The oracle's energy; ``None`` where it gave none, and then ``error`` says why.
        force_max_ev_per_angstrom: The oracle's largest force norm of an atom.
        calls: Calls that this cost; 0 where the label was known already.
        error: Why there is no label.
    """

    verified: bool
    energy_hartree: float | None = None
    force_max_ev_per_angstrom: float | None = None
    calls: int = 0
    error: OracleError | None = None

    def facts(self) -> dict[str, object]:
        """Return what a frame has of it, by column."""
        return {
            "verified": self.verified,
            "oracle_energy_hartree": self.energy_hartree,
            "oracle_force_max_ev_per_angstrom": self.force_max_ev_per_angstrom,
            "oracle_calls": self.calls,
            "oracle_error": None if self.error is None else str(self.error),
        }


def method_of(oracle: str) -> str:
    """Return the level of theory of an oracle.

    Raises:
        ConfigurationError: If there is no such oracle or parameter.
    """
    found = registry().component(OracleSpec, oracle)
    return found.spec.level_of_theory(found.parameters)


def verdicts_of(
    oracle: str, ends: Mapping[int, Molecule], force_max: float, workers: int | None
) -> dict[int, Judgement]:
    """Ask an oracle about end points; labels of earlier runs on this machine cost no call.

    Args:
        oracle: Who is asked.
        ends: The end points, by any number.
        force_max: Threshold, eV/Å.
        workers: Calls at a time.
    """
    accounts = {place: Account(f"molecule {place}", "after", "evaluation") for place in ends}
    with TemporaryDirectory(prefix="golfbench-") as folder:
        service = OracleService(Path(folder), workers=workers, cache=LabelCache(default_path()))
        try:
            asked = {place: service.submit(oracle, end, accounts[place]) for place, end in ends.items()}
            answers = {place: service.answer(future) for place, future in asked.items()}
            calls = {place: service.ledger.charged(accounts[place].key)[0] for place in ends}
        except BaseException:
            service.close(wait=False)  # a call may take hours
            raise
        service.close()
    return {place: _verdict(answer, calls[place], force_max) for place, answer in answers.items()}


def _verdict(answer: Label | OracleError, calls: int, force_max: float) -> Judgement:
    if isinstance(answer, OracleError):
        return Judgement(False, calls=calls, error=answer)
    force = float(np.linalg.norm(answer.forces, axis=1).max()) * HARTREE_TO_EV
    return Judgement(force <= force_max, answer.energy, force, calls)
