"""Bases of delta learning in a run: a cheap one is computed in this process, an engine by the oracle service."""

from __future__ import annotations

from golfbench.contracts import Model
from golfbench.errors import ConfigurationError
from golfbench.learning import checkpoint
from golfbench.learning.opening import base_file, is_potential, load_potential, open_base
from golfbench.oracles.as_model import OracleModel
from golfbench.oracles.service import Account, OracleService
from golfbench.registry import registry
from golfbench.specs import OracleSpec


def is_engine(name: str) -> bool:
    """Return whether a base is an engine, whose calls are counted."""
    return not is_potential(name) and not registry().find(OracleSpec, name).cheap


def base_of_run(name: str, service: OracleService, combination: str, stage: str) -> Model:
    """Open a base whose calls are in the ledger, as ``base``, and run in parallel on workers that stay alive.

    Args:
        name: An oracle, or a potential whose own bases are opened likewise.
        service: The run's.
        combination: Whose calls they are; empty when all combinations of a run share them.
        stage: Of the account.
    """
    if is_potential(name):
        opened = load_potential(base_file(name), open_named=lambda own: base_of_run(own, service, combination, stage))
        return opened[0]
    return _model(name, service, Account(combination, stage, "base"))


def surrogate_model(name: str, service: OracleService, combination: str) -> Model:
    """Open the surrogate as a model; the calls of an engine count for a row, as ``selection``."""
    return _model(name, service, Account(combination, "after", "selection"))


def _model(name: str, service: OracleService, account: Account) -> Model:
    if not is_engine(name):
        return open_base(name)
    oracle = registry().component(OracleSpec, name)
    return OracleModel(lambda molecules: service.label_all(oracle, molecules, account))


def check_base(name: str, methods: list[str]) -> None:
    """Refuse a base that cannot be one.

    Args:
        name: As the user writes it.
        methods: Levels of theory of the run's oracles.

    Raises:
        ConfigurationError: If it is the oracle itself: nothing would be left to learn.
        CheckpointError: If it is a file that is no checkpoint.
        ComponentMissingError: If it is named weights that are not in the store.
    """
    if is_potential(name):
        checkpoint.load(base_file(name))
        return
    base = registry().component(OracleSpec, name)
    if base.spec.level_of_theory(base.parameters) in methods:
        raise ConfigurationError(f"the base '{name}' is the oracle itself: nothing would be left to learn")
