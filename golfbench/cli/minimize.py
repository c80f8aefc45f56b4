"""``golfbench minimize``: a user's own molecules."""

from __future__ import annotations

from collections import Counter
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
    from collections.abc import Callable, Iterator

    from golfbench.molecule_files.driver import Driver
    from golfbench.molecule_files.input_molecules import Notes
    from golfbench.molecule_files.library import Job
    from golfbench.molecule_files.oracle_walks import OnLabel, Verification
    from golfbench.molecule_files.output import Output
    from golfbench.molecule_files.ranking import Ranking
    from golfbench.molecule_files.reading import Inputs
    from golfbench.molecule_files.rows import OwnRow, Tally

SCHEMA_VERSION = 1
#: The default model: an oracle for a laptop.
DEFAULT_MODEL = str(DEFAULTS["oracle"])
COLUMNS = ("id", "atoms", "status", "steps", "energy change (kcal/mol)", "max force (eV/Å)", "model calls")
#: Where end points were tested, and where there are conformers to compare.
MINIMUM, RELATIVE, LEFT_OUT = "minimum", "above lowest (kcal/mol)", "left out"
#: Columns that a narrow terminal leaves out, the first one first.
SPARE = ("atoms", "model calls", "max force (eV/Å)", "steps")
#: Where an oracle was asked.
OF_ORACLE = ("oracle energy (Hartree)", "oracle energy change (kcal/mol)", "oracle max force (eV/Å)", "labels")


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
    int | None,
    typer.Option(
        "--workers",
        min=1,
        help="Processes that share the molecules, each with a model of its own, and then oracle calls at a time. "
        "[default: 1 process, 2 calls]",
    ),
]
VerifierOption = Annotated[
    str | None,
    typer.Option(
        "--oracle",
        metavar="NAME",
        autocompletion=complete("oracle"),
        help="Engine that judges where the walks on the model end: energy, largest force, verified or not.",
    ),
]
BudgetOption = Annotated[
    int | None,
    typer.Option(
        "--oracle-budget",
        metavar="N",
        min=1,
        help="Labels of the oracle, for all molecules together: its own forces finish the walks.",
    ),
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
LearnOption = Annotated[
    bool,
    typer.Option("--learn", help="The model learns from every label, so that later molecules need fewer of them."),
]
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
    oracle: VerifierOption = None,
    oracle_budget: BudgetOption = None,
    learn: LearnOption = False,
    sort: SortOption = False,
    window: WindowOption = None,
    deduplicate: DeduplicateOption = False,
    workers: WorkersOption = None,
    output: OutputOption = None,
    overwrite: OverwriteOption = False,
    wide: AllColumnsOption = False,
    json: JsonOption = False,
) -> None:
    """Minimize molecules of your own, one or a library of millions: memory does not grow with their number.

    Energies are those of the model. With --oracle, an engine judges each end point, and with --oracle-budget its own
    forces finish the walks, from the model's second derivatives: a molecule is verified when none of the oracle's
    forces is above --force-max. Its calls are in OUTPUT.oracle; its energies rank.

    The output has the atom order, the bonds, the titles and the data fields of what was read. Molecules from XYZ have
    no bonds: they are written as .extxyz, a change of their bonds is not noticed, and force fields do not take them.
    The bonds of a PDB file are worked out if its hydrogens are there.

    A walk from a symmetric start keeps its symmetry and can end at a saddle, which a note says. With --check-minima it
    goes on from there: it is pushed along the softest direction, three times at most.

    Energies above the lowest conformer of the same molecule (same bonds and charge) are in the output and in --json.
    Molecules with the same name get a golfbench_id of their own. With --output, the same command goes on after an
    interruption, also with other --workers.

    A molecule that cannot be read, that the model does not take or that fails stops no other. Exit codes: 0 all
    converged (with a budget: are verified), 1 some did not, 2 none was usable, 3 a component is missing.
    """
    from golfbench.molecule_files.constraints import Constraints
    from golfbench.molecule_files.driver import open_driver
    from golfbench.molecule_files.input_molecules import Notes, Reading
    from golfbench.molecule_files.library import Job
    from golfbench.molecule_files.minimizing import open_optimizer, stopping_rule
    from golfbench.molecule_files.oracle_walks import make_room, oracle_folder
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
    verification = _verification(oracle, oracle_budget, learn)
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
        verification,
    )
    permission = Permission(unsafe, console.note)
    with open_driver(model, checkpoint, DEFAULT_MODEL, checkpoint_format, permission, job.device) as driver:
        given = Inputs(inputs, reading, input_format)
        with open_output(output, overwrite, job.command(given, driver)) as kept:
            if verification is not None and output is not None and kept.fresh:
                make_room(oracle_folder(output), overwrite)
            interrupted = _work(given, job, driver, kept, notes := Notes(), workers)
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


