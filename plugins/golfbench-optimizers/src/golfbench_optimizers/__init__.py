"""Batched optimizers: quasi-Newton methods in internal and Cartesian coordinates, and methods of first order."""

from __future__ import annotations

from golfbench.hookspecs import hookimpl
from golfbench.specs import OptimizerSpec, Parameter

_MEMORY = Parameter("memory", 100, "Pairs of displacement and gradient change kept.")
_MAX_STEP = Parameter("max_step", 0.2, "Largest displacement of an atom in one step, Å.")


@hookimpl
def golfbench_optimizers() -> list[OptimizerSpec]:
    """Offer quasi-Newton methods, then those that follow the forces."""
    return [*_quasi_newton(), *_first_order()]


def _quasi_newton() -> list[OptimizerSpec]:
    return [
        OptimizerSpec(
            name="rfo-internal",
            factory="golfbench_optimizers.rfo_internal:RFOInternal",
            summary="Restricted-step RFO in redundant internal coordinates; the fewest force calls.",
            parameters=(
                _MEMORY,
                Parameter("radius", 0.6, "First and largest trust radius in internal coordinates, Å and rad."),
            ),
            citation="10.1063/1.1515483",
            license="MIT",
        ),
        OptimizerSpec(
            name="lbfgs-internal",
            factory="golfbench_optimizers.lbfgs_internal:LBFGSInternal",
            summary="L-BFGS on top of a model Hessian in internal coordinates, renewed at every step.",
            parameters=(
                Parameter("memory", 2, "Pairs of displacement and gradient change kept."),
                Parameter("max_step", 0.3, _MAX_STEP.help),
            ),
            citation="10.1016/0009-2614(95)00646-L",
            license="MIT",
        ),
        OptimizerSpec(
            name="lbfgs",
            factory="golfbench_optimizers.lbfgs:LBFGS",
            summary="Limited-memory BFGS without line search, one force call per step.",
            parameters=(_MEMORY, _MAX_STEP),
            citation="10.1007/BF01589116",
            license="MIT",
        ),
        OptimizerSpec(
            name="golf-lbfgs",
            factory="golfbench_optimizers.golf_lbfgs:GolfLBFGS",
            summary="L-BFGS as GOLF was published with: torch's, whole steps of any length.",
            parameters=(Parameter("rate", 1.0, "Share of the quasi-Newton step that is taken."), _MEMORY),
            citation="arXiv:2311.06295",
            license="MIT",
        ),
    ]


def _first_order() -> list[OptimizerSpec]:
    return [
        OptimizerSpec(
            name="fire",
            factory="golfbench_optimizers.fire:FIRE",
            summary="FIRE 2.0: a damped walk whose time step adapts.",
            parameters=(Parameter("time_step", 0.5, "First time step with unit masses, Å/√Hartree."), _MAX_STEP),
            citation="10.1016/j.commatsci.2020.109584",
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
        OptimizerSpec(
            name="adam",
            factory="golfbench_optimizers.adam:Adam",
            summary="Adam: every coordinate moves by about the same length, whatever its stiffness.",
            parameters=(Parameter("rate", 0.03, "Displacement of a coordinate in the first step, Å."), _MAX_STEP),
            citation="arXiv:1412.6980",
            license="MIT",
        ),
        OptimizerSpec(
            name="lion",
            factory="golfbench_optimizers.lion:Lion",
            summary="Lion: steps along the signs of the mean force, by a rate that falls.",
            parameters=(
                Parameter("rate", 0.05, "Displacement of a coordinate in the first step, Å."),
                Parameter("decay", 0.97, "Factor between the rates of two steps; 1 keeps the rate."),
                _MAX_STEP,
            ),
            citation="arXiv:2302.06675",
            license="MIT",
        ),
    ]
