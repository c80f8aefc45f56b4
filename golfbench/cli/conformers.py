"""``golfbench conformers``: the low conformers of a user's own molecules, with their energies and weights."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from golfbench.cli import console
from golfbench.cli.minimize import (
    ForceOption,
    InputFormatOption,
    InputsArgument,
    OverwriteOption,
    SeedOption,
    StepsOption,
    _complete_model,
    note_label,
)
from golfbench.cli.options import AllColumnsOption, DeviceOption, JsonOption, complete
from golfbench.cli.streams import session

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from golfbench.molecule_files.conformers import Ensemble, Search
    from golfbench.molecule_files.driver import Driver
    from golfbench.molecule_files.oracle_walks import OnLabel, Verification
    from golfbench.molecule_files.output import Output
    from golfbench.molecule_files.reading import Inputs
    from golfbench.molecule_files.rows import OwnRow, Tally

SCHEMA_VERSION = 1
COLUMNS = (
    *("id", "atoms", "status", "above lowest (kcal/mol)", "weight (%)", "steps", "max force (eV/Å)", "model calls"),
)
#: Columns that a narrow terminal leaves out, the first one first.
SPARE = ("atoms", "model calls", "steps", "max force (eV/Å)")
#: Where an oracle was asked.
OF_ORACLE = ("oracle max force (eV/Å)", "labels")
#: Ensembles with a line each; later ones have none.
MOST_TOLD = 10


CountOption = Annotated[
    int, typer.Option("--conformers", "-n", min=1, help="Conformers embedded of each stereoisomer, by ETKDGv3.")
]
ModelOption = Annotated[
    str | None,
    typer.Option(
        "--model",
        "-m",
        metavar="NAME",
        autocompletion=_complete_model,
        help="Ranks: an oracle or a model with weights. Parameters follow a colon: NAME:KEY=VALUE,... "
        "[default: aimnet2]",
    ),
]
CheckpointOption = Annotated[
    Path | None, typer.Option("--checkpoint", metavar="FILE", help="A trained model instead; the file says which.")
]
FirstOption = Annotated[
    str,
    typer.Option(
        "--first-walk",
        metavar="NAME",
        autocompletion=_complete_model,
        help="The fast model whose minima are walked on from, each once; none for no such walk.",
    ),
]
WindowOption = Annotated[
    float, typer.Option("--window", metavar="E", help="Leave out conformers higher above the lowest, kcal/mol.")
]
IsomersOption = Annotated[
    bool, typer.Option("--every-isomer", help="Make all stereoisomers that a SMILES leaves open, not one of them.")
]
TemperatureOption = Annotated[float, typer.Option("--temperature", metavar="T", help="Of the weights, K.")]
VerifierOption = Annotated[
    str | None,
    typer.Option(
        "--oracle",
        metavar="NAME",
        autocompletion=complete("oracle"),
        help="Engine whose own forces take the lowest conformers to its minima; its energies rank them.",
    ),
]
VerifyOption = Annotated[
    int,
    typer.Option(
        "--verify",
        metavar="K",
        min=1,
        help="Conformers of each molecule that the oracle takes on; the others are left out.",
    ),
]
OutputOption = Annotated[
    Path | None,
    typer.Option("--output", "-o", metavar="FILE", help="Conformers, as .sdf or .extxyz; the same command resumes."),
]


def register(app: typer.Typer) -> None:
    """Add the verb ``conformers``."""
    app.command()(conformers)


def conformers(
    inputs: InputsArgument,
    count: CountOption = 20,
    window: WindowOption = 6.0,
    model: ModelOption = None,
    checkpoint: CheckpointOption = None,
    first_walk: FirstOption = "mmff94",
    oracle: VerifierOption = None,
    verify: VerifyOption = 3,
    every_isomer: IsomersOption = False,
    seed: SeedOption = 0,
    temperature: TemperatureOption = 298.15,
    force_max: ForceOption = 0.02,
    max_steps: StepsOption = 500,
    device: DeviceOption = None,
    input_format: InputFormatOption = None,
    output: OutputOption = None,
    overwrite: OverwriteOption = False,
    wide: AllColumnsOption = False,
    json: JsonOption = False,
) -> None:
    """Find the low conformers of molecules: embed, walk on a fast model, walk again and rank on a better one.

    Of each molecule the bonds, the charge and the stereoisomer count; coordinates of a file say the stereoisomer only.
    After the first walk each conformer is there once (0.1 kcal/mol, and 0.125 Å of heavy atoms with symmetry), and
    those more than 5 kcal/mol above the window are left out. The second walk ranks: duplicates and what is above the
    window are left out again. Mirror images are two conformers. Weights are Boltzmann's of the energies alone, without
    vibrations.

    With --oracle, the lowest few of each molecule are finished on an engine's own forces, as by minimize with a budget
    of 25 labels for each; the output has these alone, ranked and weighted by its energies. Its calls are in
    OUTPUT.oracle.

    Exit codes: 0 all walks converged (with an oracle: are verified), 1 some did not, 2 no molecule was usable, 3 a
    component is missing.
    """
    from golfbench.molecule_files.conformers import DEFAULT_MODEL, NO_WALK, Search, search_library
    from golfbench.molecule_files.driver import open_driver, open_fast
    from golfbench.molecule_files.finishing import open_finish
    from golfbench.molecule_files.oracle_walks import Verification, make_room, oracle_folder
    from golfbench.molecule_files.output import check_place, open_output
    from golfbench.molecule_files.ranking import Ranking, rank
    from golfbench.molecule_files.reading import Inputs
    from golfbench.runs.baseline import Permission
    from golfbench.runs.grid import check_device

    search = Search(
        count,
        window,
        temperature,
        seed,
        every_isomer,
        force_max=force_max,
        max_steps=max_steps,
        oracle=oracle,
        verify=verify,
    )
    check_device(device or "cpu")
    on_label = None if oracle is None else _label_teller(Verification(oracle))
    if output is not None:
        check_place(output, overwrite)
    permission, where = Permission(False, console.note), device or "cpu"
    with (
        open_driver(model, checkpoint, DEFAULT_MODEL, permission=permission, device=where) as better,
        open_fast(None if first_walk == NO_WALK else first_walk, permission, where) as first,
    ):
        given = Inputs(inputs, reading := search.reading(), input_format)
        folder = None if output is None or oracle is None else oracle_folder(output)
        with open_output(output, overwrite, search.command(given, first, better)) as kept:
            if folder is not None and kept.fresh:
                make_room(folder, overwrite)
            with open_finish(search, better, kept, folder, on_label=on_label) as finish:
                found = search_library(given, reading, first, better, search, kept, finish)
                interrupted = _search(given, found, partial(_sentence, first=first, better=better, search=search))
            for line in reading.notes.lines():
                console.warn(line)
            if not interrupted:
                rank(kept, Ranking(sort=True))
                kept.finish(ranked=True)
            session.saved = output is not None and len(kept) > 0
            tally, written = _show(kept, better, first, search, json, wide), len(kept)
    if interrupted:
        console.note("interrupted" + (f"; the same command goes on from {kept.partial}" if output and written else ""))
    elif output is not None:
        console.note(f"{written} conformers written to {output}")
    raise typer.Exit(130 if interrupted else tally.exit_code())


def _search(inputs: Inputs, found: Iterator[Ensemble], sentence: Callable[[Ensemble], str]) -> bool:
    """Search all molecules, with a line for each of the first ones; return whether that was interrupted."""
    told = 0
    try:
        with console.Progress() as progress:
            for ensemble in found:
                total = round(inputs.read / share) if (share := inputs.share()) else inputs.read
                progress("conformers", inputs.read, max(inputs.read, total), share < 1)
                told += 1
                if told <= MOST_TOLD and ensemble.smiles is not None:
                    console.note(sentence(ensemble))
    except KeyboardInterrupt:
        return True
    return False


def _label_teller(verification: Verification) -> OnLabel | None:
    """Check that the oracle is there; return what tells of each label of a slow one."""
    verification.check()
    return note_label if verification.component().spec.slow else None


def _sentence(ensemble: Ensemble, first: Driver | None, better: Driver, search: Search) -> str:
    walked = "" if first is None else f", {ensemble.walked} left after {first.name}"
    lost = f", {len(ensemble.lost)} failed" if ensemble.lost else ""
    left = f"{ensemble.ranked} within {search.window:g} kcal/mol on {better.name}"
    if search.oracle is not None:
        left += f", {len(ensemble.conformers)} of the lowest {search.verify} on {search.oracle}"
    return f"{ensemble.id}: {ensemble.embedded} conformers{walked}, {left}{lost}"


def _show(output: Output, better: Driver, first: Driver | None, search: Search, json: bool, wide: bool) -> Tally:
    """Print the rows on stdout; why some failed, and how many, on stderr."""
    from golfbench.molecule_files.rows import Tally

    tally = Tally()

    def counted() -> Iterator[OwnRow]:
        for row in output.rows(ranked=True):
            tally.add(row)
            yield row

    if json:
        names = {"model": better.name, "method": better.method, "first_walk": None if first is None else first.name}
        if search.oracle is not None:
            names["oracle"] = search.oracle
        rows = (row.model_dump(mode="json") for row in counted())
        console.print_json_rows({"schema_version": SCHEMA_VERSION, **names}, rows)
    else:
        columns, last = (COLUMNS, better.name) if search.oracle is None else ((*COLUMNS, *OF_ORACLE), search.oracle)
        cells = (_cells(row)[: len(columns)] for row in counted())
        console.print_table(columns, cells, f"conformers on {last}", SPARE, wide)
    if tally.charged and not better.sees_charge:
        console.warn(
            f"{better.name} does not see charges and unpaired electrons, which {tally.charged} conformers have"
        )
    for line in tally.failures():
        console.fail(line)
    console.note(tally.summary().replace("molecules", "conformers"))
    return tally


def _cells(row: OwnRow) -> list[str]:
    relative, weight, force = row.energy_relative_kcal_mol, row.boltzmann_weight, row.force_max_final_ev_per_angstrom
    return [
        row.unique_id,
        "" if row.n_atoms is None else str(row.n_atoms),
        row.status.value,
        "" if relative is None else f"{relative:.3f}",
        "" if weight is None else f"{100 * weight:.1f}",
        str(row.n_steps),
        "" if force is None else f"{force:.4f}",
        str(row.model_calls),
        "" if row.oracle_force_max_ev_per_angstrom is None else f"{row.oracle_force_max_ev_per_angstrom:.4f}",
        "" if row.oracle_labels is None else str(row.oracle_labels),
    ]
