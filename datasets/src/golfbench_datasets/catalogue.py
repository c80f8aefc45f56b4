"""Datasets of others: what each is, what can be chosen, and where its files are. Imports nothing heavy."""

from __future__ import annotations

from golfbench.specs import DataFile, DatasetSpec, Parameter

METHOD = "wB97X-D/def2-SVP"
SPICE_METHOD = "wB97M-D3(BJ)/def2-TZVPPD"

_NABLA2 = "https://a002dlils-kadurin-nabladft.obs.ru-moscow-1.hc.sbercloud.ru/data/nablaDFTv2/energy_databases/"
_TOTAL, _FORMATION = "golfbench_datasets.nabla:check_total", "golfbench_datasets.nabla:check_formation"
_PATH = Parameter("path", None, "Folder that the files lie in, instead of the store.", kind=str)


def _golf(split: str, name: str, link: str, *with_splits: str) -> DataFile:
    url = f"https://sc.link/{link}"
    return DataFile(split=split, name=name, url=url, check=_TOTAL, together_with=with_splits)


def _nabla2(split: str, name: str) -> DataFile:
    return DataFile(split=split, name=name, url=_NABLA2 + name, check=_FORMATION)


_WHERE = Parameter("path", None, "Folder of the repository.", kind=str)
_TRAIN = Parameter(
    "train", "druglike-xtb", "Whose initial set is learned from.", ("druglike-mini", "druglike-xtb", "druglike-xtb-10k")
)


#: D_0, the trajectories that training adds to it, and D_test. Sizes and checksums were never published.
GOLF_FILES = (
    _golf("d0", "D-0.db", "FpEvS", "test"),
    _golf("traj-10k", "D-traj-10k.db", "ZQRiV", "d0", "test"),
    _golf("traj-100k", "D-traj-100k.db", "Z0ebo", "d0", "test"),
    _golf("traj-500k", "D-traj-500k.db", "hj1JX", "d0", "test"),
    _golf("test", "D-test.db", "W6RUA"),
)
NABLA2_FILES = (
    _nabla2("tiny", "train_2k_v2_formation_energy_w_forces.db"),
    _nabla2("small", "train_5k_v2_formation_energy_w_forces.db"),
    _nabla2("medium", "train_10k_v2_formation_energy_w_forces.db"),
    _nabla2("large", "train_100k_v2_formation_energy_w_forces.db"),
    _nabla2("full", "train_full_v2_formation_energy_w_forces_wo_outliers.db"),
    _nabla2("medium-traj", "train_medium_v2_trajectories_wo_outliers.db"),
    _nabla2("additional-traj", "additional_trajectories.db"),
    _nabla2("test", "test_trajectories_initial.db"),
    _nabla2("test-traj", "test_trajectories.db"),
)

SPICE_FILES = (
    DataFile(
        split="2.0.1",
        name="SPICE-2.0.1.hdf5",
        url="https://zenodo.org/records/10975225/files/SPICE-2.0.1.hdf5",
        size_bytes=37_479_271_148,
        check="golfbench_datasets.spice:check_file",
    ),
)


def _energies(default: str) -> Parameter:
    return Parameter(
        "energies", default, "Kind of energies in the files; checked when they are opened.", ("total", "formation")
    )


def specs() -> list[DatasetSpec]:
    """Return the datasets of others."""
    return [
        DatasetSpec(
            name="nabladft-golf",
            factory="golfbench_datasets.nabla:open_golf",
            summary="The data of the GOLF paper: D_0, its DFT trajectories and D_test; datasets fetch brings it.",
            method=METHOD,
            license="MIT",
            citation="arXiv:2311.06295",
            files=GOLF_FILES,
            parameters=(
                Parameter(
                    "train",
                    "d0",
                    "D_0, or D_0 and so many states of DFT trajectories.",
                    ("d0", "traj-10k", "traj-100k", "traj-500k"),
                ),
                _PATH,
                _energies("total"),
            ),
        ),
        DatasetSpec(
            name="nabla2dft",
            factory="golfbench_datasets.nabla:open_nabla2",
            summary="nabla2DFT, the successor of the paper's data: training sets of 12 000 to 9 million conformations.",
            method=METHOD,
            license="MIT",
            citation="arXiv:2406.14347",
            files=NABLA2_FILES,
            parameters=(
                Parameter(
                    "train",
                    "tiny",
                    "The training set; the last two are states of DFT trajectories.",
                    ("tiny", "small", "medium", "large", "full", "medium-traj", "additional-traj"),
                ),
                Parameter(
                    "test", "test", "Starts of the test trajectories, or the trajectories.", ("test", "test-traj")
                ),
                _PATH,
                _energies("formation"),
            ),
        ),
        DatasetSpec(
            name="spice",
            factory="golfbench_datasets.spice:open_spice",
            summary=f"SPICE, 2 million conformations of 114 000 systems; another level of theory, {SPICE_METHOD}.",
            method=SPICE_METHOD,
            license="CC0-1.0",
            citation="10.1038/s41597-022-01882-6",
            requires=("h5py",),
            install_hint="pip install 'golfbench-datasets[spice]'",
            files=SPICE_FILES,
            parameters=(
                Parameter("subset", "PubChem", "What the name of a molecule's subset contains, or all."),
                _PATH,
                Parameter("version", "2.0.1", "The release.", ("2.0.1",)),
            ),
        ),
        DatasetSpec(
            name="mpconf196gen",
            factory="golfbench_datasets.outside:open_mpconf",
            summary="13 peptides and macrocycles with GFN2-xTB minima of CREST, to test on; read where you have them.",
            method="GFN2-xTB",
            license="CC-BY-4.0",
            citation="10.1021/acs.jctc.7b01074",
            parameters=(
                _WHERE,
                Parameter(
                    "starts",
                    "input",
                    "The geometries that CREST began from, or places near its minima.",
                    ("input", "crest"),
                ),
                Parameter("conformers", 4, "Minima of each molecule, spread over its ensemble, for starts=crest."),
                _TRAIN,
            ),
        ),
        DatasetSpec(
            name="conformer-benchmark",
            factory="golfbench_datasets.outside:open_conformers",
            summary="Conformers of 700 drug-like molecules, no minima, to start from; read where you have them.",
            method="GFN2-xTB",
            license="MIT",
            citation="10.1002/qua.26381",
            parameters=(_WHERE, Parameter("conformers", 1, "Conformers of each molecule, of ten."), _TRAIN),
        ),
    ]
