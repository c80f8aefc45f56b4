"""The configuration of a run: grid, data, budget, hyper-parameters. Unknown keys are refused, with their path."""

from __future__ import annotations

import difflib
import hashlib
import json
import math
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Annotated, Any, Literal, Self

import yaml
from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    ValidationError,
    ValidationInfo,
    field_serializer,
    field_validator,
    model_validator,
)

from golfbench.benchmark.protocol import Protocol
from golfbench.errors import ConfigurationError
from golfbench.fetching import sha256_of
from golfbench.learning.settings import FineTuning, GolfSettings, TrainSettings
from golfbench.specs import ComponentRef

#: Default length of a baseline training: a small set is fitted completely long before the limit.
DEFAULT_PASSES, MOST_DEFAULT_UPDATES = 80, 5000


#: Settings added later: at their default they are no part of a run's name, so that older runs are found.
LATER: Mapping[str, tuple[str, ...]] = {
    "": ("initial_labels", "fine_tuning", "end_points", "evaluate_at"),
    "golf": ("explorer", "twin_decay"),
    "training": ("keeps_start",),
    "baseline": ("keeps_start",),
}


class Baseline(TrainSettings):
    """How a baseline is trained on the initial set when no checkpoint is at hand.

    Attributes:
        updates: Updates of the baseline training [500 000]; ``None``: 80 passes over the initial set, up to 5000.
    """

    updates: int | None = Field(None, ge=0)
    batch_size: int = Field(4, ge=1)
    learning_rate: float = Field(1.0e-3, gt=0)

    def for_labels(self, labels: int) -> int:
        """Return the number of updates for an initial set of that size."""
        if self.updates is not None:
            return self.updates
        return min(DEFAULT_PASSES * math.ceil(labels / self.batch_size), MOST_DEFAULT_UPDATES)


class CallLimits(BaseModel):
    """What one oracle call may take.

    Attributes:
        time_s: Wall-clock time, s; by default the oracle's own limit.
        memory_gb: Memory of the engine and of what it starts, GB; by default all that the machine has.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    time_s: float | None = Field(None, gt=0)
    memory_gb: float | None = Field(None, gt=0)


class EndPoints(BaseModel):
    """A file of end points that were made elsewhere: by another suite, or by a model that generates geometries.

    Attributes:
        path: An SDF, XYZ or extended XYZ file; documents keep its name, not its path.
        name: What its row is called; the name of the file, without its ending, if not given.
        sha256: Hash of its content: the file that a run was made with.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    path: Path
    name: str = Field(pattern=r"^[\w.=+@-]+$")
    sha256: str

    @model_validator(mode="before")
    @classmethod
    def _filled(cls, data: Any) -> Any:
        """Accept the name of a file alone, and read from the file what is not given.

        Raises:
            ConfigurationError: If the file cannot be read.
        """
        given = dict(data) if isinstance(data, Mapping) else {"path": data}
        path = Path(str(given.get("path", "")))
        given.setdefault("name", re.sub(r"[^\w.=+@-]", "-", re.sub(r"\.gz$", "", path.name).rpartition(".")[0]) or "-")
        if "sha256" not in given and "path" in given:
            if not path.is_file():
                raise ConfigurationError(f"end points: {path} is no file")
            given["sha256"] = sha256_of(path)
        return given

    @field_serializer("path")
    def _name(self, path: Path) -> str:
        return path.name


