"""Making potentials: from a name, from a checkpoint, or from an oracle driven as a fixed model."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch

from golfbench.allocator import keep_freed_memory
from golfbench.contracts import Model
from golfbench.environments import check_here
from golfbench.errors import CheckpointError, ConfigurationError
from golfbench.imports import contained
from golfbench.learning import checkpoint
from golfbench.learning.headers import Header, header_of
from golfbench.learning.learner import load_weights
from golfbench.learning.potential import Potential
from golfbench.oracles.as_model import OracleModel
from golfbench.oracles.opening import open_oracle
from golfbench.registry import registry
from golfbench.seeds import torch_seed
from golfbench.specs import ComponentRef, ModelSpec, Named, OracleSpec
from golfbench.store import named as weights_named
from golfbench.store import required
from golfbench.threads import usable_cpus


def open_fixed_model(named: Named) -> Model:
    """Open a potential that is not trained: a fixed model, or any oracle driven as one.

    Raises:
        ConfigurationError: If neither a fixed model nor an oracle has that name.
    """
    if is_oracle(named):
        oracle = registry().component(OracleSpec, named)
        method = oracle.spec.level_of_theory(oracle.parameters)
        if oracle.spec.isolated:
            return OracleModel.of_workers(oracle, method, usable_cpus())
        return OracleModel.of(open_oracle(oracle, registry()), method)
    fixed = registry().component(ModelSpec, named)
    if fixed.spec.trainable:
        raise ConfigurationError(f"model '{fixed.ref.name}' is trainable: it is no fixed reference")
    model: Model = fixed.create()
    return model


def is_oracle(named: Named) -> bool:
    """Return whether the name is an oracle's (and not also a model's)."""
    return not registry().has("model", named) and registry().has("oracle", named)


def new_network(ref: ComponentRef, seed: int, member: int = 0) -> torch.nn.Module:
    """Build a network with weights drawn from the run's seed, in float32.

    Whatever its package does to the process when it is imported and built, is undone (see ``imports.contained``).

    Raises:
        ConfigurationError: If it is fixed, or a parameter does not fit.
        ElsewhereError: If it has an environment of its own.
    """
    keep_freed_memory()
    spec = registry().find(ModelSpec, ref.name)
    if not spec.trainable:
        raise ConfigurationError(f"model '{ref.name}' is fixed: it cannot be trained")
    check_here(spec)
    with contained(), torch_seed(seed, "weights", *([member] if member else [])):
        network: torch.nn.Module = spec.create(ref.parameters)
    return network


def new_potential(
    ref: ComponentRef, seed: int, members: int, references: Mapping[int, float], scale: float, bases: Sequence[Model]
) -> Potential:
    """Build a potential of one network, or of a committee, with fresh weights.

    Args:
        ref: The model.
        seed: Root seed; the first member of a committee has the weights that a single network has.
        members: Networks.
        references: See ``Potential``; so are the others.
        scale: Hartree.
        bases: Fixed models.
    """
    networks = [new_network(ref, seed, member) for member in range(members)]
    return Potential(networks, references, scale, bases)


def potential_header(ref: ComponentRef, potential: Potential, delta: str | None, method: str) -> Header:
    """Return what a checkpoint needs to rebuild a potential."""
    spec = registry().find(ModelSpec, ref.name)
    header: Header = {
        "model": spec.name,
        "parameters": spec.resolve(ref.parameters),
        "atom_energies_hartree": {str(z): e for z, e in potential.atom_energies.items()},
        "scale_hartree": potential.scale,
        "delta": delta,
        "method": method,
    }
    if len(potential.networks) > 1:
        header["members"] = len(potential.networks)
    return header


def labels_learned(header: Mapping[str, Any]) -> int | None:
    """Return how many labels a checkpoint has learned from, as its header says; ``None`` where it does not say."""
    found = header.get("labels", (header.get("training") or {}).get("initial_labels"))
    return None if found is None else int(found)


def save_potential(path: Path, potential: Potential, header: Mapping[str, Any]) -> None:
    """Write the weights of a potential with its header (see ``potential_header``)."""
    tensors: dict[str, torch.Tensor] = {}
    for prefix, network in zip(prefixes(len(potential.networks)), potential.networks, strict=True):
        tensors |= checkpoint.prefixed(prefix, network.state_dict())
    checkpoint.save(path, tensors, header)


def prefixes(members: int) -> list[str]:
    """Return what the names of each network's tensors begin with in a checkpoint."""
    return ["network"] if members == 1 else [f"member-{k}" for k in range(members)]


def load_potential(
    path: Path,
    device: str = "cpu",
    dtype: torch.dtype | None = None,
    open_named: Callable[[str], Model] | None = None,
) -> tuple[Potential, Header]:
    """Rebuild a potential from a checkpoint.

    Args:
        path: The checkpoint.
        device: Where the network lives.
        dtype: Type of its parameters; that of the file by default.
        open_named: Opens the base that the header names; ``named_base`` by default.

    Raises:
        CheckpointError: If the file or its header is damaged, or the weights do not fit the model it names.
    """
    tensors, read = checkpoint.load(path)
    header = header_of(path, read)
    return rebuilt(path, tensors, header, device, dtype, open_named), header


