"""The Protocols that plugins implement. Energies in Hartree, lengths in Å, forces in Hartree/Å, always.

A plugin needs no base class: an object with these attributes and methods is one. The runner does stopping, counting,
timing and seeds; a component only does what its Protocol says.

Optional features of a component have Protocols of their own (``HasEnergy``, ``MeasuresCpu``, ``Closes``, ``HasDevice``,
``HasHessian``, ``HasSlots``, ``HasRows``, ``TakesConstraints``, ``TakesHessian``, ``HasContents``, ``DatasetChecks``,
``DatasetBuilds``);
the suite tests for them by ``isinstance``.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Protocol, runtime_checkable

import numpy as np
import numpy.typing as npt

from golfbench.constraints import Constraint
from golfbench.datasets import BuildOrder as BuildOrder
from golfbench.datasets import Dataset as Dataset
from golfbench.datasets import DatasetBuilds as DatasetBuilds
from golfbench.datasets import DatasetChecks as DatasetChecks
from golfbench.datasets import DatasetReader as DatasetReader
from golfbench.datasets import HasContents as HasContents
from golfbench.datasets import HasRows as HasRows
from golfbench.datasets import Label as Label
from golfbench.datasets import LabelledMolecule as LabelledMolecule
from golfbench.datasets import TestMolecule as TestMolecule
from golfbench.molecules import Molecule

if TYPE_CHECKING:
    import torch

    from golfbench.batches import Batch

FloatArray = npt.NDArray[np.float64]


@runtime_checkable
class Oracle(Protocol):
    """An engine that labels one molecule. It only labels: no cache, no retry, no counting."""

    @property
    def version(self) -> str:
        """Version of the engine, for example ``xtb 22.1``."""
        ...

    def label(self, molecule: Molecule) -> tuple[float, FloatArray]:
        """Return energy (Hartree) and forces (n_atoms, 3) (Hartree/Å) of one geometry.

        Raises:
            golfbench.errors.OracleError: If the engine gives no label; ``kind`` says why.
        """
        ...


@runtime_checkable
class HasEnergy(Protocol):
    """An oracle for which the energy alone is cheaper than energy and forces."""

    def energy(self, molecule: Molecule) -> float:
        """Return the energy (Hartree) that ``label`` would return.

        Raises:
            golfbench.errors.OracleError: As for ``Oracle.label``.
        """
        ...


@runtime_checkable
class MeasuresCpu(Protocol):
    """An oracle whose engine runs in a process that outlives the call: only the oracle can measure the call."""

    @property
    def last_cpu_s(self) -> float | None:
        """CPU seconds of the last answered call; ``None`` if it was not measured."""
        ...


@runtime_checkable
class Closes(Protocol):
    """A component that holds a process, a file or a connection until it is closed."""

    def close(self) -> None:
        """Release it. May be called twice."""
        ...


@dataclass(frozen=True, slots=True)
class Spread:
    """How far the members of a committee disagree; also the uncertainty that a network predicts itself.

    Attributes:
        energies: (n_molecules,) float64, Hartree: standard deviation over the members.
        forces: (n_atoms,) float64, Hartree/Å: root mean square distance of the members' force vectors from their mean.
    """

    energies: torch.Tensor
    forces: torch.Tensor


@dataclass(frozen=True, slots=True)
class Evaluation:
    """Energies and forces of a batch.

    Attributes:
        energies: (n_molecules,) float64, Hartree, detached; NaN for a molecule that could not be evaluated.
        forces: (n_atoms, 3) float64, Hartree/Å, detached, packed like the batch.
        errors: Why a molecule could not be evaluated, by its index in the batch.
        spread: Of a committee; otherwise ``None``.
        features: (n_molecules, n_features) float64, mean over the atoms; ``None`` if they were not asked for.
    """

    energies: torch.Tensor
    forces: torch.Tensor
    errors: Mapping[int, Exception] = field(default_factory=dict)
    spread: Spread | None = None
    features: torch.Tensor | None = None


@runtime_checkable
class Network(Protocol):
    """A trainable potential: a ``torch.nn.Module`` that returns energies, from which forces are differentiated.

    Its outputs are dimensionless: the suite multiplies them by the training set's force scale and adds reference
    energies. ``forward`` must be twice differentiable with respect to ``batch.positions``.

    Attributes:
        cutoff: Pairs farther apart than this (Å) are not in ``batch.pairs``; ``None`` asks for all pairs.
    """

    cutoff: float | None

    def __call__(self, batch: Batch) -> torch.Tensor:
        """Return energies of shape (n_molecules,) in the dtype of the parameters."""
        ...


@runtime_checkable
class HasFeatures(Protocol):
    """A network that returns features of each atom."""

    def features(self, batch: Batch) -> torch.Tensor:
        """Return (n_atoms, n_features), invariant under rotation; no gradient is needed."""
        ...


@runtime_checkable
class HasUncertainty(Protocol):
    """A network that predicts an uncertainty itself, which is used as the spread of a committee is."""

    def uncertainty(self, batch: Batch) -> torch.Tensor:
        """Return the expected error of the force on each atom, (n_atoms,), in the network's units."""
        ...


