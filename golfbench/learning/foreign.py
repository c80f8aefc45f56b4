"""Weights made elsewhere: read by their plugin, fitted to the run's level of theory, kept as a checkpoint of our own.

A format whose files may carry code (pickles) is read only with ``--unsafe``, in a process of its own that hands over
plain tensors and JSON. Run as a module, this is that process.
"""

from __future__ import annotations

import hashlib
import logging
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from golfbench.batches import make_batch
from golfbench.contracts import ImportedWeights, LabelledMolecule, Model
from golfbench.errors import CheckpointError, ConfigurationError, GolfbenchError, unknown_name
from golfbench.learning import checkpoint
from golfbench.learning.learner import load_weights
from golfbench.learning.opening import dtype_of, new_network, potential_header, save_potential
from golfbench.learning.potential import Potential
from golfbench.learning.targets import composition, least_squares
from golfbench.molecules import Molecule
from golfbench.registry import registry
from golfbench.specs import CheckpointFormat, ComponentRef, ModelSpec, load_factory
from golfbench.training_sets import sample

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class ForeignFile:
    """A file of weights from elsewhere.

    Attributes:
        path: The file.
        format: Name of one of the model's checkpoint formats.
        unsafe: Whether the person allows a file that may run code.
    """

    path: Path
    format: str
    unsafe: bool = False


def open_foreign(file: ForeignFile, model: ComponentRef) -> tuple[Potential, dict[str, Any]]:
    """Rebuild the potential in a file from elsewhere, with the reference energies that the file has.

    Args:
        file: The file.
        model: The model it is of; a parameter that is given must be the file's.

    Returns:
        The potential and the header of a checkpoint of it, ``imported`` in it says where it came from; its method is
        empty where the file does not say.

    Raises:
        ConfigurationError: If the model has no such format, or the file may run code and that is not allowed.
        CheckpointError: If the file cannot be read or is of another architecture.
    """
    spec = registry().find(ModelSpec, model.name)
    form = _format(spec, file.format)
    weights = _read(spec, form, file)
    ref = ComponentRef(spec.name, _agreed(spec, model, weights.parameters, file.path))
    network = new_network(ref, seed=0)
    load_weights(network.to(dtype_of(weights.tensors)), weights.tensors, str(file.path))
    network.eval()
    potential = Potential(network, weights.atom_energies, weights.scale)
    origin = {
        "format": form.name,
        "file_sha256": _sha256(file.path),
        "method": weights.method,
        "notice": weights.notice,
    }
    return potential, {**potential_header(ref, potential, None, weights.method), "imported": origin}


def import_foreign(
    file: ForeignFile,
    model: ComponentRef,
    initial: Sequence[LabelledMolecule],
    method: str,
    delta: str | None,
    bases: Sequence[Model],
    target: Path,
) -> str:
    """Write a checkpoint of our own from a file made elsewhere.

    Where the file is at another level of theory than the run, or does not say at which, its reference energies are
    corrected by least squares on the initial set (a sample of a large one): the smallest correction, so that elements
    that the set does not determine keep the file's.

    Args:
        file: The file.
        model: The model it is of.
        initial: The initial set, at the run's level of theory.
        method: The run's level of theory.
        delta: A fixed model to add, or ``None``.
        bases: The same, opened.
        target: The checkpoint to write.

    Returns:
        What a person must be told of the weights: their licence.

    Raises:
        ConfigurationError: As ``open_foreign``.
        CheckpointError: As ``open_foreign``.
    """
    potential, header = open_foreign(file, model)
    imported = header["imported"]
    potential.bases = tuple(bases)
    if imported["method"] != method or delta:
        potential = _refitted(potential, sample(initial))
        log.info("%s: reference energies fitted to the initial set (%s)", file.path.name, method)
    ref = ComponentRef(header["model"], header["parameters"])
    save_potential(target, potential, {**potential_header(ref, potential, delta, method), "imported": imported})
    return str(imported["notice"])


def _format(spec: ModelSpec, name: str) -> CheckpointFormat:
    known = {form.name: form for form in spec.checkpoint_formats}
    if not known:
        raise ConfigurationError(f"model '{spec.name}' reads no foreign checkpoints")
    if name not in known:
        raise ConfigurationError(f"model '{spec.name}': " + unknown_name("checkpoint format", name, known))
    return known[name]


