"""The model that walks a user's molecules: an oracle, a fixed model, a checkpoint, or a file made elsewhere."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from golfbench.contracts import Model
from golfbench.errors import CheckpointError, ConfigurationError, unknown_name
from golfbench.learning import checkpoint
from golfbench.learning.headers import Header
from golfbench.learning.opening import is_oracle, load_potential, open_fixed_model
from golfbench.learning.weights import ModelChoice, Weights, usual_weights, without_weights
from golfbench.molecules import Molecule, check_molecule
from golfbench.oracles.as_model import OracleModel
from golfbench.oracles.opening import open_oracle, precheck
from golfbench.registry import registry
from golfbench.runs.baseline import Permission
from golfbench.sources import PARAMETER
from golfbench.specs import ComponentRef, ModelSpec, OracleSpec


@dataclass(frozen=True, slots=True)
class Driver:
    """A model that is ready to walk on.

    Attributes:
        name: The model as a person writes it.
        method: Level of theory of its energies.
        model: Gives energies and forces.
        check: Raises ``MoleculeError`` for a molecule that the model does not take.
        sees_charge: Whether its energy depends on charge and multiplicity.
        header: What a checkpoint of it says; ``None`` where it is not one that learns.
    """

    name: str
    method: str
    model: Model
    check: Callable[[Molecule], None]
    sees_charge: bool
    header: Header | None = None


@contextmanager
def open_driver(
    model: str | None,
    path: Path | None,
    default: str,
    form: str | None = None,
    permission: Permission | None = None,
    device: str = "cpu",
) -> Iterator[Driver]:
    """Open an oracle, a fixed model or a checkpoint, and close it at the end.

    Args:
        model: Its name with parameters; with a checkpoint, what the checkpoint must be of.
        path: A checkpoint, or ``None``.
        default: The model when neither is given.
        form: Format of a checkpoint made elsewhere.
        permission: What the person allows, and how licences are shown.
        device: Where the network of a checkpoint lives.

    Raises:
        ConfigurationError: If the name is not known, or is a trainable model's and there is no checkpoint.
        CheckpointError: If the checkpoint is damaged or of another model.
    """
    if form is not None:
        yield _from_elsewhere(path, model, form, permission or Permission(), device)
        return
    if path is not None:
        yield _from_checkpoint(path, model, device)
        return
    named = default if model is None else model
    if not is_oracle(named):
        yield _named(named, permission or Permission(), device) or _fixed(named)
        return
    found = registry().component(OracleSpec, named)
    method = found.spec.level_of_theory(found.parameters)
    with open_oracle(found, registry()) as oracle:
        potential = OracleModel.of(oracle, method)
        yield Driver(str(found), method, potential, partial(precheck, found.spec), sees_charge=True)


@contextmanager
def open_fast(model: str | None, permission: Permission, device: str) -> Iterator[Driver | None]:
    """Open a model as ``open_driver`` does, where one is named."""
    if model is None:
        yield None
        return
    with open_driver(model, None, model, permission=permission, device=device) as driver:
        yield driver


def _from_elsewhere(path: Path | None, model: str | None, form: str, permission: Permission, device: str) -> Driver:
    if path is None or model is None:
        raise ConfigurationError(f"checkpoint format '{form}': give --model NAME and --checkpoint FILE, too")
    choice = ModelChoice(registry().component(ModelSpec, model).ref, Weights("file", path, form))
    return _from_choice(choice, path.name, permission, device)


def _named(named: str, permission: Permission, device: str) -> Driver | None:
    """Open named weights of a trainable model; ``None`` where the model has none or is fixed."""
    if not registry().has("model", named):
        return None
    found = registry().component(ModelSpec, named)
    said = found.parameters.get(PARAMETER, "auto")
    weights = usual_weights(found.spec) if said == "auto" else Weights.parse(str(said), found.spec).named
    if not found.spec.trainable or weights is None:
        return None
    choice = ModelChoice(without_weights(found.ref), Weights("named", named=weights))
    return _from_choice(choice, weights.name, permission, device)


def _from_choice(choice: ModelChoice, name: str, permission: Permission, device: str) -> Driver:
    potential, header = choice.open(permission.unsafe)
    permission.tell(header["imported"]["notice"])
    for network in potential.networks:
        network.to(device)
    spec = registry().find(ModelSpec, header["model"])
    elements = potential.elements & (spec.supported_elements(header["parameters"]) or potential.elements)
    check = partial(check_molecule, elements=elements, owner=name)
    sees_charge = choice.weights.named.charged if choice.weights.named else spec.charged
    return Driver(spec.name, header["method"] or f"as {name}", potential, check, sees_charge, header)


def _from_checkpoint(path: Path, model: str | None, device: str) -> Driver:
    header = checkpoint.load(path)[1]
    if "model" not in header:
        raise CheckpointError(f"checkpoint {path} holds no model: it is the state of an unfinished training")
    spec = registry().find(ModelSpec, header["model"])
    if model is not None:
        wanted = registry().component(ModelSpec, model)
        same = wanted.spec == spec
        given = {key: value for key, value in spec.resolve(wanted.parameters).items() if key in wanted.parameters}
        if not same or any(header["parameters"][key] != value for key, value in given.items()):
            set_ = {key: value for key, value in header["parameters"].items() if value is not None}
            raise CheckpointError(f"checkpoint {path} is of {ComponentRef(spec.name, set_)}, not of {wanted}")
    potential, read = load_potential(path, device)
    check = partial(check_molecule, elements=potential.elements, owner=f"what {path.name} has learned")
    return Driver(spec.name, header["method"], potential, check, spec.charged, read)


def _fixed(named: str) -> Driver:
    if not registry().has("model", named):
        known = [spec.name for kind in ("model", "oracle") for spec in registry().specs(kind)]
        raise ConfigurationError(unknown_name("model", named.partition(":")[0], known))
    model = registry().component(ModelSpec, named)
    spec = model.spec
    if spec.trainable:
        raise ConfigurationError(f"model '{model.ref.name}' is trainable: give its weights with --checkpoint FILE")
    check = partial(check_molecule, elements=spec.elements, owner=spec.name)
    return Driver(str(model), spec.name, open_fixed_model(model), check, spec.charged)
