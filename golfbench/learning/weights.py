"""What a model starts from: one type for the four ways to say it, for each model of a grid.

``painn:weights=auto`` (the baseline that ships with the dataset, or one that is trained), ``weights=fresh`` (one that
is trained), ``weights=FILE``, or ``weights=NAME``: a set of weights that the model's plugin knows by name, with its
licence and its level of theory.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

from golfbench.errors import CheckpointError, ConfigurationError
from golfbench.learning.foreign import ForeignFile
from golfbench.registry import registry
from golfbench.specs import ComponentRef, ModelSpec, Named, NamedWeights, load_factory

#: The parameter of a model that says it; it is the suite's, not the model's.
PARAMETER = "weights"


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
            return cls("named", format=known[text].format, named=known[text])
        if text in ("auto", "fresh", "none"):
            if format:
                raise ConfigurationError(f"checkpoint format '{format}': give the file with --checkpoint")
            return cls("auto" if text == "auto" else "fresh")
        if known and not Path(text).suffix:
            raise ConfigurationError(f"model '{spec.name}' has no weights '{text}'; known: {', '.join(known)}")
        return cls("file", Path(text), format)

    def foreign(self, unsafe: bool) -> ForeignFile | None:
        """Return the file made elsewhere that this is, if it is one; a named one is looked for and proven.

        Args:
            unsafe: Whether files may be read that can run code.

        Raises:
            CheckpointError: If the file of a named set is not the one that its plugin describes.
            ComponentMissingError: If the package that brings it is not installed.
        """
        if self.named is not None:
            return ForeignFile(located(self.named), self.format, unsafe or self.named.trusted)
        return ForeignFile(self.path, self.format, unsafe) if self.path is not None and self.format else None


def located(weights: NamedWeights) -> Path:
    """Return the file of a named set of weights.

    Raises:
        CheckpointError: If its content is another.
        ComponentMissingError: If the package that brings it is not installed.
    """
    path = Path(load_factory(weights.locate, weights.name, weights.install_hint)())
    if not path.is_file():
        raise CheckpointError(f"weights '{weights.name}': {path.name} is not there; {weights.install_hint}")
    with path.open("rb") as file:
        found = hashlib.file_digest(file, "sha256").hexdigest()
    if found != weights.sha256:
        raise CheckpointError(
            f"weights '{weights.name}': {path.name} is another file than the one known by that name "
            f"(SHA-256 {found[:12]}…, expected {weights.sha256[:12]}…)"
        )
    return path


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
