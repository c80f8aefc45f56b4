"""PaiNN and SchNet of SchNetPack as trainable models."""

from __future__ import annotations

from golfbench.hookspecs import hookimpl
from golfbench.specs import CheckpointFormat, ModelSpec, Parameter

#: SchNetPack embeds 100 entries, of which the first is the padding.
_ELEMENTS = frozenset(range(1, 100))


def _parameters(basis: str) -> tuple[Parameter, ...]:
    return (
        Parameter("preset", "published", "Sizes: GOLF's, or small ones for CPUs.", ("published", "small")),
        Parameter("features", None, "Features per atom, instead of the preset's.", kind=int),
        Parameter("interactions", None, "Interaction blocks, instead of the preset's.", kind=int),
        Parameter("radial", None, f"{basis} radial functions, instead of the preset's.", kind=int),
        Parameter("cutoff", None, "Cosine cutoff in Å, instead of the preset's.", kind=float),
    )


#: The paper's own checkpoints.
_GOLF = CheckpointFormat("golf", "golfbench_schnetpack.published:read", "Published GOLF checkpoints (ICLR 2024).")


def _spec(name: str, title: str, basis: str, citation: str, *formats: CheckpointFormat) -> ModelSpec:
    return ModelSpec(
        name=name,
        factory=f"golfbench_schnetpack.networks:{name}",
        summary=f"{title} of SchNetPack.",
        parameters=_parameters(basis),
        citation=citation,
        license="MIT",
        requires=("schnetpack",),
        install_hint="pip install golfbench-schnetpack",
        elements=_ELEMENTS,
        checkpoint_formats=formats,
    )


@hookimpl
def golfbench_models() -> list[ModelSpec]:
    """Offer ``painn`` and ``schnet``."""
    return [
        _spec("painn", "Equivariant message passing (PaiNN)", "Bessel", "arXiv:2102.03150", _GOLF),
        _spec("schnet", "Continuous-filter convolutions (SchNet)", "Gaussian", "10.1063/1.5019779"),
    ]
