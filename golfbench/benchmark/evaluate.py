"""Evaluating a model as a minimizer: walk the test molecules, judge the end points by the oracle, write records.

End points that were made elsewhere are judged in the same way.
"""

from __future__ import annotations

import io
import logging
import math
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from concurrent.futures import Future
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ase import Atoms
from ase.io import write as write_atoms

from golfbench.benchmark.protocol import Protocol
from golfbench.benchmark.records import ENERGY_TOLERANCE_HARTREE, Identity, Record, RecordFile, Status
from golfbench.chemistry import best_rmsd, bond_graph_changed, stereo_changes, to_ase
from golfbench.contracts import FloatArray, Label, Model, Optimizer, TestMolecule
from golfbench.durable import append_whole
from golfbench.errors import GolfbenchError, MoleculeError, NothingToDoError, OracleError
from golfbench.minimization import Outcome, Point, minimize
from golfbench.molecules import group_of
from golfbench.oracles.service import Account, OracleService
from golfbench.specs import Named

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Judge:
    """What is the same for every row of a table.

    Attributes:
        oracle: The genuine oracle, as a person writes it.
        service: Where its energies come from.
        protocol: Steps, convergence, evaluation steps.
        test: Test molecules with their starts and minima at the oracle's level of theory.
        records: ``records.jsonl`` of the run.
        log_name: Where details of an error are found, relative to the run directory.
    """

    oracle: Named
    service: OracleService
    protocol: Protocol
    test: Sequence[TestMolecule]
    records: RecordFile
    log_name: str


@dataclass(frozen=True, slots=True)
class GivenEnds:
    """End points that were made elsewhere, for the test molecules.

    Attributes:
        file: Name of the file that they are from.
        positions: (n_atoms, 3), Å, in the atom order of the test molecule, by its id.
        unusable: Why the geometry of a test molecule is none, by its id.
    """

    file: str
    positions: Mapping[str, FloatArray]
    unusable: Mapping[str, MoleculeError] = field(default_factory=dict)

    def reason(self, molecule: str) -> GolfbenchError:
        """Return why a test molecule has no end point."""
        return self.unusable.get(molecule) or NothingToDoError(f"{self.file} has no geometry of it")


def evaluate(
    judge: Judge,
    identity: Identity,
    model: Model,
    optimizer: Optimizer,
    done: Iterable[str],
    endpoints: Path,
    advance: Callable[[int], None],
    judged: Callable[[int], None] = lambda count: None,
) -> None:
    """Minimize the test molecules, and append the records that are not there yet.

    A resumed evaluation walks all of them again: the molecules of a batch change the last digits of each other's
    energies in float32, and only exactly the same end points have labels already. Walks are cheap beside oracle calls.

    Args:
        judge: The oracle, the protocol, the test set.
        identity: Whose rows these are.
        model: Gives the forces.
        optimizer: A fresh one.
        done: Ids that already have a record.
        endpoints: Extended-XYZ file that end points are appended to.
        advance: Told how many molecules have stopped walking.
        judged: Told how many have a record, each of which may have taken the oracle minutes.
    """
    done = set(done)
    footprints: list[dict[int, FloatArray]] = [{} for _ in judge.test]

    def observe(point: Point) -> bool:
        step, rest = divmod(point.step, judge.protocol.inner_steps)
        if not rest and step in judge.protocol.evaluation_steps:
            footprints[point.index][step] = point.positions
        return False

    starts = [item.molecule for item in judge.test]
    ends: dict[int, Outcome] = {}
    for outcome in minimize(model, starts, optimizer, judge.protocol.rule, observe):
        ends[outcome.point.index] = outcome
        advance(len(ends))
    _judge(judge, identity, ends, footprints, done, endpoints, judged)


