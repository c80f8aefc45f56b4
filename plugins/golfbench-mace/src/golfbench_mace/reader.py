"""Reader of the whole models that mace-torch pickles (``.model`` files).

Such a file holds Python objects, and unpickling it may run any code: call ``read_model`` in a process of its own.
What it returns is plain: parameters that rebuild the architecture, and tensors.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch
from ase.data import chemical_symbols
from torch import nn

from golfbench.contracts import ImportedWeights
from golfbench.errors import CheckpointError, ConfigurationError
from golfbench.imports import contained, importable
from golfbench.units import HARTREE_TO_EV
from golfbench_mace.architecture import Architecture
from golfbench_mace.networks import BLOCKS, GATES, MaceNetwork

with importable():
    from e3nn import o3
    from mace.modules import MACE, ScaleShiftMACE

NOTICE = (
    "The file does not say under which licence its weights are. The authors' MACE-OFF and MACE-OMOL weights are under "
    "the Academic Software License (no commercial use, https://github.com/gabor1/ASL), MACE-MP-0 weights under MIT. "
    "Cite arXiv:2206.07697 for MACE, arXiv:2312.15211 for MACE-OFF, arXiv:2401.00096 for MACE-MP-0."
)
#: Largest difference (share of the largest energy of an atom) between the file's model and the rebuilt one, in float64.
AGREEMENT = 1e-9
_BASES = {"BesselBasis": "bessel", "GaussianBasis": "gaussian", "ChebychevBasis": "chebyshev"}
_TRANSFORMS = {"NoneType": "none", "AgnesiTransform": "agnesi", "SoftTransform": "soft"}


def read_model(path: str | Path) -> ImportedWeights:
    """Read a model file. Runs code from the file: only to be called in a process of its own.

    Energies in the file are eV. The network's output is the interaction energy with the file's own scale and shift.

    Args:
        path: A pickled ``ScaleShiftMACE`` or ``MACE`` with one head.

    Raises:
        CheckpointError: If it is no such file, or the model has parts that cannot be rebuilt.
    """
    model = _unpickle(path)
    try:
        sizes = _architecture(model)
        energies = model.atomic_energies_fn.atomic_energies.detach().double().reshape(-1).tolist()
        network, tensors = _rebuild(sizes, model.state_dict())
        _check_agreement(model, network)
    except (ValueError, ConfigurationError) as error:
        raise CheckpointError(f"{path}: this model cannot be rebuilt: {error}") from error
    except (AttributeError, IndexError, KeyError, TypeError, RuntimeError) as error:
        raise CheckpointError(f"{path}: this model cannot be rebuilt: {_one_line(error)}") from error
    return ImportedWeights(
        parameters=asdict(sizes),
        tensors=tensors,
        scale=1.0 / HARTREE_TO_EV,
        atom_energies={z: e / HARTREE_TO_EV for z, e in zip(sizes.numbers, energies, strict=True)},
        notice=NOTICE,
    )


def _unpickle(path: str | Path) -> Any:
    with importable():
        try:
            # The file is a pickled object, which weights_only=True refuses whatever is in it. The format is declared
            # unsafe: this runs only where the user asked for it, in a process of its own.
            model = torch.load(path, map_location="cpu", weights_only=False)
        except FileNotFoundError:
            raise CheckpointError(f"{path} does not exist") from None
        except Exception as error:  # unpickling raises whatever the objects in the file raise
            raise CheckpointError(
                f"{path} is not readable as a whole model of the installed mace-torch and e3nn: {_one_line(error)}"
            ) from error
    if type(model) not in (MACE, ScaleShiftMACE):
        raise CheckpointError(f"{path} holds {type(model).__name__}, not a MACE or ScaleShiftMACE model")
    return model.eval()


def _one_line(error: Exception) -> str:
    return " ".join(f"{type(error).__name__}: {error}".split())[:300]


def _architecture(model: Any) -> Architecture:
    """Read the architecture off the modules.

    Raises:
        ValueError: If a part is of a kind that the parameters cannot express.
    """
    first, radial = model.interactions[0], model.radial_embedding
    last = model.readouts[-1]
    _refuse_unknown_parts(model)
    contraction = model.products[0].symmetric_contractions.contractions[0]
    channels, max_l = _features(o3.Irreps(str(model.products[0].linear.irreps_out)))
    return Architecture(
        channels=channels,
        max_l=max_l,
        correlation=len(contraction.weights) + 1,
        harmonics=max(ir.l for _, ir in o3.Irreps(str(model.spherical_harmonics.irreps_out))),
        interactions=len(model.interactions),
        cutoff=float(model.r_max),
        radial=int(radial.out_dim),
        elements=" ".join(chemical_symbols[int(z)] for z in model.atomic_numbers),
        avg_neighbours=float(first.avg_num_neighbors),
        readout=o3.Irreps(str(last.hidden_irreps)).dim if hasattr(last, "hidden_irreps") else 16,
        radial_mlp=" ".join(str(width) for width in first.conv_tp_weights.hs[1:-1]),
        envelope=int(radial.cutoff_fn.p),
        basis=_known(_BASES, type(radial.bessel_fn).__name__, "radial functions"),
        transform=_known(_TRANSFORMS, type(getattr(radial, "distance_transform", None)).__name__, "transform"),
        first_block=_block(first),
        block=_block(model.interactions[-1]),
        repulsion=hasattr(model, "pair_repulsion_fn"),
        gate=_gate(last),
    )


def _refuse_unknown_parts(model: Any) -> None:
    heads = list(getattr(model, "heads", None) or ["Default"])
    if len(heads) > 1:
        raise ValueError(
            f"it has the heads {', '.join(map(str, heads))}: keep one with "
            "mace.tools.scripts_utils.remove_pt_head(model, head) and save that"
        )
    if hasattr(model, "joint_embedding"):
        raise ValueError("it embeds more than elements (charge, spin)")
    readout = type(model.readouts[-1]).__name__
    if readout not in ("NonLinearReadoutBlock", "LinearReadoutBlock"):
        raise ValueError(f"readout {readout} is not supported")
    if len(model.readouts) != len(model.interactions):
        raise ValueError("not every interaction has a readout")


def _known(names: Mapping[str, str], name: str, what: str) -> str:
    if name not in names:
        raise ValueError(f"{what} {name} is not supported")
    return names[name]


def _block(interaction: nn.Module) -> str:
    return _known({kind.__name__: name for name, kind in BLOCKS.items()}, type(interaction).__name__, "interaction")


def _gate(readout: nn.Module) -> str:
    """Return the name of the nonlinearity of the last readout, which e3nn wraps to normalize it."""
    acts = getattr(getattr(readout, "non_linearity", None), "acts", None)
    function = getattr(acts[0], "f", None) if acts else GATES["silu"]
    names = {getattr(gate, "__name__", "none"): name for name, gate in GATES.items()}
    return _known(names, getattr(function, "__name__", "none"), "nonlinearity")


def _features(irreps: Any) -> tuple[int, int]:
    """Return channels and highest order of features such as ``128x0e+128x1o``.

    Raises:
        ValueError: If the orders have different numbers of channels or other parities.
    """
    channels, max_l = irreps[0].mul, len(irreps) - 1
    if [(mul, (ir.l, ir.p)) for mul, ir in irreps] != [(channels, (n, (-1) ** n)) for n in range(max_l + 1)]:
        raise ValueError(f"features {irreps} are not supported")
    return channels, max_l


def _rebuild(sizes: Architecture, state: Mapping[str, torch.Tensor]) -> tuple[MaceNetwork, dict[str, torch.Tensor]]:
    """Build the network in float64 and load the file's weights.

    Older versions of mace-torch have fewer or other constant buffers. Those that a file lacks are the network's own;
    the trained weights must all be there, and all find their place.

    Returns:
        The network, and its state in the precision of the file.

    Raises:
        ValueError: If weights are missing.
        RuntimeError: If they do not fit.
    """
    with contained():
        network = MaceNetwork(sizes).double()
    given = {f"mace.{name}": tensor.detach().clone() for name, tensor in state.items()}
    weights = {name for name, _ in network.named_parameters()}
    missing = sorted(weights - given.keys())
    if missing:
        raise ValueError(f"it has no {missing[0]}")
    precision = given[min(weights)].dtype
    tensors = {}
    for name, fresh in network.state_dict().items():
        tensor = given.get(name, fresh)
        tensor = tensor.to(precision) if tensor.is_floating_point() else tensor
        tensors[name] = tensor.reshape(fresh.shape) if tensor.numel() == fresh.numel() == 1 else tensor
    network.load_state_dict(tensors, strict=True)
    return network, tensors


def _check_agreement(model: Any, network: MaceNetwork) -> None:
    """Evaluate the file's model and the rebuilt one on a cluster of all its elements.

    This finds everything that the parameters cannot express.

    Raises:
        ValueError: If they disagree.
    """
    kinds, positions, pairs = _cluster(len(network.elements), network.cutoff)
    expected = _interaction_energies(model.double(), kinds, positions, pairs)
    with torch.no_grad():
        found = network.atom_energies(kinds, positions, pairs)
    error = float((found - expected).abs().max() / expected.abs().max().clamp(min=1e-12))
    if not error < AGREEMENT:
        raise ValueError(f"it has a part that is not supported: energies differ by {error:.1e} of the largest")


def _cluster(n_elements: int, cutoff: float) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Return kinds (n, n_elements), positions (n, 3) and pairs of a cluster with two atoms of each element.

    The atoms are the first points of a spiral, about a bond length from each other and some beyond the cutoff.
    """
    index = torch.arange(max(2 * n_elements, 8), dtype=torch.float64)
    radius, angle = 0.8 * torch.sqrt(index + 1), 2.39996 * index
    positions = torch.stack([radius * angle.cos(), radius * angle.sin(), 0.7 * torch.sin(3.0 * index)], dim=1)
    kinds = torch.eye(n_elements, dtype=torch.float64)[torch.arange(len(index)) % n_elements]
    near = (torch.cdist(positions, positions) < cutoff) & ~torch.eye(len(index), dtype=torch.bool)
    return kinds, positions, near.nonzero().T


def _interaction_energies(
    model: Any, kinds: torch.Tensor, positions: torch.Tensor, pairs: torch.Tensor
) -> torch.Tensor:
    """Return the energies of the atoms by the file's model without its reference energies (n_atoms,), eV.

    The references are zeroed rather than subtracted: those of heavy elements leave few digits to their sum.
    """
    model.atomic_energies_fn.atomic_energies.zero_()
    first = torch.zeros(1, dtype=torch.int64)
    data = {
        "positions": positions.clone(),
        "node_attrs": kinds,
        "edge_index": pairs.flip(0),
        "shifts": positions.new_zeros(pairs.shape[1], 3),
        "unit_shifts": positions.new_zeros(pairs.shape[1], 3),
        "cell": positions.new_zeros(3, 3),
        "batch": first.expand(len(kinds)),
        "ptr": torch.tensor([0, len(kinds)]),
        "head": first,
    }
    energies: torch.Tensor = model(data, compute_force=False)["node_energy"]
    return energies.detach()
