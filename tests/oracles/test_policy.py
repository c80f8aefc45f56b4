"""What follows a failed attempt."""

import pytest

from golfbench.oracles.ledger import Failure
from golfbench.oracles.policy import next_attempt, with_changes
from golfbench.specs import ComponentRef, OracleSpec

LADDER = OracleSpec(name="x", factory="m:f", summary="", method="X", fallbacks=({"scf": "guess"}, {"scf": "damping"}))
PLAIN = OracleSpec(name="y", factory="m:f", summary="", method="Y")


@pytest.mark.parametrize(
    ("kinds", "plain", "ladder"),
    [
        ("", {}, {}),
        ("crashed", {}, {}),
        ("crashed lost", {}, {}),
        ("crashed lost crashed", None, None),
        ("not_converged", None, {"scf": "guess"}),
        ("not_converged crashed", None, {"scf": "guess"}),  # the crash says nothing about the guess
        ("not_converged not_converged", None, {"scf": "damping"}),
        ("not_converged not_converged not_converged", None, None),
        ("crashed crashed not_converged", None, {"scf": "guess"}),
        ("crashed crashed not_converged lost", None, None),
        ("input", None, None),
        ("time_limit", None, None),
        ("memory", None, None),
        ("rejected", None, None),
        ("engine", None, None),
        ("crashed engine", None, None),
    ],
)
def test_the_next_attempt(kinds: str, plain: dict[str, str] | None, ladder: dict[str, str] | None) -> None:
    failures = [Failure(kind, "") for kind in kinds.split()]
    assert next_attempt(failures, PLAIN) == plain
    assert next_attempt(failures, LADDER) == ladder


def test_changes_leave_the_other_parameters_alone() -> None:
    oracle = ComponentRef.parse("psi4:method=hf,scf=plain")
    assert str(with_changes(oracle, {"scf": "damping"})) == "psi4:method=hf,scf=damping"
    assert str(with_changes(oracle, {})) == str(oracle)
