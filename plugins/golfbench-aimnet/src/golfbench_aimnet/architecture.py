"""What an AIMNet2 network is built from. Field names are those of the model's parameters."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from golfbench.errors import ConfigurationError

#: H B C N O F Si P S Cl As Se Br I, the elements of the published networks.
ELEMENTS = (1, 5, 6, 7, 8, 9, 14, 15, 16, 17, 33, 34, 35, 53)

#: ``published`` has the sizes of the published networks (Anstine, Zubatyuk, Isayev, doi:10.1039/D4SC08572H).
PRESETS: dict[str, dict[str, Any]] = {
    "published": {"features": 16, "radial": 16, "vectors": 12, "hidden": "512 380", "summary": 256, "readout": 128},
    "small": {"features": 8, "radial": 8, "vectors": 6, "hidden": "128 96", "summary": 64, "readout": 32},
}
_COUNTS = ("features", "radial", "vectors", "summary", "readout")


@dataclass(frozen=True, slots=True, kw_only=True)
class Architecture:
    """Sizes of a network.

    Attributes:
        features: Features of an atom for each radial function.
        radial: Radial functions.
        vectors: Combinations of the radial functions whose vectors are squared, for each feature.
        hidden: Widths of the hidden layers of the first two passes, separated by blanks; the third repeats the last.
        summary: Number of features of an atom after the last pass.
        readout: Width of the layers between that and the energy of the atom.
        cutoff: Å, of the message passing; the Coulomb energy and the dispersion reach over the whole molecule.
    """

    features: int
    radial: int
    vectors: int
    hidden: str
    summary: int
    readout: int
    cutoff: float = 5.0

    def __post_init__(self) -> None:
        for name in _COUNTS:
            if not 1 <= getattr(self, name) <= 4096:
                raise ConfigurationError(f"{name}={getattr(self, name)}: 1 to 4096 can be built")
        if not 1 < self.cutoff < float("inf"):
            raise ConfigurationError(f"cutoff={self.cutoff}: a finite distance above 1 Å is needed")
        if not self.widths:
            raise ConfigurationError("hidden: at least one width is needed")

    @property
    def widths(self) -> list[int]:
        """Widths of the hidden layers of the first two passes.

        Raises:
            ConfigurationError: If one is no positive whole number.
        """
        words = self.hidden.split()
        if not all(w.isdecimal() and int(w) > 0 for w in words):
            raise ConfigurationError(f"hidden={self.hidden}: widths are written like '512 380'")
        return [int(w) for w in words]


def architecture(preset: str, **parameters: Any) -> Architecture:
    """Return the architecture of the model's parameters; ``None`` stands for the preset's value.

    Raises:
        ConfigurationError: If it cannot be built.
    """
    given = {name: value for name, value in parameters.items() if value is not None}
    return Architecture(**{**PRESETS[preset], **given})
