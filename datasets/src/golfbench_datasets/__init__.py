"""The datasets that ship with golfbench, a reader for folders in the same format, and readers of others' datasets."""

from golfbench import hookimpl
from golfbench.specs import DatasetSpec, Parameter
from golfbench_datasets import catalogue

_READER = "golfbench_datasets.reader"


@hookimpl
def golfbench_datasets() -> list[DatasetSpec]:
    """Offer the datasets that ship, ``folder`` for one's own, and those of others."""
    return [
        DatasetSpec(
            name="druglike-mini",
            factory=f"{_READER}:open_druglike_mini",
            summary="The small molecules (18 to 30 atoms) of druglike-xtb: first runs and continuous integration.",
            method="GFN2-xTB",
            license="MIT",
        ),
        DatasetSpec(
            name="druglike-xtb",
            factory=f"{_READER}:open_druglike_xtb",
            summary="Drug-like molecules (18 to 60 atoms, H C N O F S Cl Br); the test part are known drugs.",
            method="GFN2-xTB",
            license="MIT",
        ),
        DatasetSpec(
            name="druglike-xtb-10k",
            factory=f"{_READER}:open_druglike_xtb_10k",
            summary="The drugs of druglike-xtb with an initial set of the paper's size: 10 000 conformations.",
            method="GFN2-xTB",
            license="MIT",
        ),
        DatasetSpec(
            name="druglike-dft",
            factory=f"{_READER}:open_druglike_dft",
            summary="Eighteen small drugs (12 to 22 atoms) at the GOLF paper's level: density functional theory.",
            method="wB97X-D/def2-SVP",
            license="MIT",
        ),
        DatasetSpec(
            name="folder",
            factory=f"{_READER}:open_dataset",
            summary="A folder of your own with dataset.yaml, initial.db and test.db (ASE SQLite).",
            method="from dataset.yaml",
            parameters=(Parameter("path", None, "The folder.", kind=str),),
            builder="golfbench_datasets.own:build",
        ),
        *catalogue.specs(),
    ]
