"""``golfbench minimize``: a user's own molecules."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from golfbench.cli import console
from golfbench.cli.options import (
    DEFAULTS,
    AllColumnsOption,
    DeviceOption,
    FormatOption,
    JsonOption,
    UnsafeOption,
    complete,
)
from golfbench.cli.streams import session

if TYPE_CHECKING:
    from collections.abc import Iterator

    from golfbench.molecule_files.driver import Driver
    from golfbench.molecule_files.entries import Notes
    from golfbench.molecule_files.library import Job
    from golfbench.molecule_files.output import Output
    from golfbench.molecule_files.ranking import Ranking
    from golfbench.molecule_files.reading import Inputs
    from golfbench.molecule_files.rows import OwnRow, Tally

SCHEMA_VERSION = 1
#: What walks when nothing is given: the oracle of a laptop.
DEFAULT_MODEL = str(DEFAULTS["oracle"])
COLUMNS = ("id", "atoms", "status", "steps", "energy change (kcal/mol)", "max force (eV/Å)", "model calls")
#: Where end points were tested, and where there are conformers to compare.
MINIMUM, RELATIVE, LEFT_OUT = "minimum", "above lowest (kcal/mol)", "left out"
#: What a narrow terminal is shown without, the first one first.
SPARE = ("atoms", "model calls", "max force (eV/Å)", "steps")


def _complete_model(incomplete: str) -> list[tuple[str, str]]:
    return [*complete("model")(incomplete), *complete("oracle")(incomplete)]


InputsArgument = Annotated[
    list[str],
    typer.Argument(
        metavar="INPUT",
        help="Files (.sdf, .mol, .mol2, .pdb, .xyz, .extxyz, .smi, .csv; also .gz), SMILES, or - for stdin.",
        show_default=False,
    ),
]
DriverOption = Annotated[
    str | None,
    typer.Option(
        "--model",
        "-m",
        metavar="NAME",
        autocompletion=_complete_model,
        help=f"Gives energies and forces: an oracle or a fixed model. Parameters follow a colon: NAME:KEY=VALUE,... "
        f"[default: {DEFAULT_MODEL}]",
    ),
]
CheckpointOption = Annotated[
    Path | None, typer.Option("--checkpoint", metavar="FILE", help="A trained model instead; the file says which.")
]
OptimizerOption = Annotated[
    str, typer.Option("--optimizer", metavar="NAME", autocompletion=complete("optimizer"), help="Geometry optimizer.")
]
ForceOption = Annotated[float, typer.Option("--force-max", help="Converged when no atom's force is above this, eV/Å.")]
StepsOption = Annotated[int, typer.Option("--max-steps", min=0, help="Optimizer steps allowed.")]
ConformersOption = Annotated[
    int, typer.Option("--conformers", "-n", min=1, help="Conformers made of each SMILES, by ETKDGv3.")
]
SeedOption = Annotated[int, typer.Option("--seed", min=0, help="Seed of the conformers.")]
ChargeOption = Annotated[
    int | None, typer.Option("--charge", help="Total charge of XYZ frames that do not say it; bonds say it themselves.")
]
MultiplicityOption = Annotated[
    int | None,
    typer.Option("--multiplicity", min=1, help="2S+1 of XYZ frames that do not say it, and of SDF and SMILES."),
]
OutputOption = Annotated[
    Path | None,
    typer.Option(
        "--output",
        "-o",
        metavar="FILE",
        help="Minimized molecules, as .sdf or .extxyz. What is done is in NAME.partial.sdf until all are; the same "
        "command goes on from there.",
    ),
]
CheckOption = Annotated[
    bool,
    typer.Option(
        "--check-minima",
        help="Test that each end point is a minimum, and walk on from saddles. Costs six model calls for each atom, "
        "above 100 atoms up to 500 in all.",
    ),
]
OverwriteOption = Annotated[
    bool, typer.Option("--overwrite", help="Replace the output file and what an earlier command left.")
]
InputFormatOption = Annotated[
    str | None,
    typer.Option(
        "--input-format",
        metavar="KIND",
        help="What the standard input is: sdf, mol2, pdb, xyz, smi. Left out, what it looks like.",
    ),
]
WorkersOption = Annotated[
    int, typer.Option("--workers", min=1, help="Processes that share the molecules; each opens the model.")
]
FixOption = Annotated[
    str | None,
    typer.Option(
        "--fix-atoms",
        metavar="LIST",
        help="Atoms that do not move, as in 1-4,7: counted from 1, in the order of the file, as an SDF does. Hydrogens "
        "of a SMILES come behind its atoms.",
    ),
]
HeavyOption = Annotated[bool, typer.Option("--fix-heavy", help="Move hydrogens only.")]
TorsionOption = Annotated[
    list[str] | None,
    typer.Option(
        "--freeze-torsion",
        metavar="I,J,K,L",
        help="Four atoms whose torsion stays as it is. Repeatable.",
    ),
]
RestrainOption = Annotated[
    list[str] | None,
    typer.Option(
        "--restrain",
        metavar="LIST[:K]",
        help="Atoms (or the word heavy) that springs hold to their start, with the force constant K in eV/Å², 1 if not "
        "given. Repeatable. Energies are without the springs.",
    ),
]
SortOption = Annotated[bool, typer.Option("--sort", help="Conformers of one molecule together, the lowest first.")]
WindowOption = Annotated[
    float | None,
    typer.Option(
        "--window", metavar="E", help="Leave out conformers above the lowest of a molecule by more, kcal/mol."
    ),
]
DeduplicateOption = Annotated[
    bool,
    typer.Option(
        "--deduplicate",
        help="Keep only the lowest of conformers within 0.1 kcal/mol and 0.125 Å (heavy atoms, with symmetry).",
    ),
]


def register(app: typer.Typer) -> None:
    """Add the verb ``minimize``."""
    app.command()(minimize)


def minimize(
    inputs: InputsArgument,
    model: DriverOption = None,
    checkpoint: CheckpointOption = None,
    checkpoint_format: FormatOption = None,
    unsafe: UnsafeOption = False,
    device: DeviceOption = None,
    optimizer: OptimizerOption = str(DEFAULTS["optimizer"]),
    force_max: ForceOption = 0.02,
    max_steps: StepsOption = 500,
    input_format: InputFormatOption = None,
    conformers: ConformersOption = 1,
    seed: SeedOption = 0,
    charge: ChargeOption = None,
    multiplicity: MultiplicityOption = None,
    fix_atoms: FixOption = None,
    fix_heavy: HeavyOption = False,
    freeze_torsion: TorsionOption = None,
    restrain: RestrainOption = None,
    check_minima: CheckOption = False,
    sort: SortOption = False,
    window: WindowOption = None,
    deduplicate: DeduplicateOption = False,
    workers: WorkersOption = 1,
    output: OutputOption = None,
    overwrite: OverwriteOption = False,
    wide: AllColumnsOption = False,
    json: JsonOption = False,
) -> None:
    """Minimize molecules of your own, one or a library of millions: memory does not grow with their number.

    Energies are those of the model itself: no oracle judges the end points. The output has the atom order, the bonds,
    the titles and the data fields of what was read. Molecules from XYZ have no bonds: they are written as .extxyz, a
    change of their bonds is not noticed, and force fields do not take them. The bonds of a PDB file are worked
    out if its hydrogens are there.

    A walk from a symmetric start keeps its symmetry and can end at a saddle, which a note says. With --check-minima it
    goes on from there: it is pushed along the softest direction, three times at most.

    Energies above the lowest conformer of the same molecule (same bonds and charge) are in the output and in --json.
    Molecules with the same name get a golfbench_id of their own. With --output, the same command goes on after an
    interruption, also with other --workers.

    A molecule that cannot be read, that the model does not take or that fails stops no other. Exit codes: 0 all
    converged, 1 some did not, 2 none was usable, 3 a component is missing.
    """
    from golfbench.molecule_files.constraints import Constraints
    from golfbench.molecule_files.driver import open_driver
    from golfbench.molecule_files.entries import Notes, Reading
    from golfbench.molecule_files.library import Job
    from golfbench.molecule_files.minimizing import open_optimizer, stopping_rule
    from golfbench.molecule_files.output import check_place, open_output
    from golfbench.molecule_files.ranking import Ranking, rank
    from golfbench.molecule_files.reading import Inputs
    from golfbench.runs.baseline import Permission
    from golfbench.runs.grid import check_device

    ranking = Ranking(sort, window, deduplicate)
    constraints = Constraints.parse(fix_atoms, fix_heavy, freeze_torsion, restrain)
    rule = stopping_rule(force_max, max_steps)
    open_optimizer(optimizer)
    check_device(device or "cpu")
    if output is not None:
        check_place(output, overwrite)
    job = Job(
        model,
        checkpoint,
        DEFAULT_MODEL,
        optimizer,
        rule,
        checkpoint_format,
        unsafe,
        device or "cpu",
        check_minima,
        constraints,
        reading := Reading(conformers, seed, charge, multiplicity),
        None if output is None else output.suffix,
    )
    permission = Permission(unsafe, console.note)
    with open_driver(model, checkpoint, DEFAULT_MODEL, checkpoint_format, permission, job.device) as driver:
        given = Inputs(inputs, reading, input_format)
        with open_output(output, overwrite, job.command(given, driver)) as kept:
            interrupted = _walk(given, job, driver, kept, notes := Notes(), workers)
            if not interrupted:
                rank(kept, ranking)
                kept.finish(sort)
            session.saved = output is not None and len(kept) > 0
            tally = _show(kept, driver, job, json, wide, ranking, notes)
            count = len(kept)
    if interrupted:
        where = f"; {count} molecules are in {kept.partial}, and the same command goes on" if count else ""
        console.note(f"interrupted{where}")
    elif output is not None:
        console.note(f"{count} of {len(tally)} molecules written to {output}")
    raise typer.Exit(130 if interrupted else tally.exit_code())


def _walk(inputs: Inputs, job: Job, driver: Driver, output: Output, ends: Notes, workers: int) -> bool:
    """Walk all molecules and keep them; return whether that was interrupted."""
    from golfbench.molecule_files.library import minimize_library
    from golfbench.molecule_files.reading import SHARED_NAME

    if output.resumed:
        console.note(f"{output.resumed} molecules are done already; going on")
    told: set[str] = set()

    def tell(count: int) -> None:
        for line in job.reading.notes.lines():
            if line not in told:
                told.add(line)
                console.warn(line)
        if output.path is not None and count > 1 and output.partial.name not in told:
            told.add(output.partial.name)
            console.note(f"what is done is in {output.partial} until all are")

    done = output.resumed
    try:
        with console.Progress() as progress:
            for kept in minimize_library(inputs, job, driver, output, ends, workers, tell):
                done += kept.row.status != "interrupted"
                progress("minimizing", done, *_expected(inputs, job, done))
    except KeyboardInterrupt:
        return True
    for source, count in output.shared_names():
        job.reading.notes.add(SHARED_NAME, source, count)
    tell(0)
    return False


def _expected(inputs: Inputs, job: Job, done: int) -> tuple[int, bool]:
    """Return how many molecules there are, and whether that is an estimate from how much of the files was read."""
    share, known = inputs.share(), inputs.read * job.reading.conformers
    return max(done, round(known / share) if share > 0 else known), share < 1


def _show(output: Output, driver: Driver, job: Job, json: bool, wide: bool, ranking: Ranking, notes: Notes) -> Tally:
    """Print the rows on stdout; why some failed, and how many, on stderr."""
    from golfbench.molecule_files.rows import Tally

    tally = Tally()

    def counted() -> Iterator[OwnRow]:
        for row in output.rows(ranking.sort):
            tally.add(row)
            yield row

    if json:
        names = {"model": driver.name, "method": driver.method, "optimizer": job.optimizer}
        rows = (row.model_dump(mode="json") for row in counted())
        console.print_json_rows({"schema_version": SCHEMA_VERSION, **names}, rows)
    else:
        shown = {MINIMUM: job.check_minima, RELATIVE: ranking or job.reading.conformers > 1, LEFT_OUT: ranking}
        columns = (*COLUMNS, *(column for column, wanted in shown.items() if wanted))
        cells = ([_cells(row)[column] for column in columns] for row in counted())
        console.print_table(columns, cells, f"{driver.name}, {job.optimizer}", SPARE, wide)
    if tally.charged and not driver.sees_charge:
        count = tally.charged
        console.warn(f"{driver.name} does not see charges and unpaired electrons, which {count} molecules have")
    for line in tally.failures():
        console.fail(line)
    for line in notes.lines():
        console.note(line)
    console.note(tally.summary())
    return tally


def _cells(row: OwnRow) -> dict[str, str]:
    change, force = row.energy_change_kcal_mol, row.force_max_final_ev_per_angstrom
    relative = row.energy_relative_kcal_mol
    cells = (
        row.unique_id,
        "" if row.n_atoms is None else str(row.n_atoms),
        row.status.value,
        str(row.n_steps),
        "" if change is None else f"{change:.3f}",
        "" if force is None else f"{force:.4f}",
        str(row.model_calls),
        "" if row.is_minimum is None else "yes" if row.is_minimum else "no",
        "" if relative is None else f"{relative:.3f}",
        row.left_out or "",
    )
    return dict(zip((*COLUMNS, MINIMUM, RELATIVE, LEFT_OUT), cells, strict=True))
