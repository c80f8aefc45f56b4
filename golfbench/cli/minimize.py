"""``golfbench minimize``: a user's own molecules."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from golfbench.cli import console
from golfbench.cli.options import DEFAULTS, DeviceOption, FormatOption, JsonOption, UnsafeOption, complete
from golfbench.cli.streams import session

if TYPE_CHECKING:
    from collections.abc import Sequence

    from golfbench.molecule_files.driver import Driver
    from golfbench.molecule_files.entries import Entry, Unusable
    from golfbench.molecule_files.minimizing import OwnRow

SCHEMA_VERSION = 1
#: What walks when nothing is given: the oracle of a laptop.
DEFAULT_MODEL = str(DEFAULTS["oracle"])
COLUMNS = ("id", "atoms", "status", "steps", "energy change (kcal/mol)", "max force (eV/Å)", "model calls")
#: Where end points were tested.
MINIMUM = "minimum"


def _complete_model(incomplete: str) -> list[tuple[str, str]]:
    return [*complete("model")(incomplete), *complete("oracle")(incomplete)]


InputsArgument = Annotated[
    list[str],
    typer.Argument(
        metavar="INPUT", help="Files (.sdf, .mol, .xyz, .extxyz, .smi, .csv; also .gz), or SMILES.", show_default=False
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
        help="Minimized molecules, as .sdf or .extxyz. What is done is in NAME.partial.sdf until all are.",
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
OverwriteOption = Annotated[bool, typer.Option("--overwrite", help="Replace the output file if it exists.")]


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
    conformers: ConformersOption = 1,
    seed: SeedOption = 0,
    charge: ChargeOption = None,
    multiplicity: MultiplicityOption = None,
    check_minima: CheckOption = False,
    output: OutputOption = None,
    overwrite: OverwriteOption = False,
    json: JsonOption = False,
) -> None:
    """Minimize molecules of your own.

    Energies are those of the model itself: no oracle judges the end points. The output has the atom order, the bonds,
    the titles and the data fields of an SDF that was read. Molecules from XYZ have no bonds: they are written as
    .extxyz, a change of their bonds is not noticed, and force fields do not take them.

    A walk from a symmetric start keeps its symmetry and can end at a saddle, which a note says. With --check-minima it
    goes on from there: it is pushed along the softest direction, three times at most.

    A molecule that cannot be read, that the model does not take or that fails stops no other. Exit codes: 0 all
    converged, 1 some did not, 2 none was usable, 3 a component is missing.
    """
    from golfbench.molecule_files.driver import open_driver
    from golfbench.molecule_files.entries import Notes, Reading
    from golfbench.molecule_files.minimizing import exit_code, minimize_own, open_optimizer, stopping_rule
    from golfbench.molecule_files.output import open_output
    from golfbench.molecule_files.reading import read_molecules
    from golfbench.molecule_files.writing import check_bonds
    from golfbench.runs.baseline import Permission
    from golfbench.runs.grid import check_device

    rule, stepper = stopping_rule(force_max, max_steps), open_optimizer(optimizer)
    check_device(device or "cpu")
    permission = Permission(unsafe, console.note)
    reading = Reading(conformers, seed, charge, multiplicity)
    with (
        open_output(output, overwrite) as kept,
        open_driver(model, checkpoint, DEFAULT_MODEL, checkpoint_format, permission, device or "cpu") as driver,
    ):
        entries = read_molecules(inputs, reading)
        for line in reading.notes.lines():
            console.warn(line)
        if kept is not None:
            check_bonds(kept.path, entries)
            if len(entries) > 1:
                console.note(f"what is done is in {kept.partial} until all are")
        _warn_of_charges(driver, entries)
        with console.Progress() as progress:
            rows = minimize_own(
                entries,
                driver,
                stepper,
                rule,
                lambda done, total: progress("minimizing", done, total),
                kept.add if kept is not None else None,
                check_minima,
                notes := Notes(),
            )
    if kept:
        session.saved = True
    _show(rows, driver, optimizer, json, check_minima, notes.lines())
    if kept:
        console.note(f"{len(kept)} of {len(rows)} molecules written to {kept.path}")
    raise typer.Exit(exit_code(rows))


def _warn_of_charges(driver: Driver, entries: Sequence[Entry | Unusable]) -> None:
    molecules = [molecule for entry in entries if (molecule := getattr(entry, "molecule", None)) is not None]
    count = sum(molecule.charge != 0 or molecule.multiplicity != 1 for molecule in molecules)
    if count and not driver.sees_charge:
        console.warn(f"{driver.name} does not see charges and unpaired electrons, which {count} molecules have")


def _show(
    rows: Sequence[OwnRow], driver: Driver, optimizer: str, json: bool, check_minima: bool, notes: Sequence[str]
) -> None:
    """Print the rows on stdout; why some failed, and how many, on stderr."""
    from golfbench.molecule_files.minimizing import failures, summary

    if json:
        head = {"schema_version": SCHEMA_VERSION, "model": driver.name, "method": driver.method, "optimizer": optimizer}
        console.print_json({**head, "rows": [row.model_dump(mode="json") for row in rows]})
    else:
        columns = (*COLUMNS, MINIMUM) if check_minima else COLUMNS
        console.print_table(columns, [_cells(row)[: len(columns)] for row in rows], title=f"{driver.name}, {optimizer}")
    for line in failures(rows):
        console.fail(line)
    for line in notes:
        console.note(line)
    console.note(summary(rows))


def _cells(row: OwnRow) -> tuple[Any, ...]:
    change, force = row.energy_change_kcal_mol, row.force_max_final_ev_per_angstrom
    return (
        row.id,
        "" if row.n_atoms is None else row.n_atoms,
        row.status.value,
        row.n_steps,
        "" if change is None else f"{change:.3f}",
        "" if force is None else f"{force:.4f}",
        row.model_calls,
        "" if row.is_minimum is None else "yes" if row.is_minimum else "no",
    )
