"""Weights that a learner keeps beside those of its network: their average, and the best so far."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence

import torch
from torch.optim.swa_utils import get_ema_multi_avg_fn

from golfbench.learning.checkpoint import prefixed, unprefixed

#: Returns the loss, on molecules that are held out, of the weights that are in the network.
Judge = Callable[[], torch.Tensor]


def assign(parameters: Sequence[torch.Tensor], values: Sequence[torch.Tensor]) -> None:
    """Write values into parameters."""
    with torch.no_grad():
        for parameter, value in zip(parameters, values, strict=True):
            parameter.copy_(value)


def copied(parameters: Sequence[torch.Tensor]) -> list[torch.Tensor]:
    """Return the values of parameters."""
    return [p.detach().clone() for p in parameters]


def numbered(tensors: Sequence[torch.Tensor]) -> dict[str, torch.Tensor]:
    """Return tensors by their place, as text."""
    return {str(i): tensor for i, tensor in enumerate(tensors)}


class Average:
    """The exponential moving average of a network's weights: it acts and is judged whenever nothing is learned.

    Args:
        parameters: Of the network, where the average is shown.
        decay: Of the average; 0 keeps none.
    """

    def __init__(self, parameters: Sequence[torch.Tensor], decay: float) -> None:
        self._parameters, self._decay = parameters, decay
        self._mean = copied(parameters) if decay else []
        #: The weights that training goes on from, while the average is shown.
        self.raw: list[torch.Tensor] = []

    def take_in(self, update: int) -> None:
        """Follow the weights of an update."""
        if self._mean:
            # A young average would remember the start: its decay grows with the number of updates.
            decay = min(self._decay, update / (update + 10))
            with torch.no_grad():  # all in one operation, for a GPU
                get_ema_multi_avg_fn(decay)(self._mean, self._parameters, update)  # type: ignore[no-untyped-call]

    def show(self, update: int) -> None:
        """Put the average into the network, if there is one after so many updates."""
        if self._mean and update:
            self.raw = copied(self._parameters)
            assign(self._parameters, self._mean)

    def hide(self) -> None:
        """Put the weights back that training goes on from."""
        if self.raw:
            assign(self._parameters, self.raw)
            self.raw = []

    def begin_anew(self) -> None:
        """Make the weights in the network the average, and what training goes on from."""
        self.raw = []
        if self._mean:
            assign(self._mean, self._parameters)

    def state(self) -> dict[str, torch.Tensor]:
        """Return the weights that training goes on from, and their average."""
        return prefixed("raw", numbered(self.raw or self._parameters)) | prefixed("average", numbered(self._mean))

    def restore(self, tensors: Mapping[str, torch.Tensor]) -> None:
        """Take back what ``state`` returned; the average is not shown."""
        self.raw = []
        assign(self._parameters, [tensors[f"raw.{i}"] for i in range(len(self._parameters))])
        assign(self._mean, [tensors[f"average.{i}"] for i in range(len(self._mean))])


class Best:
    """The weights that were best on molecules that are held out; never worse ones than those of the start.

    Args:
        parameters: Of the network, with the weights of the start.

    Attributes:
        loss: Of the best weights; infinite before the first look.
        weights: The best ones.
    """

    def __init__(self, parameters: Sequence[torch.Tensor]) -> None:
        self._parameters, self._start = parameters, copied(parameters)
        self.loss = torch.tensor(math.inf, dtype=torch.float64)
        self.weights: list[torch.Tensor] = []
        self._labels = 0

    def look(self, labels: int, judge: Judge) -> torch.Tensor:
        """Keep the weights in the network if they are better than the best so far, and return their loss.

        Args:
            labels: Labels of the pool; where there were fewer, the best weights were judged by other molecules.
            judge: Judges what is in the network.
        """
        loss = judge()
        if self.weights and self._labels != labels:
            self.loss = self._judged(self.weights, judge)
        self._labels = labels
        if not self.weights or loss < self.loss:
            self.loss, self.weights = loss, copied(self._parameters)
        return loss

    def leave(self, judge: Judge) -> None:
        """Put the best weights into the network, or those of the start if they are better by now."""
        if self.weights:
            start_is_better = self._judged(self._start, judge) < self._judged(self.weights, judge)
            assign(self._parameters, self._start if start_is_better else self.weights)

    def _judged(self, weights: Sequence[torch.Tensor], judge: Judge) -> torch.Tensor:
        """Return the loss of other weights than those in the network, which stay."""
        present = copied(self._parameters)
        assign(self._parameters, weights)
        loss = judge()
        assign(self._parameters, present)
        return loss

    def state(self) -> dict[str, torch.Tensor]:
        """Return the best weights, their loss, and the number of labels then."""
        return {
            "best_loss": self.loss,
            "best_of": torch.tensor(self._labels),
            **prefixed("best", numbered(self.weights)),
        }

    def restore(self, tensors: Mapping[str, torch.Tensor], device: torch.device) -> None:
        """Take back what ``state`` returned."""
        best = unprefixed("best", tensors)
        self.weights = [best[str(i)].to(device) for i in range(len(best))]
        self.loss, self._labels = tensors["best_loss"], int(tensors["best_of"])
