"""A tiny track and a real run on it: molecules of three to twelve atoms, a tiny PaiNN, the real GFN2-xTB."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

from golfbench.benchmark.prepare import prepare
from golfbench.benchmark.protocol import Protocol
from golfbench.chemistry import embed, formula
from golfbench.contracts import Dataset, Label, LabelledMolecule, TestMolecule
from golfbench.leaderboard.entries import Entry
from golfbench.leaderboard.making import entries_of
from golfbench.leaderboard.tracks import Track, read_track
from golfbench.oracles.service import OracleService
from golfbench.registry import registry
from golfbench.runs.config import RunConfig
from golfbench.runs.directory import RunDirectory
from golfbench.runs.runner import run
from golfbench.specs import ComponentRef, OptimizerSpec

INITIAL = {"ethylamine": "CCN", "acetaldehyde": "CC=O", "propanol": "CCCO"}
TEST = {"methanol": ("CO", 1), "ethanol": ("CCO", 2), "methylamine": ("CN", 1), "dimethyl-ether": ("COC", 1)}
PROTOCOL = {"steps": 10, "inner_steps": 2, "evaluation_steps": [1, 3]}


@pytest.fixture(scope="session")
def tiny_dataset(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A dataset folder with GFN2-xTB labels and minima."""
    from golfbench_datasets.files import write_initial, write_test

    initial = [m for name, smiles in INITIAL.items() for m in embed(smiles, name, 2, seed=1)]
    test = [m for name, (smiles, count) in TEST.items() for m in embed(smiles, name, count, seed=2)]
    unlabelled = [LabelledMolecule(m, Label(0.0, m.positions, "none")) for m in initial]
    service = OracleService(tmp_path_factory.mktemp("labels"), workers=1)
    try:
        rule = Protocol(reference_force_max_ev_per_angstrom=0.05)
        blank = Dataset("tiny", "none", unlabelled, [TestMolecule(m) for m in test], "")
        made = prepare(blank, "GFN2-xTB", ComponentRef("gfn2-xtb"), service, new_optimizer, rule)
    finally:
        service.close()
    folder = tmp_path_factory.mktemp("tiny")
    write_initial(folder / "initial.db", made.method, made.initial)
    names = {item.molecule.id.rpartition("/")[0]: formula(item.molecule) for item in made.test}
    write_test(folder / "test.db", made.method, made.test, names)
    (folder / "dataset.yaml").write_text(f"name: {made.name}\nmethod: {made.method}\n")
    return folder


def new_optimizer() -> Any:
    return registry().find(OptimizerSpec, "lbfgs").create({})


@pytest.fixture(scope="session")
def finished_run(tiny_dataset: Path, tmp_path_factory: pytest.TempPathFactory) -> RunDirectory:
    """A run of four seeds."""
    config = RunConfig.model_validate(
        {
            "dataset": f"folder:path={tiny_dataset}",
            "models": ["painn:preset=small,features=8,interactions=1,radial=6"],
            "optimizers": ["lbfgs"],  # its walks are cut off, and one diverges
            "selections": ["random"],
            "seeds": [0, 1, 2, 3],
            "checkpoint": "none",
            "delta": "mmff94",
            "budget": 3,
            "baseline": {"updates": 5},
            "golf": {"parallel": 3, "steps": 4, "inner_steps": 2, "updates_per_label": 2},
            "protocol": PROTOCOL,
            "workers": 1,
            "cache": "off",
        }
    )
    output = tmp_path_factory.mktemp("runs")
    run(config, output, ["run", "/home/somebody/tiny.yaml", "--output=/home/somebody/out"], lambda *_: None)
    return RunDirectory(output / config.run_id())


@pytest.fixture(scope="session")
def track_facts(tiny_dataset: Path) -> dict[str, Any]:
    from golfbench.runs.runner import open_dataset

    name = f"folder:path={tiny_dataset}"
    return {
        "name": "tiny",
        "title": "Tiny",
        "dataset": {"name": name, "sha256": open_dataset(name).content_hash},
        "method": "GFN2-xTB",
        "oracle": {"name": "gfn2-xtb"},
        "protocol": {"steps": 10, "inner_steps": 2, "force_max_ev_per_angstrom": 0.02},
        "budgets": [3],
    }


@pytest.fixture
def leaderboards(track_facts: dict[str, Any], tmp_path: Path) -> Path:
    """A folder with the tiny track and no entry."""
    folder = tmp_path / "leaderboards"
    (folder / "tiny").mkdir(parents=True)
    (folder / "tiny" / "track.yaml").write_text(yaml.safe_dump(track_facts))
    return folder


@pytest.fixture(scope="session")
def track(track_facts: dict[str, Any]) -> Track:
    return Track.model_validate(track_facts)


@pytest.fixture(scope="session")
def dataset(track: Track) -> Dataset:
    return track.open_dataset()


@pytest.fixture(scope="session")
def entries(finished_run: RunDirectory, track: Track) -> list[Entry]:
    made, refused = entries_of(finished_run, track)
    assert refused == []
    return made


@pytest.fixture(scope="session")
def trained(entries: list[Entry]) -> Entry:
    """The trained combination."""
    (entry,) = (entry for entry in entries if entry.stage == "after")
    return entry


@pytest.fixture
def write_track(leaderboards: Path, track_facts: dict[str, Any]) -> Callable[..., Track]:
    def write(**changes: Any) -> Track:
        (leaderboards / "tiny" / "track.yaml").write_text(yaml.safe_dump(track_facts | changes))
        return read_track(leaderboards / "tiny")

    return write
