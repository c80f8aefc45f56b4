"""Sella's minimizer, for comparison."""

from golfbench import hookimpl
from golfbench.specs import OptimizerSpec, Parameter


@hookimpl
def golfbench_optimizers() -> list[OptimizerSpec]:
    """Offer ``sella``."""
    return [
        OptimizerSpec(
            name="sella",
            factory="golfbench_sella.minimizer:sella",
            summary="Sella: restricted-step quasi-Newton with geodesic steps in internal coordinates.",
            parameters=(Parameter("internal", True, "Internal coordinates; false: Cartesian ones."),),
            citation="10.1021/acs.jctc.2c00395",
            license="LGPL-3.0-only",
            requires=("sella", "jax"),
            install_hint="pip install sella",
        )
    ]
