"""Selections: ``golf`` and the controls that it is compared with."""

from __future__ import annotations

from golfbench.hookspecs import hookimpl
from golfbench.specs import Parameter, SelectionSpec

SHARE = Parameter("share", 0.5, "Share of the trajectories of a round whose ends are labelled.")


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
            name="golf-neural",
            factory="golfbench_selections.golf:GolfNeural",
            summary="GOLF with a slow twin of the network in the place of the surrogate.",
            parameters=(Parameter("patience", 1, "Rises of the twin's energy that end a trajectory."),),
            citation="arXiv:2311.06295",
            license="MIT",
            sees=frozenset({"twin"}),
        ),
        SelectionSpec(
            name="random",
            factory="golfbench_selections.controls:Random",
            summary="Label one state of the whole trajectory, drawn uniformly.",
            license="MIT",
        ),
        SelectionSpec(
            name="first",
            factory="golfbench_selections.controls:First",
            summary="Label the start itself: one geometry of each molecule, without a walk.",
            license="MIT",
        ),
        SelectionSpec(
            name="last",
            factory="golfbench_selections.controls:Last",
            summary="Label the last state of the whole trajectory.",
            license="MIT",
        ),
        SelectionSpec(
            name="all",
            factory="golfbench_selections.controls:All",
            summary="Label every state of the whole trajectory.",
            license="MIT",
        ),
        SelectionSpec(
            name="oracle-trajectory",
            factory="golfbench_selections.controls:OracleTrajectory",
            summary="Label every state of the oracle's own walks, which the dataset brings: traj-k of the paper.",
            citation="arXiv:2311.06295",
            license="MIT",
            explorer="given",
        ),
        SelectionSpec(
            name="force-norm",
            factory="golfbench_selections.rounds:ForceNorm",
            summary="Label the states with the largest forces under the model.",
            license="MIT",
        ),
        SelectionSpec(
            name="force-mismatch",
            factory="golfbench_selections.rounds:ForceMismatch",
            summary="Label the states where the forces of model and surrogate differ most.",
            citation="arXiv:2311.06295",
            license="MIT",
            sees=frozenset({"surrogate_forces"}),
        ),
        SelectionSpec(
            name="committee-energy",
            factory="golfbench_selections.rounds:CommitteeEnergy",
            summary="Label the states on whose energies a committee disagrees most: --learner committee.",
            citation="arXiv:1801.09319",
            license="MIT",
            sees=frozenset({"committee"}),
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
            name="kernel",
            factory="golfbench_selections.rounds:Kernel",
            summary="Label the states that the network's last-layer kernel knows least of, one after the other.",
            parameters=(
                Parameter("noise", 1e-3, "Noise of a label, in units of the mean squared length of the features."),
            ),
            citation="doi:10.1039/d2dd00034b",
            license="MIT",
            sees=frozenset({"features", "training_set"}),
        ),
        SelectionSpec(
            name="tangent-kernel",
            factory="golfbench_selections.rounds:TangentKernel",
            summary="As kernel, with the gradients of the energy by all weights, folded at random.",
            parameters=(Parameter("noise", 1e-3, "Noise of a label, in units of the mean squared length."),),
            citation="arXiv:2203.09410",
            license="MIT",
            sees=frozenset({"tangents", "training_set"}),
        ),
        SelectionSpec(
            name="end-mismatch",
            factory="golfbench_selections.ends:EndMismatch",
            summary="Label the ends of trajectories where a second cheap level has the largest forces.",
            parameters=(SHARE,),
            license="MIT",
            sees=frozenset({"surrogate_forces"}),
        ),
        SelectionSpec(
            name="unsettled",
            factory="golfbench_selections.ends:Unsettled",
            summary="Label the ends of new compounds, then of those whose last label had the largest forces.",
            parameters=(SHARE,),
            license="MIT",
            sees=frozenset({"labels"}),
        ),
        SelectionSpec(
            name="mahalanobis",
            factory="golfbench_selections.rounds:Mahalanobis",
            summary="Label the states whose features are unlikely under a Gaussian of the training set's.",
            citation="arXiv:1807.03888",
            license="MIT",
            sees=frozenset({"features", "training_set"}),
        ),
        SelectionSpec(
            name="mixed",
            factory="golfbench_selections.mixed:Mixed",
            summary="Follow each trajectory by one of several selections, drawn with the odds of its share.",
            parameters=(
                Parameter("parts", "golf random", "Selections, separated by blanks, with parameters after a colon."),
                Parameter("shares", "", "Their shares, separated by blanks; equal ones if unset."),
            ),
            license="MIT",
            combines="parts",
        ),
        SelectionSpec(
            name="none",
            factory="golfbench_selections.controls:Nothing",
            summary="Label nothing: train without an oracle.",
            license="MIT",
            asks_oracle=False,
        ),
    ]
