"""From a name to an oracle that checks what goes in and what comes out, in this process or isolated in its own."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from types import TracebackType
from typing import Any, Self

import numpy as np

from golfbench.contracts import Closes, FloatArray, HasEnergy, MeasuresCpu, Oracle
from golfbench.errors import ConfigurationError, GolfbenchError, MoleculeError, OracleError
from golfbench.molecules import Molecule, check_molecule
from golfbench.oracles.isolation import WorkerOracle
from golfbench.registry import Registry
from golfbench.specs import Named, OracleSpec


def precheck(spec: OracleSpec, molecule: Molecule) -> None:
    """Refuse a molecule that the oracle cannot label, before an engine sees it.

    Raises:
        MoleculeError: For anything ``check_molecule`` refuses (elements of ``spec`` included), and for a charge or an
            open shell that the oracle does not take.
    """
    check_molecule(molecule, spec.elements, spec.name)
    if molecule.charge != 0 and not spec.charged:
        raise MoleculeError(f"{molecule.id}: {spec.name} takes neutral molecules only, charge is {molecule.charge:+d}")
    if molecule.multiplicity != 1 and not spec.open_shell:
        raise MoleculeError(
            f"{molecule.id}: {spec.name} takes closed shells only, multiplicity is {molecule.multiplicity}"
        )


#: Who may not ask an engine at the moment, because the call would be in no ledger.
_refused_to: ContextVar[str] = ContextVar("refused_to", default="")


@contextmanager
def uncounted_calls_refused(whom: str) -> Iterator[None]:
    """Refuse calls of expensive engines inside the block, and say who made them.

    Args:
        whom: As a person knows it: ``selection 'my-rule'``.
    """
    token = _refused_to.set(whom)
    try:
        yield
    finally:
        _refused_to.reset(token)


class CheckedOracle:
    """An oracle behind ``precheck``, whose results are finite and of the right shape; see ``contracts.Oracle``.

    Args:
        spec: What the oracle supports.
        engine: The oracle itself.
    """

    def __init__(self, spec: OracleSpec, engine: Oracle) -> None:
        self.spec = spec
        self.engine = engine

    @property
    def version(self) -> str:
        """Version of the engine."""
        return str(self.engine.version)

    @property
    def last_cpu_s(self) -> float | None:
        """CPU seconds of the last answered call where the engine measures them, otherwise ``None``."""
        return self.engine.last_cpu_s if isinstance(self.engine, MeasuresCpu) else None

    def label(self, molecule: Molecule) -> tuple[float, FloatArray]:
        """Return energy (Hartree) and forces (n_atoms, 3) (Hartree/Å) of one geometry.

        Raises:
            OracleError: ``input`` for a molecule that was refused, otherwise what the engine gave.
            ComponentMissingError: If the engine is not installed.
        """
        energy, forces = self._guard(self.engine.label, molecule)
        forces = np.asarray(forces, dtype=np.float64)
        if forces.shape != (len(molecule), 3):
            raise OracleError(f"{molecule.id}: {self.spec.name} gave forces of shape {forces.shape}")
        if not (np.isfinite(energy) and np.isfinite(forces).all()):
            raise OracleError(f"{molecule.id}: {self.spec.name} gave an energy or forces that are not finite")
        return float(energy), forces

    def energy(self, molecule: Molecule) -> float:
        """Return the energy (Hartree) alone, which is cheaper where the engine has a method ``energy``.

        Raises:
            OracleError: As for ``label``.
        """
        if not isinstance(self.engine, HasEnergy):
            return self.label(molecule)[0]
        energy = float(self._guard(self.engine.energy, molecule))
        if not np.isfinite(energy):
            raise OracleError(f"{molecule.id}: {self.spec.name} gave an energy that is not finite")
        return energy

    def _guard(self, call: Any, molecule: Molecule) -> Any:
        """Check the molecule and call the engine; only this package's errors come out."""
        if (whom := _refused_to.get()) and not self.spec.cheap:
            raise ConfigurationError(
                f"{whom} asks {self.spec.name} by itself, which no ledger would count: let its spec name 'surrogate', "
                f"and give --surrogate {self.spec.name}"
            )
        try:
            precheck(self.spec, molecule)
            return call(molecule)
        except MoleculeError as error:
            raise OracleError(str(error), "input") from error
        except GolfbenchError:
            raise
        except MemoryError as error:
            raise OracleError(f"{molecule.id}: {self.spec.name} ran out of memory ({error})", "memory") from error
        except Exception as error:
            raise OracleError(f"{molecule.id}: {self.spec.name}: {type(error).__name__}: {error}") from error

    def close(self) -> None:
        """End the engine's process, if it has one."""
        if isinstance(self.engine, Closes):
            self.engine.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None) -> None:
        self.close()


def open_oracle(
    named: Named,
    registry: Registry,
    *,
    threads: int = 1,
    time_limit_s: float | None = None,
    memory_limit_bytes: int | None = None,
) -> CheckedOracle:
    """Open an oracle by name. An isolated one starts its process with the first call.

    Args:
        named: Name and parameters.
        registry: Where to look.
        threads: Threads of an isolated engine.
        time_limit_s: Wall-clock limit of a call of an isolated engine, s; its own by default.
        memory_limit_bytes: Memory of an isolated engine and of what it starts, bytes; all that there is by default.

    Raises:
        ConfigurationError: If the name or a parameter is not known.
        ComponentMissingError: If an engine of this process is not installed.
    """
    component = registry.component(OracleSpec, named)
    spec = component.spec
    if not spec.isolated:
        return CheckedOracle(spec, component.create())
    engine = WorkerOracle(
        spec.factory,
        component.resolved(),
        name=spec.name,
        install_hint=spec.install_hint,
        threads=threads,
        time_limit_s=time_limit_s or spec.time_limit_s,
        memory_limit_bytes=memory_limit_bytes,
    )
    return CheckedOracle(spec, engine)
