"""The learning loop: Algorithm 1 of Tsypin et al. (ICLR 2024), in rounds.

A round starts ``parallel`` trajectories from labelled conformations, walks each until its selection ends it, asks the
oracle for the states that were picked, adds the labels that were asked for ``lag`` rounds before, and trains
``updates_per_label`` updates for each. The loop ends when the budget of training calls is spent and the last label is
learned from. A checkpoint after each round, with what is on its way, and random streams that depend on the round's
number only make a resumed loop the same loop.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from golfbench.contracts import LabelledMolecule, Optimizer, Selection
from golfbench.errors import CheckpointError, OracleError
from golfbench.golf import checkpoint
from golfbench.golf.collect import Surrogate, collect
from golfbench.golf.samples import TrainingSet
from golfbench.golf.settings import GolfSettings, TrainSettings
from golfbench.golf.stream import Stream
from golfbench.golf.trainer import Trainer
from golfbench.loggers import NO_LOG, Log
from golfbench.minimize import StoppingRule
from golfbench.molecules import Molecule
from golfbench.oracles.question import Question
from golfbench.oracles.service import Account, OracleService
from golfbench.potential import Potential
from golfbench.seeds import derived
from golfbench.specs import ComponentRef

log = logging.getLogger(__name__)

#: Rounds in a row that bring no new geometry before the loop gives up.
FRUITLESS_ROUNDS = 20


@dataclass(frozen=True, slots=True)
class Parts:
    """What a loop is made of.

    Attributes:
        potential: The baseline; trained in place.
        optimizer: Makes a fresh optimizer for each round.
        selection: Decides what is labelled.
        surrogate: Its energy, or ``None`` when the selection does not look at it.
        oracle: The genuine oracle, as a person writes it.
        service: Where labels come from.
        asks_oracle: Whether the selection labels anything at all.
        unjudged: Ids of training molecules that the surrogate cannot judge: a trajectory from there would end at once
            and teach nothing, so none starts there.
    """

    potential: Potential
    optimizer: Callable[[], Optimizer]
    selection: Selection
    surrogate: Surrogate | None
    oracle: ComponentRef
    service: OracleService
    asks_oracle: bool
    unjudged: frozenset[str] = frozenset()


@dataclass(slots=True)
class Progress:
    """How far a loop is.

    Attributes:
        round: Rounds done.
        trajectories: Trajectories walked.
        spent: Labels asked for.
        known: Picks that were already labelled; they cost nothing and teach nothing.
        failed: Labels that the oracle did not give.
        guarded: Labels refused by the force-norm guard.
        waited_rounds: Rounds between asking and learning, summed over labels: what was learned was so stale.
        model_calls: Force evaluations of the trajectories.
        environment_steps: Sum over trajectories.
        fruitless: Rounds in a row without a new geometry.
    """

    round: int = 0
    trajectories: int = 0
    spent: int = 0
    known: int = 0
    failed: int = 0
    guarded: int = 0
    waited_rounds: int = 0
    model_calls: int = 0
    environment_steps: int = 0
    fruitless: int = 0

    def to_json(self) -> dict[str, int]:
        """Return the fields as JSON."""
        return {name: getattr(self, name) for name in self.__slots__}

    def note(self, budget: int, unjudged: int = 0) -> str:
        """Return what a reader of the results must know, an empty text if nothing.

        Args:
            budget: Labels that it might have asked for.
            unjudged: Training molecules from which no trajectory started.
        """
        lost, learned = self.failed + self.guarded, self.spent - self.failed - self.guarded
        facts = []
        if unjudged:
            facts.append(f"no trajectory started from {unjudged} training molecules that the surrogate cannot judge")
        if self.spent < budget:
            reason = f"{FRUITLESS_ROUNDS} rounds in a row brought no new geometry"
            facts.append(f"{self.spent} of {budget} labels were asked for: {reason}")
        if lost:
            kinds = {"failed in the oracle": self.failed, "have forces too large to learn from": self.guarded}
            listed = ", ".join(f"{count} {kind}" for kind, count in kinds.items() if count)
            facts.append(f"{lost} of {self.spent} labels were not learned from: {listed}")
        if budget and not learned:
            facts.append("nothing was learned after the baseline")
        return "; ".join(facts)


class Golf:
    """One combination's learning loop.

    Args:
        parts: What it is made of.
        initial: D_0.
        settings: The loop's hyper-parameters.
        training: The trainer's.
        budget: K, labels to ask for.
        force_max: Threshold (eV/Å) that ends a training trajectory.
        seed: Root seed.
        combination: Its id, for the ledger and the random streams.
        directory: Where its checkpoints go.
        log: Told of every round, and of its training.
    """

    def __init__(
        self,
        parts: Parts,
        initial: list[LabelledMolecule],
        settings: GolfSettings,
        training: TrainSettings,
        budget: int,
        force_max: float,
        seed: int,
        combination: str,
        directory: Path,
        log: Log = NO_LOG,
    ) -> None:
        self.parts, self.settings, self.budget = parts, settings, budget
        self.progress = Progress()
        self.samples = TrainingSet(parts.potential, initial, settings.force_norm_guard_hartree_per_angstrom)
        self._rule = StoppingRule(force_max, settings.steps * settings.inner_steps)
        self._seed, self._account = seed, Account(combination, "after", "training")
        self._directory, self._log = directory, log
        self._known = {item.molecule.geometry_hash() for item in initial}
        self._added: list[str] = []
        self._refused: list[str] = []
        service, oracle = parts.service, parts.oracle
        self._stream = Stream(
            lambda molecule, turn: service.submit(oracle, molecule, self._account, turn),
            service.answer,
            settings.lag,
            settings.deterministic,
        )
        updates = budget * settings.updates_per_label
        self.trainer = Trainer(
            parts.potential, self.samples, training, updates, seed, f"golf/{combination}", settings.initial_share, log
        )

    def run(self, on_round: Callable[[Progress], None] | None = None) -> Progress:
        """Continue from the newest sound checkpoint and go on until the budget is spent."""
        self._resume()
        while self._is_asking() or len(self._stream):
            self._round()
            if on_round is not None:
                on_round(self.progress)
        if self.progress.fruitless >= FRUITLESS_ROUNDS:
            log.warning("%s: no new geometry in %d rounds, the loop ends", self._account.combination, FRUITLESS_ROUNDS)
        return self.progress

    def _is_asking(self) -> bool:
        return self.progress.spent < self.budget and self.progress.fruitless < FRUITLESS_ROUNDS

    def _round(self) -> None:
        if not self.parts.asks_oracle:
            learned = self._without_labels()
        else:
            if self._is_asking():
                self._ask(self._pick())
            learned = self._learn()
        loss = self.trainer.run(learned * self.settings.updates_per_label)
        self.progress.round += 1
        log.info("%s: loss %.4g, %s", self._account.combination, loss, self.progress.to_json())
        if self._log:  # before the checkpoint: after a crash in between, the round is walked and logged again
            self._log.scalars(self.trainer.update, self._scalars())
        self._save()

    def _scalars(self) -> dict[str, float]:
        """Return the loop's counts for the log: labels asked for cost a call unless they were known already."""
        calls, hits = self.parts.service.ledger.charged(self._account.key)
        counts = {
            "labels_learned": len(self.samples) - self.samples.initial_size,
            "oracle_calls": calls,
            "cache_hits": hits,
            **self.progress.to_json(),
        }
        return {f"golf/{name}": float(count) for name, count in counts.items()}

    def _without_labels(self) -> int:
        """Spend nothing, but train as much as the others: the control for training alone."""
        count = min(self.settings.parallel, self.budget - self.progress.spent)
        self.progress.spent += count
        return count

    def _pick(self) -> list[Molecule]:
        """Walk one round's trajectories and return the new geometries that were picked, within the budget."""
        wanted = min(self.settings.parallel, self.budget - self.progress.spent)
        starts = self._starts(wanted)
        first, combination = self.progress.trajectories, self._account.combination
        streams = [derived(self._seed, "trajectory", combination, first + k) for k in range(len(starts))]
        harvest = collect(
            self.parts.potential,
            starts,
            self.parts.selection,
            self.parts.optimizer(),
            streams,
            self._rule,
            self.settings.inner_steps,
            self.parts.surrogate,
        )
        self.progress.trajectories += len(starts)
        self.progress.model_calls += harvest.model_calls
        self.progress.environment_steps += sum(harvest.environment_steps)
        new = {m.geometry_hash(): m for m in harvest.requests if m.geometry_hash() not in self._known}
        self.progress.known += len(harvest.requests) - len(new)
        return list(new.values())[: self.budget - self.progress.spent]

    def _starts(self, count: int) -> list[Molecule]:
        available = len(self.samples) if self.settings.restart == "all" else self.samples.initial_size
        molecules = [self.samples.molecule(index) for index in range(available)]
        starts = [molecule for molecule in molecules if molecule.id not in self.parts.unjudged]
        rng = derived(self._seed, "starts", self._account.combination, self.progress.round)
        chosen = rng.choice(len(starts), min(count, len(starts)), replace=False)
        return [starts[int(index)] for index in chosen]

    def _ask(self, picked: list[Molecule]) -> None:
        """Ask for labels; they are paid for and known from here on."""
        self._stream.push(picked, self.progress.round)
        self._known |= {molecule.geometry_hash() for molecule in picked}
        self.progress.spent += len(picked)
        self.progress.fruitless = 0 if picked else self.progress.fruitless + 1

    def _learn(self) -> int:
        """Add the labels that are due, and return how many were asked for."""
        answers = self._stream.pull(self.progress.round)
        for asked, label in answers:
            self.progress.waited_rounds += self.progress.round - asked.round
            if isinstance(label, OracleError):
                self.progress.failed += 1
                self._refused.append(asked.molecule.geometry_hash())
                log.warning("%s: no label (%s): %s", asked.molecule.id, label.kind, label)
            elif self.samples.add(LabelledMolecule(asked.molecule, label)):
                self._added.append(Question.of(self.parts.oracle, asked.molecule).key)
            else:
                self.progress.guarded += 1
                self._refused.append(asked.molecule.geometry_hash())
        return len(answers)

    def _save(self) -> None:
        header = {
            "combination": self._account.combination,
            "progress": self.progress.to_json(),
            "update": self.trainer.update,
            "added": self._added,
            "refused": self._refused,
            "asked": self._stream.to_json(),
        }
        checkpoint.save(self._path(self.progress.round), self.trainer.tensors(), header)
        self._path(self.progress.round - 2).unlink(missing_ok=True)

    def _path(self, number: int) -> Path:
        return self._directory / f"round-{number:05d}.safetensors"

    def _resume(self) -> None:
        for path in sorted(self._directory.glob("round-*.safetensors"), reverse=True):
            try:
                tensors, header = checkpoint.load(path)
            except CheckpointError as error:
                log.warning("%s; trying the one before", error)
                continue
            self._restore(header)
            self.trainer.restore(tensors, header["update"])
            return

    def _restore(self, header: dict[str, Any]) -> None:
        self.progress = Progress(**header["progress"])
        self._added, self._refused = list(header["added"]), list(header["refused"])
        labelled = [self.parts.service.labels.labelled(key) for key in self._added]
        for item in labelled:
            self.samples.add(item)
        self._known |= {item.molecule.geometry_hash() for item in labelled} | set(self._refused)
        self._known |= {molecule.geometry_hash() for molecule in self._stream.restore(header["asked"])}
