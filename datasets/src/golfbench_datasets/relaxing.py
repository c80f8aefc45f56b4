"""Conformations between an embedded conformer and a minimum: what a walk meets, and embedding alone does not give.

A network that has only seen conformers as ETKDG makes them has never seen the bond lengths of a minimum, and its walks
end where those of the force field do, or above.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

from golfbench.benchmark.duplicates import same_geometry
from golfbench.chemistry import bond_graph_changed
from golfbench.contracts import FloatArray, Model
from golfbench.minimization import Point, StoppingRule, minimize
from golfbench.molecules import Molecule
from golfbench.oracles.as_model import OracleModel
from golfbench.oracles.opening import open_oracle
from golfbench.registry import registry
from golfbench.seeds import derived
from golfbench.specs import ComponentRef, OptimizerSpec, OracleSpec

FORCE_FIELD, OPTIMIZER = ComponentRef("mmff94"), ComponentRef("rfo-internal")
#: When the force field's walk ends.
RULE = StoppingRule(force_max=0.02, max_steps=500)


@dataclass(frozen=True, slots=True)
class Relaxer:
    """Moves conformers along the walks of a force field.

    Attributes:
        model: The force field.
        seed: Of the draws.
    """

    model: Model
    seed: int

    def spread(self, groups: Iterable[Sequence[Molecule]]) -> Iterator[list[Molecule]]:
        """Yield the conformers of each molecule: the last one at its minimum, the one before it on the way to its own.

        Others stay as they are, and so does one that the force field cannot walk, whose bonds it changes, or that would
        be the other's minimum.
        """
        for group in groups:
            *embedded, on_the_way, last = group
            paths = self._paths([on_the_way, last])
            between = _moved(on_the_way, self._drawn(on_the_way, paths[0]))
            end = _moved(last, paths[1][-1])
            yield [*embedded, on_the_way if same_geometry(between, end) else between, end]

    def _paths(self, starts: Sequence[Molecule]) -> list[list[FloatArray]]:
        """Return the states of each walk; of one that has not arrived, the start alone."""
        paths: list[list[FloatArray]] = [[] for _ in starts]

        def observe(point: Point) -> bool:
            paths[point.index].append(point.positions)
            return False

        optimizer = registry().component(OptimizerSpec, OPTIMIZER).create()
        for outcome in minimize(self.model, starts, optimizer, RULE, observe):
            if outcome.status != "converged":
                paths[outcome.point.index] = [starts[outcome.point.index].positions]
        return paths

    def _drawn(self, molecule: Molecule, path: Sequence[FloatArray]) -> FloatArray:
        """Return one of the states between the ends, or the start where there is none."""
        if len(path) < 3:
            return path[0]
        return path[int(derived(self.seed, "on-the-way", molecule.id).integers(1, len(path) - 1))]


def _moved(molecule: Molecule, positions: FloatArray) -> Molecule:
    return molecule if bond_graph_changed(molecule, positions) else molecule.at(positions)


@contextmanager
def open_relaxer(seed: int) -> Iterator[Relaxer]:
    """Open the force field, and close it at the end."""
    component = registry().component(OracleSpec, FORCE_FIELD)
    with open_oracle(component, registry()) as oracle:
        yield Relaxer(OracleModel.of(oracle, component.spec.level_of_theory(component.parameters)), seed)
