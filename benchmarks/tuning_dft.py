"""How well a recipe learns density functional theory from few labels, on training compounds of druglike-dft only.

    python benchmarks/tuning_dft.py --model painn:preset=small --delta gfn2-xtb --updates 1440 --learning-rate 1e-3
    python benchmarks/tuning_dft.py --model aimnet2

Folds: each third of the 24 training compounds is predicted by a model that was trained on the other two thirds, at
their ETKDG conformers. Printed are the root mean square errors of forces and of energy differences between conformers,
of the base or of the weights as they come, and after training. Test drugs are not touched. One thread.
"""

from __future__ import annotations

import os

for variable in ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS"):
    os.environ[variable] = "1"  # before the first import that reads it

# ruff: noqa: E402
import argparse
import sys
import time
from collections.abc import Sequence
from copy import deepcopy

import numpy as np
import torch

from golfbench.batches import make_batch
from golfbench.contracts import LabelledMolecule, Model
from golfbench.learning.learner import Single, Task
from golfbench.learning.opening import new_potential
from golfbench.learning.pool import Pool
from golfbench.learning.references import FollowingReferences
from golfbench.learning.settings import FineTuning
from golfbench.learning.targets import InitialSet
from golfbench.molecule_files.driver import open_driver
from golfbench.molecules import group_of
from golfbench.runs.config import Baseline
from golfbench.runs.runner import open_dataset
from golfbench.specs import ComponentRef
from golfbench.units import HARTREE_TO_EV, HARTREE_TO_KCAL_MOL

FOLDS = 3


def main() -> int:
    """Print errors of each fold and of all."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default="painn:preset=small")
    parser.add_argument("--delta", default="", help="base: gfn2-xtb")
    parser.add_argument("--updates", type=int, default=None)
    parser.add_argument(
        "--setting", action="append", default=[], metavar="KEY=VALUE", help="of the training; repeatable"
    )
    parser.add_argument("--labels", type=int, default=None, help="learn from the first so many of a fold only")
    parser.add_argument("--folds", type=int, default=FOLDS, help="how many of the three folds")
    parser.add_argument("--seed", type=int, default=0)
    asked = parser.parse_args()
    torch.set_num_threads(1)
    settings = dict(item.split("=", 1) for item in asked.setting)
    dataset = open_dataset("druglike-dft")
    names = list(dict.fromkeys(group_of(item.molecule.id) for item in dataset.initial))
    before, after, seconds = [], [], 0.0
    for fold in range(asked.folds):
        held_out = set(names[fold::FOLDS])
        learned = [item for item in dataset.initial if group_of(item.molecule.id) not in held_out]
        known = {z for item in learned for z in item.molecule.numbers.tolist()}
        test = [
            item
            for item in dataset.initial
            if group_of(item.molecule.id) in held_out and known.issuperset(item.molecule.numbers.tolist())
        ]
        began = time.process_time()
        start, end = trained(asked, settings, learned[: asked.labels])
        seconds += time.process_time() - began
        before.append(errors(start, test))
        after.append(errors(end, test))
    for what, found in (("before", before), ("after", after)):
        forces, energies = np.sqrt(np.mean(np.square(found), axis=0))
        print(f"{what:7} forces {forces:.4f} eV/Å   differences {energies:.3f} kcal/mol", end="   ")
    print(f"{seconds:.0f} s   {' '.join(sys.argv[1:])}")
    return 0


def trained(
    asked: argparse.Namespace, settings: dict[str, str], labels: Sequence[LabelledMolecule]
) -> tuple[Model, Model]:
    """Return a model as it comes (the base, where the network is fresh) and as it is after training."""
    if asked.delta:
        with open_driver(asked.delta, None, "") as driver:
            base = driver.model
        recipe = Baseline.model_validate(settings)
        initial = InitialSet.of(labels, [base], {})
        potential = new_potential(
            ComponentRef.parse(asked.model), asked.seed, 1, initial.references, initial.scale, [base]
        )
        rows, start, kind = initial.rows, base, "baseline"
        total = asked.updates or recipe.for_labels(len(labels))
    else:
        recipe = FineTuning.model_validate(settings)
        with open_driver(asked.model, None, "") as driver:
            potential = driver.model
        start, rows, kind = deepcopy(potential), labels, "training"
        total = asked.updates or recipe.updates_per_label * len(labels)
    pool = Pool(potential, rows)
    if kind == "training":
        FollowingReferences(potential).fit(pool)
    learner = Single(Task(potential, recipe, total, asked.seed, kind))
    learner.fit(pool, total)
    learner.finish(pool)
    return start, learner.potential()


def errors(model: Model, labels: Sequence[LabelledMolecule]) -> tuple[float, float]:
    """Return the errors of forces, eV/Å, and of differences within each molecule, kcal/mol."""
    forces, energies = [], {}
    for item in labels:
        answer = model.energy_forces(make_batch([item.molecule], model.cutoff))
        forces.append((answer.forces.numpy() - item.label.forces).ravel())
        gap = float(answer.energies[0]) - item.label.energy
        energies.setdefault(group_of(item.molecule.id), []).append(gap)
    centred = np.concatenate([np.array(gaps) - np.mean(gaps) for gaps in energies.values()])
    return (
        float(np.sqrt(np.mean(np.concatenate(forces) ** 2))) * HARTREE_TO_EV,
        float(np.sqrt(np.mean(centred**2))) * HARTREE_TO_KCAL_MOL,
    )


if __name__ == "__main__":
    sys.exit(main())
