"""One version for all parts of the repository.

    python .ci/release.py            check that all parts agree and the changelog has the version
    python .ci/release.py 0.2.0      write a new version into all parts, and then check

The version is that of the suite's pyproject.toml. Nothing is committed, tagged or published: the commands are printed.
"""

from __future__ import annotations

import re
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[1]
#: Parts that bring many other packages, or conflict with other parts: each has an extra, but they are not in `all`.
LEFT_OUT = {"sella", "geometric", "wandb", "mlflow"}
#: What the default run needs.
DEFAULT = {"aimnet", "datasets", "optimizers", "rdkit", "selections", "xtb"}
VERSION = re.compile(r"\d+\.\d+\.\d+")
#: A requirement of the suite or one of its parts, in quotation marks: its name, and the Python that it is for.
REQUIREMENT = re.compile(r'"(golfbench(?:-[a-z0-9-]+)?)(?:~=[0-9.]+)?(; [^"]+)?"(?=[,\]])')


def projects(root: Path) -> list[Path]:
    """Return the pyproject.toml of each part, the suite's first."""
    return [root / "pyproject.toml", *sorted(root.glob("plugins/*/pyproject.toml")), root / "datasets/pyproject.toml"]


def version_of(root: Path) -> str:
    """Return the version of the suite."""
    return str(_project(root / "pyproject.toml")["version"])


def problems(root: Path) -> Iterator[str]:
    """Yield what does not agree with the version of the suite, one line each."""
    version = version_of(root)
    for path in projects(root):
        project, name = _project(path), path.relative_to(root)
        if project["version"] != version:
            yield f"{name}: version is {project['version']}, that of the suite is {version}"
        for requirement in _requirements(project):
            if requirement.startswith("golfbench") and not requirement.partition(";")[0].endswith(f"~={version}"):
                yield f"{name}: {requirement} is not of this version (~={version})"
    if f"\nversion: {version}\n" not in (root / "CITATION.cff").read_text(encoding="utf-8"):
        yield f"CITATION.cff: version is not {version}"
    if not _section((root / "CHANGELOG.md").read_text(encoding="utf-8"), version):
        yield f"CHANGELOG.md: no section {version}, or nothing in it"
    yield from _extra_problems(root)


def _extra_problems(root: Path) -> Iterator[str]:
    """Compare the extras of the suite with its parts."""
    extras = _project(root / "pyproject.toml")["optional-dependencies"]
    parts = {_project(path)["name"].removeprefix("golfbench-") for path in projects(root)[1:]}
    wanted = {part: {part} for part in parts} | {"default": DEFAULT, "all": parts - LEFT_OUT}
    for extra, names in sorted(wanted.items()):
        found = {requirement.partition("~=")[0].removeprefix("golfbench-") for requirement in extras.get(extra, [])}
        if found != names:
            yield f"pyproject.toml: the extra '{extra}' has {sorted(found)}, the parts are {sorted(names)}"


def write(root: Path, version: str) -> None:
    """Write a version into every part, the citation and the changelog, whose unreleased section becomes its own."""
    for path in projects(root):
        text = path.read_text(encoding="utf-8")
        text = re.sub(r'^version = ".*"$', f'version = "{version}"', text, count=1, flags=re.MULTILINE)
        path.write_text(REQUIREMENT.sub(rf'"\1~={version}\2"', text), encoding="utf-8")
    citation = root / "CITATION.cff"
    text = citation.read_text(encoding="utf-8")
    citation.write_text(re.sub(r"^version: .*$", f"version: {version}", text, flags=re.MULTILINE), encoding="utf-8")
    changelog = root / "CHANGELOG.md"
    text = changelog.read_text(encoding="utf-8")
    if not _section(text, version) and _section(text, "Unreleased"):
        changelog.write_text(text.replace("## Unreleased\n", f"## Unreleased\n\n## {version}\n", 1), encoding="utf-8")


def _project(path: Path) -> dict[str, Any]:
    project: dict[str, Any] = tomllib.loads(path.read_text(encoding="utf-8"))["project"]
    return project


def _requirements(project: dict[str, Any]) -> list[str]:
    return [
        *project["dependencies"],
        *(one for extra in project.get("optional-dependencies", {}).values() for one in extra),
    ]


def _section(changelog: str, version: str) -> str:
    """Return what the changelog says of a version."""
    found = re.search(rf"^## {re.escape(version)}\n(.*?)(?=^## |\Z)", changelog, flags=re.MULTILINE | re.DOTALL)
    return found[1].strip() if found else ""


def main(arguments: list[str], root: Path = ROOT) -> int:
    """Check the version, after writing it where one is given; return the exit code."""
    if len(arguments) > 1 or (arguments and not VERSION.fullmatch(arguments[0])):
        print("release.py: a version is three numbers, such as 0.2.0", file=sys.stderr)
        return 2
    if arguments:
        write(root, arguments[0])
    found = list(problems(root))
    for line in found:
        print(f"release.py: {line}", file=sys.stderr)
    if found:
        return 1
    version = version_of(root)
    print(f"All parts are of version {version}. To release it, once CI is green:\n")
    print(f"    git commit -am 'Version {version}'    # where something changed")
    print(f"    git tag -a v{version} -m 'golfbench {version}'")
    print("    git push --follow-tags && make wheels    # the wheels are in dist/")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
