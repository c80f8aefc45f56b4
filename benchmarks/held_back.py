"""Make the dataset that the study looks at once, at its end: screening compounds that nothing was chosen on.

    python benchmarks/held_back.py held-back
    python benchmarks/study.py run FILE --dataset folder:path=held-back --seeds 0,1,2 --output runs/held-back

Its forty test molecules are drawn at random from the screening compounds that share no scaffold with a compound that
druglike-xtb trains on or tests. Each has the GFN2-xTB minimum that is reached from one embedded conformer. The initial
training set is that of druglike-xtb. A few minutes of two cores.
"""

from __future__ import annotations

import argparse
import sys
from itertools import islice
from pathlib import Path

import numpy as np
from tuning_split import ORACLE, minima, service_below

from golfbench.chemistry import scaffold
from golfbench.contracts import Dataset, Label, LabelledMolecule
from golfbench.molecules import Molecule, group_of
from golfbench.oracles.service import Account
from golfbench.runs.runner import open_dataset
from golfbench_datasets.druglike import SEED, read_drugs, screening_compounds, usable
from golfbench_datasets.files import DRUGS, INITIAL, TEST, Description, write_description, write_initial, write_test
from golfbench_datasets.loading import data_folder

COUNT = 40


def main() -> int:
    """Write the folder."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("output", type=Path, help="folder to write")
    parser.add_argument("--compounds", type=int, default=COUNT)
    given = parser.parse_args()
    output: Path = given.output
    dataset = open_dataset("druglike-xtb")
    output.mkdir(parents=True, exist_ok=True)
    with service_below(output) as service:
        starts = drawn(dataset, given.compounds)
        labels = service.label_all(ORACLE, starts, Account("", "initial", "initial"))
        labelled = [
            LabelledMolecule(m, found) for m, found in zip(starts, labels, strict=True) if isinstance(found, Label)
        ]
        test = minima(labelled, service)
    write_initial(output / INITIAL, dataset.method, dataset.initial)
    write_test(output / TEST, dataset.method, test, {})
    write_description(output, Description(name="druglike-xtb-held-back", method=dataset.method, oracle=str(ORACLE)))
    print(f"{output}: {len(test)} minima of {given.compounds} compounds")
    return 0


def drawn(dataset: Dataset, count: int) -> list[Molecule]:
    """Return one embedded conformer of each compound that is held back."""
    known = {scaffold(item.molecule.smiles or "") for item in (*dataset.initial, *dataset.test)}
    names = {group_of(item.molecule.id) for item in dataset.initial}
    drugs = read_drugs(data_folder("druglike-xtb") / DRUGS)
    fresh = [c for c in screening_compounds(drugs) if c.name not in names and scaffold(c.smiles) not in known]
    order = np.random.default_rng(SEED).permutation(len(fresh))
    settled = filter(None, (usable(fresh[place], 1) for place in order))
    return [molecule for compound in islice(settled, count) for molecule in compound.conformers(1)]


if __name__ == "__main__":
    sys.exit(main())
