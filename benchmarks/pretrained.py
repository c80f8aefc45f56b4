"""What a force call and a training step of each installed model cost, and what grouping saves when AIMNet2 is trained.

    python benchmarks/pretrained.py
    python benchmarks/pretrained.py --model aimnet2 --model painn:preset=small --threads 2
    python benchmarks/pretrained.py --model aimnet2 --script

Every model has its default sizes and weights from a seed: time does not depend on the values. The molecules are eight
drugs of 20 to 40 atoms. A force call evaluates all of them as one batch; a training step is one update by Adam on all
of them, with a loss of energies and forces. Times are per molecule.

Last come molecules per second of training AIMNet2: all eight together, and one by one, an update each. With
``--script`` one by one is the authors' TorchScript file instead, as one had to train it before: it is taken out of the
wheel that ``golfbench models fetch aimnet2`` uses, and its code is run.

Each number is the median over rounds that go through all cases by turns, in processor time of one thread, which others
on the machine prolong little; with more threads it is wall time, for which the machine must be idle.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from statistics import median
from typing import Any

import torch

from golfbench.batches import make_batch
from golfbench.environments import missing
from golfbench.errors import GolfbenchError
from golfbench.fetching import from_wheel, sha256_of
from golfbench.learning.opening import new_network
from golfbench.learning.potential import energies_and_forces
from golfbench.molecules import Molecule
from golfbench.registry import registry
from golfbench.specs import ComponentRef, ModelSpec
from golfbench.testing.samples import sample

DRUGS = (
    "CC(=O)Nc1ccc(O)cc1",
    "CN1C=NC2=C1C(=O)N(C(=O)N2C)C",
    "CC(C)Cc1ccc(cc1)C(C)C(=O)O",
    "COc1ccc2cc(ccc2c1)C(C)C(=O)O",
    "CN1C(=O)CN=C(c2ccccc2)c2cc(Cl)ccc21",
    "CC(C)NCC(O)COc1cccc2ccccc12",
    "OC(=O)Cc1ccccc1Nc1c(Cl)cccc1Cl",
    "CNCCC(Oc1ccc(cc1)C(F)(F)F)c1ccccc1",
)
#: Of Adam; the weights stay as they are, so that nothing blows up.
RATE = 0.0


def loss_of(energies: torch.Tensor, forces: torch.Tensor) -> torch.Tensor:
    """Return a loss whose gradients are those of training, whatever the labels."""
    return 1e-3 * energies.square().mean() + (forces - 0.1).square().mean()


class Trained:
    """A network and its optimizer.

    Args:
        network: A ``contracts.Network``.
    """

    def __init__(self, network: Any) -> None:
        self.network = network
        self.parameters = [p for p in network.parameters() if p.requires_grad]
        self.adam = torch.optim.Adam(self.parameters, lr=RATE)

    def force_call(self, molecules: Sequence[Molecule]) -> None:
        """Evaluate one batch."""
        energies_and_forces(self.network, make_batch(molecules, self.network.cutoff))

    def step(self, molecules: Sequence[Molecule]) -> None:
        """Do one update."""
        self.adam.zero_grad()
        batch = make_batch(molecules, self.network.cutoff)
        energies, forces = energies_and_forces(self.network, batch, create_graph=True)
        loss_of(energies, forces).backward(inputs=self.parameters)  # type: ignore[no-untyped-call]
        self.adam.step()


class Script:
    """AIMNet2's TorchScript file; its parameters arrive frozen.

    Args:
        script: The file, loaded.
    """

    def __init__(self, script: Any) -> None:
        self.script = script
        fixed = ("aev.", "d3bj.", "lrcoulomb.", "shifts.")
        self.parameters = [p for name, p in script.named_parameters() if not any(f in name for f in fixed)]
        for parameter in self.parameters:
            parameter.requires_grad_(True)
        self.adam = torch.optim.Adam(self.parameters, lr=RATE)

    def evaluate(self, molecule: Molecule, create_graph: bool) -> tuple[torch.Tensor, torch.Tensor]:
        """Return energy and forces."""
        positions = torch.tensor(molecule.positions, dtype=torch.float32)[None].requires_grad_(True)
        charge = torch.tensor([float(molecule.charge)])
        said = self.script({"coord": positions, "numbers": torch.tensor(molecule.numbers)[None], "charge": charge})
        (gradient,) = torch.autograd.grad(said["energy"].sum(), positions, create_graph=create_graph)
        return said["energy"], -gradient[0]

    def force_call(self, molecules: Sequence[Molecule]) -> None:
        """Evaluate molecules one by one."""
        for molecule in molecules:
            self.evaluate(molecule, create_graph=False)

    def step(self, molecules: Sequence[Molecule]) -> None:
        """Do one update on one molecule."""
        (molecule,) = molecules
        self.adam.zero_grad()
        loss_of(*self.evaluate(molecule, create_graph=True)).backward(inputs=self.parameters)  # type: ignore[no-untyped-call]
        self.adam.step()


def published_script() -> Any:
    """Return AIMNet2's TorchScript file, out of the wheel, proven by its hash."""
    weights = registry().find(ModelSpec, "aimnet2").weights[0]
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "aimnet2.jpt"
        from_wheel(weights.source.wheel, weights.source.member, file)
        assert sha256_of(file) == weights.sha256
        return torch.jit.load(str(file), map_location="cpu")  # type: ignore[no-untyped-call]


