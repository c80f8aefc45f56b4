"""The trainer: Adam with a cosine schedule, gradient clipping and an optional average of the weights."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Mapping, Sequence

import torch

from golfbench.errors import TrainingError
from golfbench.learning.checkpoint import prefixed, unprefixed
from golfbench.learning.pool import TrainingSet
from golfbench.learning.potential import Potential
from golfbench.learning.settings import TrainSettings
from golfbench.loggers import NO_LOG, Log
from golfbench.seeds import derived, repeatable
from golfbench.units import HARTREE_TO_KCAL_MOL

#: Called after each update with its number and its loss.
OnUpdate = Callable[[int, float], None]
#: Updates between two points of a log.
LOG_EVERY = 20


class Trainer:
    """Fits a potential's network to a growing training set.

    The trainer has no hidden state: the batch of an update is drawn from the seed and the update's number, and the
    learning rate is a function of that number, so that ``tensors`` and ``update`` are all a checkpoint needs.

    Args:
        potential: Its network is trained in place.
        samples: May grow between calls of ``run``.
        settings: Hyper-parameters.
        total_updates: Length of the cosine schedule.
        seed: Root seed.
        axis: Name of the stream that batches are drawn from.
        initial_share: Share of each batch from the initial set.
        log: Told of every ``LOG_EVERY`` updates.
    """

    def __init__(
        self,
        potential: Potential,
        samples: TrainingSet,
        settings: TrainSettings,
        total_updates: int,
        seed: int,
        axis: str,
        initial_share: float = 1.0,
        log: Log = NO_LOG,
    ) -> None:
        self.potential = potential
        self.samples = samples
        self.settings = settings
        self.total_updates = total_updates
        self.update = 0
        #: Updates done by this object, and the wall time that they took, s.
        self.timed_updates, self.timed_s = 0, 0.0
        self._seed, self._axis, self._initial_share = seed, axis, initial_share
        self._log = log
        #: Loss, mean squared errors of energies and of force components since the last point of the log.
        self._errors: list[tuple[torch.Tensor, ...]] = []
        self._parameters = [p for p in potential.network.parameters() if p.requires_grad]
        self._adam = torch.optim.Adam(self._parameters, lr=settings.learning_rate)
        self._average = [p.detach().clone() for p in self._parameters] if settings.ema_decay else []
        self._raw: list[torch.Tensor] = []

    def learning_rate(self) -> float:
        """Return Adam's rate for the next update: a cosine from the initial rate to a thousandth of it."""
        progress = min(self.update / max(self.total_updates, 1), 1.0)
        floor = self.settings.learning_rate / 1000
        return floor + (self.settings.learning_rate - floor) * (1 + math.cos(math.pi * progress)) / 2

    def run(self, updates: int, on_update: OnUpdate | None = None) -> float:
        """Do a number of updates and return their mean loss.

        Raises:
            TrainingError: If the loss is no longer finite.
        """
        self._restore_raw()
        self.potential.network.train()
        total, started = 0.0, time.perf_counter()
        with repeatable(self.potential.device):
            for _ in range(updates):
                loss = self._step()
                total += loss
                if self._log and self.update % LOG_EVERY == 0:
                    self._log_errors(time.perf_counter() - started)
                if on_update is not None:
                    on_update(self.update, loss)
        self.timed_updates += updates
        self.timed_s += time.perf_counter() - started
        self._show_average()
        self.potential.network.eval()
        return total / updates if updates else 0.0

    def _step(self) -> float:
        rng = derived(self._seed, self._axis, self.update)
        indices = self.samples.draw(rng, self.settings.batch_size, self._initial_share)
        loss = self._loss(indices)
        if not torch.isfinite(loss):
            raise TrainingError(
                f"{self._axis}: the loss of update {self.update} is {float(loss.detach())}: the training blew up; "
                f"a learning_rate below {self.settings.learning_rate:g} may keep it together"
            )
        self._adam.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        torch.nn.utils.clip_grad_norm_(self._parameters, self.settings.gradient_clip)
        for group in self._adam.param_groups:
            group["lr"] = self.learning_rate()
        self._adam.step()
        self.update += 1
        self._update_average()
        return float(loss.detach())

    def _loss(self, indices: list[int]) -> torch.Tensor:
        """Return the loss of the published code (see ``TrainSettings``), in the network's units."""
        batch, energies, forces = self.samples.batch(indices)
        predicted, predicted_forces = self.potential.network_energy_forces(batch, create_graph=True)
        energy_loss = (predicted.double() - energies).square().mean()
        per_atom = (predicted_forces.double() - forces).square().mean(dim=-1)
        sizes = (batch.offsets[1:] - batch.offsets[:-1]).double()
        per_molecule = torch.zeros_like(sizes).index_add(0, batch.molecule, per_atom) / sizes
        force_loss = per_molecule.mean()
        loss = self.settings.energy_weight * energy_loss + self.settings.force_weight * force_loss
        if self._log:
            self._errors.append((loss.detach(), energy_loss.detach(), force_loss.detach()))
        return loss

    def _log_errors(self, running_s: float) -> None:
        """Log means over the batches since the last point, in units of people."""
        loss, energy, force = torch.tensor(self._errors, dtype=torch.float64).mean(dim=0).tolist()
        unit = self.potential.scale * HARTREE_TO_KCAL_MOL
        self._errors.clear()
        self._log.scalars(
            self.update,
            {
                "train/loss_of_scaled_targets": loss,
                "train/energy_rmse_kcal_mol": math.sqrt(energy) * unit,
                "train/force_rmse_kcal_mol_per_angstrom": math.sqrt(force) * unit,
                "train/learning_rate": self._adam.param_groups[0]["lr"],
                "train/labels": len(self.samples),
                "train/wall_s": self.timed_s + running_s,
            },
        )

    def _update_average(self) -> None:
        # A young average would remember the start: its decay grows with the number of updates.
        decay = min(self.settings.ema_decay, self.update / (self.update + 10))
        for average, parameter in zip(self._average, self._parameters, strict=False):
            average.lerp_(parameter.detach(), 1 - decay)

    def _show_average(self) -> None:
        """Put the averaged weights into the network: they act and are evaluated between calls of ``run``."""
        if self._average:
            self._raw = [p.detach().clone() for p in self._parameters]
            _assign(self._parameters, self._average)

    def _restore_raw(self) -> None:
        if self._raw:
            _assign(self._parameters, self._raw)
            self._raw = []

    def tensors(self) -> dict[str, torch.Tensor]:
        """Return everything that training resumes from: raw and averaged weights, Adam's moments and step count."""
        raw = self._raw or self._parameters
        state = prefixed("raw", {str(i): p for i, p in enumerate(raw)})
        state |= prefixed("average", {str(i): p for i, p in enumerate(self._average)})
        for i, parameter in enumerate(self._parameters):
            state |= prefixed(f"adam.{i}", self._adam.state.get(parameter, {}))
        return state

    def restore(self, tensors: Mapping[str, torch.Tensor], update: int) -> None:
        """Continue from what ``tensors`` returned after ``update`` updates."""
        self.update = update
        _assign(self._parameters, [tensors[f"raw.{i}"] for i in range(len(self._parameters))])
        _assign(self._average, [tensors[f"average.{i}"] for i in range(len(self._average))])
        for i, parameter in enumerate(self._parameters):
            if moments := unprefixed(f"adam.{i}", tensors):  # Adam's count of steps is a scalar on the CPU
                self._adam.state[parameter] = {
                    name: t.to(parameter.device, copy=True) if t.dim() else t.clone() for name, t in moments.items()
                }
        if update:
            self._show_average()
        self.potential.network.eval()


def _assign(parameters: Sequence[torch.Tensor], values: list[torch.Tensor]) -> None:
    with torch.no_grad():
        for parameter, value in zip(parameters, values, strict=True):
            parameter.copy_(value)