def _verification(oracle: str | None, budget: int | None, learn: bool) -> Verification | None:
    """Return what the oracle is to do, after checking that it is installed."""
    from golfbench.errors import ConfigurationError
    from golfbench.molecule_files.oracle_walks import Verification

    if oracle is None:
        if budget is not None or learn:
            option = "--learn" if budget is None else "--oracle-budget"
            raise ConfigurationError(f"{option} needs an oracle: give --oracle NAME, too")
        return None
    verification = Verification(oracle, budget, learn)
    verification.check()
    return verification


def _work(inputs: Inputs, job: Job, driver: Driver, output: Output, ends: Notes, workers: int | None) -> bool:
    """Do all that is asked of all molecules and keep it; return whether that was interrupted."""
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

    try:
        with console.Progress() as progress:
            if job.verification is None or not job.verification.learn:
                _walk(inputs, job, driver, output, ends, workers or 1, tell, progress)
                _verify(inputs, job, driver, output, workers, progress)
            else:
                _learn(inputs, job, driver, output, ends, workers, tell, progress)
    except KeyboardInterrupt:
        return True
    for source, count in output.shared_names():
        job.reading.notes.add(SHARED_NAME, source, count)
    tell(0)
    return False


def _walk(
    inputs: Inputs,
    job: Job,
    driver: Driver,
    output: Output,
    ends: Notes,
    workers: int,
    tell: Callable[[int], None],
    progress: console.Progress,
) -> None:
    """Walk all molecules on the model."""
    from golfbench.molecule_files.library import minimize_library

    done = output.resumed
    for kept in minimize_library(inputs, job, driver, output, ends, workers, tell):
        done += kept.row.status != "interrupted"
        progress("minimizing", done, *_expected(inputs, job, done))


def _verify(
    inputs: Inputs, job: Job, driver: Driver, output: Output, workers: int | None, progress: console.Progress
) -> None:
    """Have the oracle judge or finish what has walked."""
    from golfbench.molecule_files.verifying import verify_library

    if job.verification is not None:
        on_label = _label_teller(job.verification, job.verification.budget or output.count_walked(), progress)
        for _ in verify_library(inputs, job, driver, output, workers, on_label):
            pass


def _learn(
    inputs: Inputs,
    job: Job,
    driver: Driver,
    output: Output,
    ends: Notes,
    workers: int | None,
    tell: Callable[[int], None],
    progress: console.Progress,
) -> None:
    """Walk on a model that learns meanwhile, and on the oracle."""
    from golfbench.molecule_files.teaching import learn_library

    assert job.verification is not None
    on_label = _label_teller(job.verification, job.verification.budget or 0, progress)
    for _ in learn_library(inputs, job, driver, output, ends, workers, tell, on_label):
        pass


def _label_teller(verification: Verification, total: int, progress: console.Progress) -> OnLabel:
    """Return what shows each label: of a slow oracle with the molecule and the force."""
    slow, counts = verification.component().spec.slow, Counter[str]()

    def tell(id: str, labels: int, force: float) -> None:
        counts["labels"] += 1
        progress("oracle labels", counts["labels"], total)
        if slow:
            note_label(id, labels, force)

    return tell


def note_label(id: str, labels: int, force: float) -> None:
    """Tell of one label of a slow oracle; see ``OnLabel``."""
    console.note(f"{id}: label {labels}, largest force {force:.3f} eV/Å")


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
        if job.verification is not None:
            names |= {"oracle": job.verification.oracle, "oracle_method": job.verification.method}
        rows = (row.model_dump(mode="json") for row in counted())
        console.print_json_rows({"schema_version": SCHEMA_VERSION, **names}, rows)
    else:
        shown: dict[str, object] = dict.fromkeys(OF_ORACLE, job.verification)
        shown |= {MINIMUM: job.check_minima, RELATIVE: ranking or job.reading.conformers > 1, LEFT_OUT: ranking}
        columns = (*COLUMNS, *(column for column, wanted in shown.items() if wanted))
        cells = ([_cells(row)[column] for column in columns] for row in counted())
        judge = "" if job.verification is None else f", then {job.verification.oracle}"
        console.print_table(columns, cells, f"{driver.name}, {job.optimizer}{judge}", SPARE, wide)
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
        _number(change, 3),
        _number(force, 4),
        str(row.model_calls),
        _number(row.oracle_energy_hartree, 6),
        _number(row.oracle_energy_change_kcal_mol, 3),
        _number(row.oracle_force_max_ev_per_angstrom, 4),
        _number(row.oracle_labels, 0),
        "" if row.is_minimum is None else "yes" if row.is_minimum else "no",
        _number(relative, 3),
        row.left_out or "",
    )
    return dict(zip((*COLUMNS, *OF_ORACLE, MINIMUM, RELATIVE, LEFT_OUT), cells, strict=True))


def _number(number: float | None, digits: int) -> str:
    return "" if number is None else f"{number:.{digits}f}"