def one_by_one(step: Callable[[Sequence[Molecule]], None], molecules: Sequence[Molecule]) -> None:
    """Do one update for each molecule."""
    for molecule in molecules:
        step([molecule])


def timed(cases: dict[str, Callable[[], None]], rounds: int, threads: int) -> dict[str, float]:
    """Return the median time of each case, s."""
    clock = time.process_time if threads == 1 else time.perf_counter
    times: dict[str, list[float]] = {name: [] for name in cases}
    for number in range(rounds + 1):
        for name, case in cases.items():
            started = clock()
            case()
            if number:  # the first one warms up
                times[name].append(clock() - started)
    return {name: median(values) for name, values in times.items()}


def installed() -> list[str]:
    """Return the models that can be built here, with their presets."""
    names = []
    for spec in registry().specs("model"):
        if isinstance(spec, ModelSpec) and spec.trainable and not missing(spec):
            presets = next((p.choices for p in spec.parameters if p.name == "preset"), ())
            names += [f"{spec.name}:preset={preset}" for preset in presets] or [spec.name]
    return names


def main() -> None:
    """Print the tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", action="append", help="a model; may be repeated; default: all that are installed")
    parser.add_argument("--script", action="store_true", help="compare with the authors' TorchScript file of AIMNet2")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--rounds", type=int, default=7)
    given = parser.parse_args()
    torch.set_num_threads(given.threads)
    molecules = [sample(smiles) for smiles in DRUGS]
    cases: dict[str, Callable[[], None]] = {}
    for name in given.model or installed():
        try:
            network = new_network(ComponentRef.parse(name), seed=0)
        except GolfbenchError as error:
            print(f"{name}: {error}")
            continue
        trained = Trained(network)
        cases[f"{name} | force"] = partial(trained.force_call, molecules)
        cases[f"{name} | step"] = partial(trained.step, molecules)
        if name.partition(":")[0] == "aimnet2" and not given.script:
            cases[f"{name} | single"] = partial(one_by_one, trained.step, molecules)
    if given.script:
        script = Script(published_script())
        cases["TorchScript, one by one | force"] = partial(script.force_call, molecules)
        cases["TorchScript, one by one | single"] = partial(one_by_one, script.step, molecules)
    show(timed(cases, given.rounds, given.threads), given.threads)


def show(times: dict[str, float], threads: int) -> None:
    """Print what was measured."""
    count, what = len(DRUGS), "processor time" if threads == 1 else f"wall time, {threads} threads"
    print(f"ms per molecule ({what}), {count} drugs\n\n| model | force call | training step |\n|---|---|---|")
    for name in dict.fromkeys(case.split(" | ")[0] for case in times):
        step = times.get(f"{name} | step", times.get(f"{name} | single"))
        assert step is not None
        print(f"| {name} | {1e3 * times[f'{name} | force'] / count:.1f} | {1e3 * step / count:.1f} |")
    grouped = {case.split(" | ")[0]: s for case, s in times.items() if case.startswith("aimnet2") and "| step" in case}
    for name, single in ((case.split(" | ")[0], s) for case, s in times.items() if case.endswith("| single")):
        for model in [name] if name in grouped else grouped:
            rate, together = count / single, count / grouped[model]
            print(
                f"\n{name}: {rate:.1f} molecules per second, an update each; {model} in groups of {count}: "
                f"{together:.1f}, {together / rate:.2f} times as many"
            )


if __name__ == "__main__":
    main()