class RunConfig(BaseModel):
    """A run: the grid of models × optimizers × selections × oracles × seeds on one dataset.

    Attributes:
        models: As the user writes them: ``painn:preset=small``; by default none where there are end points.
        optimizers: Optimizers that walk, in training and in the benchmark.
        selections: Rules that pick what is labelled; all of them get the same budget.
        oracles: Genuine oracles.
        seeds: Root seeds.
        references: Fixed models (any oracle) that get a row of their own; by default none where there are end points.
        end_points: Files of end points that were made elsewhere, each with a row of its own.
        dataset: Name of the dataset, with parameters.
        budget: K, training labels per combination; the last one of ``evaluate_at`` where only that is given. With 0
            nothing is learned, and models are judged as they start.
        evaluate_at: Numbers of training labels at which a model is judged on the way to the budget. Zero is the model
            before the training, and the budget the one after, which have rows in any case. A model on the way
            does not know the end of the training: the rate is constant, and the averaged weights are judged.
        limit: Use only so many training and test molecules (conformations).
        surrogate: The cheap oracle that watches trajectories.
        delta: A fixed model to add: the network learns the difference. ``none`` for no such model, where the default is
            one.
        checkpoint_format: Format of a checkpoint made elsewhere; empty for one of this suite.
        checkpoint: What models start from, if they do not say it themselves (``painn:weights=...``): ``auto`` takes the
            baseline that ships with the dataset or trains one; ``fresh`` (also ``none``) trains one; else a file, or
            weights that the model knows by name.
        baseline: How a baseline is trained.
        initial_labels: Labels of the initial set that are learned from, of as many molecules as there are; trajectories
            start from all of its geometries. By default all labels for a network that is trained here, none for weights
            that were made elsewhere.
        golf: The learning loop.
        training: Training within the loop of a network that was trained here.
        fine_tuning: Training within the loop of weights that were made elsewhere.
        learner: What fits the networks: ``single``, ``committee:members=3``.
        protocol: The benchmark's protocol.
        executor: Where oracle calls run, with parameters.
        workers: Oracle calls at a time; by default as many as the executor has room for.
        cache: Labels of earlier runs on this machine to use: those of the ``same-version`` of the engine, of
            ``any-version``, or none (``off``). Hits are shown and never count as calls.
        limits: What one oracle call may take.
        loggers: What records how the training goes; no result depends on them.
        device: Where networks live.
        dtype: Type of the networks' parameters and arithmetic; energies and coordinates are float64 always.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    models: tuple[ComponentRef, ...] = (ComponentRef("aimnet2"),)
    optimizers: tuple[ComponentRef, ...] = Field((ComponentRef("rfo-internal"),), min_length=1)
    selections: tuple[ComponentRef, ...] = Field((ComponentRef("golf"), ComponentRef("random")), min_length=1)
    oracles: tuple[ComponentRef, ...] = Field((ComponentRef("gfn2-xtb"),), min_length=1)
    seeds: tuple[Annotated[int, Field(ge=0)], ...] = Field((0,), min_length=1)
    references: tuple[ComponentRef, ...] = (ComponentRef("mmff94"),)
    end_points: tuple[EndPoints, ...] = ()
    dataset: ComponentRef = ComponentRef("druglike-mini")
    budget: int = Field(64, ge=0)
    evaluate_at: tuple[Annotated[int, Field(ge=0)], ...] = ()
    limit: int | None = Field(None, ge=1)
    surrogate: ComponentRef = ComponentRef("mmff94")
    delta: str | None = None
    checkpoint: str = "auto"
    checkpoint_format: str = ""
    baseline: Baseline = Baseline()
    initial_labels: int | None = Field(None, ge=0)
    golf: GolfSettings = GolfSettings()
    training: TrainSettings = TrainSettings()
    fine_tuning: FineTuning = FineTuning()
    learner: ComponentRef = ComponentRef("single")
    protocol: Protocol = Protocol()
    executor: ComponentRef = ComponentRef("local")
    workers: int | None = Field(None, ge=1)
    cache: Literal["same-version", "any-version", "off"] = "same-version"
    limits: CallLimits = CallLimits()
    loggers: tuple[ComponentRef, ...] = ()
    device: str = "cpu"
    dtype: Literal["float32", "float64"] = "float32"

    @model_validator(mode="before")
    @classmethod
    def _end_points_alone(cls, data: Any) -> Any:
        """Leave the default models out where end points are given without models."""
        alone = isinstance(data, Mapping) and data.get("end_points")
        return {"models": (), "references": (), **data} if alone else data

    @model_validator(mode="after")
    def _has_rows(self) -> Self:
        names = [ends.name for ends in self.end_points]
        if twice := next((name for name in names if names.count(name) > 1), None):
            raise ConfigurationError(f"end points: two files have the name '{twice}': give each one its own")
        if not (self.models or self.end_points):
            raise ConfigurationError("models: at least one is needed")
        return self

    @model_validator(mode="before")
    @classmethod
    def _presume_no_end(cls, data: Any) -> Any:
        """Fill in what judging on the way needs: the budget, and a constant rate."""
        given = data.get("evaluate_at") if isinstance(data, Mapping) else None
        if not isinstance(given, list | tuple) or not all(isinstance(labels, int) for labels in given) or not given:
            return data
        filled: dict[str, Any] = {"budget": max(given), **data}
        if any(0 < labels < int(filled["budget"]) for labels in given):
            for name in ("training", "fine_tuning"):
                if isinstance(settings := filled.get(name, {}), Mapping):
                    filled[name] = {"schedule": "constant", **settings}
        return filled

    @field_validator("delta", mode="before")
    @classmethod
    def _no_base(cls, value: Any) -> Any:
        """Read ``none``: the user wants no base, where the default is one."""
        return None if value == "none" else value

    @field_validator("evaluate_at")
    @classmethod
    def _within_the_budget(cls, values: tuple[int, ...], info: ValidationInfo) -> tuple[int, ...]:
        """Sort the points, and refuse those that are never reached."""
        budget = info.data.get("budget", math.inf)
        if beyond := [labels for labels in values if labels > budget]:
            raise ValueError(f"{beyond[0]} labels are never reached with a budget of {budget}")
        return tuple(sorted(set(values)))

    @field_validator("training", "fine_tuning")
    @classmethod
    def _without_an_end(cls, settings: TrainSettings, info: ValidationInfo) -> TrainSettings:
        """Refuse a rate that falls to the end of the budget, where models are judged before it."""
        budget = info.data.get("budget", 0)
        if settings.schedule == "cosine" and any(0 < labels < budget for labels in info.data.get("evaluate_at", ())):
            raise ValueError(
                "the schedule 'cosine' falls to the end of the budget, and evaluate_at judges before it: leave the "
                "schedule out, or give 'constant'"
            )
        return settings

    @property
    def points(self) -> tuple[int, ...]:
        """Numbers of labels at which a model is judged between the start and the end of its training, in order."""
        return tuple(labels for labels in self.evaluate_at if 0 < labels < self.budget)

    @field_validator("models", "optimizers", "selections", "oracles", "references", "seeds", "loggers")
    @classmethod
    def _once(cls, values: tuple[Any, ...]) -> tuple[Any, ...]:
        """Drop repetitions, which would be the same rows again."""
        return tuple(dict.fromkeys(values))

    def run_id(self) -> str:
        """Return the name of the run directory: the same configuration always finds the same one."""
        scientific = self.model_dump(mode="json", exclude={"executor", "workers", "cache", "limits", "loggers"})
        default = type(self)().model_dump(mode="json")
        for part, names in LATER.items():
            given, usual = (scientific[part], default[part]) if part else (scientific, default)
            for name in names:
                if given[name] == usual[name]:
                    del given[name]
        for ends in scientific.get("end_points", ()):
            del ends["path"]
        digest = hashlib.sha256(json.dumps(scientific, sort_keys=True).encode()).hexdigest()
        return f"{self.dataset.name}-{digest[:10]}"


def load_config(path: Path | None, overrides: Mapping[str, Any], owner: str = "command line") -> RunConfig:
    """Read a YAML file and put the command line's values over it.

    Args:
        path: The file, or ``None`` for the defaults.
        overrides: Values by key; ``None`` and empty ones are left out.
        owner: Where they are from if there is no file, for messages.

    Raises:
        ConfigurationError: Naming the file and the path of the key that is wrong.
    """
    data = _read_yaml(path) if path else {}
    merged = dict(data)
    for key, value in overrides.items():
        if isinstance(value, Mapping) and isinstance(merged.get(key), Mapping):
            merged[key] = {**merged[key], **value}
        elif value not in (None, [], (), {}):
            merged[key] = value
    try:
        return RunConfig.model_validate(merged)
    except ValidationError as error:
        raise ConfigurationError(f"{path.name if path else owner}: " + "; ".join(_problems(error))) from None


def _read_yaml(path: Path) -> dict[str, Any]:
    try:
        data = yaml.safe_load(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise ConfigurationError(f"{path}: {error.strerror}") from None
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise ConfigurationError(f"{path.name}: not valid YAML: {' '.join(str(error).split())}") from None
    if data is None:
        return {}
    if not isinstance(data, dict):
        raise ConfigurationError(f"{path.name}: a mapping of keys is expected, not a {type(data).__name__}")
    return data


def _problems(error: ValidationError) -> Iterator[str]:
    for problem in error.errors():
        where = ".".join(str(part) for part in problem["loc"])
        if problem["type"] == "extra_forbidden":
            yield f"unknown key '{where}'" + _suggestion(problem["loc"])
        else:
            yield f"{where}: {problem['msg']} (got {problem['input']!r})"


def _suggestion(location: tuple[int | str, ...]) -> str:
    model: Any = RunConfig
    for part in location[:-1]:
        model = model.model_fields[part].annotation
    near = difflib.get_close_matches(str(location[-1]), model.model_fields, n=1, cutoff=0.5)
    return f": did you mean '{near[0]}'?" if near else f"; known: {', '.join(model.model_fields)}"
