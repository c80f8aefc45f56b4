"""Selections: GOLF's rule and the controls it is compared with."""

from __future__ import annotations

from golfbench.hookspecs import hookimpl
from golfbench.specs import Parameter, SelectionSpec


@hookimpl
def golfbench_selections() -> list[SelectionSpec]:
    """Offer ``golf``, rules that look at a whole round, and the controls."""
    return [
        SelectionSpec(
            name="golf",
            factory="golfbench_selections.golf:Golf",
            summary="Label the state before the surrogate energy rises, and end there.",
            parameters=(
                Parameter("patience", 1, "Rises of the surrogate energy that end a trajectory."),
                Parameter(
                    "ceiling_kcal_mol",
                    None,
                    "End without a label at this surrogate energy, kcal/mol (the published code: 300); none if unset.",
                    kind=float,
                ),
            ),
            citation="arXiv:2311.06295",
            license="MIT",
            sees=frozenset({"surrogate"}),
        ),
        SelectionSpec(
            name="random",
            factory="golfbench_selections.controls:Random",
            summary="Label one state of the whole trajectory, drawn uniformly.",
            license="MIT",
        ),
        SelectionSpec(
            name="last",
            factory="golfbench_selections.controls:Last",
            summary="Label the last state of the whole trajectory.",
            license="MIT",
        ),
        SelectionSpec(
            name="committee-force",
            factory="golfbench_selections.rounds:CommitteeForce",
            summary="Label the states on whose forces a committee disagrees most: --learner committee.",
            citation="arXiv:1810.11890",
            license="MIT",
            sees=frozenset({"committee"}),
        ),
        SelectionSpec(
            name="farthest-features",
            factory="golfbench_selections.rounds:FarthestFeatures",
            summary="Label the states that are farthest from all labels in the network's own features.",
            citation="arXiv:1708.00489",
            license="MIT",
            sees=frozenset({"features", "training_set"}),
        ),
        SelectionSpec(
            name="none",
            factory="golfbench_selections.controls:Nothing",
            summary="Label nothing: train without an oracle.",
            license="MIT",
            asks_oracle=False,
        ),
    ]
