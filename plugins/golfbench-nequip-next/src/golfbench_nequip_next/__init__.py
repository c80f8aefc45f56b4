"""NequIP 0.19 as a trainable model, in an environment of its own."""

from __future__ import annotations

from golfbench.hookspecs import hookimpl
from golfbench.specs import DRUGLIKE_ELEMENTS, ModelSpec, Parameter

_PARAMETERS = (
    Parameter("preset", "small", "Sizes: small ones for CPUs, or larger ones.", ("small", "medium")),
    Parameter("features", None, "Features per atom and irrep, instead of the preset's.", kind=int),
    Parameter("l_max", None, "Highest rotation order of features, instead of the preset's.", kind=int),
    Parameter("layers", None, "Interaction layers, instead of the preset's.", kind=int),
    Parameter("parity", None, "Features of both parities in every order, instead of the preset's.", kind=bool),
    Parameter("radial", 8, "Bessel functions."),
    Parameter("radial_layers", 1, "Hidden layers of the radial networks."),
    Parameter("radial_neurons", 128, "Neurons of each of these layers."),
    Parameter("cutoff", 5.0, "Cutoff in Å."),
    Parameter("envelope", 6, "Power of the polynomial that ends pairs at the cutoff."),
    Parameter("elements", "H C N O F S Cl Br", "Symbols of the elements in the embedding, separated by blanks."),
    Parameter("avg_neighbours", 17.0, "Neighbours per atom that sums over pairs are normalized with."),
)


@hookimpl
def golfbench_models() -> list[ModelSpec]:
    """Offer ``nequip-next``."""
    return [
        ModelSpec(
            name="nequip-next",
            factory="golfbench_nequip_next.networks:nequip",
            summary="E(3)-equivariant convolutions (NequIP 0.19).",
            parameters=_PARAMETERS,
            citation="10.1038/s41467-022-29939-5",
            license="MIT",
            requires=("nequip",),
            install_hint="golfbench plugins install nequip-next",
            elements=DRUGLIKE_ELEMENTS,
            environment=("nequip==0.19.1",),
        )
    ]
