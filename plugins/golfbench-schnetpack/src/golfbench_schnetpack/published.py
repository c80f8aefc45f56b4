"""The published checkpoints of GOLF (Tsypin et al., ICLR 2024; github.com/AIRI-Institute/GOLF): PaiNN state dicts."""

from __future__ import annotations

from pathlib import Path

import torch

from golfbench.contracts import ImportedWeights
from golfbench.errors import CheckpointError

#: Energies of the free atoms (Hartree) that were subtracted before the training, by atomic number: the ``atomrefs`` of
#: the nablaDFT databases (Khrabrov et al., 10.1039/D2CP03966D).
ATOM_ENERGIES = {
    1: -0.5024932584,
    6: -37.7980993425,
    7: -54.5224148324,
    8: -74.9766780985,
    9: -99.6144695040,
    15: -341.1394189502,
    16: -397.9719278356,
    17: -459.9886496567,
    35: -2573.8571719615,
    53: -297.7564286149,
}
METHOD = "wB97X-D/def2-SVP"
_PREFIXES = ("model.", "output_modules.0.")


def read(path: Path) -> ImportedWeights:
    """Read a state dict of the published code: energies in Hartree, forces in Hartree/Å.

    Raises:
        CheckpointError: If the file is no state dict of PaiNN.
    """
    weights = torch.load(path, map_location="cpu", weights_only=True)
    if not isinstance(weights, dict) or "model.representation.embedding.weight" not in weights:
        raise CheckpointError(f"checkpoint {path} is no state dict of the published GOLF code")
    tensors = {}
    for name, tensor in weights.items():
        for prefix in _PREFIXES:
            name = name.removeprefix(prefix)
        tensors[name] = tensor
    notice = "published GOLF checkpoint, MIT licence; cite arXiv:2311.06295"
    return ImportedWeights({"preset": "published"}, tensors, 1.0, ATOM_ENERGIES, METHOD, notice)
