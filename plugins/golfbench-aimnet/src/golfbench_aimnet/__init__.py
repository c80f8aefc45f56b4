"""AIMNet2 as a trainable model, with the published weights or from scratch."""

from __future__ import annotations

from golfbench.hookspecs import hookimpl
from golfbench.specs import CheckpointFormat, ModelSpec, NamedWeights, Parameter, WeightsSource
from golfbench_aimnet.architecture import ELEMENTS

_PARAMETERS = (
    Parameter(
        "preset", "published", "Sizes: of the published networks, or small ones for CPUs.", ("published", "small")
    ),
    Parameter("features", None, "Features of an atom for each radial function, instead of the preset's.", kind=int),
    Parameter("radial", None, "Radial functions, instead of the preset's.", kind=int),
    Parameter("vectors", None, "Combinations whose vectors are squared, instead of the preset's.", kind=int),
    Parameter("hidden", None, "Widths of the hidden layers of a pass, separated by blanks.", kind=str),
    Parameter("summary", None, "Number of features of an atom after the last pass.", kind=int),
    Parameter("readout", None, "Width of the layers that turn it into an energy.", kind=int),
    Parameter("cutoff", 5.0, "Cutoff of the message passing, Å; Coulomb energy and dispersion have none."),
)


def _weights(name: str, file: str, size_bytes: int, sha256: str, summary: str) -> NamedWeights:
    return NamedWeights(
        name=name,
        # Later versions of the package come without the file.
        source=WeightsSource(wheel="Auto3D==2.3.1", member=f"Auto3D/models/{file}", size_bytes=size_bytes),
        sha256=sha256,
        format="aimnet2",
        method="wB97M-D3/def2-TZVPP",
        license="MIT",
        license_url="https://github.com/isayevlab/Auto3D_pkg/blob/main/LICENSE",
        citation="10.1039/D4SC08572H",
        summary=summary,
        elements=frozenset(ELEMENTS),
        charged=True,
    )


_WEIGHTS = (
    _weights(
        "wb97m-d3",
        "aimnet2_wb97m-d3_0.jpt",
        11587050,
        "a6d366b05c5997668f24a834584b4033d0cab67d13d2f8caf143b965018d3735",
        "One network, for neutral molecules and ions.",
    ),
    _weights(
        "wb97m-d3-ensemble",
        "aimnet2_wb97m_ens_f.jpt",
        46388977,
        "e34e147e3dd67bfe3e5ae8c2a2a097d59ff3a8260d98e42552004f710bb3a68b",
        "Four networks that can be used as a committee; the first is that of wb97m-d3.",
    ),
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
            weights=_WEIGHTS,
        )
    ]
