"""Everything that can be extended.

A plugin is a module named by an entry point in the group ``golfbench``::

    [project.entry-points.golfbench]
    my-plugin = "my_plugin"

and implements any of these functions, marked with ``golfbench.hookimpl``. Hooks return specs, so that listing them
imports nothing heavy.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

import pluggy

from golfbench.specs import (
    DatasetSpec,
    ExecutorSpec,
    LearnerSpec,
    LoggerSpec,
    ModelSpec,
    OptimizerSpec,
    OracleSpec,
    SelectionSpec,
)

if TYPE_CHECKING:
    import typer

PROJECT = "golfbench"
hookspec = pluggy.HookspecMarker(PROJECT)
hookimpl = pluggy.HookimplMarker(PROJECT)


@hookspec
def golfbench_models() -> Iterable[ModelSpec]:  # type: ignore[empty-body]
    """Offer models: trainable networks or fixed potentials.

    Example:
        >>> @hookimpl
        ... def golfbench_models():
        ...     return [ModelSpec(name="my-net", factory="my_plugin.net:MyNet", summary="A network of mine.")]
    """


@hookspec
def golfbench_optimizers() -> Iterable[OptimizerSpec]:  # type: ignore[empty-body]
    """Offer batched geometry optimizers.

    Example:
        >>> @hookimpl
        ... def golfbench_optimizers():
        ...     return [OptimizerSpec(name="my-descent", factory="my_plugin.opt:Descent", summary="Downhill.")]
    """


@hookspec
def golfbench_selections() -> Iterable[SelectionSpec]:  # type: ignore[empty-body]
    """Offer selections, which decide which states of a trajectory the oracle labels.

    Example:
        >>> @hookimpl
        ... def golfbench_selections():
        ...     return [SelectionSpec(name="first", factory="my_plugin.rules:First", summary="Label state 1.")]
    """


@hookspec
def golfbench_oracles() -> Iterable[OracleSpec]:  # type: ignore[empty-body]
    """Offer engines that label a molecule with energy and forces; any of them also serves as a fixed model.

    Example:
        >>> @hookimpl
        ... def golfbench_oracles():
        ...     return [OracleSpec(name="my-dft", factory="my_plugin.dft:Engine", method="PBE/{basis}",
        ...                        parameters=(Parameter("basis", "def2-SVP", "Basis set."),), summary="DFT.")]
    """


@hookspec
def golfbench_datasets() -> Iterable[DatasetSpec]:  # type: ignore[empty-body]
    """Offer datasets: an initial training set, test molecules and their reference minima.

    Example:
        >>> @hookimpl
        ... def golfbench_datasets():
        ...     return [DatasetSpec(name="my-set", factory="my_plugin.data:open_set", method="GFN2-xTB",
        ...                         summary="Forty molecules.")]
    """


@hookspec
def golfbench_executors() -> Iterable[ExecutorSpec]:  # type: ignore[empty-body]
    """Offer places where oracle calls run, with the interface of ``concurrent.futures.Executor``.

    Example:
        >>> @hookimpl
        ... def golfbench_executors():
        ...     return [ExecutorSpec(name="threads", factory="concurrent.futures:ThreadPoolExecutor",
        ...                          parameters=(Parameter("max_workers", 2, "Calls at a time."),), summary="Here.")]
    """


@hookspec
def golfbench_learners() -> Iterable[LearnerSpec]:  # type: ignore[empty-body]
    """Offer ways to fit networks to labels.

    Example:
        >>> @hookimpl
        ... def golfbench_learners():
        ...     return [LearnerSpec(name="my-fit", factory="my_plugin.fit:Fit", summary="Freezes all but the head.")]
    """


@hookspec
def golfbench_loggers() -> Iterable[LoggerSpec]:  # type: ignore[empty-body]
    """Offer places where the curves of a training are kept.

    Example:
        >>> @hookimpl
        ... def golfbench_loggers():
        ...     return [LoggerSpec(name="my-curves", factory="my_plugin.curves:Log", summary="One file a curve.")]
    """


@hookspec
def golfbench_commands(app: typer.Typer) -> None:
    """Add commands to the command line.

    Example:
        >>> @hookimpl
        ... def golfbench_commands(app):
        ...     @app.command()
        ...     def hello() -> None:
        ...         print("hello")
    """
