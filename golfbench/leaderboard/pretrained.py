"""Pretrained weights of an entry: those of its network, or of the base that the network corrects."""

from __future__ import annotations

from golfbench.errors import ConfigurationError
from golfbench.leaderboard.entries import Entry, PretrainedWeights
from golfbench.registry import registry
from golfbench.sources import PARAMETER
from golfbench.specs import ModelSpec


def weights_at_work(entry: Entry) -> PretrainedWeights | None:
    """Return the pretrained weights that an entry's energies depend on; ``None`` where there are none.

    The licence of a checkpoint is what the submitter states for an entry that is judged as it comes.
    """
    weights = entry.weights
    if weights is None:
        return _weights_of_base(entry.delta)
    if not weights.license and entry.stage == "before":
        return weights.model_copy(update={"license": entry.credits.weights_license})
    return weights


def _weights_of_base(base: str) -> PretrainedWeights | None:
    """Return the facts of weights by name, as their plugin states them; ``None`` for a base of another kind."""
    try:
        if not base or not registry().has("model", base):
            return None
        component = registry().component(ModelSpec, base)
    except ConfigurationError:
        return None
    wanted = component.parameters.get(PARAMETER)
    named = next((weights for weights in component.spec.weights if weights.name == wanted), None)
    if named is None or not named.sha256:
        return None
    facts = {name: getattr(named, name) for name in ("name", "license", "method", "overlap")}
    return PretrainedWeights(file_sha256=named.sha256, **facts)
