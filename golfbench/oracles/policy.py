"""What follows a failed attempt, the same on every executor: another try, elsewhere or with other settings, or none.

A crash or a lost worker may be the machine's fault, so the question is asked again, on another worker where there is
one. A calculation that does not converge is tried with the oracle's fallbacks, in order. Everything else, and
what failed too often, is quarantined: the failure is the answer, for this run, also when it is resumed.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence

from golfbench.oracles.ledger import Failure
from golfbench.specs import ComponentRef, OracleSpec, Scalar

#: Attempts at a question whose engine crashes or whose worker is lost.
MOST_CRASHES = 3
_CRASHES = ("crashed", "lost")


def next_attempt(failures: Sequence[Failure], spec: OracleSpec) -> Mapping[str, Scalar] | None:
    """Return the parameters to change for the next attempt, or ``None`` when there is to be none.

    Args:
        failures: How the attempts so far ended.
        spec: The oracle; its ``fallbacks`` are for what does not converge.
    """
    kinds = Counter(failure.kind for failure in failures)
    crashes, unconverged = sum(kinds[kind] for kind in _CRASHES), kinds["not_converged"]
    if crashes + unconverged < len(failures) or crashes >= MOST_CRASHES or unconverged > len(spec.fallbacks):
        return None
    return spec.fallbacks[unconverged - 1] if unconverged else {}


def with_changes(oracle: ComponentRef, changes: Mapping[str, Scalar]) -> ComponentRef:
    """Return an oracle with some parameters changed."""
    return ComponentRef(oracle.name, {**oracle.parameters, **changes})
