"""Reader of the whole models that so3krates-torch pickles, such as the SO3LR that comes with it.

Such a file holds Python objects, and unpickling it may run any code: call ``read_model`` in a process of its own.
What it returns is plain: parameters that rebuild the architecture, and tensors.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import torch

from golfbench.batches import Batch, make_batch
from golfbench.contracts import ImportedWeights
from golfbench.errors import CheckpointError, ConfigurationError
from golfbench.imports import contained, importable
from golfbench.molecules import Molecule
from golfbench.units import HARTREE_TO_EV
from golfbench_so3lr.architecture import Architecture
from golfbench_so3lr.networks import LONG_RANGE_CUTOFF, LONG_RANGE_DAMPING, MAXIMUM_ATOMIC_NUMBER, So3lrNetwork

with importable():
    from so3krates_torch.modules.models import SO3LR

NOTICE = (
    "The SO3LR weights that come with so3krates-torch are under the MIT licence, level of theory PBE0+MBD; the file "
    "itself says neither. Cite 10.1021/jacs.5c09558."
)
#: Largest difference (share of the energy) between the file's model and the rebuilt one, in float64.
AGREEMENT = 1e-9


def read_model(path: str | Path) -> ImportedWeights:
    """Read a model file. Runs code from the file: only to be called in a process of its own.

    Energies in the file are eV. Its shifts of the elements become reference energies, of those elements that it has
    learned: the others still have the scale 1 that they started from.

    Args:
        path: A pickled ``SO3LR`` with one head.

    Raises:
        CheckpointError: If it is no such file, or the model has parts that cannot be rebuilt.
    """
    model = _unpickle(path)
    try:
        sizes = _architecture(model)
        references = _references(model.atomic_energy_output_block)
        network, tensors = _rebuild(sizes, model.state_dict())
        _check_agreement(model, network, sorted(references))
    except (ValueError, ConfigurationError) as error:
        raise CheckpointError(f"{path}: this model cannot be rebuilt: {error}") from error
    except (AttributeError, IndexError, KeyError, TypeError, RuntimeError) as error:
        raise CheckpointError(f"{path}: this model cannot be rebuilt: {_one_line(error)}") from error
    return ImportedWeights(
        parameters=asdict(sizes),
        tensors=tensors,
        scale=1.0 / HARTREE_TO_EV,
        atom_energies=references,
        notice=NOTICE,
    )


def _unpickle(path: str | Path) -> Any:
    with importable():
        try:
            # The file is a pickled object, which weights_only=True refuses whatever is in it. The format is declared
            # unsafe: this runs only where the user asked for it or the file's hash is known, in a process of its own.
            model = torch.load(path, map_location="cpu", weights_only=False)
        except FileNotFoundError:
            raise CheckpointError(f"{path} does not exist") from None
        except Exception as error:  # unpickling raises whatever the objects in the file raise
            raise CheckpointError(
                f"{path} is not readable as a whole model of the installed so3krates-torch: {_one_line(error)}"
            ) from error
    if type(model) is not SO3LR:
        raise CheckpointError(f"{path} holds {type(model).__name__}, not an SO3LR model with one head")
    return model.eval()


def _one_line(error: Exception) -> str:
    return " ".join(f"{type(error).__name__}: {error}".split())[:300]


def _architecture(model: Any) -> Architecture:
    """Read the architecture off the model."""
    return Architecture(
        features=int(model.num_features),
        heads=int(model.num_heads),
        layers=int(model.num_layers),
        radial=int(model.num_radial_basis_fn),
        degrees=" ".join(map(str, model.degrees)),
        cutoff=float(model.r_max),
        avg_neighbours=float(model.avg_num_neighbors),
    )


def _references(head: Any) -> dict[int, float]:
    """Return the shifts (Hartree) of the learned elements, by atomic number.

    Raises:
        ValueError: If no element was learned.
    """
    scales, shifts = head.energy_scales.weight.detach()[0].tolist(), head.energy_shifts.detach().tolist()
    rows = zip(range(1, MAXIMUM_ATOMIC_NUMBER + 1), scales, shifts, strict=False)
    references = {z: shift / HARTREE_TO_EV for z, scale, shift in rows if scale != 1.0}
    if not references:
        raise ValueError("it has learned no element")
    return references


def _rebuild(sizes: Architecture, state: Mapping[str, torch.Tensor]) -> tuple[So3lrNetwork, dict[str, torch.Tensor]]:
    """Build the network in float64 and load the file's weights.

    Returns:
        The network, and its state in the precision of the file.

    Raises:
        ValueError: If weights are missing.
        RuntimeError: If they do not fit.
    """
    with contained():
        network = So3lrNetwork(sizes).double()
    given = {f"so3lr.{name}": tensor.detach().clone() for name, tensor in state.items()}
    names = list(network.state_dict())
    if missing := [name for name in names if name not in given]:
        raise ValueError(f"it has no {missing[0]}")
    tensors = {name: given[name] for name in names}
    network.load_state_dict(tensors, strict=True)
    return network.eval(), tensors


def _check_agreement(model: Any, network: So3lrNetwork, elements: list[int]) -> None:
    """Evaluate the file's model and the rebuilt one on charged radicals of all its elements.

    This finds everything that the parameters cannot express.

    Raises:
        ValueError: If they disagree.
    """
    batch = make_batch([_cluster(elements, charge) for charge in (1, -1)], None)
    expected = _energies(model.double(), batch)
    with torch.no_grad():
        found = network(batch)
    error = float((found - expected).abs().max() / expected.abs().max().clamp(min=1e-12))
    if not error < AGREEMENT:
        raise ValueError(f"it has a part that is not supported: energies differ by {error:.1e} of the largest")


def _cluster(elements: list[int], charge: int) -> Molecule:
    """Return a cluster with two atoms of each element.

    The atoms are the first points of a spiral, about a bond length from each other and some beyond the cutoff.
    """
    index = np.arange(max(2 * len(elements), 16))
    radius, angle = 0.8 * np.sqrt(index + 1), 2.39996 * index
    positions = np.stack([radius * np.cos(angle), radius * np.sin(angle), 0.7 * np.sin(3.0 * index)], axis=1)
    numbers = np.array(elements)[index % len(elements)]
    electrons = int(numbers.sum()) - charge
    return Molecule("cluster", numbers, positions, charge, multiplicity=2 if electrons % 2 else 3)


def _energies(model: Any, batch: Batch) -> torch.Tensor:
    """Return what the file's model says of each molecule without its shifts (n_molecules,), eV."""
    model.r_max_lr, model.dispersion_energy_cutoff_lr_damping = LONG_RANGE_CUTOFF, LONG_RANGE_DAMPING
    model.atomic_energy_output_block.energy_shifts.data.zero_()
    near = batch.within(float(model.r_max)).pairs
    data = {
        "positions": batch.positions.clone(),
        "atomic_numbers": batch.numbers,
        "node_attrs": torch.nn.functional.one_hot(batch.numbers - 1, model.num_elements).double(),
        "total_charge": batch.charges.double(),
        "total_spin": (batch.multiplicities - 1) / 2,
        "edge_index": near,
        "shifts": batch.positions.new_zeros(near.shape[1], 3),
        "edge_index_lr": batch.pairs,
        "shifts_lr": batch.positions.new_zeros(batch.pairs.shape[1], 3),
        "cell": batch.positions.new_zeros(len(batch), 3, 3),
        "batch": batch.molecule,
        "ptr": batch.offsets,
        "head": torch.zeros_like(batch.charges),
    }
    energies: torch.Tensor = model(data, compute_force=False)["energy"]
    return energies.detach()
