"""End points in an entry: exact coordinates, compressed, with a hash; and reading them from a run."""

from __future__ import annotations

import base64
import binascii
import hashlib
import zlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from ase.io import read as read_atoms
from pydantic import Field

from golfbench.benchmark.records import FrozenModel
from golfbench.contracts import FloatArray
from golfbench.errors import ConfigurationError

BYTES_PER_ATOM = 24
#: Most atoms of one seed, so that a wrong number in a file does not fill the memory.
MOST_ATOMS = 2_000_000


class EndPoints(FrozenModel):
    """The end points of one seed.

    Attributes:
        molecules: Ids, in the order of the coordinates; a walk that ended with a coordinate that is not finite, or
            that never began, is not among them.
        atoms: Number of atoms of each.
        positions_angstrom: Base64 of the zlib-compressed little-endian float64 coordinates (n_atoms, 3) of all
            molecules, one after the other.
        sha256: Hash of the uncompressed bytes.
    """

    molecules: tuple[str, ...]
    atoms: tuple[int, ...]
    positions_angstrom: str
    sha256: str = Field(pattern=r"^[0-9a-f]{64}$")


def pack(positions: Mapping[str, FloatArray]) -> EndPoints:
    """Return end points for an entry.

    Args:
        positions: (n_atoms, 3), Å, by molecule.
    """
    content = b"".join(np.asarray(p, dtype="<f8").tobytes() for p in positions.values())
    return EndPoints(
        molecules=tuple(positions),
        atoms=tuple(len(p) for p in positions.values()),
        positions_angstrom=base64.b64encode(zlib.compress(content, 9)).decode(),
        sha256=hashlib.sha256(content).hexdigest(),
    )


def unpack(end_points: EndPoints) -> dict[str, FloatArray]:
    """Return the coordinates (n_atoms, 3), Å, by molecule.

    Raises:
        ConfigurationError: If the data are damaged, of another length, not finite or not what the hash says.
    """
    size = BYTES_PER_ATOM * sum(end_points.atoms)
    if len(end_points.molecules) != len(end_points.atoms) or any(n < 1 for n in end_points.atoms):
        raise ConfigurationError("end points: molecules and numbers of atoms do not fit together")
    if sum(end_points.atoms) > MOST_ATOMS:
        raise ConfigurationError(f"end points: more than {MOST_ATOMS} atoms")
    try:
        inflater = zlib.decompressobj()
        # No more than is expected: a small compressed file could fill the memory.
        content = inflater.decompress(base64.b64decode(end_points.positions_angstrom, validate=True), size + 1)
    except (binascii.Error, zlib.error, ValueError) as error:
        raise ConfigurationError(f"end points: damaged ({error})") from None
    if len(content) != size or not (inflater.eof and not inflater.unused_data):
        raise ConfigurationError(f"end points: {sum(end_points.atoms)} atoms take {size} bytes, which are not there")
    if hashlib.sha256(content).hexdigest() != end_points.sha256:
        raise ConfigurationError("end points: the hash is not that of the coordinates")
    everything = np.frombuffer(content, dtype="<f8").astype(np.float64).reshape(-1, 3)
    if not np.isfinite(everything).all():
        raise ConfigurationError("end points: a coordinate is not finite")
    pieces: Sequence[FloatArray] = np.split(everything, np.cumsum(end_points.atoms)[:-1])
    return dict(zip(end_points.molecules, pieces, strict=True)) if end_points.molecules else {}


def read_trajectory(path: Path) -> dict[str, tuple[str, FloatArray]]:
    """Read the end points that a run wrote (extended XYZ, eight decimals of an Å); the last frame of each counts.

    Returns:
        The status and the coordinates (n_atoms, 3), Å, by molecule.

    Raises:
        ConfigurationError: If the file is missing or damaged.
    """
    try:
        frames: Any = read_atoms(path, index=":", format="extxyz")
        return {str(f.info["molecule"]): (str(f.info["status"]), f.positions.copy()) for f in frames}
    except FileNotFoundError:
        raise ConfigurationError(f"its end points are not there: trajectories/{path.name} is missing") from None
    except Exception as error:  # noqa: BLE001 - ASE lets whatever a malformed line causes come out
        raise ConfigurationError(f"trajectories/{path.name} is damaged ({' '.join(str(error).split())})") from None
