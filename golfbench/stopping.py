"""When a molecule leaves a minimization. No torch in here: configurations need the rule without the driver."""

from __future__ import annotations

from dataclasses import dataclass

from golfbench.units import HARTREE_TO_EV


@dataclass(frozen=True, slots=True)
class StoppingRule:
    """When a molecule leaves; the same rule for every optimizer, applied per molecule.

    Attributes:
        force_max: Converged when no atom's force norm is above this, eV/Å (the unit the field quotes it in).
        max_steps: Optimizer updates allowed, steps that were shortened because the model failed among them.
    """

    force_max: float
    max_steps: int

    @property
    def force_max_hartree(self) -> float:
        """The threshold in Hartree/Å."""
        return self.force_max / HARTREE_TO_EV
