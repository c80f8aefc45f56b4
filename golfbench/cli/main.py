"""The entry point: adds all verbs, and turns errors into one line and an exit code."""

from __future__ import annotations

import errno
import os
import signal
import sys
import traceback
from itertools import takewhile
from typing import Annotated, Any

import typer
from typer.core import TyperGroup

import golfbench
from golfbench.cli import (
    cache,
    compare,
    components,
    conformers,
    console,
    datasets,
    doctor,
    evaluate,
    leaderboard,
    merge,
    minimize,
    models,
    plugins,
    report,
    run,
    status,
    train,
)
from golfbench.cli.streams import open_streams, session
from golfbench.environments import ElsewhereError, run_instead
from golfbench.errors import GolfbenchError, WriteError
from golfbench.registry import ALLOW_LIST_VARIABLE, Registry, registry
from golfbench.threads import limit_threads

#: Modules that each ``register`` their verbs, in the order of the help.
VERBS = (
    run,
    merge,
    train,
    minimize,
    conformers,
    evaluate,
    status,
    report,
    compare,
    leaderboard,
    doctor,
    plugins,
    models,
    components,
    datasets,
    cache,
)
#: Errors of a full disk, by number: on clusters also a used-up quota.
FULL = {errno.ENOSPC: "the disk is full", errno.EDQUOT: "the disk quota is used up"}
NO_PLUGINS = "--no-plugins"
INTERRUPTED = 130


class ErrorReportingGroup(TyperGroup):
    """The top of the command tree, where errors that the user can cure become one line and an exit code."""

    def invoke(self, ctx: Any) -> Any:
        """Run the command.

        Raises:
            typer.Exit: With the exit code of the error that was reported.
        """
        session.begin()
        try:
            return super().invoke(ctx)
        except ElsewhereError as error:  # nothing was done yet
            run_instead(error.environment, sys.argv[1:])
        except GolfbenchError as error:
            console.fail(str(error))
            _tell_notes(error)
            raise typer.Exit(error.exit_code) from error
        except KeyboardInterrupt as error:
            console.note(f"interrupted{'; the same command resumes where it stopped' if session.resumes else ''}")
            _tell_notes(error)
            raise typer.Exit(INTERRUPTED) from error
        except OSError as error:
            if error.errno not in FULL:
                raise
            place = f" ({error.filename})" if error.filename else ""
            again = "; the same command resumes" if session.resumes else ""
            console.fail(f"{FULL[error.errno]}{place}: free some space{again}")
            _tell_notes(error)
            raise typer.Exit(WriteError.exit_code) from error


def _tell_notes(error: BaseException) -> None:
    """Print the notes of an exception, such as the path of the work that was done."""
    for text in getattr(error, "__notes__", ()):
        console.note(text)


def _print_version(wanted: bool) -> None:
    if wanted:
        print(f"{console.PROGRAM} {golfbench.__version__}")
        raise typer.Exit


def _root(
    version: Annotated[
        bool, typer.Option("--version", callback=_print_version, is_eager=True, help="Print the version and exit.")
    ] = False,
    no_plugins: Annotated[bool, typer.Option(NO_PLUGINS, help="Load no plugin.")] = False,
) -> None:
    """Train neural network potentials by GOLF and judge them as minimizers of drug-like molecules.

    Exit codes: 0 done, 1 some items failed, 2 usage or configuration, 3 a component is missing, 4 nothing to do,
    130 interrupted.
    """


def build_app() -> typer.Typer:
    """Return the command line with every verb of the suite."""
    app = typer.Typer(
        cls=ErrorReportingGroup,
        no_args_is_help=True,
        context_settings={"help_option_names": ["-h", "--help"]},
        pretty_exceptions_enable=False,
        rich_markup_mode=None,  # plain help: half the start-up time, and brackets stay brackets
    )
    app.callback()(_root)
    for verb in VERBS:
        verb.register(app)
    return app


def add_plugin_commands(app: typer.Typer, found: Registry) -> None:
    """Let every plugin add its commands; one that fails or takes a name is left out with a warning."""
    for implementation in found.manager.hook.golfbench_commands.get_hookimpls():
        offered = typer.Typer()  # an app of its own, so that a plugin's commands are added all or not at all
        try:
            implementation.function(*[offered for _ in implementation.argnames])
            _merge(app, offered)
        except Exception as error:  # noqa: BLE001 - a plugin's function may raise anything
            name, reason = implementation.plugin_name, f"{type(error).__name__}: {error}"
            console.warn(f"the commands of plugin {name} are left out ({reason})")


def _merge(app: typer.Typer, offered: typer.Typer) -> None:
    """Move commands over, after checking that Typer can build them and that their names are free."""
    taken = set(typer.main.get_group(app).commands) & set(typer.main.get_group(offered).commands)
    if taken:
        raise ValueError(f"{', '.join(sorted(taken))} exists already")
    app.registered_commands += offered.registered_commands
    app.registered_groups += offered.registered_groups


def interrupt(number: int, frame: object) -> None:
    """End like Ctrl-C, so that workers and scratch files are removed: schedulers send SIGTERM before they kill."""
    raise KeyboardInterrupt


def main() -> None:
    """Run the command line and exit with its code."""
    open_streams()
    limit_threads()
    signal.signal(signal.SIGTERM, interrupt)
    if NO_PLUGINS in takewhile(lambda argument: argument.startswith("-"), sys.argv[1:]):
        os.environ[ALLOW_LIST_VARIABLE] = ""
    sys.exit(session.exit_code(_run()))


def _run() -> int:
    try:
        app = build_app()
        add_plugin_commands(app, registry())
        app(prog_name=console.PROGRAM)
    except SystemExit as end:
        return end.code if isinstance(end.code, int) else int(end.code is not None)
    except KeyboardInterrupt:  # before any verb began
        return INTERRUPTED
    except Exception:  # noqa: BLE001 - the last resort: a traceback and what to do with it
        traceback.print_exc()
        console.fail("a defect in golfbench or in a plugin (see `golfbench plugins list`): report the lines above")
        return 1
    return 0
