"""MACE of mace-torch as a trainable model, from scratch or from a ``.model`` file."""

from __future__ import annotations

from golfbench.hookspecs import hookimpl
from golfbench.specs import DRUGLIKE_ELEMENTS, CheckpointFormat, ModelSpec, NamedWeights, Parameter, WeightsSource

_BLOCKS = ("plain", "residual", "density", "density-residual")

_PARAMETERS = (
    Parameter("preset", "small", "Sizes: small ones for CPUs, or those of MACE-OFF23 (medium).", ("small", "medium")),
    Parameter("channels", None, "Channels of each order of the features, instead of the preset's.", kind=int),
    Parameter("max_l", None, "Highest order of the features, instead of the preset's.", kind=int),
    Parameter("correlation", None, "Body order of the products minus one, instead of the preset's.", kind=int),
    Parameter("harmonics", None, "Highest order of the spherical harmonics, instead of the preset's.", kind=int),
    Parameter("interactions", 2, "Interaction blocks."),
    Parameter("cutoff", 5.0, "Cutoff, Å."),
    Parameter("radial", 8, "Radial functions."),
    Parameter("elements", "H C N O F S Cl Br", "Elements of the embedding, separated by blanks."),
    Parameter("avg_neighbours", 17.0, "Divisor of the sums over neighbours."),
    Parameter("readout", 16, "Width of the last readout."),
    Parameter("radial_mlp", "64 64 64", "Widths of the layers between radial functions and weights."),
    Parameter("envelope", 5, "Order of the polynomial that takes the radial functions to zero at the cutoff."),
    Parameter("basis", "bessel", "Kind of radial functions.", ("bessel", "gaussian", "chebyshev")),
    Parameter("transform", "none", "Transform of the distances by covalent radii.", ("none", "agnesi", "soft")),
    Parameter("first_block", "residual", "Kind of the first interaction.", _BLOCKS),
    Parameter("block", "residual", "Kind of the other interactions.", _BLOCKS),
    Parameter("repulsion", False, "Whether the repulsion of Ziegler, Biersack and Littmark is added."),
    Parameter("gate", "silu", "Nonlinearity of the last readout.", ("silu", "tanh", "abs", "none")),
)

#: The authors' organic sets, where mace-torch gets them from, too; it knows no hashes of them.
_PUBLISHED = "https://raw.githubusercontent.com/ACEsuit/mace-off/main"
_SETS = {
    "off23-small": "mace_off23/MACE-OFF23_small.model",
    "off23-medium": "mace_off23/MACE-OFF23_medium.model",
    "off23-large": "mace_off23/MACE-OFF23_large.model",
    "off24-medium": "mace_off24/MACE-OFF24_medium.model",
}


def _weights(name: str, file: str) -> NamedWeights:
    return NamedWeights(
        name=name,
        source=WeightsSource(url=f"{_PUBLISHED}/{file}"),
        format="mace",
        method="wB97M-D3(BJ)/def2-TZVPPD",
        license="LicenseRef-Academic-Software-License",
        license_url="https://github.com/gabor1/ASL",
        accept_licence=True,
        citation="arXiv:2312.15211",
        summary="MACE-OFF, trained on neutral organic molecules (SPICE); no commercial use.",
        elements=DRUGLIKE_ELEMENTS | {15, 53},
    )


@hookimpl
def golfbench_models() -> list[ModelSpec]:
    """Offer ``mace``."""
    return [
        ModelSpec(
            name="mace",
            factory="golfbench_mace.networks:mace",
            summary="Higher-order equivariant message passing (MACE) of mace-torch.",
            parameters=_PARAMETERS,
            citation="arXiv:2206.07697",
            license="MIT",
            requires=("mace",),
            install_hint="pip install golfbench-mace",
            elements=DRUGLIKE_ELEMENTS,
            checkpoint_formats=(
                CheckpointFormat(
                    "mace",
                    "golfbench_mace.reader:read_model",
                    "A whole model that mace-torch pickled (.model), such as MACE-OFF23.",
                    unsafe=True,
                ),
            ),
            weights=tuple(_weights(name, file) for name, file in _SETS.items()),
        )
    ]
