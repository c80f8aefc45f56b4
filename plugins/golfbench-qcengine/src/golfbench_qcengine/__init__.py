"""The oracle ``qcengine``: any program that QCEngine drives, at any method and basis."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from golfbench import hookimpl
from golfbench.specs import OracleSpec, Parameter

PARAMETERS = (
    Parameter("program", None, "Name of the program in QCEngine: psi4, xtb, nwchem, ...", kind=str),
    Parameter("method", None, "Any method of the program that has gradients.", kind=str),
    Parameter("basis", "", "Any basis set of the program; empty for methods without."),
    Parameter("keywords", "", "Keywords of the program in round brackets: (scf_type=df,maxiter=200)."),
    Parameter("level", "", "Level of theory carried by labels; empty: method, basis and keywords."),
    Parameter("memory", 2.0, "Working memory of one calculation, GiB.", technical=True),
    Parameter("threads", 1, "Threads of one calculation.", technical=True),
)


@dataclass(frozen=True, kw_only=True)
class QcengineOracleSpec(OracleSpec):
    """An oracle whose basis may be empty, and whose level of theory the user may name."""

    def level_of_theory(self, parameters: Mapping[str, Any]) -> str:
        """Return the level that was given, or else method, basis and keywords."""
        given = self.resolve(parameters)
        basis = f"/{given['basis']}" if given["basis"] else ""
        return str(given["level"] or f"{given['method']}{basis}{given['keywords']}")


@hookimpl
def golfbench_oracles() -> list[OracleSpec]:
    """Offer QCEngine."""
    return [
        QcengineOracleSpec(
            name="qcengine",
            factory="golfbench_qcengine.engine:QcengineOracle",
            summary="Psi4, NWChem, xtb and all the other programs that QCEngine drives.",
            method="{method}/{basis}{keywords}",
            parameters=PARAMETERS,
            isolated=True,  # some programs run in the same process
            time_limit_s=6 * 3600.0,  # as for psi4
            citation="10.1063/5.0059356",
            license="BSD-3-Clause",
            requires=("qcengine", "qcelemental"),
            refused_engines=r"psi4 1\.4(\.0)?([^.\d].*)?",  # wrong range-separated functionals (psi4 issue 2279)
            install_hint='pip install "qcengine>=0.34.2,<0.35" "qcelemental>=0.51.4,<0.52"',
        )
    ]
