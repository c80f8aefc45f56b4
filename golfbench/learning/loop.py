"""The learning loop: Algorithm 1 of Tsypin et al. (ICLR 2024), in rounds.

A round explores from labelled conformations, lets the selection choose among the candidates, asks the oracle for what
was chosen, adds the labels that were asked for ``lag`` rounds before, and does ``updates_per_label`` updates for each.
The loop ends when the budget of training calls is spent and the last label is learned from. At points on the way it
waits likewise for what was asked for: what is judged there is what a loop with that budget, and the points before it,
ends with. A snapshot after each round, with what is on its way, and random streams that depend on the round's number
only make a resumed loop the same loop.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any, cast

import torch

from golfbench.contracts import Candidate, LabelledMolecule, Round
from golfbench.errors import ConfigurationError, OracleError
from golfbench.learning.acquisition import Acquisition, picks
from golfbench.learning.clock import Clock
from golfbench.learning.explorer import Explorer, features_of
from golfbench.learning.headers import LoopState
from golfbench.learning.learner import Learner
from golfbench.learning.pool import Pool
from golfbench.learning.references import FollowingReferences
from golfbench.learning.settings import GolfSettings
from golfbench.learning.snapshots import Snapshots
from golfbench.learning.starts import Starts
from golfbench.learning.stream import Stream
from golfbench.learning.tangents import tangents_of
from golfbench.learning.targets import remainders
from golfbench.learning.twin import Twin
from golfbench.loggers import NO_LOG, Log
from golfbench.molecules import Molecule
from golfbench.oracles.question import Question
from golfbench.oracles.service import Account, OracleService
from golfbench.seeds import derived
from golfbench.specs import Named

log = logging.getLogger(__name__)

#: Rounds in a row that bring no new geometry before the loop gives up.
FRUITLESS_ROUNDS = 20


@dataclass(frozen=True, slots=True)
class Parts:
    """What a loop is made of.

    Attributes:
        learner: Trains the potential.
        pool: D_0, and what is acquired.
        explorer: Offers candidates.
        acquisition: Chooses among them.
        oracle: The genuine oracle, as a person writes it.
        service: Where labels come from.
        asks_oracle: Whether the selection labels anything at all.
        starts: Where trajectories start.
        references: Of weights made elsewhere: their reference energies follow the labels.
        twin: Of the network, for a selection that looks at it.
        clock: Told what processor time is spent on: ``exploration``, ``selection``, ``training``.
    """

    learner: Learner
    pool: Pool
    explorer: Explorer
    acquisition: Acquisition
    oracle: Named
    service: OracleService
    asks_oracle: bool
    starts: Starts
    references: FollowingReferences | None = None
    twin: Twin | None = None
    clock: Clock = field(default_factory=Clock)

    def fit(self, updates: int) -> float:
        """Learn for a round, and return the mean loss."""
        loss = self.learner.fit(self.pool, updates)
        if self.twin is not None:
            self.twin.follow()
        return loss

    def state(self) -> dict[str, torch.Tensor]:
        """Return everything that learning resumes from."""
        return self.learner.state() | ({} if self.twin is None else self.twin.state())

    def restore(self, tensors: Mapping[str, torch.Tensor], update: int) -> None:
        """Continue from what ``state`` returned."""
        self.learner.restore(tensors, update)
        if self.twin is not None:
            self.twin.restore(tensors)

    def at_their_best(self, act: Callable[[], None]) -> None:
        """Use the best weights so far inside the block, then go on with those that are trained."""
        kept = {name: tensor.clone() for name, tensor in self.learner.state().items()}
        self.finish()
        act()
        self.learner.restore(kept, self.learner.update)

    def follow(self) -> None:
        """Fit the reference energies of weights made elsewhere to all labels that are there."""
        if self.references is not None:
            self.references.fit(self.pool)

    def add(self, item: LabelledMolecule) -> bool:
        """Add a label to the pool, unless the guard or a base refuses its geometry."""
        try:
            return all(self.pool.add(row) for row in remainders([item], self.learner.potential().bases))
        except ConfigurationError as error:
            log.warning("%s: not learned from: %s", item.molecule.id, error)
            return False

    def finish(self) -> None:
        """Leave the best weights in the potential."""
        with self.clock.on("training"):
            self.learner.finish(self.pool)

    def scalars(self, account: Account, progress: LoopProgress) -> dict[str, float]:
        """Return the loop's counts for the log: labels asked for cost a call unless they were known already."""
        calls, hits = self.service.ledger.charged(account.key)
        counts = {
            "labels_learned": len(self.pool) - self.pool.initial_size,
            "oracle_calls": calls,
            "cache_hits": hits,
            **progress.to_json(),
        }
        return {f"golf/{name}": float(count) for name, count in counts.items()}

    def training_features(self) -> Any:
        """Return the features of what was learned from (of a sample of a large D_0), where the selection sees them."""
        if not {"features", "training_set"} <= self.acquisition.sees:
            return None
        return features_of(self.learner.potential(), self._training_molecules())

    def tangents(self, candidates: Sequence[Molecule]) -> tuple[Any, Any]:
        """Return the tangents of candidates and of what was learned from, where the selection sees them."""
        sees, potential = self.acquisition.sees, self.learner.potential()
        if "tangents" not in sees:
            return None, None
        known = tangents_of(potential, self._training_molecules()) if "training_set" in sees else None
        return tangents_of(potential, candidates), known

    def _training_molecules(self) -> list[Molecule]:
        return [self.pool.molecule(k) for k in self.pool.sampled()]


