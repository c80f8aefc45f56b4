"""The protocol: what one row of a table has in common with the next."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict, Field

from golfbench.specs import ComponentRef
from golfbench.stopping import StoppingRule


class Protocol(BaseModel):
    """How a model is judged as a minimizer (Tsypin et al., Section 6; published values in brackets).

    Attributes:
        steps: T, environment steps of an evaluation [100].
        inner_steps: Optimizer updates per environment step [5].
        force_max_ev_per_angstrom: A molecule has converged when no atom's force under the model is above this; it
            stops there [the published code always walks T steps].
        evaluation_steps: Environment steps at which the oracle's energy is taken on the way, beside the end
            [1, 2, 3, 5, 8, 13, 21, 30, 50, 75, 100]. Each costs an oracle call per molecule.
        reference_optimizer: What walks to the reference minima, where the run has to compute them: the same for every
            combination of a table.
        reference_force_max_ev_per_angstrom: Threshold of the reference minima.
        reference_steps: Optimizer updates allowed for a reference minimum.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    steps: int = Field(100, ge=1)
    inner_steps: int = Field(5, ge=1)
    force_max_ev_per_angstrom: float = Field(0.02, gt=0)
    evaluation_steps: tuple[int, ...] = ()
    reference_optimizer: ComponentRef = Field(
        ComponentRef("rfo-internal"), json_schema_extra={"default": "rfo-internal"}
    )
    reference_force_max_ev_per_angstrom: float = Field(0.01, gt=0)
    reference_steps: int = Field(500, ge=1)

    @property
    def rule(self) -> StoppingRule:
        """When a molecule leaves the evaluation."""
        return StoppingRule(self.force_max_ev_per_angstrom, self.steps * self.inner_steps)

    @property
    def reference_rule(self) -> StoppingRule:
        """When a molecule leaves the search for its reference minimum."""
        return StoppingRule(self.reference_force_max_ev_per_angstrom, self.reference_steps)
