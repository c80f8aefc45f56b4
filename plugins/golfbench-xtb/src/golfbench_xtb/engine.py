"""xtb-python as an oracle: single points in Hartree and Hartree/Å."""

from __future__ import annotations

from importlib.metadata import version

import numpy as np
from xtb.interface import Calculator, Param, Results, XTBException

from golfbench.contracts import FloatArray
from golfbench.errors import OracleError
from golfbench.molecules import Molecule
from golfbench.units import BOHR_TO_ANGSTROM
from golfbench.valence import check_valence

_NOT_CONVERGED = "did not converge"
_PARAMETRISATIONS = {"GFN2-xTB": Param.GFN2xTB, "GFN1-xTB": Param.GFN1xTB}
#: Temperatures of the smearing that a guess is made at, in units of the one that is asked for: at 1000 and 3000 K the
#: charges of PF6- with stretched bonds converge where at 300 K they do not.
_HOTTER = (10 / 3, 10.0)
#: Å, at the accuracy 1; twenty times the distance from a node at which xtb begins to leave a pair of orbitals out.
_AT_NODE = 1e-6
#: A rotation about an axis without symmetry: sines and cosines of 1, 2 and 3 rad, so that no rounded or symmetric
#: geometry is at a node when it is rotated.
_TURN = np.linalg.multi_dot(
    [
        [[np.cos(1), -np.sin(1), 0], [np.sin(1), np.cos(1), 0], [0, 0, 1]],
        [[1, 0, 0], [0, np.cos(2), -np.sin(2)], [0, np.sin(2), np.cos(2)]],
        [[np.cos(3), -np.sin(3), 0], [np.sin(3), np.cos(3), 0], [0, 0, 1]],
    ]
)


class XtbOracle:
    """One parametrisation of xtb; see ``golfbench.contracts.Oracle``.

    Every call builds a calculator of its own: no wavefunction is carried over, so a label depends on the molecule
    alone, and for molecules of tens of atoms reusing the calculator would not be measurably faster.

    xtb leaves pairs of orbitals that do not overlap out of its gradient, although their overlap may have a derivative
    (github.com/grimme-lab/xtb, issue 986): forces are wrong by up to 1 eV/Å, with the right energy, where two atoms
    share a coordinate or lie at another node of each other's orbitals. Such a molecule is rotated, and its forces are
    rotated back.

    Args:
        method: GFN2-xTB or GFN1-xTB.
        accuracy: Numerical accuracy, 1000 to 0.0001.
        electronic_temperature_k: Temperature of the Fermi smearing, K.
        max_iterations: Limit of the self-consistent charge iterations.
    """

    def __init__(self, method: str, accuracy: float, electronic_temperature_k: float, max_iterations: int) -> None:
        self._parametrisation = _PARAMETRISATIONS[method]
        self._accuracy = accuracy
        self._electronic_temperature_k = electronic_temperature_k
        self._max_iterations = max_iterations

    @property
    def version(self) -> str:
        """Version of the installed xtb, for example ``xtb 22.1 (nodes cured)``.

        The words in brackets distinguish labels in a cache from those of unchanged xtb, whose forces may be wrong.
        """
        return f"xtb {version('xtb')} (nodes cured)"

    def label(self, molecule: Molecule) -> tuple[float, FloatArray]:
        """Return energy (Hartree) and forces (n_atoms, 3) (Hartree/Å).

        Raises:
            OracleError: ``input`` for a charge or multiplicity that the valence electrons do not allow,
                ``not_converged`` when the charges do not converge, otherwise ``engine`` with xtb's reason.
        """
        check_valence(molecule)
        turn = _TURN if at_node(molecule.positions, _AT_NODE * max(1.0, self._accuracy)) else None
        try:
            results = self._converged(molecule if turn is None else molecule.at(molecule.positions @ turn.T))
            gradient = results.get_gradient() if turn is None else results.get_gradient() @ turn
            return results.get_energy(), gradient / -BOHR_TO_ANGSTROM
        except XTBException as error:
            raise _translate(error, molecule) from error

    def _converged(self, molecule: Molecule) -> Results:
        """Return a single point; where the charges do not converge, they start from those of a hotter smearing.

        The guess changes how the answer is found, not what it is: the label is that of the asked temperature.

        Raises:
            XTBException: The first one, if no guess helps.
        """
        try:
            return self._calculator(molecule, self._electronic_temperature_k).singlepoint()
        except XTBException as error:
            if _NOT_CONVERGED not in str(error):
                raise
            first = error
        for factor in _HOTTER:
            hot = factor * self._electronic_temperature_k
            try:
                guess = self._calculator(molecule, hot).singlepoint()
                return self._calculator(molecule, self._electronic_temperature_k).singlepoint(guess)
            except XTBException:
                continue
        raise first

    def _calculator(self, molecule: Molecule, electronic_temperature_k: float) -> Calculator:
        calculator = Calculator(
            self._parametrisation,
            molecule.numbers,
            molecule.positions / BOHR_TO_ANGSTROM,
            charge=molecule.charge,
            uhf=molecule.multiplicity - 1,
        )
        calculator.set_verbosity("muted")
        calculator.set_accuracy(self._accuracy)
        calculator.set_electronic_temperature(electronic_temperature_k)
        calculator.set_max_iterations(self._max_iterations)
        return calculator


def at_node(positions: FloatArray, distance: float) -> bool:
    """Return whether an atom lies at a node of another one's orbitals: p or d, or an s orbital seen from there.

    The nodes of the overlap are those of x, y, z, x² - y² and 2z² - x² - y² of the vector between the atoms; those of
    xy, xz and yz are among them.

    Args:
        positions: (n_atoms, 3), Å.
        distance: Atoms nearer to a node than this count as at the node, Å.
    """
    first, second = np.triu_indices(len(positions), 1)
    x, y, z = np.abs(positions[first] - positions[second]).T
    from_nodes = np.stack([x, y, z, x - y, np.sqrt(2) * z - np.hypot(x, y)])
    return bool((np.abs(from_nodes) < distance).any())


def _translate(error: XTBException, molecule: Molecule) -> OracleError:
    """Turn xtb's numbered stack of messages into one line; the root cause comes last."""
    lines = [line.lstrip("-0123456789 ") for line in str(error).splitlines()]
    kind = "not_converged" if _NOT_CONVERGED in str(error) else "engine"
    return OracleError(f"{molecule.id}: {'; '.join(line for line in lines if line)}", kind)
