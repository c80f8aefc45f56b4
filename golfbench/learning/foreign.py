"""Weights made elsewhere: read by their plugin, fitted to the run's level of theory, kept as a checkpoint of our own.

A format whose files may carry code (pickles) is read only with ``--unsafe``, in a process of its own that hands over
plain tensors and JSON. Run as a module, this is that process.
"""

from __future__ import annotations

import logging
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from golfbench.batches import make_batch
from golfbench.contracts import ImportedWeights, LabelledMolecule, Model
from golfbench.errors import CheckpointError, ConfigurationError, GolfbenchError, unknown_name
from golfbench.fetching import sha256_of
from golfbench.learning import checkpoint
from golfbench.learning.headers import Header
from golfbench.learning.learner import load_weights
from golfbench.learning.opening import dtype_of, new_network, potential_header, prefixes, save_potential
from golfbench.learning.potential import Potential
from golfbench.learning.targets import composition, corrected
from golfbench.molecules import Molecule
from golfbench.registry import registry
from golfbench.specs import CheckpointFormat, ComponentRef, ModelSpec, load_factory
from golfbench.training_sets import sample

log = logging.getLogger(__name__)

#: Seconds after which the reading of a file is given up.
READING_S = 600


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


def open_foreign(file: ForeignFile, model: ComponentRef) -> tuple[Potential, Header]:
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
    form = format_of(spec, file.format)
    weights = _read(spec, form, file)
    ref = ComponentRef(spec.name, agreed(spec, model, weights.parameters, str(file.path)))
    potential = rebuilt(ref, weights, file.path)
    origin = {
        "format": form.name,
        "file": file.path.name,
        "file_sha256": sha256_of(file.path),
        "method": weights.method,
        "notice": weights.notice,
    }
    header = potential_header(ref, potential, None, weights.method)
    header["imported"] = origin
    return potential, header


def rebuilt(ref: ComponentRef, weights: ImportedWeights, path: Path) -> Potential:
    """Return the potential that a reader found in a file: one network, or the members of an ensemble.

    Raises:
        CheckpointError: If the weights do not fit the model.
    """
    states = _states(weights)
    networks = [new_network(ref, seed=0).to(dtype_of(state)) for state in states]
    for network, state in zip(networks, states, strict=True):
        load_weights(network, state, str(path))
        network.eval()
    return Potential(networks, weights.atom_energies, weights.scale)


def _states(weights: ImportedWeights) -> Sequence[Mapping[str, torch.Tensor]]:
    return [weights.tensors] if isinstance(weights.tensors, Mapping) else weights.tensors


def adopt(
    potential: Potential,
    header: Header,
    initial: Sequence[LabelledMolecule],
    method: str,
    delta: str | None,
    bases: Sequence[Model],
    target: Path,
) -> str:
    """Write a checkpoint for a run from weights that were made elsewhere.

    Where they are at another level of theory than the run, or do not say at which, their reference energies are
    corrected by least squares on the initial set (a sample of a large one): the smallest correction, so that elements
    that the set does not determine keep theirs. Without an initial set they stay as they are, and are fitted to the
    labels as they come (see ``learning.references``).

    Args:
        potential: As it came.
        header: Of a checkpoint of it, with ``imported``.
        initial: What is learned of the initial set, at the run's level of theory.
        method: The run's level of theory.
        delta: A fixed model to add, or ``None``.
        bases: The same, opened.
        target: The checkpoint to write.

    Returns:
        What a person must be told of the weights: their licence.
    """
    imported = header["imported"]
    potential.bases = tuple(bases)
    if initial and (imported["method"] != method or delta):
        potential = _refitted(potential, sample(initial))
        log.info("%s: reference energies fitted to the initial set (%s)", header["model"], method)
    ref = ComponentRef(header["model"], header["parameters"])
    facts = potential_header(ref, potential, delta, method)
    facts["imported"], facts["labels"] = imported, len(initial)
    save_potential(target, potential, facts)
    return str(imported["notice"])


def format_of(spec: ModelSpec, name: str) -> CheckpointFormat:
    """Return a model's checkpoint format.

    Raises:
        ConfigurationError: If it has none of that name.
    """
    known = {form.name: form for form in spec.checkpoint_formats}
    if not known:
        raise ConfigurationError(f"model '{spec.name}' reads no foreign checkpoints")
    if name not in known:
        raise ConfigurationError(f"model '{spec.name}': " + unknown_name("checkpoint format", name, known))
    return known[name]


