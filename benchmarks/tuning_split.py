"""Make the dataset that settings are tuned on: training compounds of druglike-xtb only, never its test drugs.

    python benchmarks/tuning_split.py tuning
    golfbench run --dataset folder:path=tuning ...

Every third of the 110 training compounds becomes a test molecule, with the GFN2-xTB minimum that is reached from its
first conformer; the other compounds keep their conformers and labels as initial training set. A few minutes of two
cores; asked for twice, the minima come from the label store beside the output.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from itertools import groupby
from pathlib import Path

from rdkit import Chem
from rdkit.Chem.rdMolDescriptors import CalcMolFormula

from golfbench.chemistry import bond_graph_changed
from golfbench.contracts import LabelledMolecule, TestMolecule
from golfbench.minimization import StoppingRule, minimize
from golfbench.molecules import group_of
from golfbench.oracles.as_model import OracleModel
from golfbench.oracles.service import Account, OracleService
from golfbench.registry import registry
from golfbench.runs.runner import open_dataset
from golfbench.specs import ComponentRef, OptimizerSpec
from golfbench_datasets.files import INITIAL, TEST, Description, write_description, write_initial, write_test

ORACLE = ComponentRef("gfn2-xtb")
RULE = StoppingRule(force_max=0.005, max_steps=1000)
EVERY = 3


def main() -> int:
    """Write the folder."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("output", type=Path, help="folder to write")
    output: Path = parser.parse_args().output
    dataset = open_dataset("druglike-xtb")
    groups = [list(items) for _, items in groupby(dataset.initial, lambda item: group_of(item.molecule.id))]
    training = [item for k, group in enumerate(groups) if k % EVERY for item in group]
    output.mkdir(parents=True, exist_ok=True)
    write_initial(output / INITIAL, dataset.method, training)
    with service_below(output) as service:
        test = minima([group[0] for group in groups[::EVERY]], service)
    formulas = {group_of(t.molecule.id): CalcMolFormula(Chem.MolFromSmiles(t.molecule.smiles)) for t in test}
    write_test(output / TEST, dataset.method, test, formulas)
    write_description(output, Description(name="druglike-xtb-tuning", method=dataset.method, oracle=str(ORACLE)))
    print(f"{output}: {len(training)} labels of {len(groups) - len(groups[::EVERY])} compounds, {len(test)} minima")
    return 0


@contextmanager
def service_below(output: Path) -> Iterator[OracleService]:
    """Give the service that labels for a dataset; what it has is kept below the folder."""
    (output / "build").mkdir(exist_ok=True)
    service = OracleService(output / "build", workers=2)
    try:
        yield service
    finally:
        service.close()


def minima(starts: Sequence[LabelledMolecule], service: OracleService) -> list[TestMolecule]:
    """Minimize under the oracle; what does not converge, or changes its bonds, is left out."""
    account = Account("", "reference", "reference")
    model = OracleModel(lambda molecules: service.label_all(ORACLE, molecules, account))
    optimizer = registry().find(OptimizerSpec, "rfo-internal").create({})
    found = {}
    for outcome in minimize(model, [item.molecule for item in starts], optimizer, RULE):
        item, positions = starts[outcome.point.index], outcome.point.positions
        molecule = item.molecule
        print(f"{molecule.id}: {outcome.status}, {outcome.point.step} steps", file=sys.stderr, flush=True)
        if outcome.status == "converged" and not bond_graph_changed(molecule, positions):
            label = service.submit(ORACLE, molecule.at(positions), account).result()
            found[molecule.id] = TestMolecule(molecule, item.label, positions, label)
    return [found[item.molecule.id] for item in starts if item.molecule.id in found]


if __name__ == "__main__":
    sys.exit(main())
