"""PaiNN and SchNet as ``golfbench.contracts.Network``: SchNetPack's representation and its atomwise head.

The modules are SchNetPack's own; only the dictionary plumbing around them (``NeuralNetworkPotential``) is left out, and
PaiNN's equations are evaluated in another order (``painn.LeanPaiNN``).
Submodules keep the names of its checkpoints: ``representation.*`` and ``outnet.*`` here are
``model.representation.*`` and ``model.output_modules.0.outnet.*`` there.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import nn

from golfbench.batches import Batch
from golfbench.errors import ConfigurationError
from golfbench.imports import importable

with importable():
    import schnetpack.nn as snn
    import schnetpack.properties as keys
    from schnetpack.representation import SchNet

from golfbench_schnetpack.painn import LeanPaiNN


@dataclass(frozen=True, slots=True)
class Architecture:
    """Sizes of a network.

    Attributes:
        features: Features per atom.
        interactions: Interaction blocks.
        radial: Radial functions.
        cutoff: Å.
    """

    features: int
    interactions: int
    radial: int
    cutoff: float


#: ``published`` is the architecture of GOLF (Tsypin et al., ICLR 2024, Table 5) and of its checkpoints.
PRESETS = {"published": Architecture(128, 3, 50, 5.0), "small": Architecture(64, 2, 20, 5.0)}


def architecture(preset: str, **overrides: float | None) -> Architecture:
    """Return a preset with every override that is not ``None``.

    Raises:
        ConfigurationError: If a size cannot be built.
    """
    given: dict[str, Any] = {name: value for name, value in overrides.items() if value is not None}
    built = replace(PRESETS[preset], **given)
    minimum = {"features": 2, "interactions": 1, "radial": 2}
    for name, least in minimum.items():
        if getattr(built, name) < least:
            raise ConfigurationError(f"{name}={getattr(built, name)}: at least {least} is needed")
    if not 0 < built.cutoff < float("inf"):
        raise ConfigurationError(f"cutoff={built.cutoff}: a positive, finite distance in Å is needed")
    return built


class AtomisticNetwork(nn.Module):
    """A SchNetPack representation with a head of two layers whose outputs are summed over the atoms.

    Args:
        representation: Maps atoms and pair vectors to ``scalar_representation`` (n_atoms, features).
        sizes: Its sizes.

    Attributes:
        cutoff: Å.
    """

    def __init__(self, representation: nn.Module, sizes: Architecture) -> None:
        super().__init__()
        self.cutoff = sizes.cutoff
        self.representation = representation
        self.outnet = snn.build_mlp(n_in=sizes.features, n_out=1)

    def forward(self, batch: Batch) -> torch.Tensor:
        """Return energies (n_molecules,), dimensionless, in the dtype of the parameters.

        Pair vectors (j minus i, Å) are taken in float64: far from the origin float32 coordinates lose digits that
        their differences need.
        """
        atoms = self._head(self.features(batch))
        return atoms.new_zeros(len(batch)).index_add(0, batch.molecule, atoms)

    def features(self, batch: Batch) -> torch.Tensor:
        """Return the scalar features of each atom (n_atoms, features), those that its energy is read from."""
        i, j = batch.pairs
        vectors = batch.positions.index_select(0, j) - batch.positions.index_select(0, i)
        inputs = {
            keys.Z: batch.numbers,
            keys.Rij: vectors.to(self.outnet[0].weight.dtype),
            keys.idx_i: i,
            keys.idx_j: j,
        }
        features: torch.Tensor = self.representation(inputs)["scalar_representation"]
        return features

    def _head(self, features: torch.Tensor) -> torch.Tensor:
        """Return the contribution of each atom (n_atoms,).

        The last layer has one output. As a matrix product its rounding depends on the number of rows, and a molecule's
        energy on its batch; as a sum over each row it does not.
        """
        hidden, last = self.outnet
        contributions: torch.Tensor = (hidden(features) * last.weight).sum(-1) + last.bias
        return contributions


def painn(
    preset: str = "published",
    features: int | None = None,
    interactions: int | None = None,
    radial: int | None = None,
    cutoff: float | None = None,
) -> AtomisticNetwork:
    """Build PaiNN (Schütt, Unke, Gastegger, ICML 2021) with Bessel functions and a cosine cutoff.

    Args:
        preset: Key of ``PRESETS``.
        features: Features per atom; this and the following replace the preset's value unless ``None``.
        interactions: Interaction blocks.
        radial: Bessel functions.
        cutoff: Å.

    Raises:
        ConfigurationError: If a size cannot be built.
    """
    sizes = architecture(preset, features=features, interactions=interactions, radial=radial, cutoff=cutoff)
    basis = snn.BesselRBF(sizes.radial, sizes.cutoff)
    body = LeanPaiNN(sizes.features, sizes.interactions, basis, snn.CosineCutoff(sizes.cutoff))
    return AtomisticNetwork(body, sizes)


def schnet(
    preset: str = "published",
    features: int | None = None,
    interactions: int | None = None,
    radial: int | None = None,
    cutoff: float | None = None,
) -> AtomisticNetwork:
    """Build SchNet (Schütt et al., J. Chem. Phys. 148, 241722, 2018) with Gaussians and a cosine cutoff.

    Args:
        preset: Key of ``PRESETS``.
        features: Features per atom and filters; this and the following replace the preset's value unless ``None``.
        interactions: Interaction blocks.
        radial: Gaussians, evenly spaced from 0 to the cutoff.
        cutoff: Å.

    Raises:
        ConfigurationError: If a size cannot be built.
    """
    sizes = architecture(preset, features=features, interactions=interactions, radial=radial, cutoff=cutoff)
    basis = snn.GaussianRBF(sizes.radial, sizes.cutoff)
    body = SchNet(sizes.features, sizes.interactions, basis, snn.CosineCutoff(sizes.cutoff))
    return AtomisticNetwork(body, sizes)
