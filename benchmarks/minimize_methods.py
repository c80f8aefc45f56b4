"""Minimizers under comparison: the suite's optimizers and those of other packages, on one metered model."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from ase import Atoms
from ase.calculators.calculator import Calculator, all_changes

from golfbench.batches import Batch, make_batch
from golfbench.contracts import Evaluation, FloatArray, Model
from golfbench.curvature import hessian
from golfbench.learning.opening import open_fixed_model
from golfbench.minimization import StoppingRule, minimize
from golfbench.molecules import Molecule
from golfbench.registry import registry
from golfbench.specs import ComponentRef, OptimizerSpec
from golfbench.units import HARTREE_TO_EV

#: The walk of ``mmff94-first`` on the force field: as ``golfbench minimize`` does it.
FIRST_FMAX, FIRST_STEPS = 0.02, 500
#: Molecules that ``bare``, the referee and methods without a driver of their own evaluate together.
TOGETHER = 4


@dataclass(frozen=True, slots=True)
class Plan:
    """What is the same for all methods.

    Attributes:
        engine: As on the command line.
        device: Where a network lives.
        fmax: eV/Å.
        max_calls: Force calls allowed per molecule.
        in_flight: Molecules in flight in the suite's driver, or ``None`` for its own choice.
        calls: Force calls that ``bare`` repeats, by molecule.
    """

    engine: str
    device: str
    fmax: float
    max_calls: int
    in_flight: int | None
    calls: tuple[int, ...] = ()


class Meter:
    """A model whose evaluations are counted and timed."""

    def __init__(self, model: Model) -> None:
        self.model, self.seconds, self.calls = model, 0.0, Counter[str]()
        self.cutoff, self.device = model.cutoff, torch.device(getattr(model, "device", "cpu"))
        self.clock = time.process_time if self.device.type == "cpu" else time.perf_counter

    def energy_forces(self, batch: Batch) -> Evaluation:
        """Pass the evaluation on."""
        started = self.clock()
        evaluation = self.model.energy_forces(batch)
        if self.device.type == "cuda":
            torch.cuda.synchronize()
        self.seconds += self.clock() - started
        self.calls.update(m.id for m in batch.molecules)
        return evaluation

    def evaluate(self, molecules: list[Molecule]) -> Evaluation:
        """Evaluate molecules at their own positions."""
        return self.energy_forces(make_batch(molecules, self.cutoff, self.device))


Walk = Iterator[tuple[int, FloatArray]]


def suite(optimizer: str) -> Callable[[Meter, list[Molecule], Plan], Walk]:
    """Return the walk of one of the suite's optimizers."""

    def walk(meter: Meter, molecules: list[Molecule], plan: Plan) -> Walk:
        ref = ComponentRef.parse(optimizer)
        walker = registry().find(OptimizerSpec, ref.name).create(ref.parameters)
        rule = StoppingRule(plan.fmax, plan.max_calls - 1)
        for outcome in minimize(meter, molecules, walker, rule, in_flight=plan.in_flight):
            yield outcome.point.index, outcome.point.positions

    return walk


def mmff94_first(meter: Meter, molecules: list[Molecule], plan: Plan) -> Walk:
    """Walk on MMFF94, whose calls are not counted, and from there with ``rfo-internal`` from its second derivatives.

    What ``golfbench minimize --model mmff94 --oracle NAME --oracle-budget N`` does.
    """
    field = open_fixed_model(ComponentRef("mmff94"))
    walker = registry().find(OptimizerSpec, "rfo-internal")
    begun = list(molecules)
    for outcome in minimize(field, molecules, walker.create({}), StoppingRule(FIRST_FMAX, FIRST_STEPS)):
        begun[outcome.point.index] = molecules[outcome.point.index].at(outcome.point.positions)
    known = [hessian(field, molecule) for molecule in begun]
    rule = StoppingRule(plan.fmax, plan.max_calls - 1)
    for outcome in minimize(meter, begun, walker.create({}), rule, in_flight=plan.in_flight, hessians=known):
        yield outcome.point.index, outcome.point.positions


def bare(meter: Meter, molecules: list[Molecule], plan: Plan) -> Walk:
    """Evaluate the starts as often as another method did, in full batches."""
    left = dict(enumerate(plan.calls[: len(molecules)]))
    together = plan.in_flight or TOGETHER
    while left:
        now = list(left)[:together]
        batch = make_batch([molecules[k] for k in now], meter.cutoff, meter.device)
        for _ in range(times := min(left[k] for k in now)):
            meter.energy_forces(batch)
        for k in now:
            left[k] -= times
            if not left[k]:
                del left[k]
                yield k, molecules[k].positions


class Counted(Calculator):  # type: ignore[misc]
    """A metered model as an ASE calculator."""

    implemented_properties = ("energy", "forces")

    def __init__(self, meter: Meter, molecule: Molecule) -> None:
        super().__init__()
        self.meter, self.molecule = meter, molecule

    def calculate(self, atoms: Any = None, properties: Any = None, system_changes: Any = all_changes) -> None:
        """Evaluate at the positions of ``atoms``."""
        super().calculate(atoms, properties, system_changes)
        found = self.meter.evaluate([self.molecule.at(atoms.positions)])
        energy, forces = float(found.energies[0]) * HARTREE_TO_EV, found.forces.cpu().numpy() * HARTREE_TO_EV
        self.results = {"energy": energy, "forces": forces}


