"""Learners: what fits networks to a pool of samples.

A learner has no hidden state: the batch of an update is drawn from the seed and the number of the update, the rate is a
function of that number, so that ``state`` is all that a snapshot needs. A learner is a plugin (``LearnerSpec``); its
factory gets ``Task``, what is to be learned and how.
"""

from __future__ import annotations

import logging
import math
import time
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Protocol

import torch

from golfbench.errors import CheckpointError, ConfigurationError, TrainingError
from golfbench.learning.checkpoint import prefixed, unprefixed
from golfbench.learning.kept import Ahead, Average, Best, copies
from golfbench.learning.loader import Chunk, Loader
from golfbench.learning.objective import Objective
from golfbench.learning.pool import Pool
from golfbench.learning.potential import Potential
from golfbench.learning.settings import TrainSettings
from golfbench.loggers import NO_LOG, Log
from golfbench.seeds import derived, repeatable
from golfbench.units import HARTREE_TO_KCAL_MOL

log = logging.getLogger(__name__)

#: Called after each update with its number.
OnUpdate = Callable[[int], None]
#: Updates between two points of a log, and between two looks at whether the loss is still finite.
LOG_EVERY = 20


@dataclass(frozen=True, slots=True)
class Task:
    """What a learner is made for.

    Attributes:
        potential: Its networks are trained in place.
        settings: Hyper-parameters.
        total_updates: Length of the schedule.
        seed: Root seed.
        axis: Name of the streams that batches are drawn from.
        log: Told of every ``LOG_EVERY`` updates.
    """

    potential: Potential
    settings: TrainSettings
    total_updates: int
    seed: int
    axis: str
    log: Log = NO_LOG


class Learner(Protocol):
    """What the stages and the loop ask of a learner.

    Attributes:
        update: Updates done.
        timed_updates: Those done by this object, and in ``timed_s`` the wall time that they took, s.
        timed_s: See there.
    """

    update: int
    timed_updates: int
    timed_s: float

    def fit(self, pool: Pool, updates: int, on_update: OnUpdate | None = None) -> float:
        """Do a number of updates and return their mean loss.

        Raises:
            TrainingError: If the loss is no longer finite.
        """
        ...

    def potential(self) -> Potential:
        """Return what acts and is judged."""
        ...

    def finish(self, pool: Pool) -> None:
        """Leave the best weights in the potential, after the last update."""
        ...

    def state(self) -> dict[str, torch.Tensor]:
        """Return everything that training resumes from."""
        ...

    def restore(self, tensors: Mapping[str, torch.Tensor], update: int) -> None:
        """Continue from what ``state`` returned after ``update`` updates."""
        ...


