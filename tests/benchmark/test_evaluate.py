import collections
import json
from concurrent.futures import Executor, Future
from dataclasses import replace

import numpy as np
import pytest
import torch
from ase.io import read

from golfbench.benchmark.evaluate import Judge, evaluate
from golfbench.benchmark.metrics import summary
from golfbench.benchmark.protocol import Protocol
from golfbench.benchmark.records import Identity, RecordFile, Status, read_records
from golfbench.chemistry import best_rmsd, embed
from golfbench.contracts import Evaluation, Label, TestMolecule
from golfbench.minimization import StoppingRule, minimize
from golfbench.molecules import Molecule
from golfbench.oracles.as_model import OracleModel
from golfbench.oracles.opening import open_oracle
from golfbench.oracles.service import OracleService
from golfbench.registry import registry
from golfbench.specs import ComponentRef, OptimizerSpec

IDENTITY = Identity(
    combination="probe|lbfgs||mmff94",
    model="probe",
    optimizer="lbfgs",
    selection="",
    oracle="mmff94",
    seed=None,
    stage="reference",
    method="MMFF94",
)
MMFF94 = ComponentRef("mmff94")
#: Energies on the way after 2, 6 and 12 updates.
PROTOCOL = Protocol(steps=60, inner_steps=2, evaluation_steps=(1, 3, 6))
#: For walks on an untrained network, which arrive nowhere.
SHORT = PROTOCOL.model_copy(update={"steps": 8})


def lbfgs():
    return registry().find(OptimizerSpec, "lbfgs").create({})


@pytest.fixture(scope="module")
def mmff94():
    return open_oracle(MMFF94, registry())


@pytest.fixture(scope="module")
def test_set(mmff94) -> list[TestMolecule]:
    """Two conformers of propanol and one of acetamide, with MMFF94 minima."""
    molecules = [*embed("CCCO", "propanol", 2, seed=3), *embed("CC(N)=O", "acetamide", 1, seed=3)]
    rule = StoppingRule(0.002, 500)
    found = {o.point.index: o for o in minimize(OracleModel.of(mmff94, "MMFF94"), molecules, lbfgs(), rule)}
    assert {o.status for o in found.values()} == {"converged"}
    return [
        TestMolecule(
            molecule,
            Label(*mmff94.label(molecule), "MMFF94"),
            found[k].point.positions,
            Label(*mmff94.label(molecule.at(found[k].point.positions)), "MMFF94"),
        )
        for k, molecule in enumerate(molecules)
    ]


class Springs:
    """Pulls every atom to its target, 2 Hartree/Å²: a model whose end points are known beforehand."""

    cutoff = 0.0

    def __init__(self, targets: dict[str, np.ndarray]) -> None:
        self.targets = targets

    def energy_forces(self, batch):
        away = batch.positions - torch.from_numpy(np.concatenate([self.targets[m.id] for m in batch.molecules]))
        energies = torch.zeros(len(batch), dtype=torch.float64)
        return Evaluation(energies.index_add(0, batch.molecule, away.square().sum(-1)), -2 * away)


class Answers(Executor):
    """Runs calls in this thread; may answer the calls for one molecule itself."""

    def __init__(self, **answers: dict) -> None:
        self.answers, self.asked = answers, []

    def submit(self, function, /, *arguments):
        future: Future = Future()
        molecule = arguments[1]
        self.asked.append(molecule["id"])
        future.set_result(self.answers.get(molecule["id"].partition("/")[0]) or function(*arguments))
        return future


@pytest.fixture
def run(tmp_path):
    """Evaluate a model in a folder; returns records by molecule, and what the oracle was asked."""

    def evaluate_in(name, test, model, protocol=PROTOCOL, done=(), **answers):
        folder = tmp_path / name
        folder.mkdir(exist_ok=True)
        executor = Answers(**answers)
        service = OracleService(folder, executor)
        judge = Judge(MMFF94, service, protocol, test, RecordFile(folder / "records.jsonl"), "log.txt")
        walked = []
        evaluate(judge, IDENTITY, model, lbfgs(), done, folder / "ends.extxyz", walked.append)
        service.close()
        assert walked == list(range(1, len(test) + 1))
        return {r.molecule: r for r in read_records(folder / "records.jsonl")}, executor.asked

    return evaluate_in


def ends(test_set, change=lambda item: item.minimum_positions):
    return Springs({item.molecule.id: change(item) for item in test_set})


