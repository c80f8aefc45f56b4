"""The oracle ``psi4``: any method and basis of Psi4, in the process of the interpreter that has it."""

from golfbench import hookimpl
from golfbench.specs import OracleSpec, Parameter

#: Psi4 is no PyPI package.
INSTALL_HINT = "apt-get install psi4, or conda install -c conda-forge psi4"

PARAMETERS = (
    Parameter("method", "wB97X-D", "Any method of Psi4 that has gradients."),
    Parameter("basis", "def2-SVP", "Any basis set of Psi4."),
    Parameter("threads", 1, "Threads of one calculation."),
    Parameter("memory", "2 GB", "Working memory of one calculation; a bare number is GB."),
    Parameter("max_iterations", 100, "Limit of the SCF iterations; the second attempt gets twice as many."),
    Parameter("python", "", "The psi4 program, its Python interpreter or environment; empty: it is searched for."),
)


@hookimpl
def golfbench_oracles() -> list[OracleSpec]:
    """Offer Psi4."""
    return [
        OracleSpec(
            name="psi4",
            factory="golfbench_psi4.engine:Psi4Oracle",
            summary="Density functional theory and more: the genuine oracle of the GOLF paper.",
            method="{method}/{basis}",
            parameters=PARAMETERS,
            time_limit_s=6 * 3600.0,  # a gradient of 30 atoms took 4 minutes on an idle core, and clusters are not idle
            isolated=True,  # leaks, and a crash or the end of memory takes its process down
            citation="10.1063/5.0006002",
            license="LGPL-3.0-only",
            install_hint=INSTALL_HINT,
        )
    ]
