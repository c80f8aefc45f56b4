"""Packages that ``plugins new`` writes: each is a sound plugin as it is."""

import json
import os
import subprocess
import sys
import tomllib
from importlib.metadata import EntryPoint
from pathlib import Path

import pytest

from golfbench.errors import ConfigurationError
from golfbench.registry import ENTRY_POINT_GROUP, KINDS, Registry
from golfbench.templates import render, write_package


def entry_points(package: Path) -> dict[str, str]:
    project = tomllib.loads((package / "pyproject.toml").read_text())["project"]
    return project["entry-points"][ENTRY_POINT_GROUP]


def install(package: Path, site: Path) -> None:
    """Lay out what pip would install: the package, and metadata with its entry points."""
    project = tomllib.loads((package / "pyproject.toml").read_text())["project"]
    (package / "src").rename(site)
    info = site / f"{project['name'].replace('-', '_')}-{project['version']}.dist-info"
    info.mkdir()
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {project['name']}\nVersion: {project['version']}\n")
    lines = [f"{name} = {module}" for name, module in project["entry-points"][ENTRY_POINT_GROUP].items()]
    (info / "entry_points.txt").write_text("\n".join([f"[{ENTRY_POINT_GROUP}]", *lines, ""]))


@pytest.mark.parametrize("kind", KINDS)
def test_a_new_package_of_each_kind_keeps_the_contract(kind, tmp_path, monkeypatch, examine):
    name = f"brand-new-{kind}"
    written = write_package(kind, name, tmp_path)
    assert {"pyproject.toml", "README.md", "py.typed", "__init__.py"} <= {path.name for path in written}
    monkeypatch.syspath_prepend(tmp_path / "src")
    points = [EntryPoint(n, module, ENTRY_POINT_GROUP) for n, module in entry_points(tmp_path).items()]
    found = Registry(points, strict=True)
    assert found.plugins[0].components == [(kind, name)]
    results = examine(kind, name, found)
    without_mmff94 = {"ethanol"}  # the registry holds nothing but the new plugin
    assert [str(r) for r in results.values() if r.status == "failed" and r.name not in without_mmff94] == []
    assert len(results) >= 11


def test_it_is_listed_checked_and_tested_like_any_other(tmp_path):
    package, site = tmp_path / "package", tmp_path / "site"
    command = [sys.executable, "-m", "golfbench", "plugins"]
    subprocess.run(
        [*command, "new", "selection", "hindsight", "--output", str(package)], check=True, capture_output=True
    )
    install(package, site)
    path = os.pathsep.join(filter(None, [str(site), os.environ.get("PYTHONPATH")]))
    environment = {**os.environ, "PYTHONPATH": path, "GOLFBENCH_PLUGINS": "hindsight"}
    checked = subprocess.run(
        [*command, "check", "hindsight", "--json"], env=environment, capture_output=True, text=True
    )
    assert checked.returncode == 0, checked.stderr
    (component,) = json.loads(checked.stdout)["components"]
    assert (component["kind"], component["component"]) == ("selection", "hindsight")
    assert all(check["status"] != "failed" for check in component["checks"])
    pytest_command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", str(package / "tests")]
    tested = subprocess.run(pytest_command, env=environment, capture_output=True, text=True, cwd=tmp_path)
    passed = sum(check["passed"] for check in component["checks"])
    assert f"{passed} passed" in tested.stdout


def test_every_field_of_every_template_is_filled_in():
    for kind in KINDS:
        files = render(kind, "trajectory")
        assert not [path for path, text in files.items() if "$" in text]
        modules = [text for path, text in files.items() if path.endswith(".py")]
        for text in modules:
            compile(text, kind, "exec")
        assert any(f"class Trajectory{kind.capitalize()}" in text for text in modules)


@pytest.mark.parametrize("name", ["MyNet", "my_net", "-net", "9net", "net-", "my net", "../net", ""])
def test_names_that_no_package_can_have_are_refused(name):
    with pytest.raises(ConfigurationError, match="kebab case"):
        render("model", name)


def test_nothing_is_overwritten(tmp_path):
    (tmp_path / "notes.txt").write_text("mine")
    with pytest.raises(ConfigurationError, match="exists already"):
        write_package("model", "my-net", tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["notes.txt"]
    with pytest.raises(ConfigurationError, match="did you mean 'model'"):
        write_package("modle", "my-net", tmp_path / "new")
