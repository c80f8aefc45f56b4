"""Bases of delta learning in a run: what is cheap is asked in this process, an engine through the oracle service."""

from __future__ import annotations

from pathlib import Path

from golfbench.contracts import Model
from golfbench.errors import ConfigurationError
from golfbench.learning import checkpoint
from golfbench.learning.opening import load_potential, open_base
from golfbench.oracles.as_model import OracleModel
from golfbench.oracles.service import Account, OracleService
from golfbench.registry import registry
from golfbench.specs import OracleSpec


def is_engine(name: str) -> bool:
    """Return whether a base is an engine, whose calls are counted."""
    return not is_checkpoint(name) and not registry().find(OracleSpec, name).cheap


def is_checkpoint(name: str) -> bool:
    """Return whether a base is a potential in a file."""
    return name.endswith(checkpoint.SUFFIX)


def base_of_run(name: str, service: OracleService, combination: str, stage: str) -> Model:
    """Open a base whose calls are in the ledger, under the purpose ``base``, and asked side by side by warm workers.

    Args:
        name: An oracle, or a checkpoint whose own bases are opened likewise.
        service: The run's.
        combination: Who is charged; empty when all of a run share the calls.
        stage: Of the account.
    """
    if is_checkpoint(name):
        return load_potential(Path(name), open_named=lambda inner: base_of_run(inner, service, combination, stage))[0]
    if not is_engine(name):
        return open_base(name)
    oracle, account = registry().component(OracleSpec, name), Account(combination, stage, "base")
    return OracleModel(lambda molecules: service.label_all(oracle, molecules, account))


def check_base(name: str, methods: list[str]) -> None:
    """Refuse a base that cannot be one.

    Args:
        name: As a person writes it.
        methods: Levels of theory of the run's oracles.

    Raises:
        ConfigurationError: If it is the oracle itself: nothing would be left to learn.
        CheckpointError: If it is a file that is no checkpoint.
    """
    if is_checkpoint(name):
        checkpoint.load(Path(name))
        return
    base = registry().component(OracleSpec, name)
    if base.spec.level_of_theory(base.parameters) in methods:
        raise ConfigurationError(f"the base '{name}' is the oracle itself: nothing would be left to learn")
