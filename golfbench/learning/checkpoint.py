"""Checkpoints: safetensors with what rebuilds the model in the header; atomic, hashed, versioned.

A checkpoint holds no code: the model is rebuilt from its name and parameters through the registry, and the weights
are loaded strictly.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save as serialize

from golfbench.durable import write_atomically
from golfbench.errors import CheckpointError, WriteError

SCHEMA_VERSION = 1
#: Ending of the files.
SUFFIX = ".safetensors"
_HEADER = "golfbench"


def content_hash(tensors: Mapping[str, torch.Tensor]) -> str:
    """Return SHA-256 over names, shapes, types and bytes of tensors."""
    digest = hashlib.sha256()
    for name in sorted(tensors):
        tensor = tensors[name].detach().cpu().contiguous()
        digest.update(f"{name}/{tensor.dtype}/{tuple(tensor.shape)}".encode())
        digest.update(tensor.reshape(-1).view(torch.uint8).numpy().tobytes())
    return digest.hexdigest()


def _seal(tensors: Mapping[str, torch.Tensor], header: Mapping[str, Any]) -> str:
    """Return SHA-256 over tensors and header; reference energies and scale are as much the potential as its weights."""
    return hashlib.sha256(f"{content_hash(tensors)}{json.dumps(header, allow_nan=False)}".encode()).hexdigest()


def save(path: Path, tensors: Mapping[str, torch.Tensor], header: Mapping[str, Any]) -> None:
    """Write a checkpoint so that a crash leaves the old file or the new one, never half of one.

    Args:
        path: The file.
        tensors: Weights and whatever else is a tensor.
        header: JSON-able facts; ``schema_version`` and ``content_sha256`` are added.

    Raises:
        WriteError: If it cannot be written.
    """
    plain = {name: t.detach().cpu().contiguous().clone() for name, t in tensors.items()}
    facts = {"schema_version": SCHEMA_VERSION, **header}
    full = {**facts, "content_sha256": _seal(plain, facts)}
    try:
        content = serialize(plain, metadata={_HEADER: json.dumps(full, allow_nan=False)})
    except SafetensorError as error:
        raise WriteError(f"checkpoint {path.name} cannot be written: {error}") from error
    write_atomically(path, content, parents=True)


def load(path: Path) -> tuple[dict[str, torch.Tensor], dict[str, Any]]:
    """Read a checkpoint and verify its hash.

    Returns:
        Tensors by name and the header.

    Raises:
        CheckpointError: If it is missing, truncated, altered or not a checkpoint of this suite.
    """
    try:
        with safe_open(path, framework="pt") as file:
            header = _header(path, file.metadata())
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 (not a mapping)
    except FileNotFoundError:
        raise CheckpointError(f"checkpoint {path} does not exist") from None
    except (OSError, SafetensorError) as error:
        raise CheckpointError(f"checkpoint {path} is not readable: {error}") from error
    if header.get("schema_version") != SCHEMA_VERSION:
        raise CheckpointError(f"checkpoint {path} has schema {header.get('schema_version')}, not {SCHEMA_VERSION}")
    facts = {name: value for name, value in header.items() if name != "content_sha256"}
    if header.get("content_sha256") != _seal(tensors, facts):
        raise CheckpointError(f"checkpoint {path} was altered: its content does not match its hash")
    return tensors, header


def _header(path: Path, metadata: Mapping[str, str] | None) -> dict[str, Any]:
    try:
        header = json.loads((metadata or {})[_HEADER])
    except (KeyError, ValueError):
        header = None
    if not isinstance(header, dict):
        raise CheckpointError(f"{path} is not a checkpoint of golfbench: its header says nothing of a model")
    return header


def prefixed(prefix: str, tensors: Mapping[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """Return the tensors with ``prefix.`` before each name."""
    return {f"{prefix}.{name}": tensor for name, tensor in tensors.items()}


def unprefixed(prefix: str, tensors: Mapping[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """Return the tensors whose names begin with ``prefix.``, without it."""
    start = prefix + "."
    return {name.removeprefix(start): t for name, t in tensors.items() if name.startswith(start)}
