"""Scalars in runs of Weights & Biases. The client changes environment variables and log handlers: it is contained."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from golfbench.imports import contained


@contextmanager
def _quiet() -> Iterator[None]:
    """Import the client without side effects, and switch off its crash reports."""
    with contained():
        os.environ["WANDB_ERROR_REPORTING"] = "false"
        yield


with _quiet():
    import wandb

#: What the client would otherwise record of the machine, the code and the console.
_PRIVATE = {
    "console": "off",
    "silent": True,
    "save_code": False,
    "disable_code": True,
    "disable_git": True,
    "host": "",
    "username": "",
    "program": "golfbench",
    "x_disable_stats": True,
    "x_disable_meta": True,
    "x_disable_machine_info": True,
    "x_save_requirements": False,
}


class WandbRun:
    """See ``golfbench.contracts.Logger``. The id follows from the names, so that a resumed run is the same W&B run.

    Args:
        project: Project.
        entity: User or team; empty: the default of the user who is logged in.
        mode: ``offline`` or ``online``.
        folder: Where the client keeps its files.
        run: Group of the W&B run.
        combination: Its name.
    """

    def __init__(self, project: str, entity: str, mode: str, folder: Path, run: str, combination: str) -> None:
        identity = hashlib.sha256(f"{run}/{combination}".encode()).hexdigest()[:16]
        with _quiet():
            self._run = wandb.init(
                project=project,
                entity=entity or None,
                mode="online" if mode == "online" else "offline",
                dir=folder,
                id=identity,
                name=combination,
                group=run,
                resume="allow" if mode == "online" else None,  # there is nothing to look up offline
                settings=wandb.Settings(**_PRIVATE),
            )

    def scalars(self, step: int, values: Mapping[str, float]) -> None:
        """Log a step; W&B keeps it open until the next one."""
        with _quiet():
            self._run.log(dict(values), step=step)

    def close(self) -> None:
        """End the W&B run."""
        with _quiet():
            self._run.finish()
