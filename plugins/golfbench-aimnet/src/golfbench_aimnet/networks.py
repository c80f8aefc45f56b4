"""AIMNet2 as ``golfbench.contracts.Network``, written for packed batches.

Trained weights keep the names that they have in the published TorchScript files. Energies are in eV with weights from
such a file.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import torch
from torch import nn

from golfbench.batches import Batch
from golfbench.molecules import check_elements
from golfbench_aimnet.architecture import ELEMENTS, Architecture, architecture
from golfbench_aimnet.terms import Coulomb, Dispersion, RadialBasis

#: Rows of the embedding: one more than the heaviest atomic number that it can hold.
_EMBEDDED = 64
#: Keeps the shares of the missing charge finite.
_TINY = 1e-6


@dataclass(frozen=True, slots=True)
class Surroundings:
    """The pairs within the cutoff, as dense matrices for each molecule and radial function.

    Distances and radial functions are computed for pairs of atoms alone; zeros fill the matrices afterwards and are
    only multiplied and added. So the padding has no distance, and no gradient that could be NaN.

    Attributes:
        matrices: (radial · n_molecules, 4 · longest, longest): the radial function, then times each component of the
            unit vector, from each atom (row) to each (column).
        slots: (n_atoms,), place of each atom in the padded molecules.
        rows: (4 · n_atoms,), rows of the atoms in the matrices of all molecules, one component after the other.
        shape: Radial functions, molecules, and atoms of the longest.
    """

    matrices: torch.Tensor
    slots: torch.Tensor
    rows: torch.Tensor
    shape: tuple[int, int, int]

    def sums(self, features: torch.Tensor) -> torch.Tensor:
        """Return Σ_j g(r_ij) a_j over the neighbours of each atom, and the same times each component of r_ij / |r_ij|.

        Args:
            features: (n_atoms, channels, radial).

        Returns:
            (radial, 4 · n_atoms, channels), one component after the other.
        """
        radial, molecules, longest = self.shape
        channels = features.shape[1]
        padded = features.new_zeros(radial, molecules * longest, channels)
        padded = padded.index_copy(1, self.slots, features.permute(2, 0, 1))
        summed = torch.bmm(self.matrices, padded.view(radial * molecules, longest, channels))
        return summed.view(radial, -1, channels).index_select(1, self.rows)


class AimNet2(nn.Module):
    """AIMNet2 (Anstine, Zubatyuk, Isayev, Chem. Sci. 2025, doi:10.1039/D4SC08572H).

    Three passes of messages refine features and charges of the atoms; the charges of a molecule add up to its charge.
    The energy is that of the atoms, the Coulomb energy of the charges, and D3 dispersion.

    Args:
        sizes: What to build.

    Attributes:
        cutoff: ``None``: charges and dispersion reach over the whole molecule.
        sizes: What was built.
    """

    cutoff: float | None = None
    kinds: torch.Tensor

    def __init__(self, sizes: Architecture) -> None:
        super().__init__()
        self.sizes = sizes
        state = sizes.features * sizes.radial
        heard = 2 * state + sizes.features * sizes.vectors
        heard_of_charges = 1 + sizes.radial + sizes.vectors
        widths, out = sizes.widths, 2 + state
        self.aev = RadialBasis(sizes.radial, sizes.cutoff)
        self.afv = nn.Embedding(_EMBEDDED, state, padding_idx=0)
        self.conv_a = Combinations(sizes.features, sizes)
        self.conv_q = Combinations(1, sizes)
        self.mlps = nn.ModuleList(
            [
                perceptron([heard, *widths, out]),
                perceptron([heard + heard_of_charges, *widths, out], ends_linear=False),
                perceptron([heard + heard_of_charges, *widths, widths[-1], sizes.summary], ends_linear=False),
            ]
        )
        self.outputs = nn.ModuleDict(
            {
                "energy_mlp": nn.ModuleDict({"mlp": perceptron([sizes.summary, sizes.readout, sizes.readout, 1])}),
                "atomic_shift": Shifts(),
                "lrcoulomb": Coulomb(),
                "d3bj": Dispersion(),
            }
        )
        nn.init.normal_(self.afv.weight, std=0.1)
        with torch.no_grad():
            self.afv.weight[0] = 0.0
        kinds = torch.full((_EMBEDDED,), -1)
        kinds[list(ELEMENTS)] = torch.arange(len(ELEMENTS))
        self.register_buffer("kinds", kinds, persistent=False)

    def forward(self, batch: Batch) -> torch.Tensor:
        """Return energies (n_molecules,), in the dtype of the parameters.

        They are added up in float64: the Coulomb energies of a molecule are many and of both signs.

        Raises:
            MoleculeError: If a molecule has an element that the network does not know.
        """
        pairs, vectors, distances = self._pairs(batch)
        summary, charges = self._passes(batch, pairs, vectors, distances)
        atoms = self.outputs.get_submodule("energy_mlp.mlp")(summary).squeeze(-1) + self.outputs["atomic_shift"](
            batch.numbers
        )
        far = self.outputs["lrcoulomb"](charges, pairs, distances)
        far = far + self.outputs["d3bj"](self.kinds[batch.numbers], pairs, distances)
        total = torch.zeros(len(batch), dtype=torch.float64, device=atoms.device)
        total = total.index_add(0, batch.molecule, atoms.double())
        total = total.index_add(0, batch.molecule.index_select(0, pairs[0]), far.double())
        return total.to(atoms.dtype)

    def features(self, batch: Batch) -> torch.Tensor:
        """Return what the energy of each atom is read from, (n_atoms, summary)."""
        return self._passes(batch, *self._pairs(batch))[0]

    def charges(self, batch: Batch) -> torch.Tensor:
        """Return the charge of each atom, (n_atoms,), elementary charges."""
        return self._passes(batch, *self._pairs(batch))[1]

    def _pairs(self, batch: Batch) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        """Return all pairs (2, n) with i < j, vectors (n, 3) and distances (n,), Å.

        Vectors are taken in float64: far from the origin float32 coordinates lose digits that their differences need.
        """
        self._check_elements(batch)
        i, j = batch.pairs[:, batch.pairs[0] < batch.pairs[1]]
        vectors = batch.positions.index_select(0, j) - batch.positions.index_select(0, i)
        vectors = vectors.to(self.afv.weight.dtype)
        return torch.stack([i, j]), vectors, vectors.square().sum(-1).sqrt()

    def _check_elements(self, batch: Batch) -> None:
        heaviest = int(batch.numbers.max())
        if heaviest >= _EMBEDDED or bool((self.kinds[batch.numbers] < 0).any()):
            for molecule in batch.molecules:
                check_elements(molecule, frozenset(ELEMENTS), "the elements of AIMNet2")

    def _surroundings(
        self, batch: Batch, pairs: torch.Tensor, vectors: torch.Tensor, distances: torch.Tensor
    ) -> Surroundings:
        near = (distances < self.sizes.cutoff).nonzero().squeeze(-1)
        (i, j), r = pairs.index_select(1, near), distances.index_select(0, near)
        functions = self.aev(r).T
        directed = functions[:, None] * (vectors.index_select(0, near) / r[:, None]).T
        values = torch.cat([functions[:, None], directed, functions[:, None], -directed], dim=1)
        molecules, longest = len(batch), max(batch.sizes)
        within = torch.arange(len(batch.numbers), device=i.device) - batch.offsets[batch.molecule]
        parts = torch.arange(4, device=i.device)[:, None] * longest
        rows = parts + batch.molecule * (4 * longest) + within
        cells = torch.cat([rows[:, i] * longest + within[j], rows[:, j] * longest + within[i]])
        matrices = values.new_zeros(len(values), molecules * 4 * longest * longest)
        matrices = matrices.index_copy(1, cells.flatten(), values.flatten(1))
        return Surroundings(
            matrices.view(-1, 4 * longest, longest),
            batch.molecule * longest + within,
            rows.flatten(),
            (len(values), molecules, longest),
        )

    def _passes(
        self, batch: Batch, pairs: torch.Tensor, vectors: torch.Tensor, distances: torch.Tensor
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Return the features of each atom after the last pass (n_atoms, summary), and its charge (n_atoms,)."""
        around = self._surroundings(batch, pairs, vectors, distances)
        features = self.afv(batch.numbers)
        charges: torch.Tensor | None = None
        for update in self.mlps[:-1]:
            said = update(self._heard(around, features, charges))
            raw = said[:, 0] if charges is None else charges + said[:, 0]
            charges = _neutralized(batch, raw, said[:, 1])
            features = features + said[:, 2:]
        assert charges is not None
        return self.mlps[-1](self._heard(around, features, charges)), charges

    def _heard(self, around: Surroundings, features: torch.Tensor, charges: torch.Tensor | None) -> torch.Tensor:
        """Return the input of a pass: an atom's own features and charge, and those of its neighbours."""
        count, radial = self.sizes.features, self.sizes.radial
        channels = features.view(-1, count, radial)
        agh: torch.Tensor = self.conv_a.agh
        if charges is not None:
            # The charge goes along as one more channel, the same for every radial function.
            channels = torch.cat([channels, charges[:, None, None].expand(-1, 1, radial)], dim=1)
            agh = torch.cat([agh, self.conv_q.agh])
        sums = around.sums(channels)
        atoms = len(features)
        scalars = sums[:, :atoms].permute(1, 2, 0)
        combined = torch.bmm(sums[:, atoms:].permute(2, 1, 0), agh)
        lengths = combined.view(-1, 3, atoms, self.sizes.vectors).square().sum(dim=1).transpose(0, 1)
        heard = [features, scalars[:, :count].flatten(1), lengths[:, :count].flatten(1)]
        if charges is not None:
            heard += [charges[:, None], scalars[:, count], lengths[:, count]]
        return torch.cat(heard, dim=-1)


