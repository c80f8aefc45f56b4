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


def _energies(default: str) -> Parameter:
    return Parameter("energies", default, "What the files hold; proven when they are opened.", ("total", "formation"))


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
    ]
