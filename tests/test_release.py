"""One version for all parts: the repository as it is, and copies of it in which one thing does not fit."""

import importlib.util
import shutil
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
_SPEC = importlib.util.spec_from_file_location("release", ROOT / ".ci/release.py")
release = importlib.util.module_from_spec(_SPEC)
_SPEC.loader.exec_module(release)


@pytest.fixture
def copy(tmp_path):
    """The files that carry a version."""
    for path in [*release.projects(ROOT), ROOT / "CITATION.cff", ROOT / "CHANGELOG.md"]:
        target = tmp_path / path.relative_to(ROOT)
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(path, target)
    return tmp_path


def edit(path, old, new):
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new, 1))


def test_all_parts_of_the_repository_are_of_one_version():
    assert list(release.problems(ROOT)) == []


def test_a_new_version_is_written_into_every_part_and_the_changelog_gets_its_section(copy, capsys):
    edit(copy / "CHANGELOG.md", "## Unreleased\n", "## Unreleased\n\n### Added\n- Something new.\n")
    assert release.main(["7.8.9"], copy) == 0
    printed = capsys.readouterr().out
    assert "git tag -a v7.8.9 -m 'golfbench 7.8.9'" in printed
    projects = [tomllib.loads(path.read_text())["project"] for path in release.projects(copy)]
    assert {project["version"] for project in projects} == {"7.8.9"}
    geometric = next(project for project in projects if project["name"] == "golfbench-geometric")
    assert geometric["dependencies"][:3] == ["golfbench~=7.8.9", "golfbench-ase~=7.8.9", "ase>=3.23"]
    assert projects[0]["optional-dependencies"]["mace"] == ["golfbench-mace~=7.8.9"]
    assert "\nversion: 7.8.9\n" in (copy / "CITATION.cff").read_text()
    changelog = (copy / "CHANGELOG.md").read_text()
    assert changelog.index("## Unreleased") < changelog.index("## 7.8.9") < changelog.index("- Something new.")
    assert changelog.count("## 7.8.9") == 1
    assert release.main(["7.8.9"], copy) == 0  # a second time changes nothing
    assert (copy / "CHANGELOG.md").read_text() == changelog


@pytest.mark.parametrize(
    ("file", "old", "new", "told"),
    [
        ("plugins/golfbench-xtb/pyproject.toml", 'version = "', 'version = "9.', "xtb/pyproject.toml: version is 9."),
        ("datasets/pyproject.toml", '"golfbench~=', '"golfbench>=', "datasets/pyproject.toml: golfbench>="),
        ("plugins/golfbench-sella/pyproject.toml", '"golfbench-ase~=', '"golfbench-ase~=9.', "golfbench-ase~=9."),
        ("CITATION.cff", "\nversion: ", "\nversion: 9.", "CITATION.cff: version is not"),
        ("pyproject.toml", "\nmace = [", "\nmaze = [", "the extra 'mace' has []"),
        ("pyproject.toml", '  "golfbench-nequip-next~=0.1.0",\n', "", "the extra 'all' has"),
    ],
)
def test_what_does_not_agree_is_named(copy, file, old, new, told, capsys):
    edit(copy / file, old, new)
    assert release.main([], copy) == 1
    lines = capsys.readouterr().err.splitlines()
    assert len(lines) == 1
    assert told in lines[0]


def test_a_version_without_a_section_in_the_changelog_is_refused(copy, capsys):
    changelog = copy / "CHANGELOG.md"
    changelog.write_text("# Changelog\n\n## Unreleased\n\n## 0.1.0\nThe first version.\n")
    assert release.main(["0.2.0"], copy) == 1
    assert "CHANGELOG.md: no section 0.2.0, or nothing in it" in capsys.readouterr().err
    assert release.main(["next"], copy) == 2
