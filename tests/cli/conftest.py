import os
import subprocess
import sys
from pathlib import Path

import pytest

PLUGIN = """
import typer
from golfbench import hookimpl
from golfbench.cli.streams import session
from golfbench.specs import ModelSpec, OracleSpec, Parameter


@hookimpl
def golfbench_models():
    return [
        ModelSpec(
            name="probe-net",
            factory="probe_engine:Net",
            summary="A network [for tests].",
            parameters=(
                Parameter("width", 64, "Features per atom."),
                Parameter("depth", None, "Layers.", kind=int),
                Parameter("sort", "a", "Which one.", choices=("a", "b")),
            ),
            elements=frozenset({1, 6, 8}),
            requires=("json", "probe_engine.nets"),
            install_hint="pip install probe-engine",
            citation="10.1000/probe",
        )
    ]


@hookimpl
def golfbench_commands(app):
    @app.command()
    def boom() -> None:
        raise LookupError("an unexpected thing")

    @app.command()
    def fill_disk(number: int = 28, resumes: bool = False) -> None:
        session.resumes = resumes
        raise OSError(number, "No space left on device", "runs/labels.db")

    @app.command()
    def stop(resumes: bool = False) -> None:
        session.resumes = resumes
        raise KeyboardInterrupt
"""


@pytest.fixture
def site(tmp_path: Path) -> Path:
    """A folder of installed distributions."""
    folder = tmp_path / "site"
    folder.mkdir()
    return folder


@pytest.fixture
def add_plugin(site: Path):
    """Lay out a distribution ``dist-NAME`` 1.2 with one plugin, as pip would."""

    def add(name: str, body: str) -> None:
        (site / f"{name}_plugin.py").write_text(body)
        info = site / f"dist_{name}-1.2.dist-info"
        info.mkdir()
        (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: dist-{name}\nVersion: 1.2\n")
        (info / "entry_points.txt").write_text(f"[golfbench]\n{name} = {name}_plugin\n")

    add("probe", PLUGIN)
    return add


@pytest.fixture
def golfbench(site: Path, add_plugin):
    """Run ``golfbench`` as a program of its own, with only the plugins that ``plugins`` names."""

    def run(*arguments: str, plugins: str | None = "probe", **environment: str) -> subprocess.CompletedProcess[str]:
        path = os.pathsep.join(filter(None, [str(site), os.environ.get("PYTHONPATH")]))
        inherited = {k: v for k, v in os.environ.items() if not k.startswith("GOLFBENCH_")}
        allowed = {} if plugins is None else {"GOLFBENCH_PLUGINS": plugins}
        return subprocess.run(
            [sys.executable, "-c", "from golfbench.cli.main import main; main()", *arguments],
            env={**inherited, "PYTHONPATH": path, **allowed, **environment},
            capture_output=True,
            text=True,
            timeout=60,
        )

    return run
