"""The parts of a grid: what this interpreter runs, and what the interpreters of other environments do for it."""

from __future__ import annotations

import subprocess
from collections import defaultdict
from pathlib import Path

from golfbench.environments import Environment, environment_of, require
from golfbench.errors import GolfbenchError
from golfbench.runs.config import RunConfig
from golfbench.runs.manifest import PartFacts
from golfbench.runs.shards import Share
from golfbench.specs import ComponentRef

#: How long an interrupted part may take to save what it has, s.
PATIENCE_S = 60.0


def split(config: RunConfig) -> tuple[RunConfig, dict[Environment, RunConfig]]:
    """Return the part of a grid that this process runs, and the parts of other environments.

    Fixed models and end points stay here.

    Raises:
        ComponentMissingError: If an environment is not made yet.
    """
    here: list[ComponentRef] = []
    elsewhere: defaultdict[Environment, list[ComponentRef]] = defaultdict(list)
    for model in config.models:
        environment = environment_of(model)
        (here if environment is None else elsewhere[environment]).append(model)
    for environment in elsewhere:
        require(environment)
    parts = {
        environment: config.model_copy(update={"models": tuple(models), "references": (), "end_points": ()})
        for environment, models in elsewhere.items()
    }
    return config.model_copy(update={"models": tuple(here)}), parts


def run_part(environment: Environment, config: RunConfig, share: Share, directory: Path, unsafe: bool) -> PartFacts:
    """Let another interpreter run its part of a grid in a run directory that this process has locked.

    Args:
        environment: Whose interpreter.
        config: Its part.
        share: The rows of this shard.
        directory: The run directory.
        unsafe: Whether files may be read that can run code.

    Returns:
        What the manifest says of it.

    Raises:
        GolfbenchError: If it failed; it has printed why on stderr.
    """
    command = [str(environment.python), "-m", "golfbench.cli.part", str(directory), *(["--unsafe"] if unsafe else [])]
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=environment.variables()
    ) as child:
        try:
            answer, _ = child.communicate(f"{config.model_dump_json()}\n{share.model_dump_json()}\n")
        except BaseException:  # Ctrl-C reaches the child, too; a SIGTERM does not
            child.terminate()
            child.wait(PATIENCE_S)
            raise
    if child.returncode:
        raise GolfbenchError(f"the part of model '{environment.name}' ended with exit code {child.returncode}")
    return PartFacts.model_validate_json(answer)
