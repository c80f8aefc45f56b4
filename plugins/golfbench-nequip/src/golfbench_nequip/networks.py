"""NequIP as ``golfbench.contracts.Network``: the energy model of NequIP's own builders, without its force module.

Batzner et al., Nat. Commun. 13, 2453 (2022). Submodules keep the names of NequIP's checkpoints: ``model.*`` here is
what stands after the wrappers for units and forces there.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import nn

from golfbench.batches import Batch
from golfbench.errors import ConfigurationError
from golfbench.imports import contained, importable
from golfbench.molecules import check_elements, parse_elements

with importable():
    import e3nn
    from e3nn.o3 import wigner_3j
    from nequip.data import AtomicDataDict
    from nequip.model import EnergyModel, PerSpeciesRescale, SimpleIrrepsConfig
    from nequip.utils import Config

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
        parity: Whether there are features of both parities; without, mirror images may differ in energy.
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
    radial_layers: int = 2
    radial_neurons: int = 64
    cutoff: float = 5.0
    envelope: float = 6.0
    avg_neighbours: float = 17.0


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
#: Name of the module after the last interaction layer.
_READOUT = "conv_to_output_hidden"
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
        if not least <= getattr(built, name) < float("inf"):
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

        Raises:
            MoleculeError: If an element is not in the embedding.
        """
        energies: torch.Tensor = self.model(self._data(batch))[AtomicDataDict.TOTAL_ENERGY_KEY].squeeze(-1)
        return energies

    def features(self, batch: Batch) -> torch.Tensor:
        """Return the scalar features (0e) after the last interaction layer (n_atoms, n_features).

        Raises:
            MoleculeError: If an element is not in the embedding.
        """
        data = self._data(batch)
        for name, module in self.model.named_children():
            if name == _READOUT:
                break
            data = module(data)
        readout: Any = module
        irreps = readout.irreps_in[AtomicDataDict.NODE_FEATURES_KEY]
        shown = data[AtomicDataDict.NODE_FEATURES_KEY]
        kinds = zip(irreps, irreps.slices(), strict=True)
        return torch.cat([shown[:, part] for (_, kind), part in kinds if (kind.l, kind.p) == (0, 1)], dim=1)

    def _data(self, batch: Batch) -> dict[str, torch.Tensor]:
        """Return a batch as NequIP takes it.

        Pair vectors (j minus i, Å) are taken in float64: far from the origin float32 coordinates lose digits that
        their differences need.

        Raises:
            MoleculeError: If an element is not in the embedding.
        """
        for molecule in batch.molecules:
            check_elements(molecule, self.elements, "the elements of this network")
        i, j = batch.pairs
        vectors = batch.positions.index_select(0, j) - batch.positions.index_select(0, i)
        dtype = next(self.parameters()).dtype
        return {
            AtomicDataDict.POSITIONS_KEY: batch.positions.detach().to(
                dtype
            ),  # NequIP looks at its type and length alone
            AtomicDataDict.EDGE_INDEX_KEY: batch.pairs,
            AtomicDataDict.EDGE_VECTORS_KEY: vectors.to(dtype),
            AtomicDataDict.ATOM_TYPE_KEY: self.types[batch.numbers][
                :, None
            ],  # flat, the type of a lone atom loses its dimension
            AtomicDataDict.BATCH_KEY: batch.molecule,
            AtomicDataDict.BATCH_PTR_KEY: batch.offsets,
        }

    def _apply(self, fn: Callable[[torch.Tensor], torch.Tensor], recurse: bool = True) -> NequIPNetwork:
        """Convert, then compute the Wigner 3j symbols again.

        As buffers they are rounded to float32 when the network is built; carried into float64 like that, they would
        break its rotational symmetry in the eighth digit.
        """
        super()._apply(fn, recurse)  # type: ignore[no-untyped-call]
        for name, buffer in self.named_buffers():
            if orders := _WIGNER.search(name):
                buffer.copy_(wigner_3j(*map(int, orders.groups()), dtype=torch.float64))
        return self


@contextmanager
def _eager() -> Iterator[None]:
    """Let e3nn build plain modules: as fast as TorchScript's, without its warm-up for every new shape."""
    before = e3nn.get_optimization_defaults()
    e3nn.set_optimization_defaults(jit_script_fx=False)
    try:
        yield
    finally:
        e3nn.set_optimization_defaults(**before)


def _configuration(sizes: Architecture, numbers: tuple[int, ...]) -> Any:
    """Return NequIP's configuration; units and shifts are the suite's, so scales are one and there are no shifts."""
    return Config.from_dict(
        {
            "num_types": len(numbers),
            "type_names": [str(z) for z in numbers],
            "num_features": sizes.features,
            "l_max": sizes.l_max,
            "parity": sizes.parity,
            "num_layers": sizes.layers,
            "r_max": sizes.cutoff,
            "num_basis": sizes.radial,
            "invariant_layers": sizes.radial_layers,
            "invariant_neurons": sizes.radial_neurons,
            "PolynomialCutoff_p": sizes.envelope,
            "avg_num_neighbors": sizes.avg_neighbours,
            "per_species_rescale_scales": [1.0] * len(numbers),
            "per_species_rescale_shifts": None,
        }
    )


def nequip(preset: str = "small", elements: str = "H C N O F S Cl Br", **overrides: float | None) -> NequIPNetwork:
    """Build NequIP with weights drawn from torch's generator.

    Args:
        preset: Key of ``PRESETS``.
        elements: Symbols, separated by blanks, in the order of the embedding.
        **overrides: Fields of ``Architecture`` that replace the preset's value unless ``None``.

    Raises:
        ConfigurationError: If a size cannot be built.
    """
    sizes, numbers = architecture(preset, **overrides), parse_elements(elements)
    with contained(), _eager():
        configuration = _configuration(sizes, numbers)
        SimpleIrrepsConfig(configuration)
        model = EnergyModel(configuration, initialize=False)
        PerSpeciesRescale(model, configuration, initialize=True)
    return NequIPNetwork(model, sizes.cutoff, numbers)