@dataclass(frozen=True, slots=True)
class Targets:
    """What a network should return for a batch, or what it does return, in its own units.

    Attributes:
        energies: (n_molecules,) float64.
        forces: (n_atoms, 3) float64.
    """

    energies: torch.Tensor
    forces: torch.Tensor


@runtime_checkable
class HasLoss(Protocol):
    """A network with a loss of its own, instead of the suite's (see ``learning.settings.TrainSettings``)."""

    def loss(self, batch: Batch, predicted: Targets, wanted: Targets) -> torch.Tensor:
        """Return the loss of each molecule, (n_molecules,), differentiable; the suite takes the mean."""
        ...


@dataclass(frozen=True, slots=True)
class ImportedWeights:
    """What a reader of a foreign checkpoint returns (see ``specs.CheckpointFormat``).

    Attributes:
        parameters: The model's parameters (keys of its spec) that rebuild the architecture.
        tensors: The state of the network, loaded strictly; or one state for each member of an ensemble.
        scale: Hartree, and Hartree/Å for forces, per unit of the network's output.
        atom_energies: Energy (Hartree) by atomic number to add, or empty where the file has none.
        method: Level of theory that the weights were trained at, or empty where the file does not say.
        notice: What the user must be told: the licence of the weights, and whom to cite.
    """

    parameters: Mapping[str, Any]
    tensors: Mapping[str, torch.Tensor] | Sequence[Mapping[str, torch.Tensor]]
    scale: float = 1.0
    atom_energies: Mapping[int, float] = field(default_factory=dict)
    method: str = ""
    notice: str = ""


@runtime_checkable
class Model(Protocol):
    """A potential that the minimizer can walk on; on the CPU, unless it is a ``HasDevice``."""

    @property
    def cutoff(self) -> float | None:
        """As for ``Network``."""
        ...

    def energy_forces(self, batch: Batch) -> Evaluation:
        """Evaluate a batch. The result for a molecule must not depend on the other molecules of the batch."""
        ...


@runtime_checkable
class HasHessian(Protocol):
    """A model with second derivatives that are cheaper or more exact than differences of its forces."""

    def second_derivatives(self, molecule: Molecule) -> FloatArray:
        """Return the Hessian (3·n_atoms, 3·n_atoms), Hartree/Å², at a geometry."""
        ...


@runtime_checkable
class HasDevice(Protocol):
    """A model that knows its device; its batches are made there."""

    @property
    def device(self) -> torch.device | str:
        """Where its batches must be."""
        ...


def device_of(model: Model) -> torch.device | str:
    """Return where the batches of a model must be."""
    return model.device if isinstance(model, HasDevice) else "cpu"


