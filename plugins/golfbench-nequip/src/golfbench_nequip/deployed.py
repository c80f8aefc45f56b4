"""Weights from a file written by ``nequip-deploy build`` of NequIP 0.6: TorchScript with the training configuration.

The file says how the network was built, but not every setting of NequIP exists here, and some leave no trace in the
shapes of the weights. So the network is rebuilt and must give the forces and energies of the file's own code on a
probe, or the file is refused.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
import yaml

from golfbench.batches import make_batch
from golfbench.contracts import ImportedWeights
from golfbench.errors import CheckpointError, ConfigurationError
from golfbench.imports import contained
from golfbench.learning.potential import Potential
from golfbench.molecules import Molecule, parse_elements
from golfbench.units import HARTREE_TO_EV
from golfbench_nequip.networks import NequIPNetwork, nequip

_NOTICE = (
    "The file does not say the units of its training data: eV and Å are assumed. Nor does it say its level of theory "
    "or licence: ask whoever trained it. Cite NequIP as Batzner et al., Nat. Commun. 13, 2453 (2022)."
)
#: A module that every energy model has; what stands before it belongs to wrappers.
_LANDMARK = "chemical_embedding.linear.weight"
_SCALES, _SHIFTS = "per_species_rescale.scales", "per_species_rescale.shifts"
#: Key of NequIP's configuration and its default there, by parameter.
_SETTINGS: Mapping[str, tuple[str, Any]] = {
    "features": ("num_features", None),
    "l_max": ("l_max", None),
    "parity": ("parity", None),
    "cutoff": ("r_max", None),
    "layers": ("num_layers", 3),
    "radial": ("num_basis", 8),
    "radial_layers": ("invariant_layers", 1),
    "radial_neurons": ("invariant_neurons", 8),
    "envelope": ("PolynomialCutoff_p", 6.0),
    "avg_neighbours": ("avg_num_neighbors", 1.0),
}
#: Share of the largest force by which rebuilt float32 arithmetic may differ.
_TOLERANCE = 1e-3


class _Loader(yaml.SafeLoader):
    """Reads tuples as lists, and other Python objects in a configuration as nothing."""


def _python_object(loader: _Loader, suffix: str, node: yaml.Node) -> list[Any] | None:
    if suffix == "tuple" and isinstance(node, yaml.SequenceNode):
        return loader.construct_sequence(node)
    return None


_Loader.add_multi_constructor("tag:yaml.org,2002:python/", _python_object)


def read(path: Path) -> ImportedWeights:
    """Read a deployed model.

    Loading runs code of the file (TorchScript): only for files from people you trust.

    Raises:
        CheckpointError: If it is not such a file, or of a network that cannot be rebuilt.
    """
    try:
        with contained():
            model, config = _load(Path(path))
            imported = _folded(dict(model.state_dict()), _parameters(config))
            _check(imported, model)
    except CheckpointError as error:
        raise CheckpointError(f"{path}: {error}") from error
    return imported


def _load(path: Path) -> tuple[torch.jit.ScriptModule, Mapping[str, Any]]:
    """Return the model and the configuration it was trained with."""
    extra: dict[str, Any] = {"config": ""}
    try:
        model = torch.jit.load(path, map_location="cpu", _extra_files=extra).eval()
        config = yaml.load(extra["config"], Loader=_Loader)  # noqa: S506 - a safe loader
    except (RuntimeError, ValueError, OSError, yaml.YAMLError) as error:
        reason = " ".join(str(error).split())
        raise CheckpointError(f"not a deployed NequIP model: {reason[:200]}") from error
    if not isinstance(config, dict):
        raise CheckpointError("not a deployed NequIP model: it has no configuration")
    return model, config


def _folded(state: Mapping[str, torch.Tensor], parameters: Mapping[str, Any]) -> ImportedWeights:
    """Sort a state into weights, one scale and an energy per element.

    NequIP's energy is g Σ_atoms (s_Z e + b_Z): the global scale g becomes the scale of the output, g b_Z the energies
    of the elements; s_Z stays in the network.
    """
    weights, scale = _energy_model(state), _global_scale(state)
    numbers, dtype = parse_elements(parameters["elements"]), weights[_LANDMARK].dtype
    scales, shifts = (weights.get(name, torch.empty(0)) for name in (_SCALES, _SHIFTS))
    weights[_SCALES] = (scales if scales.numel() else torch.ones(len(numbers))).to(dtype)
    weights[_SHIFTS] = torch.empty(0, dtype=dtype)
    energies = (shifts.double() * scale / HARTREE_TO_EV).tolist() or [0.0] * len(numbers)
    return ImportedWeights(
        parameters=parameters,
        tensors={f"model.{name}": tensor.detach().cpu().clone() for name, tensor in weights.items()},
        scale=scale / HARTREE_TO_EV,
        atom_energies=dict(zip(numbers, energies, strict=True)),
        notice=_NOTICE,
    )


def _energy_model(state: Mapping[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """Return the state of the energy model, without the wrappers around it."""
    found = [name.removesuffix(_LANDMARK) for name in state if name.endswith(_LANDMARK)]
    if len(found) != 1:
        raise CheckpointError(f"the deployed model has {len(found)} NequIP energy models among its weights, not one")
    return {name.removeprefix(found[0]): tensor for name, tensor in state.items() if name.startswith(found[0])}


def _global_scale(state: Mapping[str, torch.Tensor]) -> float:
    """Return the product of the scales that wrap the energy model.

    Raises:
        CheckpointError: If the total energy is shifted: that is no sum over atoms.
    """
    scale = 1.0
    for name, tensor in state.items():
        if name.endswith(".scale_by") and tensor.numel():
            scale *= float(tensor)
        if name.endswith(".shift_by") and tensor.any():
            raise CheckpointError("the deployed model shifts total energies, whatever the atoms: it cannot be imported")
    return scale


def _parameters(config: Mapping[str, Any]) -> dict[str, Any]:
    """Return the parameters of ``nequip`` that a configuration amounts to."""
    given = {name: config.get(key, default) for name, (key, default) in _SETTINGS.items()}
    given["avg_neighbours"] = given["avg_neighbours"] or 1.0  # NequIP's null: sums are not normalized
    missing = [_SETTINGS[name][0] for name, value in given.items() if value is None]
    if missing:
        raise CheckpointError(f"the configuration of the deployed model has no {', '.join(missing)}")
    symbols = config.get("type_to_chemical_symbol") or dict(enumerate(config.get("type_names") or ()))
    elements = " ".join(symbols[key] for key in sorted(symbols, key=int))
    try:
        parse_elements(elements)
    except ConfigurationError as error:
        raise CheckpointError(f"the types of the deployed model are not chemical elements: {error}") from error
    return {"preset": "small", **given, "elements": elements}


def _check(imported: ImportedWeights, model: torch.jit.ScriptModule) -> None:
    """Refuse what does not compute the energies and forces of the file's own code.

    Raises:
        CheckpointError: If weights do not fit, or the results differ.
    """
    network = _rebuilt(imported)
    numbers = parse_elements(imported.parameters["elements"])
    batch = make_batch([_probe(numbers, network.cutoff)], network.cutoff)
    rebuilt = Potential(network, imported.atom_energies, imported.scale).energy_forces(batch)
    graph = {"pos": batch.positions, "edge_index": batch.pairs, "atom_types": network.types[batch.numbers][:, None]}
    theirs = model(graph)
    pairs = [(rebuilt.energies, theirs["total_energy"])]
    pairs += [(rebuilt.forces, theirs["forces"])] if "forces" in theirs else []
    largest = imported.scale + float(rebuilt.forces.abs().max())
    rounding = 1e-6 * sum(map(abs, imported.atom_energies.values()))
    for ours, reference in pairs:
        error = (ours.flatten() - reference.detach().double().flatten() / HARTREE_TO_EV).abs().max()
        if not error <= _TOLERANCE * largest + rounding:
            raise CheckpointError(
                f"the deployed model has settings that cannot be rebuilt: on a probe its results differ by {error:.2g} "
                "Hartree or Hartree/Å from those of the weights in NequIP's standard architecture"
            )


def _rebuilt(imported: ImportedWeights) -> NequIPNetwork:
    assert isinstance(imported.tensors, Mapping)  # of one network
    try:
        network = nequip(**imported.parameters)
        network.load_state_dict(dict(imported.tensors), strict=True)
    except (RuntimeError, ConfigurationError) as error:
        reason = " ".join(str(error).split())
        raise CheckpointError(f"the deployed model cannot be rebuilt: {reason[:300]}") from error
    return network


def _probe(numbers: tuple[int, ...], cutoff: float) -> Molecule:
    """Return two atoms of each element in a helix, neighbours 0.28 cutoffs apart at the least."""
    angles = torch.arange(2 * len(numbers), dtype=torch.float64)
    helix = torch.stack([angles.cos(), angles.sin(), 0.3 * angles], dim=1) * cutoff * 0.28
    return Molecule("probe", torch.tensor(numbers * 2).numpy(), helix.numpy())
