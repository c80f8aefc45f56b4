"""What a manifest says of the plugins that were at work: those of strangers, too."""

import json
import os
import subprocess
import sys
from importlib.metadata import version
from pathlib import Path

import pytest

PLUGIN = """
from golfbench.hookspecs import hookimpl
from golfbench.specs import OracleSpec

@hookimpl
def golfbench_oracles():
    return [OracleSpec(name="{name}", factory="nowhere:make", summary="For tests.", method="none")]
"""
SCRIPT = "import json; from golfbench.runs.provenance import provenance; print(provenance([]).model_dump_json())"


@pytest.fixture
def site(tmp_path: Path) -> Path:
    """A folder of installed distributions: two of strangers, a broken one, and one that is no plugin."""
    for name, text, entry in (
        ("lab-of-somebody", PLUGIN.format(name="lab"), True),
        ("qc.bridge", PLUGIN.format(name="bridge"), True),
        ("golfbench-broken", "import no_such_module", True),
        ("golfbench-notes", "", False),
    ):
        module = name.replace("-", "_").replace(".", "_")
        (tmp_path / f"{module}.py").write_text(text)
        info = tmp_path / f"{module}-2.5.dist-info"
        info.mkdir()
        (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: 2.5\n")
        if entry:
            (info / "entry_points.txt").write_text(f"[golfbench]\n{module} = {module}\n")
    return tmp_path


def plugins(site: Path, **variables: str) -> dict[str, str]:
    environment = {**os.environ, "PYTHONPATH": str(site), **variables}
    done = subprocess.run([sys.executable, "-c", SCRIPT], capture_output=True, text=True, check=True, env=environment)
    found: dict[str, str] = json.loads(done.stdout)["plugins"]
    return found


def test_plugins_of_strangers_are_named_with_their_versions(site: Path) -> None:
    found = plugins(site)
    assert (found["lab-of-somebody"], found["qc.bridge"]) == ("2.5", "2.5")
    assert found["golfbench-xtb"] == version("golfbench-xtb")
    assert found["golfbench-datasets"] == version("golfbench-datasets")
    assert found.keys().isdisjoint({"golfbench-broken", "golfbench-notes", "golfbench"})
    assert list(found) == sorted(found)


def test_a_plugin_that_took_no_part_is_not_named(site: Path) -> None:
    assert plugins(site, GOLFBENCH_PLUGINS="local,lab_of_somebody") == {"lab-of-somebody": "2.5"}
