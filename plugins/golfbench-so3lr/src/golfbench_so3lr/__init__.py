"""SO3LR of so3krates-torch as a trainable model, pretrained or from scratch."""

from __future__ import annotations

from golfbench.hookspecs import hookimpl
from golfbench.specs import CheckpointFormat, ModelSpec, NamedWeights, Parameter, WeightsSource

_PARAMETERS = (
    Parameter("features", 128, "Invariant features of an atom."),
    Parameter("heads", 4, "Heads of the attention."),
    Parameter("layers", 3, "Layers of the transformer."),
    Parameter("radial", 32, "Radial functions."),
    Parameter("degrees", "1 2 3 4", "Degrees of the spherical harmonics, separated by blanks."),
    Parameter("cutoff", 4.5, "Cutoff of messages, Å; electrostatics and dispersion are of all pairs."),
    Parameter("avg_neighbours", 13.168995780096482, "Divisor of the sums over neighbours."),
)

#: What the embeddings have rows for: weights know fewer elements, and labels can teach others.
_EMBEDDED = frozenset(range(1, 100))
_CITATION = "10.1021/jacs.5c09558"

_PRETRAINED = NamedWeights(
    name="so3lr",
    source=WeightsSource(
        wheel="so3krates-torch==0.2.1",
        member="so3krates_torch/pretrained/so3lr/so3lr.model",
        size_bytes=2201911,
    ),
    sha256="b5145564911ff983ed076ccb2bca5ce63454b74c9c8291092695463f1e6732be",
    format="so3lr",
    method="PBE0+MBD",
    license="MIT",
    citation=_CITATION,
    summary="Trained by its authors on 4 million neutral and charged molecular complexes.",
    elements=frozenset({1, 6, 7, 8, 9, 15, 16, 17}),
    charged=True,
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
            citation=_CITATION,
            license="MIT",
            requires=("so3krates_torch",),
            install_hint="pip install golfbench-so3lr",
            elements=_EMBEDDED,
            charged=True,
            weights=(_PRETRAINED,),
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
