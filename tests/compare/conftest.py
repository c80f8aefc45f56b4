"""The published runs of the examples, and copies of them that somebody made worse."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from golfbench.cli.main import build_app

ROOT = Path(__file__).parents[2]
SEEDS = ROOT / "examples" / "results" / "druglike-mini-seeds"
LONG = Path(__file__).parent / "one_seed"
Line = dict[str, Any]


@pytest.fixture(scope="session")
def seeds() -> Path:
    """GOLF and the random control, three seeds each, on twelve compounds."""
    return SEEDS


@pytest.fixture(scope="session")
def long_run() -> Path:
    """One seed on 42 compounds: a small PaiNN on MMFF94, 256 labels."""
    return LONG


@pytest.fixture(scope="session")
def entries() -> Path:
    return ROOT / "leaderboards" / "druglike-xtb"


@pytest.fixture
def altered(tmp_path: Path) -> Callable[..., Path]:
    """Copy a run; ``record`` returns what a line becomes (``None``: it is left out), ``manifest`` edits in place."""

    def copy(
        source: Path,
        record: Callable[[Line], Line | None] = lambda line: line,
        manifest: Callable[[Line], object] = lambda facts: None,
        name: str = "altered",
    ) -> Path:
        folder = Path(shutil.copytree(source, tmp_path / name))
        facts = json.loads((folder / "manifest.json").read_text())
        manifest(facts)
        (folder / "manifest.json").write_text(json.dumps(facts))
        lines = map(json.loads, (source / "records.jsonl").read_text().splitlines())
        kept = [changed for line in lines if (changed := record(line)) is not None]
        (folder / "records.jsonl").write_text("".join(json.dumps(line) + "\n" for line in kept))
        return folder

    return copy


@pytest.fixture
def command() -> Callable[..., Any]:
    """Run ``golfbench compare``."""
    return lambda *arguments: CliRunner().invoke(build_app(), ["compare", *map(str, arguments)])
