"""The last look of the study: screening compounds that nothing was chosen on, looked at once, after all is frozen.

    python benchmarks/held_back.py make held-back
    python benchmarks/held_back.py judge held-back runs/study/painn-gfn1/RUN --output runs/held-back
    python benchmarks/held_back.py tables runs/held-back
    python benchmarks/study.py publish runs/held-back          # what it is known by, to examples/study/results

``make`` draws forty test molecules at random from the screening compounds that share no scaffold with a compound that
druglike-xtb trains on or tests. Each has the GFN2-xTB minimum that is reached from one embedded conformer. The initial
training set is that of druglike-xtb. A few minutes of two cores.

``judge`` takes the networks of the finished cells of a study, as they were at each of its points, and walks these
compounds with them: nothing is trained anew. What was judged is kept, and the same command goes on. One minute of a
core for a network at a point, with GFN1-xTB below it.

``tables`` writes what ``study.py figures`` has in its tables.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
from collections import defaultdict
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass, replace
from itertools import islice
from pathlib import Path

import numpy as np
from study import NETWORK, write_tables
from tuning_split import ORACLE, minima, service_below

from golfbench.chemistry import scaffold
from golfbench.compare.label_curves import Curve
from golfbench.compare.sides import Series, Side, read_side
from golfbench.contracts import Dataset, Label, LabelledMolecule
from golfbench.molecules import Molecule, group_of
from golfbench.oracles.service import Account
from golfbench.runs.config import RunConfig
from golfbench.runs.directory import RunDirectory, slug
from golfbench.runs.grid import combinations
from golfbench.runs.runner import open_dataset
from golfbench.runs.shards import FOLDER, shards_in
from golfbench_datasets.druglike import SEED, read_drugs, screening_compounds, usable
from golfbench_datasets.files import DRUGS, INITIAL, TEST, Description, write_description, write_initial, write_test
from golfbench_datasets.loading import data_folder

COUNT = 40


@dataclass(frozen=True)
class Network:
    """A network of a study, as it was at one point.

    Attributes:
        model: Its architecture.
        base: What it corrects; empty where it stands alone.
        selection: The rule that chose its labels.
        seed: Of its cell.
        initial: Labels that it began with.
        labels: Labels that it has learned from in all.
        sha256: Of the content of its checkpoint.
    """

    model: str
    base: str
    selection: str
    seed: int
    initial: int
    labels: int
    sha256: str = ""

    @property
    def folder(self) -> str:
        """The folder of what it was judged by."""
        return slug(f"{self.selection}_seed={self.seed}_labels={self.labels}")


def make(output: Path, count: int) -> None:
    """Write the dataset into a folder."""
    dataset = open_dataset("druglike-xtb")
    output.mkdir(parents=True, exist_ok=True)
    with service_below(output) as service:
        starts = drawn(dataset, count)
        labels = service.label_all(ORACLE, starts, Account("", "initial", "initial"))
        labelled = [
            LabelledMolecule(m, found) for m, found in zip(starts, labels, strict=True) if isinstance(found, Label)
        ]
        test = minima(labelled, service)
    write_initial(output / INITIAL, dataset.method, dataset.initial)
    write_test(output / TEST, dataset.method, test, {})
    write_description(output, Description(name="druglike-xtb-held-back", method=dataset.method, oracle=str(ORACLE)))
    print(f"{output}: {len(test)} minima of {count} compounds")


def drawn(dataset: Dataset, count: int) -> list[Molecule]:
    """Return one embedded conformer of each compound that is held back."""
    known = {scaffold(item.molecule.smiles or "") for item in (*dataset.initial, *dataset.test)}
    names = {group_of(item.molecule.id) for item in dataset.initial}
    drugs = read_drugs(data_folder("druglike-xtb") / DRUGS)
    fresh = [c for c in screening_compounds(drugs) if c.name not in names and scaffold(c.smiles) not in known]
    order = np.random.default_rng(SEED).permutation(len(fresh))
    settled = filter(None, (usable(fresh[place], 1) for place in order))
    return [molecule for compound in islice(settled, count) for molecule in compound.conformers(1)]


def networks_of(run: Path) -> list[tuple[Network, Path]]:
    """Return the networks of a run, or of those of its cells that have finished, with their checkpoints by seed."""
    whole = RunDirectory(run)
    cells = [RunDirectory(run / FOLDER / shard.name) for shard in shards_in(run)]
    found = [network for part in ([whole] if whole.manifest.exists() else cells) for network in _networks(part)]
    return sorted(found, key=lambda item: (item[0].seed, item[0].selection, item[0].labels))


def _networks(directory: RunDirectory) -> Iterator[tuple[Network, Path]]:
    if not directory.manifest.exists() or not (manifest := directory.read_manifest()).finished_utc:
        return
    config = RunConfig.model_validate(manifest.config)
    initial = config.initial_labels or 0
    for one in combinations(config):
        folder = directory.checkpoints / slug(one.id)
        for labels in (*filter(None, config.points), config.budget):
            path = folder / ("final.safetensors" if labels == config.budget else f"budget-{labels}.safetensors")
            if path.exists():  # those of other cells are not there
                told = str(one.model), str(config.delta or ""), str(one.selection), one.seed or 0
                yield Network(*told, initial, initial + labels), path


def judge(dataset: Path, runs: Sequence[Path], output: Path, workers: int) -> int:
    """Walk the compounds with each network that has not been judged, and return how many could not be."""
    asked = [(network, path) for run in runs for network, path in networks_of(run)]
    waiting = [(network, path) for network, path in asked if not (output / network.folder / NETWORK).exists()]
    print(f"{len(asked)} networks, {len(waiting)} to judge", flush=True)

    def one(item: tuple[Network, Path]) -> bool:
        network, path = item
        folder = output / network.folder
        command = [sys.executable, "-m", "golfbench", "run", "--dataset", f"folder:path={os.path.relpath(dataset)}"]
        command += ["--model", network.model, "--delta", network.base or "none", "--budget", "0", "-j", "1"]
        command += ["--checkpoint", os.path.relpath(path), "--seed", str(network.seed), "-o", str(folder)]
        if network.base and network == asked[0][0]:  # once is enough
            command += ["--reference", network.base]
        folder.mkdir(parents=True, exist_ok=True)
        with (folder / "log.txt").open("w") as log:
            done = subprocess.run(command, stdout=log, stderr=log, check=False)
        judged = runs_in(folder)
        ok = done.returncode in (0, 1) and len(judged) == 1  # 1: a molecule failed, which its record says
        if ok:
            (baseline,) = RunDirectory(judged[0]).read_manifest().baselines.values()
            known = replace(network, sha256=baseline.content_sha256)
            (folder / NETWORK).write_text(json.dumps(asdict(known), indent=1) + "\n", encoding="utf-8")
        print(f"{network.folder}: {'judged' if ok else f'exit {done.returncode}, see its log'}", flush=True)
        return ok

    with ThreadPoolExecutor(workers) as pool:
        return sum(not ok for ok in pool.map(one, waiting))


def runs_in(folder: Path) -> list[Path]:
    """Return the run directories that lie in a folder."""
    return [path for path in folder.iterdir() if RunDirectory(path).manifest.exists()]


def curves_below(folder: Path) -> list[Curve]:
    """Return the curves of what was judged: each selection with its seeds, those that were judged at a point."""
    read = [(Network(**json.loads(path.read_text())), path.parent) for path in sorted(folder.glob(f"*/{NETWORK}"))]
    points: defaultdict[tuple[str, str, int], dict[int, Series]] = defaultdict(dict)
    side: Side | None = None
    for network, place in sorted(read, key=lambda item: (item[0].labels, item[0].seed)):
        (run,) = runs_in(place)
        side = read_side(run)
        (found,) = (series for series in side.series if series.key.stage == "before")
        (records,) = found.seeds.values()
        curve = points[network.model, network.selection, network.initial]
        before = curve.get(network.labels, replace(found, seeds={}))
        curve[network.labels] = replace(found, labels=network.labels, seeds={**before.seeds, network.seed: records})
    if side is None:
        sys.exit(f"{folder}: nothing was judged")
    return [Curve(folder.name, side.sha256, *key, found) for key, found in sorted(points.items())]


def main(arguments: Sequence[str] | None = None) -> int:
    """Make, judge, or write tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    verbs = parser.add_subparsers(dest="verb", required=True)
    told = verbs.add_parser("make")
    told.add_argument("output", type=Path, help="folder to write")
    told.add_argument("--compounds", type=int, default=COUNT)
    told = verbs.add_parser("judge")
    told.add_argument("dataset", type=Path, help="folder that make has written")
    told.add_argument("runs", type=Path, nargs="+", help="run directories of the study, with checkpoints")
    told.add_argument("--output", type=Path, default=Path("runs/held-back"))
    told.add_argument("--workers", type=int, default=1, help="networks at a time")
    told = verbs.add_parser("tables")
    told.add_argument("judged", type=Path, help="folder that judge has written")
    told.add_argument("--output", type=Path, help="folder to write; default: the same")
    given = parser.parse_args(arguments)
    if given.verb == "make":
        make(given.output, given.compounds)
    elif given.verb == "judge":
        return int(judge(given.dataset, given.runs, given.output, given.workers) > 0)
    else:
        write_tables(curves_below(given.judged), given.output or given.judged)
    return 0


if __name__ == "__main__":
    sys.exit(main())
