"""What a model starts from: one type for the four ways to say it, for each model of a grid.

``painn:weights=auto`` (the baseline that ships with the dataset; else the first named weights that are free to take,
or that are here; else one that is trained), ``weights=fresh`` (one that is trained), ``weights=FILE``, or
``weights=NAME``: a set of weights that the model's plugin knows by name, with its licence and its level of theory, from
the store.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

from golfbench.errors import ConfigurationError
from golfbench.learning.foreign import ForeignFile, agreed, open_foreign
from golfbench.learning.headers import Header
from golfbench.learning.opening import load_potential
from golfbench.learning.potential import Potential
from golfbench.registry import registry
from golfbench.sources import PARAMETER
from golfbench.specs import ComponentRef, ModelSpec, Named, NamedWeights
from golfbench.store import required, stored


@dataclass(frozen=True, slots=True)
class Weights:
    """What a model starts from.

    Attributes:
        kind: See the module.
        path: The file, of ``file``.
        format: Its format, if it was made elsewhere; empty for a checkpoint of this suite.
        named: Of ``named``.
    """

    kind: Literal["auto", "fresh", "file", "named"]
    path: Path | None = None
    format: str = ""
    named: NamedWeights | None = None

    @classmethod
    def parse(cls, text: str, spec: ModelSpec, format: str = "") -> Weights:
        """Return what a person means by a word or a file name.

        Args:
            text: ``auto``, ``fresh`` (also ``none``), a name of the model's, or a file.
            spec: The model.
            format: Of the file.

        Raises:
            ConfigurationError: If a format is given and no file.
        """
        known = {weights.name: weights for weights in spec.weights}
        if text in known:
            return cls("named", named=known[text])
        if text in ("auto", "fresh", "none"):
            if format:
                raise ConfigurationError(f"checkpoint format '{format}': give the file with --checkpoint")
            return cls("auto" if text == "auto" else "fresh")
        if known and not Path(text).suffix:
            raise ConfigurationError(f"model '{spec.name}' has no weights '{text}'; known: {', '.join(known)}")
        return cls("file", Path(text), format)

    @property
    def made_elsewhere(self) -> bool:
        """Whether another program made them; they are converted once for all seeds of a run."""
        return self.named is not None or bool(self.path and self.format)

    @property
    def owner(self) -> str:
        """The weights, as an error message names them."""
        return f"weights '{self.named.name}'" if self.named else f"checkpoint {self.path}"

    @property
    def label(self) -> str:
        """The word that distinguishes them from other weights of the same model."""
        return self.named.name if self.named else self.format


def usual_weights(spec: ModelSpec) -> NamedWeights | None:
    """Return what ``auto`` means where no baseline ships; ``None`` for a network that is trained.

    The first weights whose licence need not be accepted, else the first that were fetched, which accepts it.
    """
    free = next((weights for weights in spec.weights if not weights.accept_licence), None)
    return free or next((weights for weights in spec.weights if stored(spec, weights)), None)


@dataclass(frozen=True, slots=True)
class ModelChoice:
    """A model of a grid and what it starts from.

    Attributes:
        ref: The model, without the weights.
        weights: What it starts from.
    """

    ref: ComponentRef
    weights: Weights

    @classmethod
    def parse(cls, named: Named, checkpoint: str = "auto", format: str = "") -> ModelChoice:
        """Return the choice that a person writes.

        Args:
            named: A trainable model: ``painn:preset=small,weights=fresh``.
            checkpoint: What it starts from when its parameters do not say it.
            format: Format of that file.
        """
        model = registry().component(ModelSpec, named)
        own = model.parameters.get(PARAMETER)
        weights = Weights.parse(str(own or checkpoint), model.spec, "" if own else format)
        return cls(without_weights(model.ref), weights)

    def open(self, unsafe: bool) -> tuple[Potential, Header]:
        """Rebuild the potential of weights that were made elsewhere; see ``foreign.open_foreign``.

        Args:
            unsafe: Whether files may be read that can run code.

        Raises:
            CheckpointError: If they cannot be read, or are of another architecture.
            ComponentMissingError: If named weights are not in the store.
            ConfigurationError: If the file may run code and that is not allowed.
        """
        if self.weights.named is None:
            assert self.weights.path is not None
            return open_foreign(ForeignFile(self.weights.path, self.weights.format, unsafe), self.ref)
        spec = registry().find(ModelSpec, self.ref.name)
        path = required(spec, self.weights.named)
        potential, header = load_potential(path)
        agreed(spec, self.ref, header["parameters"], self.weights.owner)
        # What the plugin says now: the store may have been filled before it was known.
        imported = {**header["imported"], "overlap": self.weights.named.overlap}
        return potential, {**header, "imported": imported}


def without_weights(ref: ComponentRef) -> ComponentRef:
    """Return a model without what it starts from."""
    return replace(ref, parameters={k: v for k, v in ref.parameters.items() if k != PARAMETER})


def choices(models: Iterable[ComponentRef], checkpoint: str, format: str) -> list[ModelChoice]:
    """Return the choices of trainable models; ``checkpoint`` stands for those that do not say what they start from.

    Raises:
        ConfigurationError: If one file is to serve several models.
    """
    listed = list(models)
    silent = [ref for ref in listed if PARAMETER not in ref.parameters]
    if format and len(silent) != 1:
        raise ConfigurationError(f"a checkpoint is of one model, not of {len(silent)}: {', '.join(map(str, silent))}")
    return [ModelChoice.parse(ref, checkpoint, format) for ref in listed]
