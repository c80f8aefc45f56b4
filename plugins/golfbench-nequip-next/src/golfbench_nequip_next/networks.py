"""NequIP 0.19 as ``golfbench.contracts.Network``: the energy model of NequIP's own builder, without its force module.

Batzner et al., Nat. Commun. 13, 2453 (2022). NequIP's builders are decorated: the decorator asserts that NequIP
has set up the process (default dtype, seeds, options of e3nn and of torch's compilers), draws weights from a seed of
its own and wraps the network. The function under it needs none of that and is called here directly, so weights come
from torch's generator and the state of the process does not change.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from importlib.metadata import version
from typing import Any

import torch
from torch import nn

from golfbench.batches import Batch
from golfbench.errors import ConfigurationError
from golfbench.imports import contained, importable
from golfbench.molecules import check_elements, parse_elements

if not version("nequip").startswith("0.19."):
    raise ImportError(f"NequIP 0.19 is needed, and {version('nequip')} is installed here")

with importable():
    import e3nn
    from e3nn.o3 import Irreps, wigner_3j
    from nequip.data import AtomicDataDict
    from nequip.model.nequip_models import FullNequIPGNNModel

_MAX_Z = 119
#: Names of the buffers in which e3nn keeps its Wigner 3j symbols.
_WIGNER = re.compile(r"_w3j_(\d+)_(\d+)_(\d+)$")


@dataclass(frozen=True, slots=True)
class Architecture:
    """Sizes of a network.

    Attributes:
        features: Features per atom and irrep.
        l_max: Highest rotation order of features and spherical harmonics.
        layers: Interaction layers.
        parity: Whether every order has features of both parities; without, order l has parity (-1)^l.
        radial: Bessel functions.
        radial_layers: Hidden layers of the networks that turn them into weights of pairs.
        radial_neurons: Neurons of each of these layers.
        cutoff: Å.
        envelope: Power of the polynomial envelope.
        avg_neighbours: Neighbours per atom that sums over pairs are normalized with.
    """

    features: int
    l_max: int
    layers: int
    parity: bool
    radial: int = 8
    radial_layers: int = 1
    radial_neurons: int = 128
    cutoff: float = 5.0
    envelope: int = 6
    avg_neighbours: float = 17.0

    def irreps(self) -> list[str]:
        """Return the features after each layer; after the last one only scalars are read."""
        kinds = [
            (order, parity)
            for order in range(self.l_max + 1)
            for parity in ((1, -1) if self.parity else ((-1) ** order,))
        ]
        hidden = str(Irreps([(self.features, kind) for kind in kinds]))
        return [hidden] * (self.layers - 1) + [f"{self.features}x0e"]


PRESETS = {"small": Architecture(32, 1, 3, parity=False), "medium": Architecture(64, 2, 4, parity=False)}
_LEAST: Mapping[str, float] = {
    "features": 1,
    "l_max": 0,
    "layers": 1,
    "radial": 1,
    "radial_layers": 0,
    "radial_neurons": 1,
    "envelope": 2,
}
#: Higher ones have no Wigner 3j symbols in e3nn.
_MOST_L = 11


def architecture(preset: str, **overrides: float | None) -> Architecture:
    """Return a preset with every override that is not ``None``.

    Raises:
        ConfigurationError: If a size cannot be built.
    """
    given: dict[str, Any] = {name: value for name, value in overrides.items() if value is not None}
    built = replace(PRESETS[preset], **given)
    for name, least in _LEAST.items():
        if getattr(built, name) < least:
            raise ConfigurationError(f"{name}={getattr(built, name)}: at least {least} is needed")
    if built.l_max > _MOST_L:
        raise ConfigurationError(f"l_max={built.l_max}: at most {_MOST_L} can be built")
    for name in ("cutoff", "avg_neighbours"):
        if not 0 < getattr(built, name) < float("inf"):
            raise ConfigurationError(f"{name}={getattr(built, name)}: a positive, finite number is needed")
    return built


class NequIPNetwork(nn.Module):
    """NequIP's energy model on packed molecules.

    Args:
        model: Maps NequIP's dictionary of graph data to one with total energies.
        cutoff: Å.
        numbers: Atomic number of each row of the embedding.

    Attributes:
        cutoff: Å.
        elements: Atomic numbers that it can represent.
    """

    types: torch.Tensor

    def __init__(self, model: nn.Module, cutoff: float, numbers: tuple[int, ...]) -> None:
        super().__init__()
        self.cutoff = cutoff
        self.elements = frozenset(numbers)
        self.model = model
        table = torch.zeros(_MAX_Z, dtype=torch.int64)
        table[list(numbers)] = torch.arange(len(numbers))
        self.register_buffer("types", table, persistent=False)

    def forward(self, batch: Batch) -> torch.Tensor:
        """Return energies (n_molecules,), dimensionless, in the dtype of the parameters.

        Pair vectors (j minus i, Å), their lengths and spherical harmonics are float64 in NequIP, and so is the sum
        over atoms; only what lies between has the dtype of the parameters.

        Raises:
            MoleculeError: If an element is not in the embedding.
        """
        for molecule in batch.molecules:
            check_elements(molecule, self.elements, "the elements of this network")
        i, j = batch.pairs
        data = {
            AtomicDataDict.POSITIONS_KEY: batch.positions.detach(),  # for its length
            AtomicDataDict.EDGE_INDEX_KEY: batch.pairs,
            AtomicDataDict.EDGE_VECTORS_KEY: batch.positions.index_select(0, j) - batch.positions.index_select(0, i),
            AtomicDataDict.ATOM_TYPE_KEY: self.types[batch.numbers][:, None],
            AtomicDataDict.BATCH_KEY: batch.molecule,
            AtomicDataDict.NUM_NODES_KEY: batch.offsets.diff(),
        }
        energies: torch.Tensor = self.model(data)[AtomicDataDict.TOTAL_ENERGY_KEY].squeeze(-1)
        return energies.to(next(self.parameters()).dtype)

    def _apply(self, fn: Callable[[torch.Tensor], torch.Tensor], recurse: bool = True) -> NequIPNetwork:
        """Convert, then correct what NequIP and e3nn fixed when the network was built.

        NequIP's embeddings of pairs remember the dtype they return. The inverse of the cutoff and the Wigner 3j symbols
        are buffers: rounded to float32 and carried into float64, they would be wrong in the eighth digit, and with
        them the rotational symmetry.
        """
        super()._apply(fn, recurse)  # type: ignore[no-untyped-call]
        dtype = next(self.parameters()).dtype
        for module in self.modules():
            if hasattr(module, "_output_dtype"):
                module._output_dtype = dtype  # type: ignore[assignment]
        self.get_buffer("model.edge_norm._rmax_recip").fill_(1 / self.cutoff)
        for name, buffer in self.named_buffers():
            if orders := _WIGNER.search(name):
                buffer.copy_(wigner_3j(*map(int, orders.groups()), dtype=torch.float64))
        return self


@contextmanager
def _eager() -> Iterator[None]:
    """Let e3nn build plain modules, under any version of torch."""
    before = e3nn.get_optimization_defaults()
    e3nn.set_optimization_defaults(jit_mode="eager")
    try:
        yield
    finally:
        e3nn.set_optimization_defaults(**before)


def nequip(preset: str = "small", elements: str = "H C N O F S Cl Br", **overrides: float | None) -> NequIPNetwork:
    """Build NequIP with weights drawn from torch's generator.

    Units and shifts are the suite's, so scales are one and shifts zero.

    Args:
        preset: Key of ``PRESETS``.
        elements: Symbols, separated by blanks, in the order of the embedding.
        **overrides: Fields of ``Architecture`` that replace the preset's value unless ``None``.

    Raises:
        ConfigurationError: If a size cannot be built.
    """
    sizes, numbers = architecture(preset, **overrides), parse_elements(elements)
    with contained(), _eager():
        with_forces = FullNequIPGNNModel.__wrapped__(
            type_names=elements.split(),
            r_max=sizes.cutoff,
            irreps_edge_sh=str(Irreps.spherical_harmonics(sizes.l_max)),
            feature_irreps_hidden=sizes.irreps(),
            type_embed_num_features=sizes.features,
            radial_mlp_depth=[sizes.radial_layers] * sizes.layers,
            radial_mlp_width=[sizes.radial_neurons] * sizes.layers,
            num_bessels=sizes.radial,
            polynomial_cutoff_p=sizes.envelope,
            avg_num_neighbors=sizes.avg_neighbours,
            per_type_energy_scales=1.0,
            per_type_energy_shifts=0.0,
            do_derivatives=False,
        )
    return NequIPNetwork(with_forces.func, sizes.cutoff, numbers).float()  # NequIP's buffers are float64 in part
