"""Choice of the library: xtb-python, or tblite for solvents and on versions of Python without xtb-python."""

from __future__ import annotations

from golfbench.contracts import Oracle
from golfbench.errors import ComponentMissingError
from golfbench_xtb import library


def gfn2(accuracy: float, electronic_temperature_k: float, max_iterations: int, solvent: str | None = None) -> Oracle:
    """Make the GFN2-xTB oracle; parameters as for ``engine.XtbOracle``, and an implicit solvent."""
    return _oracle("GFN2-xTB", accuracy, electronic_temperature_k, max_iterations, solvent)


def gfn1(accuracy: float, electronic_temperature_k: float, max_iterations: int, solvent: str | None = None) -> Oracle:
    """Make the GFN1-xTB oracle; parameters as for ``engine.XtbOracle``, and an implicit solvent."""
    return _oracle("GFN1-xTB", accuracy, electronic_temperature_k, max_iterations, solvent)


def _oracle(
    method: str, accuracy: float, electronic_temperature_k: float, max_iterations: int, solvent: str | None
) -> Oracle:
    """Return an oracle of xtb-python, or of tblite.

    xtb-python has only the older solvation model GBSA, and users compare with ``xtb --alpb``.

    Raises:
        ComponentMissingError: If tblite is needed and not installed.
    """
    if solvent is None and library() == "xtb":
        from golfbench_xtb.engine import XtbOracle

        return XtbOracle(method, accuracy, electronic_temperature_k, max_iterations)
    try:
        from golfbench_tblite.engine import TbliteOracle
    except ImportError as error:
        what = method if solvent is None else f"solvent={solvent}"
        raise ComponentMissingError(f"{what} is computed by tblite: pip install golfbench-tblite tblite") from error
    oracle: Oracle = TbliteOracle(method, accuracy, electronic_temperature_k, max_iterations, solvent)
    return oracle