@runtime_checkable
class Optimizer(Protocol):
    """A batched geometry optimizer: proposes the next displacement of each molecule, and nothing else.

    Every molecule in flight has a *slot*. State is kept per slot, with the slot as dimension 0, so that a
    molecule enters or leaves by one write. Arrays are padded: dimension 1 runs over atoms, padding is zero.
    """

    def allocate(self, slots: int, atoms: int, device: torch.device) -> None:
        """Make room for ``slots`` molecules of up to ``atoms`` atoms. Called once, before anything else."""
        ...

    def admit(self, slot: int, molecule: Molecule) -> None:
        """Start a new molecule in ``slot``, without any state of the one that was there."""
        ...

    def step(
        self,
        slots: torch.Tensor,
        positions: torch.Tensor,
        energies: torch.Tensor,
        forces: torch.Tensor,
    ) -> torch.Tensor:
        """Propose displacements for the molecules in ``slots``.

        Where the model fails at the end of a proposed displacement, the driver tries others, shorter ones and along
        the forces, and goes on from the first that the model can evaluate. So the displacement of a molecule since
        the last step is the difference of its positions, not the proposed one.

        Args:
            slots: (m,) integers, the molecules that move in this step; others keep their state untouched.
            positions: (m, atoms, 3) float64, Å.
            energies: (m,) float64, Hartree.
            forces: (m, atoms, 3) float64, Hartree/Å, measured at ``positions``; zero for padding.

        Returns:
            (m, atoms, 3) float64 displacements in Å, zero for padding; ``positions`` must not be modified.

        Raises:
            golfbench.errors.MoleculeError: If a molecule cannot go on. The driver then asks for the molecules one by
                one, so that only that one ends, with status ``error``: asked again at the same place, the others must
                answer the same.
        """
        ...


@runtime_checkable
class TakesConstraints(Protocol):
    """An optimizer that takes the constraints into account.

    Others need not: the driver projects the constraints out of every force, and corrects every step so that they hold.
    An optimizer whose steps move all atoms for a force on one of them, as in internal coordinates, needs fewer steps
    when it knows the constraints.
    """

    def constrain(self, slot: int, constraint: Constraint) -> None:
        """Take the constraints of the molecule that was just admitted to ``slot``."""
        ...


@runtime_checkable
class TakesHessian(Protocol):
    """An optimizer that can begin with known second derivatives, such as those of a cheaper model."""

    def start_from(self, slot: int, hessian: FloatArray) -> None:
        """Take the second derivatives at the start of the molecule that was just admitted to ``slot``.

        Args:
            slot: See ``Optimizer``.
            hessian: (3·n_atoms, 3·n_atoms), Hartree/Å²; may have negative eigenvalues.
        """
        ...


@dataclass(frozen=True, slots=True)
class State:
    """One state of a trajectory, as a selection sees it.

    Attributes:
        step: 0 for the start.
        positions: (n_atoms, 3), Å.
        energy: The model's energy, Hartree.
        forces: (n_atoms, 3), the model's forces, Hartree/Å.
        surrogate_energy: The surrogate's energy, Hartree; ``None`` when the selection did not ask for it.
        surrogate_forces: (n_atoms, 3), the surrogate's forces, Hartree/Å, NaN where it has none; ``None`` when the
            selection did not ask for them.
        twin_energy: Energy by a twin that follows the network slowly (see ``learning.twin``), Hartree; ``None`` when
            the selection did not ask for it.
        last: True when the runner ends the trajectory here (step limit, convergence, divergence).
        energy_spread: Standard deviation of the committee's energies, Hartree; ``None`` without a committee, or when
            the selection did not ask for it. So are the others below.
        force_spread: (n_atoms,), spread of the committee's force on each atom, Hartree/Å (see ``Spread``).
        features: (n_features,), the network's features, mean over the atoms.
    """

    step: int
    positions: FloatArray
    energy: float
    forces: FloatArray
    surrogate_energy: float | None = None
    last: bool = False
    energy_spread: float | None = None
    force_spread: FloatArray | None = None
    features: FloatArray | None = None
    surrogate_forces: FloatArray | None = None
    twin_energy: float | None = None

    @property
    def force_max(self) -> float:
        """Largest force norm of an atom under the model, Hartree/Å."""
        return float(np.linalg.norm(self.forces, axis=-1).max())