def evaluate_given(
    judge: Judge,
    identity: Identity,
    given: GivenEnds,
    done: Iterable[str],
    endpoints: Path,
    advance: Callable[[int], None],
) -> None:
    """Judge end points that were made elsewhere, and append the records that are not there yet.

    It is not known how such a point was reached, nor whether its walk had converged: its record has no step, no model
    call and the status ``step_limit``, unless the oracle or the bonds say worse of it.

    Args:
        judge: The oracle, the protocol, the test set.
        identity: Whose rows these are.
        given: The end points.
        done: Ids that already have a record.
        endpoints: Extended-XYZ file that end points are appended to.
        advance: Told how many molecules are judged.
    """
    done = set(done)
    ends = {
        k: Outcome(Point(k, 0, positions, math.nan, math.nan, last=True), Status.STEP_LIMIT.value, 0, 0.0)
        for k, item in enumerate(judge.test)
        if (positions := given.positions.get(item.molecule.id)) is not None
    }
    without = [item for k, item in enumerate(judge.test) if k not in ends and item.molecule.id not in done]
    judge.records.append([_unjudged(judge, identity, item, given.reason(item.molecule.id)) for item in without])
    _judge(judge, identity, ends, [{} for _ in judge.test], done, endpoints, advance)


def record_failure(judge: Judge, identity: Identity, done: Iterable[str], reason: GolfbenchError) -> None:
    """Append records that say why a row has no model to judge, where there is no record yet."""
    log.error("%s: %s: %s", identity.combination, type(reason).__name__, reason)
    done = set(done)
    left = [item for item in judge.test if item.molecule.id not in done]
    judge.records.append([_unjudged(judge, identity, item, reason) for item in left])


def _judge(
    judge: Judge,
    identity: Identity,
    ends: Mapping[int, Outcome],
    footprints: Sequence[dict[int, FloatArray]],
    done: Collection[str],
    endpoints: Path,
    advance: Callable[[int], None],
) -> None:
    """Ask the oracle for what is not judged yet, and append a record of each molecule that has an end point."""
    left = [k for k in sorted(ends) if judge.test[k].molecule.id not in done]
    asked = [_ask(judge, identity, judge.test[k], ends[k], footprints[k]) for k in left]
    for count, (k, futures) in enumerate(zip(left, asked, strict=True), start=1):
        item, outcome = judge.test[k], ends[k]
        labels = {step: judge.service.answer(future) for step, future in futures.items()}
        record = _record(judge, identity, item, outcome, labels)
        # First the end point: a crash in between repeats it when the run is resumed, and loses nothing.
        _append_endpoint(endpoints, item, outcome, record)
        judge.records.append([record])
        advance(len(judge.test) - len(left) + count)


def _unjudged(judge: Judge, identity: Identity, item: TestMolecule, reason: GolfbenchError) -> Record:
    """Return the record of a molecule without an end point: skipped where there was nothing to do, else an error."""
    skipped = isinstance(reason, NothingToDoError)
    return Record(
        **_subject(identity, item),
        status=Status.SKIPPED if skipped else Status.ERROR,
        converged=False,
        n_steps=0,
        model_calls=0,
        energy_final_hartree=None,
        wall_s=0.0,
        error_type=None if skipped else type(reason).__name__,
        error_message=str(reason).splitlines()[0],
        log=None if skipped else judge.log_name,
    )


def _subject(identity: Identity, item: TestMolecule) -> dict[str, Any]:
    """Return the fields of a record that do not depend on how the walk ended."""
    return {
        **identity.model_dump(),
        "molecule": item.molecule.id,
        "group": group_of(item.molecule.id),
        "n_atoms": len(item.molecule),
        "energy_initial_hartree": item.start.energy if item.start else None,
        "energy_reference_hartree": item.minimum.energy if item.minimum else None,
    }


#: Labels by environment step; the end point is under ``_END``.
_Labels = dict[int, Label | OracleError]
_END = -1


def _ask(
    judge: Judge, identity: Identity, item: TestMolecule, outcome: Outcome, footprint: dict[int, FloatArray]
) -> dict[int, Future[Label]]:
    """Ask the oracle for the end point and the evaluation steps, unless there is nothing to compare them with."""
    if item.start is None or outcome.status in ("diverged", "error"):
        return {}
    account = Account(identity.combination, identity.stage, "evaluation")
    geometries = footprint | {_END: outcome.point.positions}
    return {
        step: judge.service.submit(judge.oracle, item.molecule.at(positions), account)
        for step, positions in geometries.items()
    }


