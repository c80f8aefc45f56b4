"""The fresh process of an examination: ``python -m golfbench.testing.probe``, one JSON object in, one out.

Reads the plugin as a listing does, then imports and calls the factory as a run does, and notes what each step did to
the process: modules loaded, and everything global that other components rely on.
"""

from __future__ import annotations

import base64
import contextlib
import importlib
import importlib.util
import json
import logging
import os
import pickle
import random
import sys
import tempfile
import warnings
from collections.abc import Mapping
from hashlib import sha256
from pathlib import Path
from typing import Any

from golfbench.registry import KINDS, plural
from golfbench.specs import LearnerSpec, LoggerSpec, ModelSpec, Spec, load_factory

#: Modules that cost more than a listing may.
HEAVY = frozenset({"ase", "jax", "lightning", "matplotlib", "numpy", "pandas", "rdkit", "scipy", "tensorflow", "torch"})
#: How many calls of a network are compared with each other.
CALLS = 3
#: Environment variables that torch's own compiler sets when something imports it.
_TORCH_VARIABLES = frozenset({"TORCHINDUCTOR_CACHE_DIR", "TRITON_CACHE_DIR"})


def main() -> None:
    """Answer one request; output of the component goes to stderr."""
    answers = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)
    question = json.load(sys.stdin)
    answer: dict[str, Any] = {"heavy": _heavy_modules(question["plugin_module"])}
    spec = pickle.loads(base64.b64decode(question["spec"]))  # noqa: S301 - written by the parent, a moment ago
    answer |= {"spec": base64.b64encode(pickle.dumps(spec)).decode(), "missing": _missing(spec)}
    if not answer["missing"]:
        answer |= _build(spec, question)
    json.dump(answer, answers)
    answers.close()


def _heavy_modules(plugin_module: str) -> list[str]:
    """Import a plugin and call its hooks; return the heavy modules, and those it requires, that this loaded."""
    before = set(sys.modules)
    requires: set[str] = set()
    if plugin_module:
        module = importlib.import_module(plugin_module)
        for kind in KINDS:
            offer = getattr(module, f"golfbench_{plural(kind)}", tuple)
            requires |= {name.partition(".")[0] for spec in offer() for name in spec.requires}
    loaded = {name.partition(".")[0] for name in set(sys.modules) - before}
    return sorted(loaded & (HEAVY | requires))


def _missing(spec: Spec) -> list[str]:
    """Return the required modules that are not installed; some can be imported only after the plugin patches them."""
    return [name for name in spec.requires if importlib.util.find_spec(name.partition(".")[0]) is None]


def _build(spec: Spec, question: Mapping[str, Any]) -> dict[str, Any]:
    """Import the factory, call it with the parameters, and note what that changed."""
    if not question["isolated"]:
        _load_the_suite(question["with_torch"])
    scratch = tempfile.TemporaryDirectory()
    arguments = _arguments(spec, question["parameters"], scratch.name)
    states = [global_state()]
    try:
        factory = load_factory(spec.factory, spec.name, spec.install_hint)
        states.append(global_state())
        with scratch, _seeded(question["with_torch"]):
            component = factory(**arguments)
        states.append(global_state())
        calls = _first_calls(component, spec) if question["with_torch"] and isinstance(spec, ModelSpec) else []
    except Exception as error:  # noqa: BLE001 - a plugin's factory may raise anything
        return {"error": " ".join(str(error).split()), "error_type": type(error).__name__}
    loaded_torch = "torch" in sys.modules and not (question["with_torch"] or question["isolated"])
    found = {"import_changed": changed(*states[:2]), "build_changed": changed(*states[1:])}
    return {"loaded_torch": loaded_torch, "calls": calls, **found}


def _first_calls(component: Any, spec: ModelSpec) -> list[str]:
    """Return digests of the forces that the first calls of a network give in this process, all for the same batch."""
    import torch

    if not isinstance(component, torch.nn.Module):
        return []
    from golfbench.batches import make_batch
    from golfbench.learning.potential import Potential
    from golfbench.testing.samples import STANDARD, samples

    potential = Potential(component.eval(), {})
    cutoff: Any = component.cutoff
    batch = make_batch(samples(STANDARD, spec.elements), cutoff)
    return [_digest(potential.energy_forces(batch).forces.tolist()) for _ in range(CALLS)]


def _arguments(spec: Spec, parameters: Mapping[str, Any], scratch: str) -> dict[str, Any]:
    """Return what the factory is called with: parameters, and what loggers and learners get besides."""
    if isinstance(spec, LoggerSpec):
        return {**parameters, "folder": Path(scratch), "run": "probe", "combination": "probe"}
    if isinstance(spec, LearnerSpec):
        import torch

        from golfbench.testing.learners import task_for

        torch.optim.Adam([torch.nn.Parameter(torch.zeros(1))])  # its first one loads torch's compiler
        given = {name: value for name, value in parameters.items() if name != "members"}
        return {**given, "task": task_for(spec.members(parameters))[0]}
    return dict(parameters)


def _seeded(with_torch: bool) -> contextlib.AbstractContextManager[None]:
    """Build as the suite does: drawing weights may use torch's generator."""
    if not with_torch:
        return contextlib.nullcontext()
    from golfbench.seeds import torch_seed  # imports numpy, which a listing must not load

    return torch_seed(0, "weights")


def _load_the_suite(with_torch: bool) -> None:
    """Load what a run loads anyway, so that its side effects do not count as the plugin's."""
    for module in ("golfbench.chemistry", "ase.db", "rich.style"):
        importlib.import_module(module)
    if with_torch:
        importlib.import_module("golfbench.learning.opening")


def global_state() -> dict[str, str]:
    """Return everything global that components share, by name."""
    state = {
        "random numbers of Python": _digest(random.getstate()),
        "environment variables": json.dumps({k: v for k, v in sorted(os.environ.items()) if k not in _TORCH_VARIABLES}),
        "warnings filters": repr(warnings.filters),
        "working directory": os.getcwd(),
        "log handlers": repr((logging.root.handlers, logging.root.level)),
    }
    if numpy := sys.modules.get("numpy"):
        state["random numbers of NumPy"] = _digest(numpy.random.get_state(legacy=True))
        state["NumPy error handling"] = repr(numpy.geterr())
    if torch := sys.modules.get("torch"):
        state |= _torch_state(torch)
    return state


def _torch_state(torch: Any) -> dict[str, str]:
    return {
        "torch default dtype": str(torch.get_default_dtype()),
        "torch default device": str(torch.get_default_device()),
        "random numbers of torch": _digest(torch.get_rng_state().tolist()),
        "torch threads": str(torch.get_num_threads()),
        "torch gradient mode": str(torch.is_grad_enabled()),
        "torch deterministic algorithms": str(torch.are_deterministic_algorithms_enabled()),
        "torch.load": repr(torch.load),
    }


def _digest(value: Any) -> str:
    return sha256(repr(value).encode()).hexdigest()


def changed(before: Mapping[str, str], after: Mapping[str, str]) -> list[str]:
    """Return what has changed; for environment variables their names."""
    found = []
    for name, value in before.items():
        if after[name] == value:
            continue
        if name == "environment variables":
            old, new = json.loads(value), json.loads(after[name])
            names = sorted(key for key in old.keys() | new.keys() if old.get(key) != new.get(key))
            found += [f"environment variable {name}" for name in names]
        else:
            found.append(name)
    return found


if __name__ == "__main__":
    main()
