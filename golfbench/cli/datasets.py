"""``golfbench datasets list|check|build|fetch``.

``read`` is all that a dataset must offer. A reader with checks of its own has ``check()``, which returns one line for
each problem; one that can be made again has ``build(output)``; one whose kind can be made of the user's own molecules
names a ``builder`` in its spec.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from difflib import get_close_matches
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from golfbench.cli import console
from golfbench.cli.components import lister
from golfbench.cli.describe import SCHEMA_VERSION
from golfbench.cli.options import DEFAULTS, JsonOption, complete
from golfbench.cli.streams import session
from golfbench.errors import ConfigurationError, GolfbenchError, NothingToDoError, unknown_name
from golfbench.registry import registry
from golfbench.specs import DataFile, DatasetSpec
from golfbench.store import DATA_VARIABLE

if TYPE_CHECKING:
    from golfbench.contracts import Dataset

NameArgument = Annotated[
    str, typer.Argument(metavar="NAME", help="A dataset.", autocompletion=complete("dataset"), show_default=False)
]
RecomputeOption = Annotated[
    int | None,
    typer.Option(
        "--recompute",
        min=0,
        metavar="N",
        help="Ask the oracle again for N labels and compare. [default: 3 where one costs little, else 0]",
    ),
]
BuildArgument = Annotated[
    list[str],
    typer.Argument(
        metavar="INPUT",
        help="Files of molecules (.smi, .csv, .sdf; also .gz) or SMILES; or the name of a dataset that ships.",
        autocompletion=complete("dataset"),
        show_default=False,
    ),
]
BuildOutputOption = Annotated[
    Path, typer.Option("--output", "-o", help="Folder that the dataset is built in.", show_default=False)
]
SplitOption = Annotated[
    list[str] | None,
    typer.Option("--split", help="A part of the dataset (repeat for several); default: those that NAME reads."),
]
MirrorOption = Annotated[
    str | None,
    typer.Option(
        "--mirror", metavar="URL", help="Another address of the file, or of a folder (ends with /).", show_default=False
    ),
]
FileOption = Annotated[
    Path | None,
    typer.Option("--file", help="The file, got by other means, or the folder that it lies in.", show_default=False),
]
BuildOracleOption = Annotated[
    str | None,
    typer.Option(
        "--oracle",
        metavar="NAME",
        autocompletion=complete("oracle"),
        help=f"Engine that labels. Parameters follow a colon: NAME:KEY=VALUE,... [default: {DEFAULTS['oracle']}]",
    ),
]
TestOption = Annotated[
    list[str] | None,
    typer.Option("--test", metavar="INPUT", help="Files or SMILES of the test molecules, instead of a share. Repeat."),
]
ShareOption = Annotated[
    float | None,
    typer.Option(
        "--test-share",
        min=0.0,
        max=0.9,
        metavar="SHARE",
        help="Share of the molecules that are test molecules; no scaffold is in both parts. [default: 0.2]",
    ),
]
BuildConformersOption = Annotated[
    int | None,
    typer.Option(
        "--conformers",
        "-n",
        min=1,
        help="Conformers of each training molecule, at most: centroids of clusters. [default: 3]",
    ),
]
FirstOption = Annotated[
    str | None,
    typer.Option(
        "--first-walk",
        metavar="NAME",
        autocompletion=complete("model"),
        help="Walks test molecules before the oracle does: a fixed model, named weights, a cheap oracle, or none. "
        "[default: aimnet2 for a DFT oracle, else none]",
    ),
]
BuildSeedOption = Annotated[
    int | None, typer.Option("--seed", min=0, help="Seed of conformers and split. [default: 0]")
]
BuildWorkersOption = Annotated[int | None, typer.Option("--workers", min=1, help="Oracle calls at a time.")]
BuildExecutorOption = Annotated[
    str | None,
    typer.Option(
        "--executor",
        metavar="NAME",
        autocompletion=complete("executor"),
        help="Where oracle calls run. Parameters follow a colon. [default: local]",
    ),
]
BuildDryRunOption = Annotated[bool, typer.Option("--dry-run", help="Print what there is to do and what it costs.")]


def register(app: typer.Typer) -> None:
    """Add the group ``datasets``."""
    group = typer.Typer(no_args_is_help=True, help="The datasets that are installed.")
    group.command("list", help="List the datasets that are installed.")(lister("dataset"))
    group.command("check")(check)
    group.command("build")(build)
    group.command("fetch", help=f"{fetch.__doc__}".replace("STORE", DATA_VARIABLE))(fetch)
    app.add_typer(group, name="datasets")


def _open(name: str) -> Any:
    return registry().component(DatasetSpec, name).create()


def check(name: NameArgument, recompute: RecomputeOption = None, json: JsonOption = False) -> None:
    """Check a dataset against what it says of itself; exit 1 when something is wrong.

    Checked are ids, duplicates (also moved, turned or in another order), bonds, levels of theory, units and signs of
    labels, outliers, minima, and molecules and scaffolds that are in both parts. Facts are printed as well.
    """
    from golfbench.benchmark.inspection import Inspection, inspect
    from golfbench.contracts import DatasetChecks

    reader = _open(name)
    own: list[str] = reader.check() if isinstance(reader, DatasetChecks) else []
    try:
        dataset = reader.read()
    except GolfbenchError as error:
        found, facts = Inspection(problems=[] if own else [str(error)]), {}
    else:
        found, facts = inspect(dataset, recompute), _facts(dataset)
    problems = list(dict.fromkeys([*own, *found.problems]))
    if json:
        every = {**facts, **found.facts, "notes": found.notes, "problems": problems}
        console.print_json({"schema_version": SCHEMA_VERSION, "dataset": name, **every})
    elif facts:
        _show_facts(facts, found.facts)
    for note in found.notes if not json else ():
        console.note(note)
    for problem in problems:
        console.fail(problem)
    if problems:
        raise typer.Exit(1)


def _facts(dataset: Dataset) -> dict[str, str | int]:
    return {
        "name": dataset.name,
        "method": dataset.method,
        "initial": len(dataset.initial),
        "test": len(dataset.test),
        "content_hash": dataset.content_hash,
    }


def _show_facts(facts: dict[str, str | int], found: dict[str, Any]) -> None:
    console.print_table(tuple(facts), [tuple(facts.values())])
    columns = ("element", "initial atoms", "initial conformations", "test atoms", "test conformations")
    console.print_table(columns, [(symbol, *counts.values()) for symbol, counts in found["elements"].items()])
    rows = [(key.replace("_", " "), value) for key, value in _flat(found) if not key.startswith("elements")]
    console.print_table(("fact", "value"), rows)


def _flat(facts: dict[str, Any], above: str = "") -> Iterator[tuple[str, Any]]:
    """Yield facts under dotted names, parents first; unknown ones are left out."""
    for key, value in facts.items():
        if isinstance(value, dict):
            yield from _flat(value, f"{above}{key}: ")
        elif value is not None:
            yield f"{above}{key}", f"{value:.3g}" if isinstance(value, float) else value


def build(
    inputs: BuildArgument,
    output: BuildOutputOption,
    oracle: BuildOracleOption = None,
    test: TestOption = None,
    test_share: ShareOption = None,
    conformers: BuildConformersOption = None,
    first_walk: FirstOption = None,
    seed: BuildSeedOption = None,
    workers: BuildWorkersOption = None,
    executor: BuildExecutorOption = None,
    dry_run: BuildDryRunOption = False,
) -> None:
    """Build a dataset from molecules of your own, or build a shipped one again.

    Each training molecule gets conformers (ETKDGv3; the centroids of the largest clusters by RMSD) that the oracle
    labels; each test molecule one, from which the oracle walks to a minimum. No scaffold is in both parts. The number
    of oracle calls is printed before the first one. `golfbench run --dataset folder:path=FOLDER` takes it.

    Interrupted anywhere, the same command goes on. Exit codes: 0 all is in it, 1 some molecules are left out, 4 it is
    there already.
    """
    given = {
        "oracle": oracle,
        "test": tuple(test or ()) or None,
        "test_share": test_share,
        "conformers": conformers,
        "first_walk": first_walk,
        "seed": seed,
        "workers": workers,
        "executor": executor,
        "dry_run": dry_run or None,
    }
    chosen = {key: value for key, value in given.items() if value is not None}
    if registry().has("dataset", inputs[0]):
        _build_anew(inputs, output, list(chosen))
    else:
        _build_own(inputs, output, chosen)


def _build_anew(names: list[str], output: Path, options: list[str]) -> None:
    from golfbench.contracts import DatasetBuilds

    name = names[0]
    if len(names) > 1 or options:
        what = f"--{options[0].replace('_', '-')}" if options else names[1]
        raise ConfigurationError(f"dataset '{name}' is built by its own recipe, which has no place for {what}")
    reader = _open(name)
    if not isinstance(reader, DatasetBuilds):
        raise ConfigurationError(f"dataset '{name}' cannot be built: it can only be read")
    session.resumes = True
    reader.build(output)
    console.saved(f"{name} is built in {output}")


def fetch(name: NameArgument, split: SplitOption = None, mirror: MirrorOption = None, file: FileOption = None) -> None:
    """Bring the files of a dataset to this machine; the same command goes on after an interruption.

    A file is checked by its size and SHA-256 (those of the first that could be read, where no others are known), and
    takes its place only then. It lies in the folder STORE, by default one of the user's data.
    """
    component = registry().component(DatasetSpec, name)
    wanted = _wanted(component.spec, component.parameters, split or [])
    if file is not None and mirror is not None:
        raise ConfigurationError("--file and --mirror exclude each other")
    one = (file is not None and not file.is_dir()) or (mirror is not None and not mirror.endswith("/"))
    if one and len(wanted) > 1:
        splits = ", ".join(each.split for each in wanted)
        raise ConfigurationError(f"one file for {len(wanted)} parts ({splits}): choose one by --split")
    from golfbench.data_files import Wish, fetch

    session.resumes = True
    for each in wanted:
        with console.Progress() as progress:

            def report(done: int, total: int, show: console.Progress = progress, what: str = each.name) -> None:
                if total:
                    show(f"{what}, kB", done // 1000, total // 1000)

            path = fetch(component.spec, each, Wish(file, mirror or "", console.note, report))
        console.note(f"{component.spec.name}, {each.split} is in {path}")


def _wanted(spec: DatasetSpec, parameters: Mapping[str, Any], splits: list[str]) -> list[DataFile]:
    """Return the files that the user wants: some by their split, else those that are read with the parameters."""
    if not spec.files:
        raise NothingToDoError(f"dataset '{spec.name}' has no files to fetch")
    known = {file.split: file for file in spec.files}
    if unknown := [split for split in splits if split not in known]:
        raise ConfigurationError(f"dataset '{spec.name}': {unknown_name('split', unknown[0], known)}")
    return [known[split] for split in dict.fromkeys(splits)] or spec.wanted(parameters)


def _build_own(inputs: list[str], output: Path, chosen: dict[str, Any]) -> None:
    from golfbench.contracts import BuildOrder
    from golfbench.specs import load_factory

    names = [spec.name for spec in registry().specs("dataset")]
    if not Path(inputs[0]).exists() and get_close_matches(inputs[0], names, n=1, cutoff=0.7):
        raise ConfigurationError(unknown_name("dataset", inputs[0], names))
    spec = registry().find(DatasetSpec, "folder")
    order = BuildOrder(tuple(inputs), output, **{"oracle": str(DEFAULTS["oracle"]), **chosen})
    session.resumes = not order.dry_run
    left_out = load_factory(spec.builder, spec.name)(order, console.note)
    if not order.dry_run:
        console.saved(f"{output} is built")
    raise typer.Exit(1 if left_out else 0)
