"""What an SO3LR network is built from. Field names are those of the model's parameters."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from golfbench.errors import ConfigurationError

#: Bounds of whole numbers.
_BOUNDS = {"features": (4, 4096), "heads": (1, 64), "layers": (1, 64), "radial": (2, 1024)}
#: so3krates-torch has spherical harmonics up to this degree.
_MAXIMUM_DEGREE = 4


@dataclass(frozen=True, slots=True, kw_only=True)
class Architecture:
    """Everything that decides which weights a network has, and what it does with them.

    Attributes:
        features: Invariant features of an atom.
        heads: Heads of the attention on them.
        layers: Layers of the transformer.
        radial: Radial functions.
        degrees: Degrees of the spherical harmonics, rising, separated by blanks.
        cutoff: Of messages, Å; electrostatics and dispersion reach farther.
        avg_neighbours: Divisor of the sums over neighbours.
    """

    features: int
    heads: int
    layers: int
    radial: int
    degrees: str
    cutoff: float
    avg_neighbours: float

    def __post_init__(self) -> None:
        for name, (least, most) in _BOUNDS.items():
            if not least <= getattr(self, name) <= most:
                raise ConfigurationError(f"{name}={getattr(self, name)}: {least} to {most} can be built")
        for name in ("cutoff", "avg_neighbours"):
            if not 0 < getattr(self, name) < float("inf"):
                raise ConfigurationError(f"{name}={getattr(self, name)}: a positive, finite number is needed")
        for divisor, what in ((4, "4"), (self.heads, "heads"), (len(self.orders), "the number of degrees")):
            if self.features % divisor:
                raise ConfigurationError(f"features={self.features}: a multiple of {what} is needed")

    @property
    def orders(self) -> list[int]:
        """Degrees of the spherical harmonics.

        Raises:
            ConfigurationError: If they are not rising whole numbers from 1 to 4.
        """
        words = self.degrees.split()
        orders = [int(word) for word in words if word.isdecimal()]
        inside = all(1 <= order <= _MAXIMUM_DEGREE for order in orders)
        if not orders or len(orders) != len(words) or orders != sorted(set(orders)) or not inside:
            raise ConfigurationError(f"degrees={self.degrees}: rising degrees from 1 to 4 are written like '1 2 3 4'")
        return orders

    def arguments(self) -> dict[str, Any]:
        """Return the keyword arguments of ``so3krates_torch.modules.models.SO3LR`` for it."""
        return {
            "r_max": self.cutoff,
            "num_radial_basis_fn": self.radial,
            "degrees": self.orders,
            "num_features": self.features,
            "num_heads": self.heads,
            "num_layers": self.layers,
            "avg_num_neighbors": self.avg_neighbours,
            "energy_regression_dim": self.features,
            **_PUBLISHED,
        }


#: What every SO3LR has in common.
_PUBLISHED = {
    "radial_basis_fn": "bernstein",
    "cutoff_fn": "phys",
    "layer_normalization_1": True,
    "layer_normalization_2": True,
    "residual_mlp_1": True,
    "use_charge_embed": True,
    "use_spin_embed": True,
    "energy_learn_atomic_type_shifts": True,
    "energy_learn_atomic_type_scales": True,
}