def test_a_model_that_reaches_the_minima_is_judged_perfect(run, test_set, tmp_path):
    records, _ = run("a", test_set, ends(test_set), PROTOCOL.model_copy(update={"force_max_ev_per_angstrom": 1e-4}))
    assert list(records) == [item.molecule.id for item in test_set]
    for item in test_set:
        record = records[item.molecule.id]
        assert record.status is Status.CONVERGED
        assert record.converged
        assert record.energy_initial_hartree == item.start.energy
        assert record.energy_reference_hartree == item.minimum.energy
        assert record.energy_final_hartree == pytest.approx(item.minimum.energy, abs=1e-7)
        assert record.model_calls == record.n_steps + 1
        assert record.bond_graph_changed is False
        assert record.force_max_final_hartree_per_angstrom < 1e-4
    numbers = summary(records.values())
    assert numbers.pct_mean == pytest.approx(100, abs=0.01)
    assert numbers.success_pct == 100
    frames = read(tmp_path / "a" / "ends.extxyz", index=":")
    assert [f.info["molecule"] for f in frames] == list(records)
    assert {f.info["status"] for f in frames} == {"converged"}


def test_rmsds_are_those_of_rdkit_to_the_minima_of_the_same_molecule(run, test_set, tmp_path):
    records, _ = run("a", test_set, ends(test_set))
    first, second, _ = test_set
    assert records["acetamide/0"].rmsd_to_references_angstrom.keys() == {"acetamide/0"}
    distances = records["propanol/0"].rmsd_to_references_angstrom
    assert distances.keys() == {"propanol/0", "propanol/1"}
    assert distances["propanol/0"] < 0.01
    apart = best_rmsd(first.molecule, first.minimum_positions, second.minimum_positions)
    assert distances["propanol/1"] == pytest.approx(apart, abs=0.01)
    assert records["acetamide/0"].group == "acetamide"


def test_energies_on_the_way_are_the_oracles(run, test_set, mmff94):
    visited: dict[tuple[str, int], np.ndarray] = {}

    def watch(point):
        visited[test_set[point.index].molecule.id, point.step] = point.positions
        return False

    model = OracleModel.of(mmff94, "MMFF94")
    starts = [item.molecule for item in test_set]
    list(minimize(model, starts, lbfgs(), PROTOCOL.rule, watch))
    records, asked = run("a", test_set, model)
    for item in test_set:
        record = records[item.molecule.id]
        assert record.n_steps > 12
        assert record.energies_at_step_hartree == {
            step: mmff94.label(item.molecule.at(visited[item.molecule.id, 2 * step]))[0] for step in (1, 3, 6)
        }
    assert len(asked) == 4 * len(test_set)


def test_a_molecule_that_stopped_keeps_its_energy_at_later_steps(run, test_set):
    model = ends(test_set, lambda item: item.molecule.positions)  # converged at the start
    records, asked = run("a", test_set, model)
    for record in records.values():
        assert record.n_steps == 0
        assert set(record.energies_at_step_hartree.values()) == {record.energy_final_hartree}
        assert record.energy_final_hartree == record.energy_initial_hartree
    assert len(asked) == len(test_set)


def test_an_end_point_above_the_start_has_diverged(run, test_set):
    records, _ = run("a", test_set, ends(test_set, lambda item: item.molecule.positions * 1.2))
    assert {r.status for r in records.values()} == {Status.DIVERGED}
    assert all(r.energy_final_hartree > r.energy_initial_hartree for r in records.values())
    assert summary(records.values()).divergence_pct == 100


def test_a_walk_that_is_no_longer_finite_has_diverged_and_asks_nobody(run, test_set, tmp_path):
    class Broken:
        cutoff = 0.0

        def energy_forces(self, batch):
            nothing = torch.full((len(batch),), torch.nan, dtype=torch.float64)
            return Evaluation(nothing, torch.full_like(batch.positions, torch.nan))

    records, asked = run("a", test_set, Broken())
    assert {r.status for r in records.values()} == {Status.DIVERGED}
    assert all(r.energy_final_hartree is None and r.error_type is None for r in records.values())
    assert asked == []
    assert all("NaN" not in line for line in (tmp_path / "a" / "records.jsonl").read_text().splitlines())


def test_atoms_on_top_of_each_other_have_diverged_and_cost_no_call(run, test_set, tmp_path):
    def collapse(item):
        positions = item.molecule.positions.copy()
        positions[1] = positions[0] + [0.1, 0, 0]
        return positions

    protocol = PROTOCOL.model_copy(update={"evaluation_steps": ()})
    records, asked = run("a", test_set[:1], ends(test_set, collapse), protocol)
    record = records["propanol/0"]
    assert record.status is Status.DIVERGED
    assert (record.error_type, record.log) == ("OracleError", "log.txt")
    assert "overlap" in record.error_message
    assert asked == []


