"""What a MACE network is built from. Field names are those of the model's parameters."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from golfbench.errors import ConfigurationError
from golfbench.molecules import parse_elements

#: What the presets differ in; ``medium`` has the sizes of MACE-OFF23 medium (Kovács et al., arXiv:2312.15211).
PRESETS: dict[str, dict[str, int]] = {
    "small": {"channels": 64, "max_l": 0, "correlation": 2, "harmonics": 2},
    "medium": {"channels": 128, "max_l": 1, "correlation": 3, "harmonics": 3},
}
#: Bounds of whole numbers: e3nn has harmonics up to order 11, mace-torch products of up to four factors.
_BOUNDS = {
    "channels": (1, 4096),
    "max_l": (0, 11),
    "correlation": (1, 4),
    "harmonics": (1, 11),
    "interactions": (1, 64),
    "radial": (2, 1024),
    "readout": (1, 4096),
    "envelope": (2, 64),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Architecture:
    """Everything that decides which weights a network has, and what it does with them.

    Attributes:
        channels: Channels of each order of the features.
        max_l: Highest order l of the features between interactions, of parity (-1)^l.
        correlation: Factors of the products of features.
        harmonics: Highest order of the spherical harmonics.
        interactions: Interaction blocks.
        cutoff: Å.
        radial: Radial functions.
        elements: Symbols in the order of the embedding, separated by blanks.
        avg_neighbours: Divisor of the sums over neighbours.
        readout: Width of the last readout.
        radial_mlp: Widths of the hidden layers between radial functions and weights, separated by blanks.
        envelope: Order of the polynomial cutoff.
        basis: ``bessel``, ``gaussian`` or ``chebyshev``.
        transform: ``none``, ``agnesi`` or ``soft``.
        first_block: Kind of the first interaction.
        block: Kind of the others.
        repulsion: Whether the ZBL repulsion is added.
        gate: Nonlinearity of the last readout.
    """

    channels: int
    max_l: int
    correlation: int
    harmonics: int
    interactions: int
    cutoff: float
    radial: int
    elements: str
    avg_neighbours: float
    readout: int
    radial_mlp: str
    envelope: int
    basis: str
    transform: str
    first_block: str
    block: str
    repulsion: bool
    gate: str

    def __post_init__(self) -> None:
        for name, (least, most) in _BOUNDS.items():
            if not least <= getattr(self, name) <= most:
                raise ConfigurationError(f"{name}={getattr(self, name)}: {least} to {most} can be built")
        for name in ("cutoff", "avg_neighbours"):
            if not 0 < getattr(self, name) < float("inf"):
                raise ConfigurationError(f"{name}={getattr(self, name)}: a positive, finite number is needed")
        if self.max_l > self.harmonics:
            raise ConfigurationError(f"max_l={self.max_l}: at most harmonics={self.harmonics}")

    @property
    def numbers(self) -> list[int]:
        """Atomic numbers in the order of the embedding.

        Raises:
            ConfigurationError: If a symbol is unknown or given twice, or there is none.
        """
        return list(parse_elements(self.elements))

    @property
    def widths(self) -> list[int]:
        """Widths of the hidden layers between radial functions and weights.

        Raises:
            ConfigurationError: If one is no positive whole number.
        """
        words = self.radial_mlp.split()
        if not all(w.isdecimal() and int(w) > 0 for w in words):
            raise ConfigurationError(f"radial_mlp={self.radial_mlp}: widths are written like '64 64 64'")
        return [int(w) for w in words]


def architecture(preset: str, **parameters: Any) -> Architecture:
    """Return the architecture of the model's parameters; ``None`` stands for the preset's value.

    Raises:
        ConfigurationError: If it cannot be built.
    """
    given = {name: value for name, value in parameters.items() if value is not None}
    return Architecture(**{**PRESETS[preset], **given})
