"""The oracle ``pyscf``: density functionals, Hartree-Fock and MP2 by PySCF, which comes as a wheel."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from golfbench import hookimpl
from golfbench.specs import OracleSpec, Parameter

#: The level at which the labels are Psi4's, see benchmarks/pyscf_psi4.py.
METHOD, BASIS = "wB97X-D", "def2-SVP"
CPU, CUDA = "cpu", "cuda"
PLAIN = "plain"
#: Other ways to the same SCF, in the order in which they are tried.
HARDER = ("guess", "damping", "second-order")

#: PySCF 2.14.0 on one core, s of CPU: halothane (8 atoms), thiamazole (13), fluorouracil (12), nicotinamide (15) and
#: chlorzoxazone (15), by their sizes (see ``golfbench.oracles.sizes``).
TIMINGS = ((125, 21.1), (132, 28.5), (141, 33.9), (156, 43.0), (178, 59.2))

PARAMETERS = (
    Parameter("method", METHOD, "Functional of PySCF, with or without -d3bj and the like, hf or mp2."),
    Parameter("basis", BASIS, "Any basis set of PySCF."),
    Parameter("device", CPU, "cuda: by gpu4pyscf.", choices=(CPU, CUDA)),
    Parameter("scf", PLAIN, "How the SCF is found.", choices=(PLAIN, *HARDER), technical=True),
    Parameter("threads", 1, "Threads of one calculation.", technical=True),
    Parameter("memory", 2.0, "Working memory of one calculation, GB.", technical=True),
    Parameter("max_iterations", 100, "Limit of the SCF iterations; twice as many unless scf=plain.", technical=True),
)


def is_psi4s(method: Any, basis: Any, device: Any) -> bool:
    """Tell whether a level is the one at which the labels of Psi4 and of this oracle are the same."""
    return (str(method).lower(), str(basis).lower(), device) == (METHOD.lower(), BASIS.lower(), CPU)


@dataclass(frozen=True, kw_only=True)
class PyscfOracleSpec(OracleSpec):
    """An oracle whose level of theory is Psi4's where that has been shown, and its own elsewhere."""

    def level_of_theory(self, parameters: Mapping[str, Any]) -> str:
        """Return method and basis, with the program that fits and integrates unless it makes no difference."""
        given = self.resolve(parameters)
        if is_psi4s(given["method"], given["basis"], given["device"]):
            return f"{METHOD}/{BASIS}"
        return f"{given['method']}/{given['basis']}({'gpu4pyscf' if given['device'] == CUDA else 'pyscf'})"


@hookimpl
def golfbench_oracles() -> list[OracleSpec]:
    """Offer PySCF."""
    return [
        PyscfOracleSpec(
            name="pyscf",
            factory="golfbench_pyscf.engine:PyscfOracle",
            summary="Density functional theory by pip install: the oracle of the GOLF paper without Psi4.",
            method="{method}/{basis}",
            parameters=PARAMETERS,
            time_limit_s=6 * 3600.0,  # as for psi4
            slow=True,
            isolated=True,  # the end of memory takes its process down
            citation="10.1063/5.0006074",
            license="Apache-2.0",
            requires=("pyscf",),
            timings={"wB97X-D/def2-SVP": TIMINGS},
            install_hint='pip install "pyscf>=2.14,<2.15"',
            fallbacks=tuple({"scf": way} for way in HARDER),
        )
    ]
