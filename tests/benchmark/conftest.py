from collections.abc import Callable
from typing import Any

import pytest

from golfbench.benchmark.records import Record, Status, combination_id

DEFAULTS: dict[str, Any] = {
    "model": "painn:preset=small",
    "optimizer": "lbfgs",
    "selection": "golf",
    "oracle": "gfn2-xtb",
    "seed": 0,
    "stage": "after",
    "method": "GFN2-xTB",
    "molecule": "aspirin-0",
    "group": "aspirin",
    "n_atoms": 21,
    "status": Status.CONVERGED,
    "n_steps": 40,
    "model_calls": 41,
    "energy_initial_hartree": -40.0,
    "energy_final_hartree": -40.09,
    "energy_reference_hartree": -40.1,
    "wall_s": 0.5,
}


def build(**changes: Any) -> Record:
    """A record whose dependent fields fit its status unless they are given."""
    fields = DEFAULTS | changes
    status = Status(fields["status"])
    fields.setdefault("converged", status in (Status.CONVERGED, Status.TOPOLOGY_CHANGED))
    fields.setdefault("bond_graph_changed", status is Status.TOPOLOGY_CHANGED)
    if status in (Status.ERROR, Status.SKIPPED, Status.INTERRUPTED, Status.ORACLE_FAILED):
        fields["energy_final_hartree"] = changes.get("energy_final_hartree")
        fields.setdefault("error_type", "OracleError")
    identity = [fields[name] for name in ("model", "optimizer", "selection", "oracle", "seed")]
    fields.setdefault("combination", combination_id(*identity))
    return Record(**fields)


@pytest.fixture(scope="session")
def record() -> Callable[..., Record]:
    return build
