"""Batched optimizers: RFO in internal coordinates, L-BFGS and gradient descent in Cartesian ones."""

from __future__ import annotations

from golfbench.hookspecs import hookimpl
from golfbench.specs import OptimizerSpec, Parameter

_MAX_STEP = Parameter("max_step", 0.2, "Largest displacement of an atom in one step, Å.")


@hookimpl
def golfbench_optimizers() -> list[OptimizerSpec]:
    """Offer ``rfo-internal``, ``lbfgs`` and ``gradient-descent``."""
    return [
        OptimizerSpec(
            name="rfo-internal",
            factory="golfbench_optimizers.rfo_internal:RFOInternal",
            summary="Restricted-step RFO in redundant internal coordinates; the fewest force calls.",
            parameters=(
                Parameter("memory", 100, "Pairs of displacement and gradient change kept."),
                Parameter("radius", 0.5, "First and largest trust radius in internal coordinates, Å and rad."),
            ),
            citation="10.1063/1.1515483",
            license="MIT",
        ),
        OptimizerSpec(
            name="lbfgs",
            factory="golfbench_optimizers.lbfgs:LBFGS",
            summary="Limited-memory BFGS without line search, one force call per step.",
            parameters=(Parameter("memory", 100, "Pairs of displacement and gradient change kept."), _MAX_STEP),
            citation="10.1007/BF01589116",
            license="MIT",
        ),
        OptimizerSpec(
            name="gradient-descent",
            factory="golfbench_optimizers.descent:GradientDescent",
            summary="Steps along the forces, with momentum if wanted.",
            parameters=(
                Parameter("rate", 0.2, "Displacement per force, Å²/Hartree."),
                Parameter("momentum", 0.0, "Share of the last displacement that is added, from 0 up to 1."),
                _MAX_STEP,
            ),
            license="MIT",
        ),
    ]