def test_a_broken_bond_is_reported_even_where_the_energy_fell(run, test_set, mmff94):
    item = test_set[2]
    squeezed = item.molecule.at(item.molecule.positions * 0.75)
    start = replace(item, molecule=squeezed, start=Label(*mmff94.label(squeezed), "MMFF94"))
    torn = item.minimum_positions.copy()
    hydrogen = 4  # of the methyl group
    torn[hydrogen] += 0.6 * (torn[hydrogen] - torn[0]) / np.linalg.norm(torn[hydrogen] - torn[0])
    records, _ = run("a", [start], Springs({"acetamide/0": torn}))
    record = records["acetamide/0"]
    assert record.status is Status.TOPOLOGY_CHANGED
    assert record.bond_graph_changed is True
    assert record.converged
    assert record.energy_final_hartree < record.energy_initial_hartree


def test_an_oracle_that_fails_is_named_and_the_others_go_on(run, test_set):
    failure = {"outcome": "not_converged", "error": "acetamide/0: no SCF\nsecond line"}
    records, _ = run("a", test_set, ends(test_set), acetamide=failure)
    record = records["acetamide/0"]
    assert record.status is Status.ORACLE_FAILED
    assert (record.error_type, record.error_message, record.log) == ("OracleError", "acetamide/0: no SCF", "log.txt")
    assert record.energy_final_hartree is None
    assert record.energies_at_step_hartree == {}
    assert {records[f"propanol/{k}"].status for k in (0, 1)} == {Status.CONVERGED}


def test_a_model_that_cannot_evaluate_a_molecule_is_an_error_of_that_molecule(run, test_set, mmff94):
    boron = TestMolecule(embed("CB(O)O", "boronic", 1, seed=1)[0], Label(-1.0, np.zeros((11, 3)), "MMFF94"))
    records, asked = run("a", [*test_set, boron], OracleModel.of(mmff94, "MMFF94"))
    record = records["boronic/0"]
    assert record.status is Status.ERROR
    assert "element B is outside mmff94" in record.error_message
    assert record.force_max_final_hartree_per_angstrom is None  # nothing is known of it, and 0 would be a minimum
    assert "boronic/0" not in asked
    assert {r.status for name, r in records.items() if name != "boronic/0"} == {Status.CONVERGED}


def test_a_molecule_without_a_start_is_skipped_and_costs_nothing(run, test_set):
    records, asked = run("a", [TestMolecule(test_set[0].molecule), *test_set[1:]], ends(test_set))
    assert records["propanol/0"].status is Status.SKIPPED
    assert "propanol/0" not in asked


def test_a_molecule_without_a_smiles_is_judged_by_its_energies(run, test_set):
    bare = [replace(i, molecule=replace(i.molecule, smiles=None), start=i.start) for i in test_set]
    sizes = {item.molecule.id.partition("/")[0]: len(item.molecule) for item in bare}
    answers = {
        name: {
            "outcome": "ok",
            "engine": "",
            "energy_hartree": -1.0,
            "forces_hartree_per_angstrom": np.zeros((size, 3)).tolist(),
        }
        for name, size in sizes.items()
    }
    records, _ = run("a", bare, ends(test_set), **answers)
    for record in records.values():
        assert record.status is Status.CONVERGED
        assert record.bond_graph_changed is None
        assert record.rmsd_to_references_angstrom == {}


def unclocked(records):
    return {name: record.model_dump(exclude={"wall_s"}) for name, record in records.items()}


@pytest.fixture(scope="module")
def network():
    from golfbench.learning.opening import new_network
    from golfbench.learning.potential import Potential

    ref = ComponentRef("painn", {"preset": "small", "features": 16, "interactions": 1, "radial": 8})
    return Potential(new_network(ref, 1), {1: 0.0, 6: 0.0, 7: 0.0, 8: 0.0}, 0.01)


def test_a_second_run_gives_the_same_records(run, test_set, network):
    one, _ = run("a", test_set, network, SHORT)
    two, _ = run("b", test_set, network, SHORT)
    assert unclocked(one) == unclocked(two)


@pytest.mark.parametrize("kept", [0, 1, 2])
def test_a_resumed_evaluation_adds_what_is_missing_and_asks_nothing_again(run, test_set, network, tmp_path, kept):
    whole, asked = run("a", test_set, network, SHORT)
    path = tmp_path / "a" / "records.jsonl"
    path.write_text("".join(line + "\n" for line in path.read_text().splitlines()[:kept]))
    again, asked_again = run("a", test_set, network, SHORT, done=list(whole)[:kept])
    assert unclocked(again) == unclocked(whole)
    assert asked
    assert asked_again == []
    ledger = [json.loads(line) for line in (tmp_path / "a" / "oracle_calls.jsonl").read_text().splitlines()]
    assert collections.Counter(call["outcome"] for call in ledger) == {"ok": len(asked)}


def test_molecules_are_not_changed_by_walking(run, test_set, network):
    before = [item.molecule.geometry_hash() for item in test_set]
    run("a", test_set, network, SHORT)
    assert [item.molecule.geometry_hash() for item in test_set] == before
    assert all(isinstance(item.molecule, Molecule) for item in test_set)
