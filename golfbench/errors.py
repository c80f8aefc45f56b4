"""What can go wrong, each with the exit code the command line ends with.

Exit codes: 0 done, 1 finished but some items failed, 2 usage or configuration, 3 a component is missing,
4 nothing to do, 130 interrupted.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable


class GolfbenchError(Exception):
    """Base of every error that the user may cause or cure; its text is one clear line."""

    exit_code = 1


class ConfigurationError(GolfbenchError):
    """A name, a parameter, a file or a combination of them that cannot be used."""

    exit_code = 2


class MoleculeError(ConfigurationError):
    """A molecule that no engine should be given (NaN, overlap, electrons, elements)."""


class CheckpointError(ConfigurationError):
    """A checkpoint that is truncated, tampered with, or of another model."""


class ComponentMissingError(GolfbenchError):
    """A plugin, package or external program that is not installed; the text says how to install it."""

    exit_code = 3


class NothingToDoError(GolfbenchError):
    """An empty selection: no molecule, no record, no row."""

    exit_code = 4


class OracleError(GolfbenchError):
    """An oracle call that gave no label.

    Attributes:
        kind: ``input`` (the molecule is impossible), ``not_converged``, ``crashed`` (the engine's process died),
            ``time_limit``, ``memory``, ``lost`` (the worker died, for any reason), ``rejected`` (there is a
            label, and it cannot be right) or ``engine`` (anything else).
    """

    KINDS = ("input", "not_converged", "crashed", "time_limit", "memory", "lost", "rejected", "engine")

    def __init__(self, message: str, kind: str = "engine") -> None:
        if kind not in self.KINDS:
            raise ValueError(f"unknown kind of oracle error: {kind}")
        super().__init__(message)
        self.kind = kind


class TrainingError(GolfbenchError):
    """A training that cannot go on: its loss is no longer finite. Other rows of the grid do not depend on it."""


class PluginError(GolfbenchError):
    """A plugin raised an unexpected exception; the text names the plugin."""


class WorkerLostError(GolfbenchError):
    """The worker of an executor died with a call; the call may be asked again elsewhere."""


class WriteError(GolfbenchError):
    """The disk is full or the run directory cannot be written; nothing before it is lost."""


def unknown_name(what: str, name: str, known: Iterable[str]) -> str:
    """Return the line for a mistyped name, with the nearest known ones.

    Args:
        what: The kind of thing, for example ``model``.
        name: The name that is not known.
        known: The names that are.
    """
    names = sorted(known)
    near = difflib.get_close_matches(name, names, n=2, cutoff=0.5)
    if near:
        return f"unknown {what} '{name}': did you mean {' or '.join(repr(n) for n in near)}?"
    shown = ", ".join(names[:12]) + (", ..." if len(names) > 12 else "")
    return f"unknown {what} '{name}'; known: {shown or 'none installed'}"
