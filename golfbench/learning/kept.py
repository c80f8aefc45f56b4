"""Weights that a training keeps beside those that it trains.

Their average, the best ones on held-out molecules, and those of the start, which come back if training does harm.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence

import torch
from torch.optim.swa_utils import get_ema_multi_avg_fn

from golfbench.learning.checkpoint import prefixed, unprefixed

#: The loss on held-out molecules of the weights that are in the network.
Judge = Callable[[], torch.Tensor]
#: Their loss on some samples of the pool, by index.
JudgeOn = Callable[[Sequence[int]], torch.Tensor]


class Average:
    """The exponential moving average of the weights, which acts and is judged between calls of ``fit``.

    Args:
        parameters: That are trained.
        decay: Of the average; 0 is none.
    """

    def __init__(self, parameters: Sequence[torch.nn.Parameter], decay: float) -> None:
        self._parameters, self._decay = parameters, decay
        self._average = copies(parameters) if decay else []
        self._raw: list[torch.Tensor] = []

    @property
    def raw(self) -> Sequence[torch.Tensor]:
        """The weights that are trained, whether they or their average are in the network."""
        return self._raw or self._parameters

    def update(self, number: int) -> None:
        """Take the weights in after an update, counted from one."""
        if not self._average:
            return
        # A young average would remember the start: its decay grows with the number of updates.
        decay = min(self._decay, number / (number + 10))
        with torch.no_grad():  # all in one operation, for a GPU
            get_ema_multi_avg_fn(decay)(self._average, list(self._parameters), number)

    def show(self) -> None:
        """Put the average into the network."""
        if self._average:
            self._raw = copies(self._parameters)
            assign(self._parameters, self._average)

    def hide(self) -> None:
        """Put the weights that are trained back."""
        if self._raw:
            assign(self._parameters, self._raw)
            self._raw = []

    def reset(self, weights: Sequence[torch.Tensor]) -> None:
        """Set the weights and their average to these."""
        assign(self._parameters, weights)
        assign(self._average, weights if self._average else [])
        self._raw = []

    def state(self) -> dict[str, torch.Tensor]:
        """Return everything that ``restore`` needs."""
        return prefixed("raw", _numbered(self.raw)) | prefixed("average", _numbered(self._average))

    def restore(self, tensors: Mapping[str, torch.Tensor]) -> None:
        """Continue from ``state``, with the trained weights in the network."""
        self._raw = []
        assign(self._parameters, [tensors[f"raw.{i}"] for i in range(len(self._parameters))])
        assign(self._average, [tensors[f"average.{i}"] for i in range(len(self._average))])


class Best:
    """The weights that are best on held-out molecules, those of the start among them.

    Args:
        parameters: That are trained.
        start: Copies of the weights of the start.
    """

    def __init__(self, parameters: Sequence[torch.nn.Parameter], start: Sequence[torch.Tensor]) -> None:
        self._parameters, self._start = parameters, start
        self.weights: list[torch.Tensor] = []
        self.loss = torch.tensor(math.inf, dtype=torch.float64)
        self._labels = 0

    def look(self, judge: Judge, labels: int) -> torch.Tensor:
        """Keep the weights that are in the network if they are the best so far, and return their loss.

        Args:
            judge: Of the network as it is.
            labels: How many there are. With more labels other molecules are held out, and the best weights so far are
                judged on them again.
        """
        loss = judge()
        if self.weights and self._labels != labels:
            self.loss = judged(self._parameters, self.weights, judge)
        self._labels = labels
        if not self.weights or loss < self.loss:
            self.loss, self.weights = loss, copies(self._parameters)
        return loss

    def finish(self, judge: Judge) -> None:
        """Put the best weights into the network: those of the start, if none are better on what is held out now."""
        if self.weights:
            of_start, of_best = (judged(self._parameters, w, judge) for w in (self._start, self.weights))
            assign(self._parameters, self._start if of_start < of_best else self.weights)

    def state(self) -> dict[str, torch.Tensor]:
        """Return everything that ``restore`` needs, but the start: a training is resumed from the same one."""
        numbers = {"best_loss": self.loss, "best_of": torch.tensor(self._labels)}
        return prefixed("best", _numbered(self.weights)) | numbers

    def restore(self, tensors: Mapping[str, torch.Tensor], device: torch.device) -> None:
        """Continue from ``state``."""
        best = unprefixed("best", tensors)
        self.weights = [best[str(i)].to(device) for i in range(len(best))]
        self.loss, self._labels = tensors["best_loss"], int(tensors["best_of"])


class Ahead:
    """Whether a training helps, by labels that it has not learned from yet: no label is lost to validation.

    The labels of a round are judged by the weights as they are and by those of the start, before anything is learned
    from them (prequential validation: Dawid 1984, J. R. Stat. Soc. A 147, 278). A training that is worse on them in sum
    than its start is discarded in the end.

    Args:
        parameters: That are trained.
        start: Copies of the weights of the start.
    """

    def __init__(self, parameters: Sequence[torch.nn.Parameter], start: Sequence[torch.Tensor]) -> None:
        self._parameters, self._start = parameters, start
        #: Sums of losses over the labels: of the weights as they were, of the start; labels that were seen.
        self._sums = torch.zeros(3, dtype=torch.float64)

    def look(self, judge: JudgeOn, labels: int, began: bool) -> None:
        """Judge the labels that are new, with the weights that act in the network.

        Args:
            judge: Of the network as it is.
            labels: That there are.
            began: Whether the weights are others than those of the start.
        """
        new = range(int(self._sums[2]), labels)
        if began and new:
            of_start = judged(self._parameters, self._start, lambda: judge(new))
            self._sums[:2] += len(new) * torch.stack([judge(new), of_start])
        self._sums[2] = labels

    def finish(self) -> bool:
        """Put the start back if the training did harm, and return whether it did."""
        harmed = bool(self._sums[0] > self._sums[1])
        if harmed:
            assign(self._parameters, self._start)
        return harmed

    def state(self) -> dict[str, torch.Tensor]:
        """Return everything that ``restore`` needs, but the start: a training is resumed from the same one."""
        return {"ahead": self._sums.clone()}

    def restore(self, tensors: Mapping[str, torch.Tensor]) -> None:
        """Continue from ``state``."""
        self._sums = tensors["ahead"].clone()


def judged(parameters: Sequence[torch.nn.Parameter], weights: Sequence[torch.Tensor], judge: Judge) -> torch.Tensor:
    """Return the loss of other weights than those in the network, which are there again afterwards."""
    kept = copies(parameters)
    assign(parameters, weights)
    loss = judge()
    assign(parameters, kept)
    return loss


def copies(tensors: Sequence[torch.Tensor]) -> list[torch.Tensor]:
    """Return copies that nothing else changes."""
    return [tensor.detach().clone() for tensor in tensors]


def assign(tensors: Sequence[torch.Tensor], values: Sequence[torch.Tensor]) -> None:
    """Write values into tensors, one by one."""
    with torch.no_grad():
        for tensor, value in zip(tensors, values, strict=True):
            tensor.copy_(value)


def _numbered(tensors: Sequence[torch.Tensor]) -> dict[str, torch.Tensor]:
    return {str(i): tensor for i, tensor in enumerate(tensors)}
