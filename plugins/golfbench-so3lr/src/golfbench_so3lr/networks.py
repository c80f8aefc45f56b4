"""SO3LR as ``golfbench.contracts.Network``: the blocks of so3krates-torch without their references and forces.

Parameters and buffers keep the names of ``so3krates_torch.modules.models.SO3LR``, below ``so3lr.``.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import nn

from golfbench.batches import Batch
from golfbench.imports import contained, importable
from golfbench.molecules import check_elements
from golfbench_so3lr.architecture import Architecture

with importable():
    from so3krates_torch.modules.models import SO3LR

#: Where electrostatics and dispersion end, and over how many Å the dispersion fades there. Molecules are smaller:
#: neither is cut off for them. The constant Coulomb shift that belongs to this cutoff is part of the energy.
LONG_RANGE_CUTOFF = 100.0
LONG_RANGE_DAMPING = 2.0
#: Embeddings of charges have rows up to this atomic number.
MAXIMUM_ATOMIC_NUMBER = 99


@dataclass(frozen=True, slots=True)
class _Pairs:
    """Pairs of atoms, each once.

    Attributes:
        first: (n,) indices of atoms.
        second: (n,) indices of atoms.
        vectors: (n, 3), first minus second, Å.
        lengths: (n,), Å.
    """

    first: torch.Tensor
    second: torch.Tensor
    vectors: torch.Tensor
    lengths: torch.Tensor

    def closer_than(self, cutoff: float) -> _Pairs:
        """Return those that are closer than a cutoff, Å."""
        near = (self.lengths < cutoff).nonzero().squeeze(-1)
        fields = (self.first, self.second, self.vectors, self.lengths)
        return _Pairs(*(field.index_select(0, near) for field in fields))


@dataclass(frozen=True, slots=True)
class _Graph:
    """Both directions of the pairs that send messages: first those from second to first, then the others.

    Attributes:
        receivers: (2 n,) indices of atoms.
        senders: (2 n,) indices of atoms.
        lengths: (2 n, 1), Å.
        envelopes: (2 n, 1), from 1 to 0 at the cutoff.
        harmonics: (2 n, n_components), of the vectors from sender to receiver.
        radial: (n, n_radial), functions of the length, which both directions share.
    """

    receivers: torch.Tensor
    senders: torch.Tensor
    lengths: torch.Tensor
    envelopes: torch.Tensor
    harmonics: torch.Tensor
    radial: torch.Tensor


class So3lrNetwork(nn.Module):
    """SO3LR: an equivariant transformer with repulsion, electrostatics and dispersion beside it.

    Args:
        sizes: What to build.

    Attributes:
        cutoff: ``None``: electrostatics and dispersion are of all pairs.
        elements: Atomic numbers that it can embed.
    """

    signs: torch.Tensor

    def __init__(self, sizes: Architecture) -> None:
        super().__init__()
        self.cutoff = None
        self.elements = frozenset(range(1, MAXIMUM_ATOMIC_NUMBER + 1))
        self.so3lr = SO3LR(**sizes.arguments(), neighborlist_format_lr="ordered_sparse")
        signs = [(-1.0) ** order for order in sizes.orders for _ in range(2 * order + 1)]
        self.register_buffer("signs", torch.tensor(signs), persistent=False)
        _remove_what_is_not_used(self.so3lr)

    def forward(self, batch: Batch) -> torch.Tensor:
        """Return energies (n_molecules,), dimensionless, in the dtype of the parameters.

        Raises:
            MoleculeError: If an element is not in the embedding.
        """
        for molecule in batch.molecules:
            check_elements(molecule, self.elements, "the elements of this SO3LR network")
        kinds, pairs = self._one_hot(batch), self._pairs(batch)
        features, repulsion = self._transformed(batch, kinds, pairs)
        atoms: torch.Tensor = self.so3lr.atomic_energy_output_block(features, {"node_attrs": kinds}) + repulsion
        atoms = atoms + self._long_range(batch, features, pairs)
        return atoms.new_zeros(len(batch)).index_add(0, batch.molecule, atoms.squeeze(-1))

    def features(self, batch: Batch) -> torch.Tensor:
        """Return the invariant features of the last layer (n_atoms, n_features)."""
        return self._transformed(batch, self._one_hot(batch), self._pairs(batch))[0]

    def _one_hot(self, batch: Batch) -> torch.Tensor:
        """Return the elements of the atoms (n_atoms, n_elements) in the dtype of the parameters."""
        width = self.so3lr.num_elements
        return nn.functional.one_hot(batch.numbers - 1, width).to(self.signs.dtype)

    def _pairs(self, batch: Batch) -> _Pairs:
        """Return all pairs, each once.

        Vectors are taken in float64: far from the origin float32 coordinates lose digits that their differences need.
        """
        first, second = batch.pairs[:, batch.pairs[0] < batch.pairs[1]]
        vectors = batch.positions.index_select(0, first) - batch.positions.index_select(0, second)
        vectors = vectors.to(self.signs.dtype)
        return _Pairs(first, second, vectors, torch.linalg.vector_norm(vectors, dim=-1))

    def _transformed(self, batch: Batch, kinds: torch.Tensor, pairs: _Pairs) -> tuple[torch.Tensor, torch.Tensor]:
        """Return the atoms' features (n_atoms, n_features) and repulsion (n_atoms, 1)."""
        so3lr: Any = self.so3lr
        graph = self._graph(pairs.closer_than(so3lr.r_max))
        features = self._embedded(batch, kinds)
        equivariant = features.new_zeros(len(features), len(self.signs))
        for layer in so3lr.euclidean_transformers:
            features, equivariant = _layer(layer, features, equivariant, graph)
        repulsion: torch.Tensor = so3lr.zbl_repulsion(
            batch.numbers, graph.envelopes, graph.senders, graph.receivers, graph.lengths, len(features)
        )
        return features, repulsion

    def _graph(self, near: _Pairs) -> _Graph:
        """Return both directions of pairs; harmonics of odd degree change their sign with the direction."""
        so3lr: Any = self.so3lr
        lengths = near.lengths[:, None]
        envelopes, harmonics = so3lr.cutoff_fn(lengths), so3lr.spherical_harmonics(near.vectors)
        return _Graph(
            receivers=torch.cat([near.first, near.second]),
            senders=torch.cat([near.second, near.first]),
            lengths=torch.cat([lengths, lengths]),
            envelopes=torch.cat([envelopes, envelopes]),
            harmonics=torch.cat([harmonics, self.signs * harmonics]),
            radial=so3lr.radial_embedding(lengths),
        )

    def _embedded(self, batch: Batch, kinds: torch.Tensor) -> torch.Tensor:
        """Return the atoms' first features: of the element, the molecule's charge and its unpaired electrons."""
        so3lr: Any = self.so3lr
        states = ((so3lr.charge_embedding, batch.charges), (so3lr.spin_embedding, batch.multiplicities - 1))
        features = so3lr.inv_feature_embedding(kinds)
        for embedding, state in states:
            features = features + embedding(kinds, state.to(kinds.dtype), batch.molecule, len(batch))
        embedded: torch.Tensor = features / so3lr.embedding_scale
        return embedded

    def _charges(self, batch: Batch, features: torch.Tensor) -> torch.Tensor:
        """Return partial charges (n_atoms,) that add up to the charge of their molecule.

        The block's own ``forward`` divides by the number of atoms in torch's default type, whatever the parameters'.
        """
        block: Any = self.so3lr.partial_charges_output_block
        free = (block.transform_inv_features(features) + block.atomic_embedding(batch.numbers)).squeeze(-1)
        missing = batch.charges - free.new_zeros(len(batch)).index_add(0, batch.molecule, free)
        charges: torch.Tensor = free + (missing / batch.offsets.diff()).index_select(0, batch.molecule)
        return charges

    def _long_range(self, batch: Batch, features: torch.Tensor, pairs: _Pairs) -> torch.Tensor:
        """Return electrostatics and dispersion of the atoms (n_atoms, 1); a pair counts for its first atom."""
        so3lr: Any = self.so3lr
        charges = self._charges(batch, features)
        volumes = so3lr.hirshfeld_output_block(features, batch.numbers)
        ends = {"senders_lr": pairs.second, "receivers_lr": pairs.first, "lengths_lr": pairs.lengths}
        shared = {**ends, "num_nodes": len(features), "cutoff_lr": LONG_RANGE_CUTOFF}
        electrostatics: torch.Tensor = so3lr.electrostatic_potential(
            charges, **shared, electrostatic_energy_scale=so3lr.electrostatic_energy_scale
        )
        dispersion: torch.Tensor = so3lr.dispersion_potential(
            volumes,
            batch.numbers,
            **shared,
            cutoff_lr_damping=LONG_RANGE_DAMPING,
            dispersion_energy_scale=so3lr.dispersion_energy_scale,
        )
        return electrostatics + dispersion


