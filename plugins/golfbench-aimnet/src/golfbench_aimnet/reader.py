"""Reader of the TorchScript files in which AIMNet2 was published.

Such a file holds code: call ``read_script`` in a process of its own. What it returns is plain: parameters that
rebuild the architecture, and tensors.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import torch

from golfbench.batches import make_batch
from golfbench.contracts import ImportedWeights
from golfbench.errors import CheckpointError, ConfigurationError
from golfbench.molecules import Molecule
from golfbench.units import HARTREE_TO_EV
from golfbench_aimnet.architecture import ELEMENTS, Architecture
from golfbench_aimnet.networks import AimNet2

NOTICE = "AIMNet2 weights: MIT licence; cite Anstine, Zubatyuk, Isayev, Chem. Sci. 2025, doi:10.1039/D4SC08572H."
#: Level of theory by the parameters s8, a1, a2 of the dispersion, which belong to the functional.
METHODS = {(0.3908, 0.566, 3.128): "wB97M-D3/def2-TZVPP"}
#: eV; largest difference between the file's model and the rebuilt one. The file's distances are in float32.
AGREEMENT = 1e-4
_SHIFTS = "outputs.atomic_shift.shifts.weight"
_D3 = "outputs.d3bj."


def read_script(path: str | Path) -> ImportedWeights:
    """Read a model, or all members of an ensemble. Runs code from the file: only to be called in a process of its own.

    Energies in the file are eV. The mean of the members' energies of atoms become the reference energies; what a member
    adds to them stays in its network.

    Args:
        path: A TorchScript file of AIMNet2, or of an ensemble of it.

    Raises:
        CheckpointError: If it is no such file, or the model has parts that cannot be rebuilt.
    """
    script = _load(path)
    try:
        members = [_part(script, prefix) for prefix in _prefixes(script)]
        sizes = [_architecture(member) for member in members]
        shifts = torch.stack([member.state_dict()[_SHIFTS].double().squeeze(-1) for member in members])
        references = shifts.mean(dim=0)
        tensors = [_rebuilt(member, sizes[0], own - references) for member, own in zip(members, shifts, strict=True)]
        for member, state in zip(members, tensors, strict=True):
            _check_agreement(member, sizes[0], state, references)
    except (ValueError, ConfigurationError) as error:
        raise CheckpointError(f"{path}: this model cannot be rebuilt: {error}") from error
    except (AttributeError, IndexError, KeyError, TypeError, RuntimeError) as error:
        raise CheckpointError(f"{path}: this model cannot be rebuilt: {_one_line(error)}") from error
    return ImportedWeights(
        parameters=asdict(sizes[0]),
        tensors=tensors[0] if len(tensors) == 1 else tensors,
        scale=1.0 / HARTREE_TO_EV,
        atom_energies={z: float(references[z]) / HARTREE_TO_EV for z in ELEMENTS},
        method=_method(members[0]),
        notice=NOTICE,
    )


def _load(path: str | Path) -> Any:
    if not Path(path).is_file():
        raise CheckpointError(f"{path} does not exist")
    try:
        # The format is declared unsafe: this runs only where the file is known by its hash, or the user asked for it,
        # in a process of its own.
        return torch.jit.load(str(path), map_location="cpu").eval()
    except Exception as error:  # reading raises whatever the file makes it raise
        raise CheckpointError(f"{path} is not readable as TorchScript: {_one_line(error)}") from error


def _one_line(error: Exception) -> str:
    return " ".join(f"{type(error).__name__}: {error}".split())[:300]


def _prefixes(script: Any) -> list[str]:
    """Return what the names of each member's tensors begin with.

    Raises:
        ValueError: If there is no AIMNet2 in the file.
    """
    found = [name.removesuffix("afv.weight") for name in script.state_dict() if name.endswith("afv.weight")]
    if not found:
        raise ValueError("it holds no AIMNet2")
    return found


def _part(script: Any, prefix: str) -> Any:
    """Return the module whose tensors' names begin with a prefix."""
    for name in filter(None, prefix.split(".")):
        script = getattr(script, name)
    return script


