"""geomeTRIC's optimizer, for comparison."""

from golfbench import hookimpl
from golfbench.specs import OptimizerSpec, Parameter

_COORDINATES = Parameter(
    "coordinates",
    "tric",
    "Coordinates: translation-rotation-internal (tric, tric-p), delocalized, hybrid, primitive or Cartesian.",
    choices=("tric", "tric-p", "dlc", "hdlc", "prim", "cart"),
)


@hookimpl
def golfbench_optimizers() -> list[OptimizerSpec]:
    """Offer ``geometric``."""
    return [
        OptimizerSpec(
            name="geometric",
            factory="golfbench_geometric.minimizer:geometric",
            summary="geomeTRIC: quasi-Newton in translation-rotation-internal coordinates.",
            parameters=(_COORDINATES,),
            citation="10.1063/1.4952956",
            # A BSD-3-Clause licence with a fourth clause, against inclusion of the code in training datasets.
            license="LicenseRef-BSD-3-Clause-Non-AI",
            requires=("geometric",),
            install_hint="pip install geometric",
        )
    ]
