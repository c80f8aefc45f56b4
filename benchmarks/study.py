"""The study of labels: plan it, run it in the background, draw it. See docs/study.md.

    python benchmarks/study.py plan                            # cells and processor hours, nothing is computed
    python benchmarks/study.py run examples/study/painn-gfn1.yaml --workers 1
    python benchmarks/study.py run --output /data/study        # every file of examples/study, one after the other
    python benchmarks/study.py figures runs/study/painn-gfn1   # the runs below it: tables and figures beside them
    python benchmarks/study.py publish runs/study/painn-gfn1   # what has finished, to examples/study/results

    python benchmarks/tuning_split.py tuning                   # settings are chosen on training molecules only:
    python benchmarks/study.py run FILE --dataset folder:path=tuning --seeds 100,101 --output runs/tuning

A *cell* is one model, one selection and one seed, at all of its points: one shard of the run that a file describes.
Cells run one after the other on a few workers, each with one thread and with the lowest priority of all. A cell that is
finished is kept, one that was interrupted goes on where it stopped, and when all cells of a file are there they are
merged to one run. Cells are dealt out by seed: after a part of the time every selection has its first seeds.

The plan takes what a cell costs from finished cells of the same file where there are any, and says where it has no
number.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from statistics import median

from golfbench.compare.figure import Axis, figure
from golfbench.compare.label_curves import Contrast, Curve, between, contrasts, curves_of
from golfbench.compare.label_tables import TABLES, as_csv, as_markdown
from golfbench.compare.sides import Key, Series, Side, read_side
from golfbench.compare.verdict import MEASURE
from golfbench.errors import GolfbenchError, NothingToDoError
from golfbench.runs.config import RunConfig, load_config
from golfbench.runs.defaults import suited
from golfbench.runs.directory import RunDirectory
from golfbench.runs.grid import Combination, check_names, combinations
from golfbench.runs.shards import COMMON, FOLDER, Shard, deal, shards_in

PROTOCOL = Path(__file__).parents[1] / "examples" / "study"
#: Of cells: they take processor time that nobody else wants.
NICENESS = 19
CONTROLS = ("random", "golf")
#: What a network is that was judged on the compounds held back; beside its run (``held_back.py``).
NETWORK = "network.json"
#: What the repository keeps of a run: from these files every table and figure is made.
KEPT = ("manifest.json", "records.jsonl", "costs.jsonl")
#: What is drawn: the number, and what it is drawn against.
FIGURES: dict[str, tuple[str, Axis]] = {
    "residual": (MEASURE, "labels"),
    "success": ("success_pct", "labels"),
    "divergence": ("divergence_pct", "labels"),
    "residual-cost": (MEASURE, "cpu_s"),
}


@dataclass(frozen=True)
class Study:
    """One file of the protocol.

    Attributes:
        path: The file.
        overrides: What is set otherwise, as in ``load_config``.
        output: Folder of all runs.
    """

    path: Path
    overrides: dict[str, object]
    output: Path

    @property
    def config(self) -> RunConfig:
        """The run that it describes, filled in as the command line does it."""
        return suited(load_config(self.path, self.overrides)).config

    @property
    def folder(self) -> Path:
        """Where its run directory lies."""
        return self.output / self.path.stem

    @property
    def run(self) -> Path:
        """Its run directory."""
        return self.folder / self.config.run_id()

    def options(self) -> list[str]:
        """Return what the command line says of the overrides."""
        told = []
        for option, key in (("--dataset", "dataset"), ("--seed", "seeds")):
            value = self.overrides.get(key)
            for item in value if isinstance(value, list) else [value] if value else []:
                told += [option, str(item)]
        return told


@dataclass(frozen=True)
class Cell:
    """One combination of a study.

    Attributes:
        study: Whose.
        combination: Which.
        shard: The shard of the run that has its row.
    """

    study: Study
    combination: Combination
    shard: Shard

    @property
    def finished(self) -> bool:
        """Whether it is done: its shard, or the whole run that it was merged to."""
        places = (RunDirectory(self.study.run / FOLDER / self.shard.name), RunDirectory(self.study.run))
        return any(place.manifest.exists() and place.read_manifest().finished_utc for place in places)

    @property
    def note(self) -> Path:
        """Where it is kept what the cell took; its log lies beside it."""
        return self.study.folder / "cells" / f"{self.shard.name}.json"

    @property
    def cpu_s(self) -> float | None:
        """Processor time so far, of engines and judging, too; ``None`` where that is not known."""
        return float(json.loads(self.note.read_text())["cpu_s"]) if self.note.exists() else None

    def command(self) -> list[str]:
        """Return the command that makes or resumes it."""
        config = [sys.executable, "-m", "golfbench", "run", str(self.study.path), *self.study.options()]
        return [*config, "--shard", self.shard.name.replace("-of-", "/"), "-o", str(self.study.folder), "-j", "1"]


def cells_of(study: Study) -> list[Cell]:
    """Return the cells of a study, the first seed of every selection before the second one of any.

    Raises:
        ConfigurationError: If the file names something that is not there.
    """
    config = study.config
    check_names(config)
    trained = combinations(config)
    owner = deal(config, len(trained))
    found = [Cell(study, c, Shard(owner[c.id, "after"], len(trained))) for c in trained]
    return sorted(found, key=lambda cell: config.seeds.index(cell.combination.seed or 0))


class Workers:
    """Runs cells, a few at a time, each with one thread and the lowest priority of all.

    Args:
        count: Cells at a time.
    """

    def __init__(self, count: int) -> None:
        self._count = count
        self._children: set[subprocess.Popen[bytes]] = set()

    def run(self, cells: Sequence[Cell]) -> Iterator[tuple[Cell, int]]:
        """Yield each cell with its exit code, in order; interrupted, tell those that are running to stop."""
        with ThreadPoolExecutor(self._count) as pool:
            try:
                yield from zip(cells, pool.map(self._run, cells), strict=True)
            except (KeyboardInterrupt, GeneratorExit):
                pool.shutdown(wait=False, cancel_futures=True)
                for child in list(self._children):
                    child.terminate()
                raise

    def _run(self, cell: Cell) -> int:
        """Run a cell to its end, keep what it took, and return its exit code."""
        note = cell.note
        note.parent.mkdir(parents=True, exist_ok=True)
        threads = {f"{name}_NUM_THREADS": "1" for name in ("OMP", "MKL", "OPENBLAS")}
        with note.with_suffix(".log").open("a") as output:
            child = subprocess.Popen(
                ["nice", "-n", str(NICENESS), *cell.command()],
                stdout=output,
                stderr=output,
                env={**os.environ, **threads},
                start_new_session=True,
            )
        # Linux shares processor time by sessions before it looks at the niceness of a process.
        with suppress(OSError):
            Path(f"/proc/{child.pid}/autogroup").write_text(str(NICENESS))
        self._children.add(child)
        _, status, used = os.wait4(child.pid, 0)
        self._children.discard(child)
        child.returncode = os.waitstatus_to_exitcode(status)
        note.write_text(json.dumps({"cpu_s": (cell.cpu_s or 0.0) + used.ru_utime + used.ru_stime}))
        return child.returncode


def run(studies: Sequence[Study], workers: int) -> int:
    """Show the plan, run all cells that are not finished, merge what is complete, and return 1 if a cell failed."""
    plan(studies)
    failed = 0
    for study in studies:
        waiting = [cell for cell in cells_of(study) if not cell.finished]
        print(f"{study.path.stem}: {len(waiting)} cells to run", flush=True)
        for cell, code in Workers(workers).run(waiting):
            said = "finished" if cell.finished else f"exit {code}, see {cell.note.with_suffix('.log')}"
            print(f"{study.path.stem} {cell.shard.name}: {cell.combination.id}: {said}", flush=True)
            failed += not cell.finished  # one with molecules that failed is: its table says which
        merged = RunDirectory(study.run).manifest.exists()
        if not merged and all(cell.finished for cell in cells_of(study)):
            command = [sys.executable, "-m", "golfbench", "merge", str(study.run)]
            failed += subprocess.run(command, stdout=subprocess.DEVNULL, check=False).returncode != 0
    return int(failed > 0)


def plan(studies: Sequence[Study]) -> int:
    """Print what is to be done, and what it costs as far as finished cells say it."""
    print("| file | cells | done | judged after labels | processor h a cell | h left |\n|---|---|---|---|---|---|")
    total, unknown = 0.0, 0
    for study in studies:
        cells, config = cells_of(study), study.config
        done = [cell for cell in cells if cell.finished]
        took = [spent for cell in done if (spent := cell.cpu_s) is not None]
        each = median(took) / 3600 if took else estimate(study)
        known = "not known" if each is None else f"{each:.2f} ({'measured' if took else 'estimated'})"
        left = "not known" if each is None else f"{each * (len(cells) - len(done)):.1f}"
        total, unknown = total + (each or 0.0) * (len(cells) - len(done)), unknown + (each is None)
        points = ", ".join(map(str, (*config.points, config.budget)))
        print(f"| {study.path.stem} | {len(cells)} | {len(done)} | {points} | {known} | {left} |")
    more = f", and {unknown} files of which nothing is known" if unknown else ""
    print(f"\n{total:.1f} processor hours are left{more}; divide by the number of workers", flush=True)
    return 0


def estimate(study: Study) -> float | None:
    """Return the processor hours of a cell as the file itself says them (``# hours a cell: 0.3``), if it does."""
    lines = study.path.read_text(encoding="utf-8").splitlines()
    found = [line.partition(":")[2] for line in lines if line.startswith("# hours a cell:")]
    return float(found[0].split()[0]) if found else None


# --- Figures -------------------------------------------------------------------------------------------------------


def sides_below(folders: Sequence[Path]) -> Iterator[Side]:
    """Yield the runs that lie in, or one or two folders below, the given ones.

    Of a run whose cells are not all there yet, those that have finished are a side.

    Raises:
        NothingToDoError: If there is none.
    """
    below = [path for folder in folders for pattern in ("*/", "*/*/") for path in sorted(folder.glob(pattern))]
    found = dict.fromkeys(path.resolve() for path in (*folders, *below))
    runs = {path: sides for path in found if (sides := list(sides_of(path)))}
    if not runs:
        raise NothingToDoError(f"no finished run below {', '.join(map(str, folders))}")
    parents = [path.parent for path in runs]
    for path, sides in runs.items():  # called by the file of the protocol, where it has a folder of its own
        side = joined(sides)
        yield replace(side, name=path.name if parents.count(path.parent) > 1 else path.parent.name)


def sides_of(run: Path) -> Iterator[Side]:
    """Yield a run in one piece, or its finished cells."""
    if (run / "manifest.json").exists():
        if (run / "records.jsonl").exists() and run.parent.name != FOLDER:
            yield read_side(run)
        return
    for shard in sorted(shards_in(run), key=lambda shard: shard.index):
        cell = RunDirectory(run / FOLDER / shard.name)
        if cell.manifest.exists() and cell.read_manifest().finished_utc:
            yield read_side(cell.path)


def joined(sides: Sequence[Side]) -> Side:
    """Return the cells of one run as one side: each series with the seeds that are there."""
    series: dict[Key, Series] = {}
    for one in (series for side in sides for series in side.series):
        other = series.get(one.key, one)
        seeds, calls = {**other.seeds, **one.seeds}, {**other.calls, **one.calls}
        series[one.key] = replace(one, seeds=seeds, calls=calls, cpu_s={**other.cpu_s, **one.cpu_s})
    return replace(sides[0], series=list(series.values()))


def figures(folders: Sequence[Path], output: Path) -> int:
    """Write tables and figures of runs into a folder."""
    output.mkdir(parents=True, exist_ok=True)
    curves: list[Curve] = []
    for side in sides_below(folders):
        curves += curves_of(side)
        for name, (measure, axis) in FIGURES.items():
            try:
                (output / f"{side.name}-{name}.svg").write_text(figure([side], measure, axis), encoding="utf-8")
            except NothingToDoError as error:
                print(f"{side.name}: no figure of {name}: {error}", file=sys.stderr)
    write_tables(curves, output)
    print(f"{output}: tables and figures of {len({c.run for c in curves})} runs")
    return 0


def write_tables(curves: Sequence[Curve], output: Path) -> None:
    """Write all tables of curves into a folder, as CSV and Markdown."""
    output.mkdir(parents=True, exist_ok=True)
    found = list(all_contrasts(curves))
    for name, table in TABLES.items():
        rows = list(table(curves, found))
        (output / f"{name}.csv").write_text(as_csv(rows), encoding="utf-8")
        (output / f"{name}.md").write_text(as_markdown(rows), encoding="utf-8")


def all_contrasts(curves: Sequence[Curve]) -> Iterator[Contrast]:
    """Yield each selection against the controls of its run, and an ablation against what it is an ablation of.

    The file ``painn-gfn1-no-replay`` is an ablation of ``painn-gfn1``: each of its curves is compared with that of the
    same model and selection there.
    """
    runs = dict.fromkeys(curve.run for curve in curves)
    for run in runs:
        mine = [curve for curve in curves if curve.run == run]
        for number, control in enumerate(CONTROLS):  # two controls are compared with each other once
            asked = [curve for curve in mine if curve.selection not in CONTROLS[:number]]
            yield from contrasts(asked, control)
        whole = max((other for other in runs if run.startswith(f"{other}-")), key=len, default=None)
        for curve in mine:
            for other in curves:
                if other.run == whole and (other.model, other.selection) == (curve.model, curve.selection):
                    yield from between(curve, other)


def publish(folders: Sequence[Path], output: Path) -> int:
    """Copy what is kept of each finished run or cell, and return 1 where there is none."""
    found = 0
    for folder in folders:
        for manifest in sorted(folder.rglob("manifest.json")):
            run = RunDirectory(manifest.parent)
            if run.path.name == COMMON or not run.read_manifest().finished_utc:
                continue
            place = output / folder.resolve().name / run.path.relative_to(folder)
            place.mkdir(parents=True, exist_ok=True)
            for name in KEPT:
                if (run.path / name).exists():
                    shutil.copyfile(run.path / name, place / name)
            if (network := run.path.parent / NETWORK).exists():
                shutil.copyfile(network, place.parent / NETWORK)
            found += 1
    print(f"{output}: {found} runs and cells")
    return int(not found)


# --- The command line ------------------------------------------------------------------------------------------------


def main(arguments: Sequence[str] | None = None) -> int:
    """Plan, run or draw."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    verbs = parser.add_subparsers(dest="verb", required=True)
    for verb in ("plan", "run"):
        told = verbs.add_parser(verb)
        told.add_argument("files", nargs="*", type=Path, help="files of the protocol; default: all of examples/study")
        told.add_argument("--output", type=Path, default=Path("runs/study"), help="folder of the runs")
        told.add_argument("--dataset", help="another dataset, for tuning: folder:path=tuning")
        told.add_argument("--seeds", help="other seeds: 100,101")
    verbs.choices["run"].add_argument("--workers", type=int, default=1, help="cells at a time")
    told = verbs.add_parser("figures")
    told.add_argument("runs", nargs="+", type=Path, help="run directories, or folders of them")
    told.add_argument("--output", type=Path, default=Path("runs/study/figures"), help="folder to write")
    told = verbs.add_parser("publish")
    told.add_argument("runs", nargs="+", type=Path, help="folders of runs, each called as its study")
    told.add_argument("--output", type=Path, default=PROTOCOL / "results", help="folder to write")
    given = parser.parse_args(arguments)
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        if given.verb == "figures":
            return figures(given.runs, given.output)
        if given.verb == "publish":
            return publish(given.runs, given.output)
        seeds = [int(seed) for seed in given.seeds.split(",")] if given.seeds else None
        overrides = {k: v for k, v in (("dataset", given.dataset), ("seeds", seeds)) if v}
        studies = [Study(path, overrides, given.output) for path in given.files or sorted(PROTOCOL.glob("*.yaml"))]
        return plan(studies) if given.verb == "plan" else run(studies, given.workers)
    except KeyboardInterrupt:
        print("study: interrupted; the same command resumes where it stopped", file=sys.stderr)
        return 130
    except GolfbenchError as error:
        print(f"study: error: {error}", file=sys.stderr)
        return error.exit_code


if __name__ == "__main__":
    sys.exit(main())