def _layer(
    layer: Any, features: torch.Tensor, equivariant: torch.Tensor, graph: _Graph
) -> tuple[torch.Tensor, torch.Tensor]:
    """Return features (n_atoms, n_features) and equivariant features (n_atoms, n_components) after a layer.

    The same as the layer's own ``forward``, which computes the filters of each pair twice, once in each direction.
    """
    attention = layer.euclidean_attention_block
    new, turned = _attention(attention, features, equivariant, graph)
    features, equivariant = features + new, equivariant + turned
    features = layer.layer_norm_inv_1(features)
    features = features + layer.mlp_1(features)
    new, turned = layer.interaction_block(features, equivariant)
    return layer.layer_norm_inv_2(features + new), equivariant + turned


def _attention(
    block: Any, features: torch.Tensor, equivariant: torch.Tensor, graph: _Graph
) -> tuple[torch.Tensor, torch.Tensor]:
    """Return what atoms receive from their neighbours: (n_atoms, n_features) and (n_atoms, n_components)."""
    half = len(graph.radial)
    first, second = graph.receivers[:half], graph.senders[:half]
    invariants = block.so3_conv_invariants(equivariant.index_select(0, first) - equivariant.index_select(0, second))
    heads = features.view(-1, block.inv_heads, block.inv_head_dim)
    weights = _attention_weights(
        heads, block.W_q_inv, block.W_k_inv, block.filter_net_inv(graph.radial, invariants), graph
    )
    values = torch.einsum("nhd,hde->nhe", heads, block.W_v_inv).index_select(0, graph.senders)
    messages = graph.envelopes[:, None] * (weights / block.att_norm_inv)[:, :, None] * values
    heads = features.view(-1, block.ev_heads, block.ev_head_dim)
    weights = _attention_weights(
        heads, block.W_q_ev, block.W_k_ev, block.filter_net_ev(graph.radial, invariants), graph
    )
    weights = torch.repeat_interleave(weights / block.att_norm_ev, block.degree_repeats, dim=-1)
    turned = graph.envelopes * weights * graph.harmonics
    return (
        torch.zeros_like(features).index_add(0, graph.receivers, messages.flatten(1)),
        torch.zeros_like(equivariant).index_add(0, graph.receivers, turned),
    )