def _architecture(member: Any) -> Architecture:
    """Read the architecture off the weights.

    Raises:
        ValueError: If it has other parts than the published networks.
    """
    state = member.state_dict()
    features, radial, vectors = state["conv_a.agh"].shape
    passes = {int(found[1]) for name in state if (found := re.match(r"mlps\.(\d+)\.", name))}
    outputs = {found[1] for name in state if (found := re.match(r"outputs\.(\w+)\.", name))}
    if passes != {0, 1, 2} or outputs != {"energy_mlp", "atomic_shift", "lrcoulomb", "d3bj"}:
        raise ValueError(f"{len(passes)} passes with the outputs {', '.join(sorted(outputs))} are not supported")
    known = {z for z, shift in enumerate(state[_SHIFTS].squeeze(-1).tolist()) if shift}
    if known != set(ELEMENTS):
        raise ValueError(f"it knows the atomic numbers {sorted(known)}, not {list(ELEMENTS)}")
    return Architecture(
        features=features,
        radial=radial,
        vectors=vectors,
        hidden=" ".join(str(len(state[f"mlps.0.{layer}.bias"])) for layer in _layers(state, "mlps.0.")[:-1]),
        summary=state["outputs.energy_mlp.mlp.0.weight"].shape[1],
        readout=state["outputs.energy_mlp.mlp.0.weight"].shape[0],
        cutoff=float(state["aev.rc_s"]),
    )


def _layers(state: Mapping[str, torch.Tensor], prefix: str) -> list[int]:
    return sorted(
        int(name.removeprefix(prefix).split(".")[0]) for name in state if re.match(f"{prefix}\\d+.bias", name)
    )


def _rebuilt(member: Any, sizes: Architecture, deviations: torch.Tensor) -> dict[str, torch.Tensor]:
    """Return the state of the rebuilt network.

    Args:
        member: The file's network.
        sizes: Its architecture.
        deviations: (64,) float64, eV: energies of atoms less the reference energies.
    """
    given = {name: tensor.detach().clone() for name, tensor in member.state_dict().items()}
    tensors = {name: given[name] for name in AimNet2(sizes).state_dict() if not name.startswith("outputs.")}
    tensors |= {name: tensor for name, tensor in given.items() if re.match(r"outputs\.(energy_mlp|lrcoulomb)\.", name)}
    tensors[_SHIFTS.replace(".shifts", "")] = deviations.float()
    d3, kinds = member.outputs.d3bj, list(ELEMENTS)
    table = given[f"{_D3}c6ab"][kinds][:, kinds]
    highest = given.get(f"{_D3}cnmax", torch.full((len(table) + max(kinds),), torch.inf))
    tensors |= {
        f"{_D3}c6": table[..., 0].clone(),
        # The coordination number of an atom's reference is the same in all pairs.
        f"{_D3}cn": table[:, 0, :, 0, 1].clone(),
        f"{_D3}r4r2": given[f"{_D3}r4r2"][kinds],
        f"{_D3}rcov": given[f"{_D3}rcov"][kinds],
        f"{_D3}cnmax": highest[kinds],
        f"{_D3}damping": torch.tensor([d3.s6, d3.s8, d3.a1, d3.a2]),
    }
    return tensors


def _method(member: Any) -> str:
    d3 = member.outputs.d3bj
    return METHODS.get((round(d3.s8, 6), round(d3.a1, 6), round(d3.a2, 6)), "")


def _check_agreement(
    member: Any, sizes: Architecture, tensors: Mapping[str, torch.Tensor], references: torch.Tensor
) -> None:
    """Evaluate the file's network and the rebuilt one on clusters of all elements, neutral and charged.

    This finds everything that the parameters cannot express.

    Raises:
        ValueError: If they disagree.
        RuntimeError: If the tensors do not fit.
    """
    network = AimNet2(sizes)
    network.load_state_dict(dict(tensors), strict=True)
    network.double().eval()
    clusters = _clusters()
    with torch.no_grad():
        found = network(make_batch(clusters, network.cutoff))
        found += torch.stack([references[torch.tensor(c.numbers)].sum() for c in clusters])
    said = [script_energy(member.double(), cluster) for cluster in clusters]
    expected = torch.tensor(said, dtype=torch.float64)
    error = float((found - expected).abs().max())
    if not error < AGREEMENT:
        raise ValueError(f"it has a part that is not supported: energies differ by {error:.1e} eV")


def script_energy(script: Any, molecule: Molecule) -> float:
    """Return the energy of a molecule by the file's network, eV."""
    data = {
        "coord": torch.tensor(molecule.positions)[None],
        "numbers": torch.tensor(molecule.numbers)[None],
        "charge": torch.tensor([float(molecule.charge)]),
    }
    return float(script(data)["energy"].detach())


def _clusters() -> Sequence[Molecule]:
    """Return clusters with two atoms of each element, some within bonds of each other and some beyond every cutoff."""
    index = np.arange(2 * len(ELEMENTS))
    radius, angle = 1.1 * np.sqrt(index + 1.0), 2.39996 * index
    spiral = np.stack([radius * np.cos(angle), radius * np.sin(angle), 0.7 * np.sin(3.0 * index)], axis=1)
    numbers = np.array(ELEMENTS)[index % len(ELEMENTS)]
    exact = spiral.astype(np.float32).astype(np.float64)
    return [Molecule(f"cluster {charge}", numbers, exact, charge=charge) for charge in (0, 1, -1)]