class Single:
    """One network, fitted by Adam; see ``TrainSettings`` for loss, schedule, rates of layers, average and validation.

    Args:
        task: What is to be learned.
    """

    def __init__(self, task: Task) -> None:
        self._potential, self.settings = task.potential, task.settings
        self._network = task.potential.network
        self._total, self._seed, self._axis, self._log = task.total_updates, task.seed, task.axis, task.log
        self.update = 0
        self.timed_updates, self.timed_s = 0, 0.0
        groups = rate_groups(self._network, self.settings.rates)
        self._factors = list(groups)
        self._parameters = [p for members in groups.values() for p in members]
        if not self._parameters:
            raise ConfigurationError(f"{self._axis}: every layer is frozen, nothing is left to train")
        self._adam = _optimizer(list(groups.values()), self.settings)
        self._average = Average(self._parameters, self.settings.ema_decay)
        start = copies(self._parameters)
        self._best, self._ahead = Best(self._parameters, start), Ahead(self._parameters, start)
        self._objective = Objective(self._network, self.settings, task.potential.device)
        #: Loss, mean squared errors of energies and forces of each update since the last look.
        self._recent: list[torch.Tensor] = []
        #: Whether it blew up and stands still at the best weights.
        self._ended = False

    def potential(self) -> Potential:
        """Return what acts and is judged; its weights are the average, where there is one."""
        return self._potential

    def rate(self) -> float:
        """Return Adam's rate for the next update, without the factors of layers."""
        return rate_of(self.update, self._total, self.settings)

    def fit(self, pool: Pool, updates: int, on_update: OnUpdate | None = None) -> float:
        """Do a number of updates; see ``Learner``.

        A training that blows up ends with the best weights on held-out molecules, if there are any: nothing is learned
        from then on, and the updates are only counted.
        """
        last = self.update + updates
        try:
            if not self._ended:
                return self._fit(pool, updates, on_update)
        except TrainingError as error:
            if not math.isfinite(self._best.loss):
                raise
            log.warning("%s; it ends here, with the weights that were best on the molecules held out", error)
            self._ended = True
            self._average.reset(self._best.weights)
            self._adam.state.clear()  # no NaN or infinity stays in the state
            self._network.eval()
        self.update = last
        if on_update is not None:
            on_update(last)
        return float(self._best.loss)

    def _fit(self, pool: Pool, updates: int, on_update: OnUpdate | None) -> float:
        if self.settings.keeps_start:
            self._ahead.look(lambda new: self._loss_on(pool, new), len(pool), began=self.update > 0)
        self._average.hide()
        held_out = self._held_out(pool)
        if self.update == 0 and updates:
            self._validate(pool, held_out)
        self._network.train()
        started = time.perf_counter()
        cutoff, device = self._objective.cutoff, self._objective.device
        loader = Loader(pool, lambda update: self._draw(pool, update, held_out), cutoff, device)
        total = torch.zeros((), dtype=torch.float64, device=device)
        with repeatable(device):
            for batch in loader.batches(self.update, updates):
                total += self._step(batch)
                if self.update % LOG_EVERY == 0:
                    self._look(len(pool), time.perf_counter() - started)
                if on_update is not None:
                    on_update(self.update)
        self._check_finite()
        self.timed_updates += updates
        self.timed_s += time.perf_counter() - started
        if self.update:
            self._average.show()
        self._network.eval()
        if not updates:
            return 0.0
        self._validate(pool, held_out)
        return float(total) / updates

    def _step(self, batch: Sequence[Chunk]) -> torch.Tensor:
        """Do one update, and return its loss; nothing here waits for the device."""
        self._adam.zero_grad()
        sums = torch.zeros(3, dtype=torch.float64, device=self._potential.device)
        for chunk in batch:
            sums = sums + self._differentiate(chunk)
        torch.nn.utils.clip_grad_norm_(self._parameters, self.settings.gradient_clip)
        rate = self.rate()
        for factor, group in zip(self._factors, self._adam.param_groups, strict=True):
            group["lr"] = rate * factor
        self._adam.step()
        self.update += 1
        self._average.update(self.update)
        self._recent.append(sums)
        return sums[0]

    def _differentiate(self, chunk: Chunk) -> torch.Tensor:
        """Add the gradient of a chunk's share of the loss, and return that share and those of its errors, (3,)."""
        parts = self._objective.loss(chunk)
        # For the weights only: positions have a gradient, too, for the forces, but nothing reads it.
        (parts[0] * chunk.share).backward(inputs=self._parameters)
        return torch.stack([p.detach().double() for p in parts]) * chunk.share

    def _look(self, labels: int, running_s: float) -> None:
        """Log means over the batches since the last time, in kcal/mol and Å, and stop a training that blew up."""
        loss, energy, force = torch.stack(self._recent).mean(dim=0).tolist()
        self._check_finite()
        unit = self._potential.scale * HARTREE_TO_KCAL_MOL
        if self._log:
            self._log.scalars(
                self.update,
                {
                    "train/loss_of_scaled_targets": loss,
                    "train/energy_rmse_kcal_mol": math.sqrt(energy) * unit,
                    "train/force_rmse_kcal_mol_per_angstrom": math.sqrt(force) * unit,
                    "train/learning_rate": self._adam.param_groups[0]["lr"],
                    "train/labels": labels,
                    "train/wall_s": self.timed_s + running_s,
                },
            )

    def _check_finite(self) -> None:
        """Raise at the first update whose loss is no longer finite; the device is asked here, and not at each step."""
        losses = [float(sums[0]) for sums in self._recent]
        first = self.update - len(losses)
        self._recent.clear()
        for k, loss in enumerate(losses):
            if not math.isfinite(loss):
                raise TrainingError(
                    f"{self._axis}: the loss of update {first + k} is {loss}: the training blew up; "
                    f"a learning_rate below {self.settings.learning_rate:g} may keep it together"
                )

    def _draw(self, pool: Pool, update: int, held_out: Collection[int]) -> list[int]:
        rng = derived(self._seed, self._axis, update)
        size = self.settings.batch_size
        if not self.settings.difference_weight:
            return pool.draw(rng, size, held_out)
        drawn = pool.draw(rng, max(size // 2, 1), held_out)
        return [index for first in drawn for index in pool.with_conformer(first, rng)]

    def _held_out(self, pool: Pool) -> list[int]:
        return pool.held_out(self.settings.validation_share, self._seed) if self.settings.validation_share else []

    def _validate(self, pool: Pool, held_out: Sequence[int]) -> None:
        """Keep the weights that act if they are the best so far on the molecules that are held out."""
        if not held_out:
            return
        loss = self._best.look(lambda: self._loss_on(pool, held_out), len(pool))
        if self._log:
            self._log.scalars(self.update, {"train/validation_loss_of_scaled_targets": float(loss)})

    def _loss_on(self, pool: Pool, indices: Sequence[int]) -> torch.Tensor:
        return self._objective.of(pool.samples(indices))

    def finish(self, pool: Pool) -> None:
        """Leave the best weights: see ``kept.Best`` and ``kept.Ahead``; the last ones, where neither is asked for."""
        if held_out := self._held_out(pool):
            self._best.finish(lambda: self._loss_on(pool, held_out))
        elif self.settings.keeps_start and self._ahead.finish():
            log.warning("%s: training made new labels worse than the start had them: its weights are back", self._axis)

    # --- Snapshots -----------------------------------------------------------------------------------------------

    def state(self) -> dict[str, torch.Tensor]:
        """Return everything that training resumes from: weights, their average, the best, Adam's moments and counts."""
        tensors = prefixed("network", self._network.state_dict())
        tensors |= self._average.state() | self._best.state() | self._ahead.state()
        tensors["ended"] = torch.tensor(self._ended)
        for i, parameter in enumerate(self._parameters):
            tensors |= prefixed(f"adam.{i}", self._adam.state.get(parameter, {}))
        return tensors

    def restore(self, tensors: Mapping[str, torch.Tensor], update: int) -> None:
        """Continue from what ``state`` returned after ``update`` updates."""
        self.update = update
        load_weights(self._network, unprefixed("network", tensors), self._axis)
        device = self._potential.device
        self._average.restore(tensors)
        self._best.restore(tensors, device)
        self._ahead.restore(tensors)
        self._ended = bool(tensors["ended"])
        for i, parameter in enumerate(self._parameters):
            if moments := unprefixed(f"adam.{i}", tensors):  # Adam's count of steps is a scalar on the CPU
                self._adam.state[parameter] = {
                    name: t.to(device, copy=True) if t.dim() else t.clone() for name, t in moments.items()
                }
        if update:
            self._average.show()
        self._network.eval()


class Committee:
    """Several networks of one architecture that differ by their seeds; their disagreement is an uncertainty.

    Query by committee: Seung, Opper and Sompolinsky 1992 (doi 10.1145/130385.130417); for potentials Smith et al. 2018
    (ANI-1x, arXiv 1801.09319).

    Args:
        task: What is to be learned; its potential has as many networks as there are members.
    """

    def __init__(self, task: Task) -> None:
        self._potential = task.potential
        self._members = [
            Single(replace(task, potential=task.potential.member(k), axis=f"{task.axis}/member {k}", log=NO_LOG))
            for k in range(1, len(task.potential.networks))
        ]
        # The first one is what ``single`` would train: a committee of one is the same.
        self._members.insert(0, Single(replace(task, potential=task.potential.member(0))))

    @property
    def update(self) -> int:
        """Updates that each member has done."""
        return self._members[0].update

    @property
    def timed_updates(self) -> int:
        """Updates of all members that were done here."""
        return sum(member.timed_updates for member in self._members)

    @property
    def timed_s(self) -> float:
        """Wall time that they took, s."""
        return sum(member.timed_s for member in self._members)

    def fit(self, pool: Pool, updates: int, on_update: OnUpdate | None = None) -> float:
        """Fit the members one after the other; see ``Learner``."""
        losses = [member.fit(pool, updates, on_update if k == 0 else None) for k, member in enumerate(self._members)]
        return sum(losses) / len(losses)

    def potential(self) -> Potential:
        """Return the mean of the members."""
        return self._potential

    def finish(self, pool: Pool) -> None:
        """Leave the best weights of each member."""
        for member in self._members:
            member.finish(pool)

    def state(self) -> dict[str, torch.Tensor]:
        """Return the states of all members."""
        states = {f"member.{k}": member.state() for k, member in enumerate(self._members)}
        return {name: tensor for whose, state in states.items() for name, tensor in prefixed(whose, state).items()}

    def restore(self, tensors: Mapping[str, torch.Tensor], update: int) -> None:
        """Continue from what ``state`` returned."""
        for k, member in enumerate(self._members):
            member.restore(unprefixed(f"member.{k}", tensors), update)


def rate_of(update: int, total: int, settings: TrainSettings) -> float:
    """Return Adam's rate for an update: after a linear warm-up a cosine to a thousandth of the peak, or constant.

    Args:
        update: Its number, from zero.
        total: Length of the schedule.
        settings: Peak, warm-up and schedule.
    """
    peak, warmup = settings.learning_rate, settings.warmup_updates
    if update < warmup:
        return peak * (update + 1) / warmup
    if settings.schedule == "constant":
        return peak
    progress = min((update - warmup) / max(total - warmup, 1), 1.0)
    floor = peak / 1000
    return floor + (peak - floor) * (1 + math.cos(math.pi * progress)) / 2


def rate_groups(network: torch.nn.Module, rates: Mapping[str, float]) -> dict[float, list[torch.nn.Parameter]]:
    """Return the trainable parameters by the factor of their rate; those with the factor 0 are frozen.

    Args:
        network: Its parameters have names, ``representation.embedding.weight`` for example.
        rates: Factor by the beginning of a name; the longest beginning that fits counts, 1 where none does.

    Raises:
        ConfigurationError: If a beginning fits no parameter.
    """
    names = [name for name, _ in network.named_parameters()]
    for beginning in rates:
        if not any(name.startswith(beginning) for name in names):
            raise ConfigurationError(f"rates: no layer begins with '{beginning}'; the first ones are {names[:3]}")
    groups: dict[float, list[torch.nn.Parameter]] = {}
    for name, parameter in network.named_parameters():
        fitting = max((b for b in rates if name.startswith(b)), key=len, default=None)
        factor = 1.0 if fitting is None else rates[fitting]
        if factor == 0.0:
            parameter.requires_grad_(False)
        elif parameter.requires_grad:
            groups.setdefault(factor, []).append(parameter)
    return groups


def _optimizer(groups: Sequence[Sequence[torch.nn.Parameter]], settings: TrainSettings) -> torch.optim.Optimizer:
    """Return Adam, with decoupled weight decay (Loshchilov and Hutter 2019, arXiv 1711.05101) where there is any."""
    listed = [{"params": list(group)} for group in groups]
    if settings.weight_decay:
        return torch.optim.AdamW(listed, lr=settings.learning_rate, weight_decay=settings.weight_decay)
    return torch.optim.Adam(listed, lr=settings.learning_rate)


def load_weights(network: torch.nn.Module, weights: Mapping[str, torch.Tensor], owner: str) -> None:
    """Load weights strictly: nothing missing, nothing left over, no shape changed.

    Raises:
        CheckpointError: If they do not fit.
    """
    try:
        network.load_state_dict(dict(weights), strict=True)
    except RuntimeError as error:
        reason = " ".join(str(error).split())
        raise CheckpointError(f"{owner}: weights do not fit the model: {reason[:300]}") from error
