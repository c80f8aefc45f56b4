"""Reference energies that follow the labels: what pretrained weights need at a level of theory that is not theirs.

The energies of two levels of theory differ, atom by atom, by far more than conformers do. They are fitted by plain
least squares to what the pretrained potential lacks of the labels, as many as there are: a ridge of 1e-3 left 116
instead of 21 meV an atom where 64 labels were fitted.
"""

from __future__ import annotations

from copy import deepcopy

from golfbench.batches import make_batch
from golfbench.learning.pool import Pool
from golfbench.learning.potential import Potential
from golfbench.learning.targets import Composition, composition, corrected


class FollowingReferences:
    """Fits the reference energies of a potential to all labels of a pool whenever it has grown.

    What is fitted is the difference to the potential as it started: it does not depend on what was learned meanwhile,
    so that a resumed training finds the same references.

    Args:
        potential: With the weights that it starts from; they are copied.
    """

    def __init__(self, potential: Potential) -> None:
        self._potential = potential
        self._start = Potential(deepcopy(potential.networks), potential.atom_energies, potential.scale)
        self._compositions: list[Composition] = []
        self._lacking: list[float] = []

    def fit(self, pool: Pool) -> None:
        """Fit the references to a pool (to a sample of a large D_0), and compute its targets again."""
        for index in pool.sampled()[len(self._lacking) :]:
            sample = pool[index]
            batch = make_batch([sample.molecule], self._start.cutoff, self._start.device)
            # One by one: the last digits of an energy depend on what else is in a batch.
            self._lacking.append(sample.energy_hartree - float(self._start.energy_forces(batch).energies[0]))
            self._compositions.append(composition(sample.molecule))
        if not self._lacking:
            return
        self._potential.atom_energies = corrected(self._start.atom_energies, self._compositions, self._lacking)
        pool.retarget()
