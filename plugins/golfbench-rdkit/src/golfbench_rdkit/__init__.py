"""RDKit's force fields as golfbench oracles: ``mmff94`` and ``uff``."""

from golfbench import hookimpl
from golfbench.specs import OracleSpec

#: H Li C N O F Na Mg Si P S Cl K Ca Fe Cu Zn Br I: the elements that MMFF94 has atom types for (the metals as ions).
MMFF94_ELEMENTS = frozenset({1, 3, 6, 7, 8, 9, 11, 12, 14, 15, 16, 17, 19, 20, 26, 29, 30, 35, 53})
#: H to Lr.
UFF_ELEMENTS = frozenset(range(1, 104))


@hookimpl
def golfbench_oracles() -> list[OracleSpec]:
    """Offer MMFF94 and UFF. Both need a SMILES, know no spin, and cost less than a millisecond."""
    return [
        OracleSpec(
            name="mmff94",
            factory="golfbench_rdkit.force_fields:Mmff94",
            summary="Merck molecular force field of RDKit; the surrogate of the GOLF paper.",
            method="MMFF94",
            elements=MMFF94_ELEMENTS,
            open_shell=False,
            isolated=False,
            cheap=True,
            citation="10.1002/(SICI)1096-987X(199604)17:5/6<490::AID-JCC1>3.0.CO;2-P",
            license="BSD-3-Clause",
            requires=("rdkit",),
            install_hint="pip install rdkit",
        ),
        OracleSpec(
            name="uff",
            factory="golfbench_rdkit.force_fields:Uff",
            summary="Universal force field of RDKit, without electrostatics.",
            method="UFF",
            elements=UFF_ELEMENTS,
            open_shell=False,
            isolated=False,
            cheap=True,
            citation="10.1021/ja00051a040",
            license="BSD-3-Clause",
            requires=("rdkit",),
            install_hint="pip install rdkit",
        ),
    ]
