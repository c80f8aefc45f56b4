"""The terms of AIMNet2 without trained weights: radial functions, Coulomb energy of the charges, D3 dispersion.

All work on pairs (i, j) of packed atoms with i < j, and return values per pair or per molecule.
"""

from __future__ import annotations

import math

import torch
from torch import nn

from golfbench.units import BOHR_TO_ANGSTROM, HARTREE_TO_EV
from golfbench_aimnet.architecture import ELEMENTS

#: Å, the distance of the first radial function.
_FIRST_SHIFT = 0.8
#: Å; the Coulomb energy of two atoms closer than this is damped, the network learns it.
_COULOMB_RANGE = 4.6
#: Steepness of the coordination number, and of the weight of a reference (Grimme et al., doi:10.1063/1.3382344).
_K1, _K3 = 16.0, 4.0
#: Below this sum of weights no reference resembles the atoms, and they have no dispersion.
_LEAST_WEIGHT = 1e-5
#: References of an element in the tables of D3.
_REFERENCES = 5
#: s6, s8, a1, a2 (Bohr) of Becke-Johnson damping for wB97M.
_DAMPING = (1.0, 0.3908, 0.566, 3.128)


class RadialBasis(nn.Module):
    """Gaussians of the distance, times a cosine that ends at the cutoff.

    Args:
        count: How many.
        cutoff: Å.
    """

    rc_s: torch.Tensor
    eta_s: torch.Tensor
    shifts_s: torch.Tensor

    def __init__(self, count: int, cutoff: float) -> None:
        super().__init__()
        spacing = (cutoff - _FIRST_SHIFT) / count
        self.register_buffer("rc_s", torch.tensor(cutoff))
        self.register_buffer("eta_s", torch.tensor(spacing**-2))
        self.register_buffer("shifts_s", _FIRST_SHIFT + spacing * torch.arange(count))

    def forward(self, distances: torch.Tensor) -> torch.Tensor:
        """Return (n_pairs, count) for distances (n_pairs,) below the cutoff, Å."""
        envelope = 0.5 * torch.cos(distances * (math.pi / self.rc_s)) + 0.5
        functions = torch.exp(-self.eta_s * (distances[:, None] - self.shifts_s).square())
        values: torch.Tensor = functions * envelope[:, None]
        return values


class Coulomb(nn.Module):
    """Coulomb energy of atomic charges, damped where the atoms are close."""

    rc: torch.Tensor

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("rc", torch.tensor(_COULOMB_RANGE))

    def forward(self, charges: torch.Tensor, pairs: torch.Tensor, distances: torch.Tensor) -> torch.Tensor:
        """Return the energy (eV) of each pair, (n_pairs,).

        Args:
            charges: (n_atoms,), elementary charges.
            pairs: (2, n_pairs), i < j.
            distances: (n_pairs,), Å.
        """
        i, j = pairs
        # Up to the last but one float32 below 1, where the exponential is zero and its derivatives are finite.
        share = (distances / self.rc).clamp(max=0.999999).square()
        damped = torch.exp(1.0 - 1.0 / (1.0 - share))
        products = charges.index_select(0, i) * charges.index_select(0, j)
        return HARTREE_TO_EV * BOHR_TO_ANGSTROM * (1.0 - damped) * products / distances


class Dispersion(nn.Module):
    """D3 dispersion with Becke-Johnson damping (Grimme, Ehrlich, Goerigk, doi:10.1002/jcc.21759).

    The tables of reference coefficients belong to the weights; in a network without weights from elsewhere they are
    zero, and so is the dispersion.

    The weight of a pair of references is a product of one factor for each atom. So the references of an atom are
    weighted once, and not once for each pair that it is in.
    """

    c6: torch.Tensor
    cn: torch.Tensor
    r4r2: torch.Tensor
    rcov: torch.Tensor
    cnmax: torch.Tensor
    damping: torch.Tensor

    def __init__(self) -> None:
        super().__init__()
        kinds = len(ELEMENTS)
        self.register_buffer("c6", torch.zeros(kinds, kinds, _REFERENCES, _REFERENCES))
        self.register_buffer("cn", torch.zeros(kinds, _REFERENCES))
        self.register_buffer("r4r2", torch.zeros(kinds))
        self.register_buffer("rcov", torch.zeros(kinds))
        self.register_buffer("cnmax", torch.full((kinds,), torch.inf))
        self.register_buffer("damping", torch.tensor(_DAMPING))

    def forward(self, kinds: torch.Tensor, pairs: torch.Tensor, distances: torch.Tensor) -> torch.Tensor:
        """Return the energy (eV) of each pair, (n_pairs,).

        Args:
            kinds: (n_atoms,), places in ``ELEMENTS``.
            pairs: (2, n_pairs), i < j.
            distances: (n_pairs,), Å.
        """
        s6, s8, a1, a2 = self.damping
        i, j = pairs
        kind_i, kind_j = kinds[i], kinds[j]
        bohr = distances / BOHR_TO_ANGSTROM
        squared = bohr.square()
        sixth = squared.square() * squared
        ratio = 3.0 * self.r4r2[kind_i] * self.r4r2[kind_j]
        radius = (a1 * ratio.sqrt() + a2).square()
        sixth_radius = radius.square() * radius
        damped = s6 / (sixth + sixth_radius) + s8 * ratio / (sixth * squared + sixth_radius * radius)
        energies: torch.Tensor = -HARTREE_TO_EV * self._coefficients(kinds, pairs, bohr) * damped
        return energies

    def _coefficients(self, kinds: torch.Tensor, pairs: torch.Tensor, bohr: torch.Tensor) -> torch.Tensor:
        """Return C6 of each pair, (n_pairs,), in atomic units."""
        i, j = pairs
        reach = (self.rcov[kinds[i]] + self.rcov[kinds[j]]) / bohr
        bonded = torch.sigmoid(_K1 * (reach - 1.0))
        coordination = bonded.new_zeros(len(kinds)).index_add(0, i, bonded).index_add(0, j, bonded)
        coordination = torch.minimum(coordination, self.cnmax[kinds])
        weights = torch.exp(-_K3 * (coordination[:, None] - self.cn[kinds]).square())
        # (n_atoms, kinds, references): the coefficients of an atom with each reference of each element.
        towards = torch.einsum("na,nkab->nkb", weights, self.c6[kinds])
        rows = towards.flatten(0, 1).index_select(0, i * len(ELEMENTS) + kinds[j])
        total = weights.sum(-1)
        norm = total.index_select(0, i) * total.index_select(0, j)
        known = norm >= _LEAST_WEIGHT
        sums = (rows * weights.index_select(0, j)).sum(-1)
        return torch.where(known, sums / norm.clamp(min=_LEAST_WEIGHT), 0.0)