def _record(judge: Judge, identity: Identity, item: TestMolecule, outcome: Outcome, labels: _Labels) -> Record:
    end = labels.get(_END)
    final = end.energy if isinstance(end, Label) else None
    failure = outcome.error or (end if isinstance(end, OracleError) else None)
    judged = final is not None and item.molecule.smiles is not None  # without a SMILES there is no topology
    changed = bond_graph_changed(item.molecule, outcome.point.positions) if judged else None
    turned = stereo_changes(item.molecule, outcome.point.positions) if changed is False else ()
    status = _status(item, outcome, end, final, changed or bool(turned))
    if turned:
        log.warning(
            "%s, %s: became another stereoisomer: %s", identity.combination, item.molecule.id, "; ".join(turned)
        )
    # A model that could not evaluate a geometry leaves zeros for its forces, and no energy.
    finite = math.isfinite(outcome.point.force_max) and math.isfinite(outcome.point.energy)
    if failure is not None:
        log.error("%s, %s: %s: %s", identity.combination, item.molecule.id, type(failure).__name__, failure)
    return Record(
        **_subject(identity, item),
        status=status,
        converged=outcome.status == "converged",
        n_steps=outcome.point.step,
        model_calls=outcome.model_calls,
        energy_final_hartree=final,
        energies_at_step_hartree=_curve(judge.protocol, labels, final),
        force_max_final_hartree_per_angstrom=outcome.point.force_max if finite else None,
        bond_graph_changed=changed,
        stereo_changed=bool(turned) if changed is False else None,
        rmsd_to_references_angstrom=_distances(judge.test, item, outcome) if judged else {},
        wall_s=outcome.wall_s,
        error_type=type(failure).__name__ if failure else None,
        error_message=str(failure).splitlines()[0] if failure and str(failure) else None,
        log=judge.log_name if failure else None,
    )


def _status(
    item: TestMolecule, outcome: Outcome, end: Label | OracleError | None, final: float | None, changed: bool | None
) -> Status:
    if _lost(outcome):
        return Status.DIVERGED
    if outcome.status == "error" or item.start is None:
        return Status.ERROR if outcome.error else Status.SKIPPED
    if isinstance(end, OracleError) and end.kind != "input":
        return Status.ORACLE_FAILED
    # Atoms on top of each other: no engine was asked, the walk itself is the cause.
    if final is None or final > item.start.energy + ENERGY_TOLERANCE_HARTREE:
        return Status.DIVERGED
    return Status.TOPOLOGY_CHANGED if changed else Status(outcome.status)


def _lost(outcome: Outcome) -> bool:
    """Return whether the walk went where no model with an oracle in it (delta learning) can follow.

    The start was accepted, so the walk led to the geometry that is refused: it blew up, as one of a network alone may.
    """
    error = outcome.error
    return outcome.point.step > 0 and isinstance(error, OracleError) and error.kind == "input"


def _curve(protocol: Protocol, labels: _Labels, final: float | None) -> dict[int, float]:
    """Return energies at the evaluation steps; a molecule that stopped before keeps its final energy."""
    curve = {}
    for step in protocol.evaluation_steps:
        label = labels.get(step)
        if isinstance(label, Label):
            curve[step] = label.energy
        elif label is None and final is not None:
            curve[step] = final
    return curve


def _distances(test: Sequence[TestMolecule], item: TestMolecule, outcome: Outcome) -> dict[str, float]:
    """Return the RMSD of the end point to each reference minimum of the same molecule, Å."""
    group = group_of(item.molecule.id)
    return {
        other.molecule.id: best_rmsd(item.molecule, outcome.point.positions, other.minimum_positions)
        for other in test
        if other.minimum_positions is not None and group_of(other.molecule.id) == group
    }


def _append_endpoint(path: Path, item: TestMolecule, outcome: Outcome, record: Record) -> None:
    atoms: Atoms = to_ase(item.molecule.at(outcome.point.positions))
    atoms.info |= {"molecule": item.molecule.id, "status": record.status.value}
    frame = io.StringIO()
    write_atoms(frame, atoms, format="extxyz")
    append_whole(path, frame.getvalue().encode())  # half a frame would make all later ones unreadable
