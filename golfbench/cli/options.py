"""Options that several verbs share, with completion of component names and ``GOLFBENCH_*`` variables.

An option that was not given is ``None``, so that values of a YAML file take precedence over the defaults.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Annotated

import typer

from golfbench.errors import ConfigurationError
from golfbench.registry import registry
from golfbench.specs import ComponentRef

#: What ``run`` combines when nothing is given, by kind of component: the same as in ``golfbench.runs.config``, which
#: imports torch.
DEFAULTS: Mapping[str, ComponentRef] = {
    "dataset": ComponentRef("druglike-mini"),
    "model": ComponentRef("aimnet2"),
    "optimizer": ComponentRef("rfo-internal"),
    "selection": ComponentRef("golf"),
    "oracle": ComponentRef("gfn2-xtb"),
}


def complete(kind: str) -> Callable[[str], list[tuple[str, str]]]:
    """Return the shell completion for names of that kind, each with its summary."""

    def names(incomplete: str) -> list[tuple[str, str]]:
        listed = {spec.name: spec.summary for spec in registry().specs(kind)}
        return [(name, summary) for name, summary in listed.items() if name.startswith(incomplete)]

    return names


def with_arguments(kind: str, names: list[str] | None, arguments: list[str] | None) -> list[str] | None:
    """Return the one component of a kind with ``KEY=VALUE`` arguments added to it.

    Raises:
        ConfigurationError: If there is not exactly one component to give them to, or an argument has no ``=``.
    """
    if not arguments:
        return names
    if not names or len(names) != 1:
        raise ConfigurationError(f"--{kind}-arg needs exactly one --{kind} to belong to")
    ref = ComponentRef.parse(names[0])
    given = dict(argument.partition("=")[::2] for argument in arguments)
    if bad := next((argument for argument in arguments if "=" not in argument), None):
        raise ConfigurationError(f"--{kind}-arg is written KEY=VALUE, '{bad}' is not")
    return [str(ComponentRef(ref.name, {**ref.parameters, **given}))]


REPEATABLE = "Parameters follow a colon: NAME:KEY=VALUE,... Repeat for a grid."

ModelOption = Annotated[
    list[str] | None,
    typer.Option(
        "--model",
        "-m",
        metavar="NAME",
        envvar="GOLFBENCH_MODEL",
        autocompletion=complete("model"),
        help=f"Potential to train or to judge. {REPEATABLE}",
    ),
]
OptimizerOption = Annotated[
    list[str] | None,
    typer.Option(
        "--optimizer",
        metavar="NAME",
        envvar="GOLFBENCH_OPTIMIZER",
        autocompletion=complete("optimizer"),
        help=f"Geometry optimizer. {REPEATABLE}",
    ),
]
SelectionOption = Annotated[
    list[str] | None,
    typer.Option(
        "--selection",
        metavar="NAME",
        envvar="GOLFBENCH_SELECTION",
        autocompletion=complete("selection"),
        help=f"Rule that picks the states to label. {REPEATABLE}",
    ),
]
OracleOption = Annotated[
    list[str] | None,
    typer.Option(
        "--oracle",
        metavar="NAME",
        envvar="GOLFBENCH_ORACLE",
        autocompletion=complete("oracle"),
        help=f"Engine that labels. {REPEATABLE}",
    ),
]
SeedOption = Annotated[
    list[int] | None,
    typer.Option("--seed", envvar="GOLFBENCH_SEED", help="Seed of every random choice. Repeat for a grid."),
]
DatasetOption = Annotated[
    str | None,
    typer.Option(
        "--dataset",
        "-d",
        metavar="NAME",
        envvar="GOLFBENCH_DATASET",
        autocompletion=complete("dataset"),
        help="Dataset with the initial training set and the test molecules. Parameters follow a colon; a value with a "
        """comma stands in double quotes: 'folder:path="a,b"'.""",
    ),
]
OutputOption = Annotated[
    Path | None,
    typer.Option("--output", "-o", envvar="GOLFBENCH_OUTPUT", help="Folder that the results go to."),
]
LoggerOption = Annotated[
    list[str] | None,
    typer.Option(
        "--logger",
        metavar="NAME",
        envvar="GOLFBENCH_LOGGER",
        autocompletion=complete("logger"),
        help="What records how the training goes: csv, tensorboard, wandb:project=X. Repeatable; changes no result.",
    ),
]
JsonOption = Annotated[bool, typer.Option("--json", help="Print JSON on stdout instead of a table.")]
WideOption = Annotated[
    bool, typer.Option("--wide", help="Show all columns: steps, oracle calls by purpose, geometries, times.")
]
AllColumnsOption = Annotated[
    bool, typer.Option("--wide", help="Show all columns, also on a terminal that is too narrow for them.")
]
FormatOption = Annotated[
    str | None,
    typer.Option("--checkpoint-format", metavar="NAME", help="Format of a file made elsewhere (`plugins show MODEL`)."),
]
UnsafeOption = Annotated[
    bool, typer.Option("--unsafe", help="Allow a file that can run code when it is read, in a process of its own.")
]
DeviceOption = Annotated[str | None, typer.Option("--device", help="Where networks live: cpu, cuda.")]
TypeOption = Annotated[
    str | None, typer.Option("--dtype", metavar="TYPE", help="Type of the networks' parameters: float32, float64.")
]