@dataclass(frozen=True, slots=True)
class Decision:
    """The decision of a selection: states to label, and whether the trajectory ends."""

    label: Sequence[State] = ()
    end: bool = False


class TrajectorySelection(Protocol):
    """The memory of a selection along one trajectory."""

    def observe(self, state: State) -> Decision:
        """Look at the next state, ``step`` 0 included, and decide.

        After ``state.last`` nothing more is observed: all that is to be labelled must be in that decision, and it must
        end the trajectory.
        """
        ...


@runtime_checkable
class Selection(Protocol):
    """Decides which states of each trajectory the oracle labels and when the trajectory ends."""

    def begin(self, molecule: Molecule, rng: np.random.Generator) -> TrajectorySelection:
        """Start a trajectory; ``rng`` is its own stream of random numbers."""
        ...


@dataclass(frozen=True, slots=True)
class Candidate:
    """A state that may be labelled.

    Attributes:
        molecule: The geometry; its id is that of the start and the step, ``aspirin/3@12``.
        state: The state of the trajectory there.
    """

    molecule: Molecule
    state: State


@dataclass(frozen=True, slots=True)
class Round:
    """What a selection that looks at a whole round sees.

    Attributes:
        number: From 0.
        candidates: In the order of the starts and of the steps; all of them finite, none of them labelled already.
        budget: Labels that it may ask for.
        rng: The round's own stream of random numbers.
        training_features: (n_samples, n_features) of what the network was trained on, by the network as it is now;
            no row before anything is learned, ``None`` unless the spec names both ``features`` and ``training_set``.
        tangents: (n_candidates, n), gradients of each candidate's energy by the network's weights (see
            ``learning.tangents``); ``None`` unless the spec names ``tangents``. So are those of the training set.
        training_tangents: (n_samples, n), likewise; ``None`` unless the spec names both ``tangents`` and
            ``training_set``.
        labelled: Labels that were asked for on the way and learned from, in that order; empty unless the spec names
            ``labels``.
    """

    number: int
    candidates: Sequence[Candidate]
    budget: int
    rng: np.random.Generator
    training_features: FloatArray | None = None
    tangents: FloatArray | None = None
    training_tangents: FloatArray | None = None
    labelled: Sequence[LabelledMolecule] = ()


@runtime_checkable
class RoundSelection(Protocol):
    """Chooses among all candidates of a round.

    One that also has ``Selection.begin`` decides by it which states become candidates and when a trajectory ends;
    otherwise every state after the start is one, and trajectories run to their end.
    """

    def choose(self, round: Round) -> Sequence[int]:
        """Return indices of ``round.candidates``, the most wanted first; what is beyond the budget is dropped."""
        ...


@runtime_checkable
class HasSlots(Protocol):
    """An executor that knows how many calls it runs at a time."""

    @property
    def slots(self) -> int | None:
        """Calls at a time; ``None`` if it is not known."""
        ...


class Logger(Protocol):
    """Keeps the scalars of one combination, while it is trained and when it is judged.

    The factory gets, beside its parameters, ``folder`` (a ``Path``, the log's own inside the run directory), and the
    names ``run`` and ``combination``. One log is open at a time. Opened again for the same folder, it goes on with that
    log: the steps that come then may have been logged before, with the same values, and should not be in it twice. A
    log that is kept elsewhere leaves a file in the folder that says where.

    An exception of a logger does not end the run, and what a logger changes in the process is restored.
    """

    def scalars(self, step: int, values: Mapping[str, float]) -> None:
        """Keep some numbers.

        Args:
            step: Updates of the network so far; never falls while the log is open.
            values: By name, with the unit in it: ``train/force_rmse_kcal_mol_per_angstrom``. May be NaN.
        """
        ...

    def close(self) -> None:
        """Write what is not written yet. May be called twice."""
        ...
