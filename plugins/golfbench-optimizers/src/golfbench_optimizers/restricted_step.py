"""Steps on a quadratic model within a trust radius."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from scipy.linalg.lapack import dpotrf, dpotrs

from golfbench.contracts import FloatArray

#: A step may be this much longer than the trust radius; the radius itself is a guess.
SLACK = 1.05
_MAX_SHIFTS = 12


@dataclass(frozen=True, slots=True)
class Metric:
    """A length ‖d‖² = |rows · d|² + floor |d|², of which the matrix T is made only where it is needed.

    Attributes:
        rows: (m, n).
        floor: Above 0, so that every displacement has a length.
    """

    rows: FloatArray
    floor: float

    def length(self, d: FloatArray) -> float:
        """Return the length of a displacement (n,)."""
        along = self.rows @ d
        return float(np.sqrt(along @ along + self.floor * (d @ d)))

    def matrix(self) -> FloatArray:
        """Return T, (n, n)."""
        matrix: FloatArray = self.rows.T @ self.rows
        matrix[np.diag_indices_from(matrix)] += self.floor
        return matrix


@dataclass(frozen=True, slots=True)
class Step:
    """A step on the model.

    Attributes:
        displacement: (n,), Å.
        predicted: Energy change of the quadratic model, Hartree.
        length: In the metric of the trust radius.
    """

    displacement: FloatArray
    predicted: float
    length: float


def factor(matrix: FloatArray) -> Callable[[FloatArray], FloatArray]:
    """Return what multiplies a vector (n,) by the inverse of a symmetric matrix (n, n), by Cholesky factorization.

    Raises:
        numpy.linalg.LinAlgError: If the matrix is not positive definite.
    """
    # LAPACK itself: for matrices as small as these, checks and copies around it take half as long as it does. The
    # transpose is in LAPACK's order, and its upper triangle is the lower one of the matrix.
    triangle, failed = dpotrf(matrix.T, lower=False, clean=False)
    if failed:
        raise np.linalg.LinAlgError("the matrix is not positive definite")

    def solve(vector: FloatArray) -> FloatArray:
        solution: FloatArray = dpotrs(triangle, vector, lower=False)[0]
        return solution

    return solve


def restricted_step(hessian: FloatArray, metric: Metric, gradient: FloatArray, radius: float) -> Step:
    """Minimize the rational function (g·d + ½ d·H·d) / (1 + α d·T·d) for the least α that keeps d within the radius.

    Restricted-step RFO (Eckert, Pulay & Werner 1997, doi
    10.1002/(SICI)1096-987X(199709)18:12<1473::AID-JCC5>3.0.CO;2-G) for a positive definite Hessian, where no
    eigenvectors are needed: a step is d = -(H + λT)⁻¹ g. With λ = 0, α = 0, it is the quasi-Newton step; where that
    is too long, λ grows until ‖d‖ = radius (Moré & Sorensen 1983, doi 10.1137/0904038). The plain rational function,
    α = 1 everywhere, damps short steps too and needs half a force call to one more per molecule.

    Args:
        hessian: (n, n), positive definite.
        metric: What ‖d‖ means.
        gradient: (n,).
        radius: Largest ‖d‖, but for ``SLACK``.

    Raises:
        numpy.linalg.LinAlgError: If the Hessian is not positive definite.
    """
    solve = factor(hessian)
    d = -solve(gradient)
    length = metric.length(d)
    if length > SLACK * radius:
        d = _shifted(hessian, metric.matrix(), gradient, radius, d, solve)
        length = metric.length(d)
    return Step(d, float(gradient @ d + 0.5 * d @ hessian @ d), length)


def _shifted(
    hessian: FloatArray,
    metric: FloatArray,
    gradient: FloatArray,
    radius: float,
    d: FloatArray,
    solve: Callable[[FloatArray], FloatArray],
) -> FloatArray:
    """Return -(H + λT)⁻¹ g of the length of the radius, by Newton iterations on 1/‖d‖ from λ = 0."""
    shift = 0.0
    for _ in range(_MAX_SHIFTS):
        weighted = metric @ d
        squared = float(d @ weighted)
        length = float(np.sqrt(squared))
        if length <= SLACK * radius:
            return d
        shift += squared / float(weighted @ solve(weighted)) * (length - radius) / radius
        solve = factor(hessian + shift * metric)
        d = -solve(gradient)
    return d * min(1.0, radius / float(np.sqrt(d @ metric @ d)))
