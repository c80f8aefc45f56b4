"""Semiempirical oracles through xtb-python or tblite: ``gfn2-xtb`` and ``gfn1-xtb``."""

from importlib.util import find_spec
from sys import version_info

from golfbench import hookimpl
from golfbench.specs import OracleSpec, Parameter

#: H to Rn; heavier elements crash the library.
ELEMENTS = frozenset(range(1, 87))

#: Those that ALPB has parameters for: the same as of the oracle ``tblite``, which computes them.
SOLVENTS = (
    *("acetone", "acetonitrile", "aniline", "benzaldehyde", "benzene", "ch2cl2", "chcl3", "cs2", "dioxane", "dmf"),
    *("dmso", "ethanol", "ether", "ethylacetate", "furane", "hexadecane", "hexane", "methanol", "nitromethane"),
    *("octanol", "phenol", "thf", "toluene", "water", "woctanol"),
)

PARAMETERS = (
    Parameter("accuracy", 1.0, "Numerical accuracy, 1000 (loose) to 0.0001 (tight)."),
    Parameter("electronic_temperature_k", 300.0, "Temperature of the Fermi smearing, K."),
    Parameter(
        "solvent",
        None,
        "Implicit solvent by ALPB, for example water; computed by tblite, which must be installed.",
        choices=SOLVENTS,
        kind=str,
    ),
    Parameter("max_iterations", 250, "Limit of the self-consistent charge iterations.", technical=True),
)


def library() -> str:
    """Return the library that computes: ``xtb``, which is xtb-python, or ``tblite``.

    xtb-python has no wheels for Python 3.12 and later; there it is used only if it is installed (from conda-forge).
    """
    return "xtb" if version_info < (3, 12) or find_spec("xtb") else "tblite"


def _spec(name: str, attribute: str, method: str, aliases: tuple[str, ...], summary: str, citation: str) -> OracleSpec:
    return OracleSpec(
        name=name,
        aliases=aliases,
        factory=f"golfbench_xtb.factories:{attribute}",
        summary=summary,
        method=method,
        solvation="ALPB",
        parameters=PARAMETERS,
        elements=ELEMENTS,
        safe_in_headers=True,
        isolated=True,  # the library takes the process down for input that it does not know
        citation=citation,
        license="LGPL-3.0-or-later",
        requires=("xtb",) if library() == "xtb" else ("golfbench_tblite", "tblite"),
        install_hint="pip install xtb" if library() == "xtb" else "pip install golfbench-tblite tblite",
    )


@hookimpl
def golfbench_oracles() -> list[OracleSpec]:
    """Offer GFN2-xTB (also found as ``xtb``) and GFN1-xTB."""
    gfn2 = "Extended tight binding with multipole electrostatics and D4 dispersion: an oracle for a laptop."
    gfn1 = "Extended tight binding with D3 dispersion, the predecessor of GFN2-xTB."
    return [
        _spec("gfn2-xtb", "gfn2", "GFN2-xTB", ("xtb",), gfn2, "10.1021/acs.jctc.8b01176"),
        _spec("gfn1-xtb", "gfn1", "GFN1-xTB", (), gfn1, "10.1021/acs.jctc.7b00118"),
    ]
