"""SO3LR of so3krates-torch as a trainable model, pretrained or from scratch."""

from __future__ import annotations

from golfbench.hookspecs import hookimpl
from golfbench.specs import CheckpointFormat, ModelSpec, Parameter

_PARAMETERS = (
    Parameter("features", 128, "Invariant features of an atom."),
    Parameter("heads", 4, "Heads of the attention."),
    Parameter("layers", 3, "Layers of the transformer."),
    Parameter("radial", 32, "Radial functions."),
    Parameter("degrees", "1 2 3 4", "Degrees of the spherical harmonics, separated by blanks."),
    Parameter("cutoff", 4.5, "Cutoff of messages, Å; electrostatics and dispersion are of all pairs."),
    Parameter("avg_neighbours", 13.168995780096482, "Divisor of the sums over neighbours."),
)


@hookimpl
def golfbench_models() -> list[ModelSpec]:
    """Offer ``so3lr``."""
    return [
        ModelSpec(
            name="so3lr",
            factory="golfbench_so3lr.networks:so3lr",
            summary="SO3krates with repulsion, electrostatics and dispersion (SO3LR) of so3krates-torch; pretrained.",
            parameters=_PARAMETERS,
            citation="10.1021/jacs.5c09558",
            license="MIT",
            requires=("so3krates_torch",),
            install_hint="pip install golfbench-so3lr",
            elements=frozenset(range(1, 100)),
            charged=True,
            checkpoint_formats=(
                CheckpointFormat(
                    "so3lr",
                    "golfbench_so3lr.reader:read_model",
                    "A whole SO3LR model that so3krates-torch pickled (.model).",
                    unsafe=True,
                ),
            ),
        )
    ]
