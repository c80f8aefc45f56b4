"""Any ASE calculator as an oracle: ``ase`` for neutral closed shells, ``ase-charged`` for all charges and spins."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from golfbench import hookimpl
from golfbench.specs import OracleSpec, Parameter

PARAMETERS = (
    Parameter("calculator", None, "What makes the calculator, MODULE:FACTORY: tblite.ase:TBLite.", kind=str),
    Parameter("arguments", "", "Keyword arguments of the factory in round brackets: (method=GFN1-xTB,accuracy=0.1)."),
    Parameter("method", "", "Level of theory carried by labels; empty: the calculator with its arguments."),
    Parameter("reuse", False, "Keep one calculator for all calls: for models that remember nothing between calls."),
)


@dataclass(frozen=True, kw_only=True)
class AseOracleSpec(OracleSpec):
    """An oracle whose level of theory a person may name."""

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
        isolated=True,  # a stranger's engine may crash, leak, print and change the process
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
