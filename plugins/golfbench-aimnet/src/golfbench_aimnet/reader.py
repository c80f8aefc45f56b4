"""Reader of the TorchScript files in which AIMNet2 was published.

Such a file holds code: ``read_script`` belongs into a process of its own. What it returns is plain: parameters that
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
        shifts = torch.stack([member.state_dict()[_SHIFTS].double().squeeze(-1) for member in members])
        references = shifts.mean(dim=0)
        sizes = [_architecture(member) for member in members]
        tensors = [
            _rebuilt(member, sizes[0], own - references) for member, own in zip(members, shifts, strict=True)
        ]
        for member, state, own in zip(members, tensors, shifts, strict=True):
            _check_agreement(member, sizes[0], state, references, own)
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
