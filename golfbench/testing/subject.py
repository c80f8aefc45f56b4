"""The component under examination, and the fresh process in which its spec is read, its factory imported and called."""

from __future__ import annotations

import base64
import json
import os
import pickle
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from golfbench.registry import Registry
from golfbench.specs import ComponentRef, OracleSpec, Scalar, Spec

_COMMAND = (sys.executable, "-P", "-m", "golfbench.testing.probe")
#: Importing and building take seconds; a component that needs longer hangs.
_PROBE_LIMIT_S = 300.0


@dataclass(frozen=True)
class Subject:
    """A component with the parameters that it is examined with.

    Attributes:
        kind: Its kind.
        spec: Its spec.
        ref: Its name and the parameters that were given.
        registry: Where it was found.
    """

    kind: str
    spec: Spec
    ref: ComponentRef
    registry: Registry

    @cached_property
    def parameters(self) -> Mapping[str, Scalar]:
        """Every parameter with its value."""
        return self.spec.resolve(self.ref.parameters)

    def create(self) -> Any:
        """Return a fresh component, made in this process."""
        return self.spec.create(self.ref.parameters)

    @cached_property
    def plugin_module(self) -> str:
        """Name of the module that its entry point names."""
        for plugin in self.registry.plugins:
            if plugin.distribution == self.spec.distribution and (self.kind, self.spec.name) in plugin.components:
                module = self.registry.manager.get_plugin(f"{plugin.distribution}/{plugin.name}")
                return str(getattr(module, "__name__", ""))
        return ""

    @property
    def isolated(self) -> bool:
        """Whether it only ever runs in a process of its own."""
        return isinstance(self.spec, OracleSpec) and self.spec.isolated

    @cached_property
    def probe(self) -> Mapping[str, Any]:
        """What ``golfbench.testing.probe`` found in a fresh process.

        Raises:
            RuntimeError: If that process died.
        """
        answer = self._ask_probe(with_torch=self.kind in ("model", "optimizer"))
        # torch takes seconds to load: it is loaded first only where an import could change its state
        return self._ask_probe(with_torch=True) if answer.get("loaded_torch") else answer

    def _ask_probe(self, with_torch: bool) -> dict[str, Any]:
        question = {
            "plugin_module": self.plugin_module,
            "spec": base64.b64encode(pickle.dumps(self.spec)).decode(),
            "parameters": dict(self.parameters),
            "isolated": self.isolated,
            "with_torch": with_torch,
        }
        done = subprocess.run(
            _COMMAND,
            input=json.dumps(question),
            capture_output=True,
            text=True,
            timeout=_PROBE_LIMIT_S,
            env={**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))},
        )
        if done.returncode:
            last = (done.stderr.strip().splitlines() or ["nothing on stderr"])[-1]
            raise RuntimeError(f"the process ended with code {done.returncode}: {last}")
        answer: dict[str, Any] = json.loads(done.stdout)
        return answer
