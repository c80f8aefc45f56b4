"""Checks of oracles, called as the suite calls them: with its own checks, and in a process of their own if isolated."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from golfbench.contracts import FloatArray
from golfbench.errors import OracleError
from golfbench.molecules import Molecule
from golfbench.oracles.opening import CheckedOracle, open_oracle
from golfbench.specs import OracleSpec, Spec
from golfbench.testing import physics, potentials
from golfbench.testing.results import Check, Finding, check
from golfbench.testing.samples import SMALLEST, sample, samples
from golfbench.testing.subject import Subject

CHECKS: list[Check] = [*potentials.CHECKS]
#: An anion and a cation that every engine knows, and a radical.
IONS = ("[O-]C=O", "C[NH3+]")
RADICAL = "[CH3]"
#: Wall-clock limit of one call, s.
TIME_LIMIT_S = 600.0


class Bench:
    """An oracle, opened with the first call.

    Args:
        subject: The component.

    Attributes:
        oracle: The oracle behind the suite's checks.
        elements: Atomic numbers that it declares.
    """

    def __init__(self, subject: Subject) -> None:
        assert isinstance(subject.spec, OracleSpec)
        self.subject, self.spec, self.elements = subject, subject.spec, subject.spec.elements
        self.oracle: CheckedOracle = open_oracle(subject.ref, subject.registry, time_limit_s=TIME_LIMIT_S)

    def evaluate(self, molecule: Molecule) -> tuple[float, FloatArray]:
        """Return energy (Hartree) and forces (n_atoms, 3) (Hartree/Å)."""
        return self.oracle.label(molecule)

    def close(self) -> None:
        """End the oracle's process."""
        self.oracle.close()


def _is_isolated(spec: Spec) -> bool:
    return isinstance(spec, OracleSpec) and spec.isolated


@check(CHECKS)
def method(bench: Bench) -> Finding:
    """The level of theory is a name with every parameter filled in, and the engine has a version."""
    problems = []
    theory = bench.spec.level_of_theory(bench.subject.ref.parameters)
    if not theory.strip() or "None" in theory or set("{}") & set(theory):
        problems.append(f"the level of theory is '{theory}'")
    bench.evaluate(samples(SMALLEST, bench.elements)[-1])  # the version of an isolated engine is known when it runs
    if not bench.oracle.version.strip():
        problems.append("no version")
    return Finding.of_problems(problems)


@check(CHECKS, "labels")
def charge(bench: Bench) -> Finding:
    """Ions are labelled where charged is declared, and refused as input where it is not."""
    ions = [m for m in map(sample, IONS) if bench.elements is None or set(m.numbers.tolist()) <= bench.elements]
    return Finding.of_problems([p for ion in ions for p in _as_declared(bench, ion, bench.spec.charged)])


@check(CHECKS, "labels")
def open_shell(bench: Bench) -> Finding:
    """A radical is labelled where open_shell is declared, and refused as input where it is not."""
    radical = sample(RADICAL)
    if bench.elements is not None and not set(radical.numbers.tolist()) <= bench.elements:
        return Finding.of_problems([])
    return Finding.of_problems(_as_declared(bench, radical, bench.spec.open_shell))


def _as_declared(bench: Bench, molecule: Molecule, taken: bool) -> list[str]:
    try:
        energy, _ = bench.evaluate(molecule)
    except OracleError as error:
        refused = error.kind == "input" and not taken
        return [] if refused else [f"{molecule.id}: {error} (kind {error.kind})"]
    return [] if taken and np.isfinite(energy) else [f"{molecule.id}: labelled, but not declared"]


@check(CHECKS, "repeatable")
def bad_input(bench: Bench) -> Finding:
    """Impossible molecules are refused as input (never a crash or a number), and the next answer is as before."""
    good = samples(SMALLEST, bench.elements)[-1]
    before = bench.evaluate(good)
    problems = []
    for what, molecule in _impossible(good, bench.elements).items():
        try:
            energy, _ = bench.evaluate(molecule)
            problems.append(f"{what}: labelled with {energy}")
        except OracleError as error:
            if error.kind != "input":
                problems.append(f"{what}: kind {error.kind}")
    if not physics.difference(bench.evaluate(good), before) <= potentials.REPEAT_TOLERANCE:
        problems.append("the next answer is another")
    return Finding.of_problems(problems)


def _impossible(good: Molecule, elements: frozenset[int] | None) -> dict[str, Molecule]:
    """Return molecules that no engine should be given, by what is wrong with them."""
    nowhere, overlapping = good.positions.copy(), good.positions.copy()
    nowhere[0, 0] = np.nan
    overlapping[0] = overlapping[1] + 0.01
    wrong = {
        "NaN": good.at(nowhere),
        "overlapping atoms": good.at(overlapping),
        "odd electrons": replace(good, charge=good.charge + 1, smiles=None),
        "no atoms": Molecule("nothing", np.zeros(0, dtype=np.int64), np.zeros((0, 3))),
    }
    outside = sorted(set(range(1, 119)) - elements) if elements is not None else []
    if outside:
        numbers = good.numbers.copy()
        numbers[0] = outside[-1]
        wrong["an element that is not declared"] = replace(good, numbers=numbers, smiles=None)
    return wrong


@check(CHECKS, "repeatable")
def energy_alone(bench: Bench) -> Finding:
    """The energy computed without forces is the energy of the label."""
    errors = [abs(bench.oracle.energy(m) - bench.evaluate(m)[0]) for m in samples(SMALLEST, bench.elements)]
    return Finding(max(errors), potentials.REPEAT_TOLERANCE, "Hartree")


@check(CHECKS, "repeatable", when=_is_isolated)
def fresh_process(bench: Bench) -> Finding:
    """A fresh worker process gives the same answer as the last one."""
    molecule = samples(SMALLEST, bench.elements)[0]
    before = bench.evaluate(molecule)
    bench.oracle.close()
    return Finding(
        physics.difference(bench.evaluate(molecule), before), potentials.REPEAT_TOLERANCE, "Hartree, Hartree/Å"
    )
