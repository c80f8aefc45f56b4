"""AIMNet2 as a trainable model, with the published weights or from scratch."""

from __future__ import annotations

from golfbench.hookspecs import hookimpl
from golfbench.specs import CheckpointFormat, ModelSpec, Parameter
from golfbench_aimnet.architecture import ELEMENTS

_PARAMETERS = (
    Parameter(
        "preset", "published", "Sizes: of the published networks, or small ones for CPUs.", ("published", "small")
    ),
    Parameter("features", None, "Features of an atom for each radial function, instead of the preset's.", kind=int),
    Parameter("radial", None, "Radial functions, instead of the preset's.", kind=int),
    Parameter("vectors", None, "Combinations whose vectors are squared, instead of the preset's.", kind=int),
    Parameter("hidden", None, "Widths of the hidden layers of a pass, separated by blanks.", kind=str),
    Parameter("summary", None, "Width of what the last pass says of an atom.", kind=int),
    Parameter("readout", None, "Width of the layers that turn it into an energy.", kind=int),
    Parameter("cutoff", 5.0, "Cutoff of the message passing, Å; Coulomb energy and dispersion have none."),
)


@hookimpl
def golfbench_models() -> list[ModelSpec]:
    """Offer ``aimnet2``."""
    return [
        ModelSpec(
            name="aimnet2",
            factory="golfbench_aimnet.networks:aimnet2",
            summary="AIMNet2: messages and charges, Coulomb energy, D3 dispersion; for 14 elements and ions.",
            parameters=_PARAMETERS,
            citation="10.1039/D4SC08572H",
            license="MIT",
            requires=("torch",),
            install_hint="pip install golfbench-aimnet",
            elements=frozenset(ELEMENTS),
            charged=True,
            checkpoint_formats=(
                CheckpointFormat(
                    "aimnet2",
                    "golfbench_aimnet.reader:read_script",
                    "AIMNet2, or an ensemble of it, as a TorchScript file (.jpt).",
                    unsafe=True,
                ),
            ),
        )
    ]
