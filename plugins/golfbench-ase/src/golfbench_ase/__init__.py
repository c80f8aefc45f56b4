"""Any ASE calculator as an oracle, and ASE's optimizers.

Oracles: ``ase`` for neutral closed shells, ``ase-charged`` for all charges and spins. Optimizers: ``ase-lbfgs``,
``ase-fire`` and others, for comparison.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from golfbench import hookimpl
from golfbench.specs import OptimizerSpec, OracleSpec, Parameter

PARAMETERS = (
    Parameter("calculator", None, "What makes the calculator, MODULE:FACTORY: tblite.ase:TBLite.", kind=str),
    Parameter("arguments", "", "Keyword arguments of the factory in round brackets: (method=GFN1-xTB,accuracy=0.1)."),
    Parameter("method", "", "Level of theory carried by labels; empty: the calculator with its arguments."),
    Parameter("reuse", False, "Keep one calculator for all calls: for models that remember nothing between calls."),
)


@dataclass(frozen=True, kw_only=True)
class AseOracleSpec(OracleSpec):
    """An oracle whose level of theory the user may name."""

    def level_of_theory(self, parameters: Mapping[str, Any]) -> str:
        """Return the method that was given, or else the calculator with its arguments."""
        return str(self.resolve(parameters)["method"] or super().level_of_theory(parameters))


def _spec(name: str, attribute: str, told: bool, summary: str) -> OracleSpec:
    return AseOracleSpec(
        name=name,
        factory=f"golfbench_ase.engine:{attribute}",
        summary=summary,
        method="{calculator}{arguments}",
        parameters=PARAMETERS,
        charged=told,
        open_shell=told,
        isolated=True,  # an unknown engine may crash, leak, print and change the process
        citation="10.1088/1361-648X/aa680e",
        license="LGPL-2.1-or-later",
        requires=("ase",),
        install_hint="pip install ase",
    )


@hookimpl
def golfbench_oracles() -> list[OracleSpec]:
    """Offer calculators that are told nothing but elements and positions, and such that are told charge and spin."""
    return [
        _spec("ase", "neutral", False, "Any ASE calculator, for neutral molecules with closed shells."),
        _spec("ase-charged", "charged", True, "Any ASE calculator that takes charge and spin from the molecule."),
    ]


_MAX_STEP = Parameter("max_step", 0.2, "Largest displacement of an atom in one step, Å.")
_MEMORY = Parameter("memory", 100, "Pairs of displacement and gradient change kept.")


def _optimizer_spec(
    name: str, algorithm: str, summary: str, citation: str, parameters: tuple[Parameter, ...] = (_MAX_STEP,)
) -> OptimizerSpec:
    return OptimizerSpec(
        name=f"ase-{name}",
        factory=f"golfbench_ase.optimizers:{name.replace('-', '_')}",
        summary=f"ASE's {algorithm}: {summary}",
        parameters=parameters,
        citation=citation,
        license="LGPL-2.1-or-later",
        requires=("ase",),
        install_hint="pip install ase",
    )


@hookimpl
def golfbench_optimizers() -> list[OptimizerSpec]:
    """Offer ASE's optimizers as they are, each molecule on its own."""
    ase = "10.1088/1361-648X/aa680e"
    lbfgs = (_MEMORY, _MAX_STEP)
    return [
        _optimizer_spec("lbfgs", "LBFGS", "limited-memory BFGS without line search.", "10.1007/BF01589116", lbfgs),
        _optimizer_spec("bfgs", "BFGS", "full Hessian, its eigenvalues made positive.", ase),
        _optimizer_spec("bfgs-line-search", "BFGSLineSearch (QuasiNewton)", "BFGS with a line search.", ase),
        _optimizer_spec("rfo", "RFO", "rational function optimization on BFGS updates.", "10.1021/j100247a015"),
        _optimizer_spec("fire", "FIRE", "inertial relaxation.", "10.1103/PhysRevLett.97.170201"),
        _optimizer_spec("fire2", "FIRE2", "inertial relaxation, version 2.0.", "10.1016/j.commatsci.2020.109584"),
        _optimizer_spec("good-old-quasi-newton", "GoodOldQuasiNewton", "quasi-Newton in a trust region.", ase, ()),
    ]