@dataclass(slots=True)
class LoopProgress:
    """How far a loop is.

    Attributes:
        round: Rounds done.
        trajectories: Trajectories walked.
        spent: Labels asked for.
        known: Picks that were already labelled; they cost nothing and teach nothing.
        failed: Labels that the oracle did not give.
        guarded: Labels refused by the force-norm guard.
        waited_rounds: Rounds between asking and learning, summed over labels: how stale the labels were.
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
            budget: Labels that it was allowed to ask for.
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


class LearningLoop:
    """One combination's learning loop.

    Args:
        parts: What it is made of.
        settings: The loop's hyper-parameters.
        budget: K, labels to ask for.
        seed: Root seed.
        combination: Its id, for the ledger and the random streams.
        directory: Where its snapshots go.
        log: Told of every round.
    """

    def __init__(
        self,
        parts: Parts,
        settings: GolfSettings,
        budget: int,
        seed: int,
        combination: str,
        directory: Path,
        log: Log = NO_LOG,
    ) -> None:
        self.parts, self.settings, self.budget = parts, settings, budget
        self._goal = budget  # up to which labels are asked for now: the next point, or the budget
        self.progress = LoopProgress()
        self._seed, self._account = seed, Account(combination, "after", "training")
        self._snapshots, self._log = Snapshots(directory, "round"), log
        pool = parts.pool
        self._known = {pool.molecule(k).geometry_hash() for k in range(len(pool))} if pool.in_memory else set()
        self._added: list[str] = []
        self._refused: list[str] = []
        self._shown: list[LabelledMolecule] = []
        service, oracle = parts.service, parts.oracle
        self._stream = Stream(
            lambda molecule, turn: service.submit(oracle, molecule, self._account, turn),
            service.answer,
            settings.lag,
            settings.deterministic,
        )

    def run(
        self,
        on_round: Callable[[LoopProgress], None] | None = None,
        points: Sequence[int] = (),
        at_point: Callable[[int], None] = lambda labels: None,
    ) -> LoopProgress:
        """Continue from the newest intact snapshot and go on until the budget is spent.

        Args:
            on_round: Told of every round.
            points: Numbers of labels on the way to the budget, in order.
            at_point: Called with each of them when all labels up to it are learned from, and the best weights so far
                act; after a resumption once more for a point where the loop stands.
        """
        self.parts.follow()  # before anything is restored: what is fitted is the difference to the weights at the start
        self._resume()
        for goal in [*(point for point in points if point >= self.progress.spent), self.budget]:
            self._goal = goal
            while self._is_asking() or len(self._stream):
                self._round()
                if on_round is not None:
                    on_round(self.progress)
            if goal < self.budget:
                self.parts.at_their_best(partial(at_point, goal))
        if self.progress.fruitless >= FRUITLESS_ROUNDS:
            log.warning("%s: no new geometry in %d rounds, the loop ends", self._account.combination, FRUITLESS_ROUNDS)
        self.parts.finish()
        return self.progress

    def _is_asking(self) -> bool:
        return self.progress.spent < self._goal and self.progress.fruitless < FRUITLESS_ROUNDS

    def _round(self) -> None:
        learner = self.parts.learner
        if not self.parts.asks_oracle:
            learned = self._without_labels()
        else:
            if self._is_asking():
                self._ask(self._pick())
            with self.parts.clock.on("training"):
                learned = self._learn()
        if not len(self.parts.pool):  # the oracle refused all that was asked so far, and no initial set is learned from
            learned = 0
        with self.parts.clock.on("training"):
            loss = self.parts.fit(learned * self.settings.updates_per_label)
        self.progress.round += 1
        log.info("%s: loss %.4g, %s", self._account.combination, loss, self.progress.to_json())
        if self._log:  # before the snapshot: after a crash in between, the round is walked and logged again
            self._log.scalars(learner.update, self.parts.scalars(self._account, self.progress))
        self._save()

    def _without_labels(self) -> int:
        """Ask for no label, but do as many updates as the others: the control for training alone."""
        count = min(self.settings.parallel, self._goal - self.progress.spent)
        self.progress.spent += count
        return count

    def _pick(self) -> list[Molecule]:
        """Explore for one round and return the new geometries that were chosen, within the budget."""
        progress, combination = self.progress, self._account.combination
        starts = self.parts.starts.draw(
            derived(self._seed, "starts", combination, progress.round),
            min(self.settings.parallel, self._goal - progress.spent),
            self.settings.restart == "all",
        )
        streams = [
            derived(self._seed, "trajectory", combination, progress.trajectories + k) for k in range(len(starts))
        ]
        with self.parts.clock.on("exploration"):
            offer = self.parts.explorer.offer(self.parts.learner.potential(), starts, streams)
        progress.trajectories += len(starts)
        progress.model_calls += offer.model_calls
        progress.environment_steps += sum(offer.environment_steps)
        new = {hash: c for c in offer.candidates if (hash := c.molecule.geometry_hash()) not in self._known}
        progress.known += len(offer.candidates) - len(new)
        with self.parts.clock.on("selection"):
            return picks(self.parts.acquisition, self._round_of(list(new.values())))

    def _round_of(self, candidates: list[Candidate]) -> Round:
        """Return what the selection sees of a round."""
        progress, left = self.progress, self._goal - self.progress.spent
        return Round(
            progress.round,
            candidates,
            min(self.settings.parallel, left) if self.parts.acquisition.by_round else left,
            derived(self._seed, "choice", self._account.combination, progress.round),
            self.parts.training_features(),
            *self.parts.tangents([candidate.molecule for candidate in candidates]),
            self._labelled() if "labels" in self.parts.acquisition.sees else (),
        )

    def _labelled(self) -> list[LabelledMolecule]:
        """Return what was learned from on the way; each label is read once."""
        self._shown += [self.parts.service.labels.labelled(key) for key in self._added[len(self._shown) :]]
        return list(self._shown)

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
            elif self.parts.add(LabelledMolecule(asked.molecule, label)):
                self._added.append(Question.of(self.parts.oracle, asked.molecule).key)
            else:
                self.progress.guarded += 1
                self._refused.append(asked.molecule.geometry_hash())
        self.parts.follow()
        return len(answers)

    def _save(self) -> None:
        header: LoopState = {
            "combination": self._account.combination,
            "progress": self.progress.to_json(),
            "update": self.parts.learner.update,
            "added": self._added,
            "refused": self._refused,
            "asked": self._stream.to_json(),
            "cpu_s": self.parts.clock.spent_s,
        }
        self._snapshots.save(self.progress.round, self.parts.state(), header)

    def _resume(self) -> None:
        if found := self._snapshots.newest():
            tensors, header = found[0], cast(LoopState, found[1])
            self._restore(header)
            self.parts.follow()
            self.parts.restore(tensors, header["update"])

    def _restore(self, header: LoopState) -> None:
        self.progress = LoopProgress(**header["progress"])
        self.parts.clock.restore(header.get("cpu_s", {}))
        self._added, self._refused = list(header["added"]), list(header["refused"])
        labelled = [self.parts.service.labels.labelled(key) for key in self._added]
        for item in labelled:
            self.parts.add(item)
        self._known |= {item.molecule.geometry_hash() for item in labelled} | set(self._refused)
        self._known |= {molecule.geometry_hash() for molecule in self._stream.restore(header["asked"])}