def agreed(spec: ModelSpec, model: ComponentRef, found: Mapping[str, Any], owner: str) -> dict[str, Any]:
    """Return all parameters of weights that were made elsewhere.

    Raises:
        CheckpointError: If a parameter that a person gave is another.
    """
    given, resolved = spec.resolve(model.parameters), spec.resolve(found)
    for key in model.parameters:
        if given[key] != resolved[key]:
            raise CheckpointError(f"{owner}: its {key} is {resolved[key]}, not {given[key]}")
    return resolved


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
        return read_apart(form.reader, file.path.resolve(), Path(folder))


def _call_reader(reader: str, owner: str, hint: str, path: Path) -> ImportedWeights:
    try:
        weights: ImportedWeights = load_factory(reader, owner, hint)(path)
    except GolfbenchError:
        raise
    except Exception as error:
        reason = " ".join(str(error).split())
        raise CheckpointError(f"checkpoint {path} is not readable: {type(error).__name__}: {reason[:300]}") from error
    return weights


def read_apart(reader: str, path: Path, folder: Path) -> ImportedWeights:
    """Read a file in a process of its own; what comes back is data only.

    Args:
        reader: See ``CheckpointFormat``.
        path: The file.
        folder: An empty one, for what the process writes.

    Raises:
        CheckpointError: If it cannot be read.
    """
    target = folder / "weights.safetensors"
    command = [sys.executable, "-m", "golfbench.learning.foreign", reader, str(path), str(target)]
    try:
        child = subprocess.run(command, capture_output=True, text=True, cwd=folder, timeout=READING_S, check=False)
    except subprocess.TimeoutExpired:
        raise CheckpointError(f"checkpoint {path} is not readable: it takes more than {READING_S} s") from None
    if child.returncode or not target.exists():
        reason = next(iter(reversed(child.stderr.strip().splitlines())), f"exit code {child.returncode}")
        raise CheckpointError(reason if str(path) in reason else f"checkpoint {path} is not readable: {reason}")
    tensors, header = checkpoint.load(target)
    states = [checkpoint.unprefixed(prefix, tensors) for prefix in prefixes(header["members"])]
    return ImportedWeights(
        header["parameters"],
        states,
        header["scale"],
        {int(z): energy for z, energy in header["atom_energies"].items()},
        header["method"],
        header["notice"],
    )


def _refitted(potential: Potential, initial: Sequence[LabelledMolecule]) -> Potential:
    """Return the potential with reference energies corrected on labels of another level of theory."""
    elements = sorted({int(z) for item in initial for z in item.molecule.numbers})
    known = {**dict.fromkeys(elements, 0.0), **potential.atom_energies}
    started = Potential(potential.networks, known, potential.scale, potential.bases)
    residuals = [item.label.energy - _energy(started, item.molecule) for item in initial]
    compositions = [composition(item.molecule) for item in initial]
    return Potential(potential.networks, corrected(known, compositions, residuals), potential.scale, potential.bases)


def _energy(potential: Potential, molecule: Molecule) -> float:
    evaluation = potential.energy_forces(make_batch([molecule], potential.cutoff))
    for error in evaluation.errors.values():
        raise ConfigurationError(f"{molecule.id}: the delta model cannot evaluate it: {error}")
    return float(evaluation.energies[0])


def _main(reader: str, path: str, target: str) -> int:
    """Read a file and write what is data in it."""
    try:
        weights = _call_reader(reader, reader, "", Path(path))
        states = _states(weights)
        facts = {
            "parameters": dict(weights.parameters),
            "scale": weights.scale,
            "atom_energies": {str(z): energy for z, energy in weights.atom_energies.items()},
            "method": weights.method,
            "notice": weights.notice,
            "members": len(states),
        }
        tensors: dict[str, torch.Tensor] = {}
        for prefix, state in zip(prefixes(len(states)), states, strict=True):
            tensors |= checkpoint.prefixed(prefix, state)
        checkpoint.save(Path(target), tensors, facts)
    except GolfbenchError as error:
        print(error, file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(_main(*sys.argv[1:]))