def _agreed(spec: ModelSpec, model: ComponentRef, of_file: Mapping[str, Any], path: Path) -> dict[str, Any]:
    given, found = spec.resolve(model.parameters), spec.resolve(of_file)
    for key in model.parameters:
        if given[key] != found[key]:
            raise CheckpointError(f"{path}: its {key} is {found[key]}, not {given[key]}")
    return found


def _read(spec: ModelSpec, form: CheckpointFormat, file: ForeignFile) -> ImportedWeights:
    if not file.path.is_file():
        raise CheckpointError(f"checkpoint {file.path} does not exist")
    if not form.unsafe:
        return _call_reader(form.reader, spec.name, spec.install_hint, file.path)
    if not file.unsafe:
        raise ConfigurationError(
            f"{file.path}: a file of format '{form.name}' can run code when it is read; if you trust its author, "
            "add --unsafe"
        )
    with tempfile.TemporaryDirectory(prefix="golfbench-import-") as folder:
        return _read_apart(form.reader, file.path.resolve(), Path(folder))


def _call_reader(reader: str, owner: str, hint: str, path: Path) -> ImportedWeights:
    try:
        weights: ImportedWeights = load_factory(reader, owner, hint)(path)
    except GolfbenchError:
        raise
    except Exception as error:
        reason = " ".join(str(error).split())
        raise CheckpointError(f"checkpoint {path} is not readable: {type(error).__name__}: {reason[:300]}") from error
    return weights


def _read_apart(reader: str, path: Path, folder: Path) -> ImportedWeights:
    """Read a file in a process of its own; what comes back is data only."""
    target = folder / "weights.safetensors"
    child = subprocess.run(
        [sys.executable, "-m", "golfbench.learning.foreign", reader, str(path), str(target)],
        capture_output=True,
        text=True,
        cwd=folder,
        timeout=600,
        check=False,
    )
    if child.returncode or not target.exists():
        reason = next(iter(reversed(child.stderr.strip().splitlines())), f"exit code {child.returncode}")
        raise CheckpointError(reason if str(path) in reason else f"checkpoint {path} is not readable: {reason}")
    tensors, header = checkpoint.load(target)
    return ImportedWeights(
        header["parameters"],
        checkpoint.unprefixed("network", tensors),
        header["scale"],
        {int(z): energy for z, energy in header["atom_energies"].items()},
        header["method"],
        header["notice"],
    )


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _refitted(potential: Potential, initial: Sequence[LabelledMolecule]) -> Potential:
    """Return the potential with reference energies corrected on labels of another level of theory."""
    elements = sorted({int(z) for item in initial for z in item.molecule.numbers})
    known = dict.fromkeys(elements, 0.0) | potential.atom_energies
    started = Potential(potential.network, known, potential.scale, potential.bases)
    residuals = [item.label.energy - _energy(started, item.molecule) for item in initial]
    compositions = [composition(item.molecule) for item in initial]
    correction = least_squares(compositions, residuals, elements)
    fitted = known | {z: known[z] + c for z, c in zip(elements, correction, strict=True)}
    return Potential(potential.network, fitted, potential.scale, potential.bases)


def _energy(potential: Potential, molecule: Molecule) -> float:
    evaluation = potential.energy_forces(make_batch([molecule], potential.cutoff))
    for error in evaluation.errors.values():
        raise ConfigurationError(f"{molecule.id}: the delta model cannot evaluate it: {error}")
    return float(evaluation.energies[0])


def _main(reader: str, path: str, target: str) -> int:
    """Read a file and write what is data in it."""
    try:
        weights = _call_reader(reader, reader, "", Path(path))
        facts = {name: getattr(weights, name) for name in ("parameters", "scale", "method", "notice")}
        energies = {str(z): energy for z, energy in weights.atom_energies.items()}
        tensors = checkpoint.prefixed("network", weights.tensors)
        checkpoint.save(
            Path(target), tensors, {**facts, "parameters": dict(weights.parameters), "atom_energies": energies}
        )
    except GolfbenchError as error:
        print(error, file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(_main(*sys.argv[1:]))
