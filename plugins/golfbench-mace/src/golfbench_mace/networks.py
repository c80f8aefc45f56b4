"""MACE as ``golfbench.contracts.Network``: the blocks of mace-torch without their references, forces and periodicity.

Parameters and buffers keep the names of ``mace.modules.ScaleShiftMACE``, below ``mace.``.
"""

from __future__ import annotations

import contextlib
import io
from typing import Any

import torch
from torch import nn

from golfbench.batches import Batch
from golfbench.imports import contained, importable
from golfbench.molecules import MAXIMUM_ATOMIC_NUMBER, check_elements
from golfbench_mace.architecture import Architecture, architecture

# mace-torch prints that an accelerator is not installed.
with importable(), contextlib.redirect_stdout(io.StringIO()):
    from e3nn import o3
    from mace import modules as mace_modules

BLOCKS: dict[str, type[nn.Module]] = {
    "plain": mace_modules.RealAgnosticInteractionBlock,
    "residual": mace_modules.RealAgnosticResidualInteractionBlock,
    "density": mace_modules.RealAgnosticDensityInteractionBlock,
    "density-residual": mace_modules.RealAgnosticDensityResidualInteractionBlock,
}
GATES = {"silu": nn.functional.silu, "tanh": torch.tanh, "abs": torch.abs, "none": None}


class MaceNetwork(nn.Module):
    """MACE with a scale and a shift of the atoms' energies, which are 1 and 0 unless weights are loaded.

    Args:
        sizes: What to build.

    Attributes:
        cutoff: Å.
        channels: Channels of each order of the features.
        elements: Atomic numbers that it can embed.
    """

    one_hot: torch.Tensor

    def __init__(self, sizes: Architecture) -> None:
        super().__init__()
        self.cutoff = sizes.cutoff
        self.channels = sizes.channels
        self.elements = frozenset(sizes.numbers)
        self.mace = mace_modules.ScaleShiftMACE(**_arguments(sizes))
        del self.mace.atomic_energies_fn  # references are the suite's
        one_hot = torch.zeros(MAXIMUM_ATOMIC_NUMBER + 1, len(sizes.numbers))
        one_hot[sizes.numbers] = torch.eye(len(sizes.numbers))
        self.register_buffer("one_hot", one_hot, persistent=False)

    def forward(self, batch: Batch) -> torch.Tensor:
        """Return interaction energies (n_molecules,), dimensionless, in the dtype of the parameters.

        Raises:
            MoleculeError: If a molecule has an element that is not in the embedding.
        """
        atoms = self.atom_energies(self._kinds(batch), batch.positions, batch.pairs)
        return atoms.new_zeros(len(batch)).index_add(0, batch.molecule, atoms)

    def features(self, batch: Batch) -> torch.Tensor:
        """Return the scalar features of every interaction (n_atoms, interactions * channels).

        Raises:
            MoleculeError: If a molecule has an element that is not in the embedding.
        """
        layers = self._interacted(self._kinds(batch), batch.positions, batch.pairs)[0]
        return torch.cat([features[:, : self.channels] for features in layers], dim=1)

    def _kinds(self, batch: Batch) -> torch.Tensor:
        """Return elements as (n_atoms, n_elements), one-hot, in the dtype of the parameters."""
        for molecule in batch.molecules:
            check_elements(molecule, self.elements, "the elements of this MACE network")
        return self.one_hot[batch.numbers]

    def atom_energies(self, kinds: torch.Tensor, positions: torch.Tensor, pairs: torch.Tensor) -> torch.Tensor:
        """Return the scaled and shifted contribution of each atom (n_atoms,).

        Args:
            kinds: (n_atoms, n_elements), one-hot, in the dtype of the parameters.
            positions: (n_atoms, 3) float64, Å.
            pairs: (2, n_pairs).
        """
        mace: Any = self.mace
        layers, lengths, edges = self._interacted(kinds, positions, pairs)
        contributions = torch.zeros_like(kinds[:, 0])
        for features, readout in zip(layers, mace.readouts, strict=True):
            contributions = contributions + readout(features).squeeze(-1)
        if hasattr(mace, "pair_repulsion_fn"):
            contributions = contributions + mace.pair_repulsion_fn(lengths, kinds, edges, mace.atomic_numbers)
        scaled: torch.Tensor = mace.scale_shift.scale * contributions + mace.scale_shift.shift
        return scaled

    def _interacted(
        self, kinds: torch.Tensor, positions: torch.Tensor, pairs: torch.Tensor
    ) -> tuple[list[torch.Tensor], torch.Tensor, torch.Tensor]:
        """Return the features after each interaction, the lengths of the edges, and the edges.

        Features begin with the scalar ones, which alone the last interaction has.

        The vector of an edge points from the sender to the receiver. Both directions of each pair are there, so either
        atom may be called receiver; the first one is, because pairs are sorted by it. Vectors (Å) are taken in float64:
        far from the origin float32 coordinates lose digits that their differences need.
        """
        mace: Any = self.mace
        receiver, sender = pairs
        edges = torch.stack([sender, receiver])
        vectors = (positions.index_select(0, receiver) - positions.index_select(0, sender)).to(kinds.dtype)
        lengths = torch.linalg.vector_norm(vectors, dim=-1, keepdim=True)
        harmonics = mace.spherical_harmonics(vectors)
        radial, envelope = mace.radial_embedding(lengths, kinds, edges, mace.atomic_numbers)
        features = mace.node_embedding(kinds)
        layers = []
        for interaction, product in zip(mace.interactions, mace.products, strict=True):
            message, residual = interaction(
                node_attrs=kinds,
                node_feats=features,
                edge_attrs=harmonics,
                edge_feats=radial,
                edge_index=edges,
                cutoff=envelope,
            )
            features = product(node_feats=message, sc=residual, node_attrs=kinds)
            layers.append(features)
        return layers, lengths, edges