def serial(optimizer: Callable[[Atoms], Any], meter: Meter, molecules: list[Molecule], plan: Plan) -> Walk:
    """Minimize with an ASE-like optimizer, one molecule after the other."""
    for index, molecule in enumerate(molecules):
        atoms = Atoms(molecule.numbers, molecule.positions, calculator=Counted(meter, molecule))
        optimizer(atoms).run(fmax=plan.fmax, steps=plan.max_calls - 1)
        yield index, atoms.positions.copy()


def ase_lbfgs(meter: Meter, molecules: list[Molecule], plan: Plan) -> Walk:
    """Minimize with ASE's LBFGS."""
    from ase.optimize import LBFGS

    yield from serial(lambda atoms: LBFGS(atoms, logfile=None), meter, molecules, plan)


def sella(meter: Meter, molecules: list[Molecule], plan: Plan) -> Walk:
    """Minimize with Sella in internal coordinates."""
    from sella import Sella

    yield from serial(lambda atoms: Sella(atoms, order=0, internal=True, logfile=None), meter, molecules, plan)


def torch_sim_fire(meter: Meter, molecules: list[Molecule], plan: Plan) -> Walk:
    """Minimize with torch-sim's FIRE, all in one batch that converged ones leave, as is its default."""
    import torch_sim
    from torch_sim.models.interface import ModelInterface

    class Wrapped(ModelInterface):  # type: ignore[misc]
        _device, _dtype, _compute_stress, _compute_forces = meter.device, torch.float64, False, True

        def forward(self, state: Any, **_: Any) -> dict[str, torch.Tensor]:
            first = torch.cat([torch.ones(1, dtype=torch.bool), state.system_idx.cpu().diff() > 0])
            tags = state.masses.cpu()[first].long() - 1  # its FIRE uses no masses: they tell which molecule it is
            blocks = state.positions.detach().cpu().split([len(molecules[k]) for k in tags])
            there = [molecules[k].at(block.numpy()) for k, block in zip(tags.tolist(), blocks, strict=True)]
            found = meter.evaluate(there)
            return {"energy": found.energies * HARTREE_TO_EV, "forces": found.forces * HARTREE_TO_EV}

    tagged = [Atoms(m.numbers, m.positions, masses=np.full(len(m), k + 1.0)) for k, m in enumerate(molecules)]
    final = torch_sim.optimize(
        tagged,
        Wrapped(),
        optimizer=torch_sim.optimizers.fire,
        convergence_fn=torch_sim.generate_force_convergence_fn(plan.fmax, include_cell_forces=False),
        max_steps=plan.max_calls - 1,
    )
    blocks = final.positions.detach().cpu().split([len(m) for m in molecules])
    yield from enumerate(block.numpy() for block in blocks)


def nvalchemi_lbfgs(meter: Meter, molecules: list[Molecule], plan: Plan) -> Walk:
    """Minimize with the L-BFGS of nvalchemi-toolkit-ops, in batches that converged ones leave."""
    from nvalchemiops.torch.lbfgs import lbfgs_prepare_state, lbfgs_step_coord

    together = plan.in_flight or TOGETHER
    for first in range(0, len(molecules), together):
        flying = list(range(first, min(first + together, len(molecules))))
        x = torch.from_numpy(np.concatenate([molecules[k].positions for k in flying])).to(meter.device)
        state = lbfgs_prepare_state(len(x), len(flying), dtype=x.dtype, device=meter.device)
        for call in range(1, plan.max_calls + 1):
            sizes = [len(molecules[k]) for k in flying]
            blocks = [block.cpu().numpy() for block in x.split(sizes)]
            found = meter.evaluate([molecules[k].at(block) for k, block in zip(flying, blocks, strict=True)])
            forces = found.forces * HARTREE_TO_EV
            largest = torch.stack([block.norm(dim=1).max() for block in forces.split(sizes)])
            stays = (largest > plan.fmax).cpu() & (call < plan.max_calls)
            yield from ((k, block) for k, block, stay in zip(flying, blocks, stays.tolist(), strict=True) if not stay)
            if not stays.any():
                break
            atoms = stays.repeat_interleave(torch.tensor(sizes)).to(meter.device)
            flying = [k for k, stay in zip(flying, stays.tolist(), strict=True) if stay]
            x, forces, state = x[atoms].clone(), forces[atoms].clone(), _narrowed(state, stays.to(meter.device), atoms)
            owner = torch.arange(len(flying)).repeat_interleave(torch.tensor([len(molecules[k]) for k in flying]))
            lbfgs_step_coord(x, forces, state, owner.int().to(meter.device))


def _narrowed(state: Any, systems: torch.Tensor, atoms: torch.Tensor) -> Any:
    """Return the optimizer state of some systems: its arrays run over systems or over atoms."""
    fields = {name: getattr(state, name) for name in state.__dataclass_fields__}
    chosen = {k: v[atoms if len(v) == len(atoms) else systems].clone() for k, v in fields.items()}
    return type(state)(**chosen)


PEERS: dict[str, Callable[[Meter, list[Molecule], Plan], Walk]] = {
    "bare": bare,
    "mmff94-first": mmff94_first,
    "ase-lbfgs": ase_lbfgs,
    "sella": sella,
    "torch-sim-fire": torch_sim_fire,
    "nvalchemi-lbfgs": nvalchemi_lbfgs,
}