def _attention_weights(
    heads: torch.Tensor, to_query: torch.Tensor, to_key: torch.Tensor, filters: torch.Tensor, graph: _Graph
) -> torch.Tensor:
    """Return the weight of each message (2 n, n_heads) from the atoms' features and the filters of the pairs.

    Args:
        heads: (n_atoms, n_heads, width).
        to_query: (n_heads, width, width).
        to_key: (n_heads, width, width).
        filters: (n, n_heads * width).
        graph: The pairs.
    """
    query = torch.einsum("nhd,hde->nhe", heads, to_query).index_select(0, graph.receivers)
    key = torch.einsum("nhd,hde->nhe", heads, to_key).index_select(0, graph.senders)
    return (query * key * filters.repeat(2, 1).view_as(key)).sum(-1)


def _remove_what_is_not_used(so3lr: Any) -> None:
    """Leave the parameters that energies depend on, each once.

    References are the suite's. A layer's filters are also those of its attention. Parameters that change no energy are
    not trained: weights that the first layer multiplies with equivariant features, which are zero there, and the last
    bias of the partial charges, which are made to add up to the charge of the molecule.
    """
    head = so3lr.atomic_energy_output_block
    shifts = torch.zeros_like(head.energy_shifts, requires_grad=False)
    del head.energy_shifts
    head.register_buffer("energy_shifts", shifts, persistent=False)
    for layer in so3lr.euclidean_transformers:
        del layer.filter_net_inv, layer.filter_net_ev
    attention = so3lr.euclidean_transformers[0].euclidean_attention_block
    for net in (attention.filter_net_inv, attention.filter_net_ev):
        net.mlp_ev[0].weight.requires_grad_(False)
    so3lr.partial_charges_output_block.transform_inv_features[-1].bias.requires_grad_(False)


def so3lr(**parameters: Any) -> So3lrNetwork:
    """Build SO3LR (Kabylda et al., J. Am. Chem. Soc. 2025, 10.1021/jacs.5c09558), weights from torch's generator.

    Args:
        parameters: Fields of ``Architecture``.

    Raises:
        ConfigurationError: If it cannot be built.
    """
    sizes = Architecture(**parameters)
    with contained():
        return So3lrNetwork(sizes)
