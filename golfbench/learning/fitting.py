"""A training of a known length, resumed from its newest intact snapshot."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from golfbench.errors import ConfigurationError
from golfbench.learning.learner import Learner
from golfbench.learning.pool import Pool
from golfbench.learning.snapshots import Snapshots

#: Updates between two snapshots.
SNAPSHOT_EVERY = 500


def fit_to_the_end(
    learner: Learner,
    pool: Pool,
    total: int,
    snapshots: Snapshots,
    facts: Mapping[str, Any],
    advance: Callable[[int], None],
) -> None:
    """Train up to a number of updates, and leave the best weights in the potential.

    Args:
        learner: At its start.
        pool: What is learned.
        total: Updates in all.
        snapshots: Where the state is kept meanwhile.
        facts: What the training is; snapshots of another one are refused.
        advance: Told the updates done.

    Raises:
        ConfigurationError: If the snapshots are of another training.
        TrainingError: If the loss is no longer finite.
    """
    if found := snapshots.newest():
        tensors, header = found
        if header.get("of") != facts:
            raise ConfigurationError(
                f"{snapshots.place} has the state of another training: remove it, or write to another file"
            )
        learner.restore(tensors, header["update"])
    while learner.update < total:
        learner.fit(pool, min(SNAPSHOT_EVERY, total - learner.update), advance)
        snapshots.save(learner.update, learner.state(), {"update": learner.update, "of": facts})
    learner.finish(pool)


def beside(path: Path) -> Snapshots:
    """Return the snapshots of the training that writes a checkpoint."""
    return Snapshots(path.parent, f"{path.stem}.training")
