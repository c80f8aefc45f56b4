"""A stranger's package: a selection that asks where a committee disagrees, a learner that freezes layers, a model.

Beside this module is the metadata of a distribution, so that every process with this folder on PYTHONPATH knows it.
"""

from pathlib import Path

from golfbench import hookimpl
from golfbench.specs import (
    CheckpointFormat,
    LearnerSpec,
    ModelSpec,
    NamedWeights,
    Parameter,
    SelectionSpec,
    WeightsSource,
)


@hookimpl
def golfbench_selections():
    """Offer ``most-disputed``."""
    return [
        SelectionSpec(
            name="most-disputed",
            factory="golfbench_test_learning:MostDisputed",
            summary="Labels the states of a round where the members of a committee disagree most.",
            parameters=(Parameter("apart", 1, "Environment steps between two picks of one trajectory, at least."),),
            sees=frozenset({"committee"}),
        )
    ]


@hookimpl
def golfbench_learners():
    """Offer ``head-only``."""
    return [
        LearnerSpec(
            name="head-only",
            factory="golfbench_test_learning:head_only",
            summary="Several networks of which only the layers beside the representation are trained.",
            parameters=(Parameter("members", 2, "Networks."), Parameter("frozen", "representation", "Layers.")),
        )
    ]


@hookimpl
def golfbench_models():
    """Offer ``charges``, with weights that are known by name."""
    known = {
        "source": WeightsSource(wheel="made-up-weights==1.0", member="made_up/weights.json"),
        "format": "table",
        "method": "GFN2-xTB",
        "license": "CC-BY-4.0",
        "summary": "Made up.",
    }
    right = "896dfef4b9de66a64dcd9cc6432f7082193b0faa6c4ab40c2cf888b382d3edb8"
    return [
        ModelSpec(
            name="charges",
            factory="golfbench_test_learning:charges",
            summary="A network of one number.",
            checkpoint_formats=(CheckpointFormat("table", "golfbench_test_learning:read", "JSON."),),
            weights=(
                NamedWeights(name="made-up", sha256=right, **known),
                NamedWeights(name="altered", sha256="0" * 64, **known),
            ),
        )
    ]


class MostDisputed:
    """Chooses by the largest spread of a force."""

    def __init__(self, apart):
        self.apart = apart

    def choose(self, round):
        order = sorted(range(len(round.candidates)), key=lambda k: -round.candidates[k].state.force_spread.max())
        chosen = []
        for k in order:
            start, step = self.place(round.candidates[k])
            others = [self.place(round.candidates[c]) for c in chosen]
            if all(other != start or abs(step - at) >= self.apart for other, at in others):
                chosen.append(k)
        return chosen[: round.budget]

    @staticmethod
    def place(candidate):
        return candidate.molecule.id.rpartition("@")[0], candidate.state.step


def head_only(task, frozen):
    """Return the committee of the suite, told to leave some layers as they are."""
    from dataclasses import replace

    from golfbench.learning.learner import Committee

    rates = dict(task.settings.rates) | {frozen: 0.0}
    return Committee(replace(task, settings=task.settings.model_copy(update={"rates": rates})))


def charges():
    """Return a network of one number: distances times it."""
    import torch

    class Charges(torch.nn.Module):
        cutoff = 4.0

        def __init__(self):
            super().__init__()
            self.strength = torch.nn.Parameter(torch.full((1,), 0.1))

        def forward(self, batch):
            i, j = batch.pairs
            near = (4.0**2 - (batch.positions[i] - batch.positions[j]).square().sum(-1)).square() * 1e-3
            total = torch.zeros(len(batch), dtype=self.strength.dtype)
            return self.strength * total.index_add(0, batch.molecule[i], near.to(self.strength.dtype))

    return Charges()


def read(path):
    """Read it."""
    import json

    import torch

    from golfbench.contracts import ImportedWeights

    content = json.loads(Path(path).read_text())
    tensors = {"strength": torch.tensor(content["strength"])}
    energies = {int(z): e for z, e in content["atom_energies"].items()}
    return ImportedWeights({}, tensors, 0.01, energies, "GFN2-xTB", "the weights 'made-up' are under CC-BY-4.0")