class Combinations(nn.Module):
    """Combinations of radial functions, for each channel: ``agh`` (channels, radial, vectors)."""

    def __init__(self, channels: int, sizes: Architecture) -> None:
        super().__init__()
        self.agh = nn.Parameter(torch.randn(channels, sizes.radial, sizes.vectors) / sizes.radial**0.5)


class Shifts(nn.Module):
    """What a member of a committee adds to the reference energies that all of them share, by atomic number.

    Reference energies are the suite's and are not trained here.
    """

    weight: torch.Tensor

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("weight", torch.zeros(_EMBEDDED))

    def forward(self, numbers: torch.Tensor) -> torch.Tensor:
        """Return energies (n_atoms,)."""
        return self.weight[numbers]


def perceptron(widths: Sequence[int], ends_linear: bool = True) -> nn.Sequential:
    """Return linear layers with GELU between them, and after the last one unless it ends linear."""
    layers: list[nn.Module] = []
    for before, after in pairwise(widths):
        layers += [nn.Linear(before, after), nn.GELU()]
    return nn.Sequential(*layers[:-1] if ends_linear else layers)


def _neutralized(batch: Batch, charges: torch.Tensor, softness: torch.Tensor) -> torch.Tensor:
    """Return charges (n_atoms,) that add up to the charge of each molecule.

    The missing charge is divided among the atoms in proportion to the square of ``softness`` (n_atoms,).
    """
    weights = softness.square()
    sums = charges.new_zeros(len(batch), 2).index_add(0, batch.molecule, torch.stack([charges, weights], dim=1))
    missing = (batch.charges.to(charges.dtype) - sums[:, 0]) / (sums[:, 1] + _TINY)
    return charges + weights * missing.index_select(0, batch.molecule)


def aimnet2(preset: str = "published", **parameters: Any) -> AimNet2:
    """Build AIMNet2 with weights drawn from torch's generator.

    Args:
        preset: Key of ``golfbench_aimnet.architecture.PRESETS``.
        parameters: Fields of ``Architecture``; those of the preset may be ``None``.

    Raises:
        ConfigurationError: If it cannot be built.
    """
    return AimNet2(architecture(preset, **parameters))