def rebuilt(
    path: Path,
    tensors: Mapping[str, torch.Tensor],
    header: Header,
    device: str = "cpu",
    dtype: torch.dtype | None = None,
    open_named: Callable[[str], Model] | None = None,
) -> Potential:
    """Rebuild a potential from a checkpoint that is read already; arguments and errors as for ``load_potential``.

    Args:
        path: Where it was read from.
        tensors: Its tensors.
        header: Its header.
        device: Where the network lives.
        dtype: Type of its parameters.
        open_named: Opens the base that the header names.
    """
    ref, members = ComponentRef(header["model"], header["parameters"]), header.get("members", 1)
    references = {int(z): e for z, e in header["atom_energies_hartree"].items()}
    bases = [(open_named or named_base)(header["delta"])] if header["delta"] else []
    potential = new_potential(ref, 0, members, references, header["scale_hartree"], bases)
    for prefix, network in zip(prefixes(members), potential.networks, strict=True):
        weights = checkpoint.unprefixed(prefix, tensors)
        network.to(dtype_of(weights))  # before the loading, which would round to the type that is there
        load_weights(network, weights, str(path))
        network.to(device, dtype).eval()
    return potential


def dtype_of(weights: Mapping[str, torch.Tensor]) -> torch.dtype:
    """Return the floating-point type of a network's weights."""
    return next((t.dtype for t in weights.values() if t.is_floating_point()), torch.float32)


def named_base(name: str) -> Model:
    """Open the base that a checkpoint's header names; its text is not trusted.

    Raises:
        ComponentMissingError: If it is named weights that are not in the store.
        ConfigurationError: If it is something else and no oracle, or one that could run a program or a function of the
            name's choice.
    """
    if is_named_weights(name):
        return open_base(name)
    spec = registry().find(OracleSpec, name)
    if not (spec.cheap or spec.safe_in_headers):
        raise ConfigurationError(
            f"oracle '{name}', which the file names as its base, can run other programs: give --delta {name} if you "
            "trust it"
        )
    return open_base(name)


def open_base(name: str) -> Model:
    """Open a base that a person names: an oracle, or a potential, which may have a base itself (see ``base_file``).

    Engines run here and their calls are not counted; in a run, see ``runs.bases``.
    """
    return load_potential(base_file(name))[0] if is_potential(name) else open_fixed_model(name)


def is_potential(name: str) -> bool:
    """Return whether a base is a potential in a file: a checkpoint, or weights that a model knows by name."""
    return name.endswith(checkpoint.SUFFIX) or is_named_weights(name)


def is_named_weights(name: str) -> bool:
    """Return whether a base is that of a trainable model: ``MODEL:weights=NAME``."""
    return registry().has("model", name) and registry().find(ModelSpec, name).trainable


def base_file(name: str) -> Path:
    """Return the checkpoint of a base that is a potential.

    Raises:
        ConfigurationError: If no weights are named, or the model has none of that name.
        ComponentMissingError: If they are not in the store, with the command that brings them.
    """
    if name.endswith(checkpoint.SUFFIX):
        return Path(name)
    model = registry().component(ModelSpec, name)
    spec, wanted = model.spec, model.parameters.get("weights")
    weights = None if wanted is None else weights_named(spec, str(wanted))
    if weights is None:
        known = ", ".join(f"{spec.name}:weights={each.name}" for each in spec.weights) or "none"
        raise ConfigurationError(f"the base '{name}' must name weights of model '{spec.name}'; known: {known}")
    return required(spec, weights)


def matches(header: Mapping[str, Any], ref: ComponentRef, delta: str | None, method: str) -> bool:
    """Return whether a checkpoint is of that model with those parameters, delta and level of theory."""
    spec = registry().find(ModelSpec, ref.name)
    same_model = header.get("model") == spec.name and header.get("parameters") == spec.resolve(ref.parameters)
    return same_model and header.get("delta") == delta and header.get("method") == method


def check_matches(path: Path, header: Mapping[str, Any], ref: ComponentRef, delta: str | None, method: str) -> None:
    """Refuse a checkpoint of another model, another delta or another level of theory.

    What has learned from weights that were made elsewhere keeps their architecture, which nobody has to spell out:
    parameters that a person gives must agree with it, as for those weights themselves.

    Raises:
        CheckpointError: With what it is and what was asked for.
    """
    if "model" not in header:
        raise CheckpointError(f"checkpoint {path} holds no model: it is the state of an unfinished training")
    asked = ref
    if header.get("imported") and header["model"] == ref.name:
        asked = replace(ref, parameters={**header["parameters"], **ref.parameters})
    if not matches(header, asked, delta, method):
        parameters = {k: v for k, v in header["parameters"].items() if v is not None}
        has = ComponentRef(header["model"], parameters)
        raise CheckpointError(
            f"checkpoint {path} is of {has} with delta {header['delta'] or 'none'} at {header['method']}, "
            f"not of {ref} with delta {delta or 'none'} at {method}"
        )
