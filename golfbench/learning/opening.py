"""Making potentials: from a name, from a checkpoint, or from an oracle driven as a fixed model."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch

from golfbench.contracts import Model
from golfbench.environments import check_here
from golfbench.errors import CheckpointError, ConfigurationError
from golfbench.imports import contained
from golfbench.learning import checkpoint
from golfbench.learning.potential import Potential
from golfbench.oracles.as_model import OracleModel
from golfbench.oracles.opening import open_oracle
from golfbench.registry import registry
from golfbench.seeds import torch_seed
from golfbench.specs import ComponentRef, ModelSpec, OracleSpec


def open_fixed_model(ref: ComponentRef) -> Model:
    """Open a potential that is not trained: a fixed model, or any oracle driven as one.

    Raises:
        ConfigurationError: If neither a fixed model nor an oracle has that name.
    """
    if is_oracle(ref.name):
        spec = registry().find(OracleSpec, ref.name)
        return OracleModel.of(open_oracle(ref, registry()), spec.level_of_theory(ref.parameters))
    model_spec = registry().find(ModelSpec, ref.name)
    if model_spec.trainable:
        raise ConfigurationError(f"model '{ref.name}' is trainable: it is no fixed reference")
    model: Model = model_spec.create(ref.parameters)
    return model


def is_oracle(name: str) -> bool:
    """Return whether the name is an oracle's (and not also a model's)."""
    return not registry().has("model", name) and registry().has("oracle", name)


def new_network(ref: ComponentRef, seed: int) -> torch.nn.Module:
    """Build a network with weights drawn from the run's seed, in float32.

    Whatever its package does to the process when it is imported and built, is undone (see ``imports.contained``).

    Raises:
        ConfigurationError: If it is fixed, or a parameter does not fit.
        ElsewhereError: If it has an environment of its own.
    """
    spec = registry().find(ModelSpec, ref.name)
    if not spec.trainable:
        raise ConfigurationError(f"model '{ref.name}' is fixed: it cannot be trained")
    check_here(spec)
    with contained(), torch_seed(seed, "weights"):
        network: torch.nn.Module = spec.create(ref.parameters)
    return network


def potential_header(ref: ComponentRef, potential: Potential, delta: str | None, method: str) -> dict[str, Any]:
    """Return what a checkpoint needs to rebuild a potential."""
    spec = registry().find(ModelSpec, ref.name)
    return {
        "model": spec.name,
        "parameters": spec.resolve(ref.parameters),
        "atom_energies_hartree": {str(z): e for z, e in potential.atom_energies.items()},
        "scale_hartree": potential.scale,
        "delta": delta,
        "method": method,
    }


def save_potential(path: Path, potential: Potential, header: Mapping[str, Any]) -> None:
    """Write the weights of a potential with its header (see ``potential_header``)."""
    checkpoint.save(path, checkpoint.prefixed("network", potential.network.state_dict()), header)


def load_potential(
    path: Path, device: str = "cpu", dtype: torch.dtype | None = None
) -> tuple[Potential, dict[str, Any]]:
    """Rebuild a potential from a checkpoint.

    Args:
        path: The checkpoint.
        device: Where the network lives.
        dtype: Type of its parameters; that of the file by default.

    Raises:
        CheckpointError: If the file is damaged, or the weights do not fit the model it names.
    """
    tensors, header = checkpoint.load(path)
    ref = ComponentRef(header["model"], header["parameters"])
    potential = Potential(
        new_network(ref, seed=0),
        {int(z): e for z, e in header["atom_energies_hartree"].items()},
        header["scale_hartree"],
        open_delta(header["delta"]),
    )
    weights = checkpoint.unprefixed("network", tensors)
    potential.network.to(dtype_of(weights))  # before the loading, which would round to the type that is there
    load_weights(potential.network, weights, str(path))
    potential.network.to(device, dtype).eval()
    return potential, header


def dtype_of(weights: Mapping[str, torch.Tensor]) -> torch.dtype:
    """Return the floating-point type of a network's weights."""
    return next((t.dtype for t in weights.values() if t.is_floating_point()), torch.float32)


def open_delta(name: str | None) -> Model | None:
    """Open the fixed model of delta learning, if there is one.

    Its name may come from a checkpoint's header, a stranger's text: what is not declared cheap is refused, hence every
    oracle that runs a program or a function of the name's choice.

    Raises:
        ConfigurationError: If it is not a cheap oracle.
    """
    if not name:
        return None
    ref = ComponentRef.parse(name)
    if not registry().find(OracleSpec, ref.name).cheap:
        raise ConfigurationError(f"oracle '{name}' is not cheap: it cannot be the delta model")
    return open_fixed_model(ref)


def load_weights(network: torch.nn.Module, weights: Mapping[str, torch.Tensor], owner: str) -> None:
    """Load weights strictly: nothing missing, nothing left over, no shape bent.

    Raises:
        CheckpointError: If they do not fit.
    """
    try:
        network.load_state_dict(dict(weights), strict=True)
    except RuntimeError as error:
        reason = " ".join(str(error).split())
        raise CheckpointError(f"{owner}: weights do not fit the model: {reason[:300]}") from error


def matches(header: Mapping[str, Any], ref: ComponentRef, delta: str | None, method: str) -> bool:
    """Return whether a checkpoint is of that model with those parameters, delta and level of theory."""
    spec = registry().find(ModelSpec, ref.name)
    same_model = header.get("model") == spec.name and header.get("parameters") == spec.resolve(ref.parameters)
    return same_model and header.get("delta") == delta and header.get("method") == method


def check_matches(path: Path, header: Mapping[str, Any], ref: ComponentRef, delta: str | None, method: str) -> None:
    """Refuse a checkpoint of another model, another delta or another level of theory.

    Raises:
        CheckpointError: With what it is and what was asked for.
    """
    if "model" not in header:
        raise CheckpointError(f"checkpoint {path} holds no model: it is the state of an unfinished training")
    if not matches(header, ref, delta, method):
        parameters = {k: v for k, v in header["parameters"].items() if v is not None}
        has = ComponentRef(header["model"], parameters)
        raise CheckpointError(
            f"checkpoint {path} is of {has} with delta {header['delta'] or 'none'} at {header['method']}, "
            f"not of {ref} with delta {delta or 'none'} at {method}"
        )
