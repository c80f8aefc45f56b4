"""The oracle ``tblite``: GFN2-xTB and GFN1-xTB through the library tblite."""

from golfbench import hookimpl
from golfbench.specs import OracleSpec, Parameter

#: H to Rn.
ELEMENTS = frozenset(range(1, 87))

#: Those that ALPB has parameters for.
SOLVENTS = (
    *("acetone", "acetonitrile", "aniline", "benzaldehyde", "benzene", "ch2cl2", "chcl3", "cs2", "dioxane", "dmf"),
    *("dmso", "ethanol", "ether", "ethylacetate", "furane", "hexadecane", "hexane", "methanol", "nitromethane"),
    *("octanol", "phenol", "thf", "toluene", "water", "woctanol"),
)

PARAMETERS = (
    Parameter("method", "GFN2-xTB", "Parametrisation.", choices=("GFN2-xTB", "GFN1-xTB")),
    Parameter("accuracy", 1.0, "Numerical accuracy, 1000 (loose) to 0.0001 (tight)."),
    Parameter("electronic_temperature_k", 300.0, "Temperature of the Fermi smearing, K."),
    Parameter("solvent", None, "Implicit solvent by ALPB, for example water.", choices=SOLVENTS, kind=str),
    Parameter("max_iterations", 250, "Limit of the self-consistent charge iterations.", technical=True),
)


@hookimpl
def golfbench_oracles() -> list[OracleSpec]:
    """Offer tblite. Its labels are those of the oracles ``gfn2-xtb`` and ``gfn1-xtb`` within 5e-8 Hartree."""
    return [
        OracleSpec(
            name="tblite",
            factory="golfbench_tblite.engine:TbliteOracle",
            summary="Extended tight binding (GFN2-xTB, GFN1-xTB) by the library tblite.",
            method="{method}",
            solvation="ALPB",
            parameters=PARAMETERS,
            elements=ELEMENTS,
            safe_in_headers=True,
            isolated=True,  # impossible electron counts corrupt its memory
            citation="10.1021/acs.jctc.8b01176",
            license="LGPL-3.0-or-later",
            requires=("tblite",),
            install_hint="pip install tblite",
        )
    ]
