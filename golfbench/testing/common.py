"""Checks of every kind of component: its spec, its plugin's module, its factory."""

from __future__ import annotations

import base64
import pickle
import re

from golfbench.errors import GolfbenchError
from golfbench.specs import ModelSpec, OracleSpec, Parameter, Spec
from golfbench.testing.results import Check, CheckSkipped, Finding, check
from golfbench.testing.subject import Subject

CHECKS: list[Check] = []
_NAME = re.compile(r"[a-z0-9]+(-[a-z0-9]+)*")
_PARAMETER_NAME = re.compile(r"[a-z][a-z0-9_]*")


def _in_process(spec: Spec) -> bool:
    return not (isinstance(spec, OracleSpec) and spec.isolated)


@check(CHECKS)
def listing(subject: Subject) -> Finding:
    """Importing the plugin and calling its hooks loads neither its engine nor anything else that takes long."""
    return Finding.of_problems(subject.probe["heavy"], "heavy modules")


@check(CHECKS)
def description(subject: Subject) -> Finding:
    """The spec has what users need: a name in kebab case, a summary, a help text for each parameter."""
    spec = subject.spec
    problems = [f"'{name}' is not in kebab case" for name in (spec.name, *spec.aliases) if not _NAME.fullmatch(name)]
    if not spec.summary.strip() or "\n" in spec.summary:
        problems.append("the summary is not one line")
    if ":" not in spec.factory:
        problems.append(f"factory '{spec.factory}' is not module:attribute")
    problems += [f"parameter {p.name} has no help" for p in spec.parameters if not p.help.strip()]
    elements = spec.elements if isinstance(spec, ModelSpec | OracleSpec) else None
    if elements is not None and not (elements and elements <= frozenset(range(1, 119))):
        problems.append("elements are not atomic numbers from 1 to 118")
    return Finding.of_problems(problems)


@check(CHECKS)
def parameters(subject: Subject) -> Finding:
    """Every default has the parameter's type, is one of its choices, and is read back from a command line unchanged."""
    declared = subject.spec.parameters
    problems = [problem for parameter in declared for problem in _parameter_problems(parameter)]
    names = [p.name for p in declared]
    problems += [f"{name} is declared twice" for name in sorted(set(names)) if names.count(name) > 1]
    return Finding.of_problems(problems)


def _parameter_problems(parameter: Parameter) -> list[str]:
    name, default = parameter.name, parameter.default
    if not _PARAMETER_NAME.fullmatch(name):
        return [f"'{name}' is no name of a keyword argument"]
    if default is None:
        return [] if parameter.kind else [f"{name}: the default is None, so kind must say the type"]
    problems = []
    for value in (default, *parameter.choices):
        try:
            back = parameter.convert(str(value), "it")
        except GolfbenchError as error:
            problems.append(str(error))
            continue
        if back != value or type(back) is not type(value):
            problems.append(f"{name}: {value!r} becomes {back!r}")
    return problems


@check(CHECKS)
def pickling(subject: Subject) -> Finding:
    """The spec reaches a fresh process and comes back unchanged."""
    back = pickle.loads(base64.b64decode(subject.probe["spec"]))  # noqa: S301 - written by our own child process
    return Finding.of_problems([] if back == subject.spec else ["it came back another"])


@check(CHECKS)
def requires(subject: Subject) -> Finding:
    """Every module that the spec requires is installed."""
    problems: list[str] = list(subject.probe["missing"])
    if problems and subject.spec.install_hint:
        problems[-1] += f"; install with: {subject.spec.install_hint}"
    return Finding.of_problems(problems, "missing modules")


@check(CHECKS, "requires")
def factory(subject: Subject) -> Finding:
    """The factory can be imported in a fresh process and takes the declared parameters."""
    error = subject.probe.get("error")
    unset = [p.name for p in subject.spec.parameters if p.default is None and p.name not in subject.ref.parameters]
    if error and unset and subject.probe["error_type"] == "ConfigurationError":
        raise CheckSkipped(f"it cannot be built without parameters: {error}")
    return Finding.of_problems([f"{subject.probe['error_type']}: {error}"] if error else [])


@check(CHECKS, "factory", when=_in_process)
def global_state(subject: Subject) -> Finding:
    """Importing and building it changes nothing that other components share (dtype, seeds, environment, warnings)."""
    changes = [f"import: {change}" for change in subject.probe["import_changed"]]
    changes += [f"build: {change}" for change in subject.probe["build_changed"]]
    return Finding.of_problems(changes, "changes")
