"""The oracle ``psi4``: any method and basis of Psi4, in the process of the interpreter that has it."""

from golfbench import hookimpl
from golfbench.specs import OracleSpec, Parameter

#: Range-separated functionals are grossly wrong in 1.4 and what led to it, 1.4.1 corrects them (psi4 issue 2279).
REFUSED_ENGINES = r"psi4 1\.4(\.0)?([^.\d].*)?"
#: Psi4 is no PyPI package.
INSTALL_HINT = "apt-get install psi4 libopenblas0, or conda install -c conda-forge psi4"

#: Psi4 1.3.2 on one core, s of CPU: thiamazole (13 atoms), nicotinamide (15), paracetamol (20) and zonisamide (22), by
#: their sizes (see ``golfbench.oracles.sizes``).
TIMINGS = ((132, 16.6), (156, 23.0), (199, 41.1), (240, 77.0))

PLAIN = "plain"
#: Other ways to the same SCF, in the order in which they are tried.
HARDER = ("guess", "damping", "second-order")

PARAMETERS = (
    Parameter("method", "wB97X-D", "Any method of Psi4 that has gradients."),
    Parameter("basis", "def2-SVP", "Any basis set of Psi4."),
    Parameter("scf", "plain", "How the SCF is found.", choices=(PLAIN, *HARDER), technical=True),
    Parameter("threads", 1, "Threads of one calculation.", technical=True),
    Parameter("memory", "1 GB", "Working memory of one step of a calculation; a bare number is GB.", technical=True),
    Parameter("max_iterations", 100, "Limit of the SCF iterations; twice as many unless scf=plain.", technical=True),
    Parameter("python", "", "The psi4 program, its interpreter or environment; empty: a search.", technical=True),
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
            slow=True,
            isolated=True,  # leaks, and a crash or the end of memory takes its process down
            citation="10.1063/5.0006002",
            license="LGPL-3.0-only",
            install_hint=INSTALL_HINT,
            fallbacks=tuple({"scf": way} for way in HARDER),
            refused_engines=REFUSED_ENGINES,
            timings={"wB97X-D/def2-SVP": TIMINGS},
        )
    ]