def _arguments(sizes: Architecture) -> dict[str, Any]:
    """Return the keyword arguments of ``ScaleShiftMACE``."""
    orders = [(sizes.channels, (order, (-1) ** order)) for order in range(sizes.max_l + 1)]
    return {
        "r_max": sizes.cutoff,
        "num_bessel": sizes.radial,
        "num_polynomial_cutoff": sizes.envelope,
        "max_ell": sizes.harmonics,
        "interaction_cls": BLOCKS[sizes.block],
        "interaction_cls_first": BLOCKS[sizes.first_block],
        "num_interactions": sizes.interactions,
        "num_elements": len(sizes.numbers),
        "hidden_irreps": o3.Irreps(orders),
        "MLP_irreps": o3.Irreps([(sizes.readout, (0, 1))]),
        "atomic_energies": [0.0] * len(sizes.numbers),
        "avg_num_neighbors": sizes.avg_neighbours,
        "atomic_numbers": sizes.numbers,
        "correlation": sizes.correlation,
        "gate": GATES[sizes.gate],
        "pair_repulsion": sizes.repulsion,
        "distance_transform": sizes.transform.capitalize(),
        "radial_MLP": sizes.widths,
        "radial_type": sizes.basis,
        "use_reduced_cg": False,
        "atomic_inter_scale": 1.0,
        "atomic_inter_shift": 0.0,
    }


def mace(preset: str = "small", **parameters: Any) -> MaceNetwork:
    """Build MACE (Batatia et al., NeurIPS 2022, arXiv:2206.07697) with weights drawn from torch's generator.

    Args:
        preset: Key of ``golfbench_mace.architecture.PRESETS``.
        parameters: Fields of ``Architecture``; those of the preset may be ``None``.

    Raises:
        ConfigurationError: If it cannot be built.
    """
    sizes = architecture(preset, **parameters)
    with contained():
        return MaceNetwork(sizes)
