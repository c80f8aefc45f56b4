"""The pages of the documentation as a test sees them: their blocks of code, and who runs these."""

from __future__ import annotations

import json
import os
import re
import shlex
import subprocess
import sys
import tomllib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[2]
DOCS = ROOT / "docs"
FENCE = re.compile(
    r"(?:^(?P<indent> *)<!-- (?P<mark>not run|run with): (?P<words>.+?) -->\n)?"
    r"^(?P<i2> *)```(?P<language>\w*)(?: title=\"(?P<title>[^\"]+)\")?\n(?P<text>.*?)^(?P=i2)```$",
    re.MULTILINE | re.DOTALL,
)
#: Languages of what a person reads and does not type; configurations are tried on their own.
READ = ("text", "yaml", "")


@dataclass(frozen=True)
class Block:
    """A block of code.

    Attributes:
        page: Name of the page.
        line: Where it begins.
        language: Of the code.
        title: Name of the file that it is, if it is one.
        text: What is in it.
        mark: ``not run`` or ``run with``, or empty.
        words: Why it is not run, or the options that the test adds to make it short.
    """

    page: str
    line: int
    language: str
    title: str
    text: str
    mark: str
    words: str

    @property
    def place(self) -> str:
        return f"{self.page}:{self.line}"

    @property
    def runs(self) -> bool:
        return self.mark != "not run" and bool(self.title or self.language not in READ)

    def lines(self) -> list[str]:
        """Return what is typed in a block of commands: no comment, a line that is continued in one piece."""
        whole = self.text.replace("\\\n", " ").splitlines()
        return [line for line in whole if line.strip() and not line.startswith("#")]


def pages() -> list[str]:
    return sorted(path.name for path in DOCS.glob("*.md"))


def blocks(page: str) -> Iterator[Block]:
    text = (DOCS / page).read_text(encoding="utf-8")
    for found in FENCE.finditer(text):
        indent = found["i2"]
        code = "".join(line.removeprefix(indent) for line in found["text"].splitlines(keepends=True))
        start = text.count("\n", 0, found.start("language")) + 1
        mark, words = found["mark"] or "", found["words"] or ""
        yield Block(page, start, found["language"], found["title"] or "", code, mark, words)


#: Imports what most commands need once; each job is a fork that runs the command line, or Python, and ends.
SERVER = """
import atexit, gc, glob, json, os, sys, threading
import golfbench.cli.main, golfbench.runs.runner, golfbench.benchmark.tables, rich.console, rich.table
import golfbench_aimnet.networks, golfbench_datasets.reader, golfbench_rdkit.force_fields, golfbench_selections.golf

gc.collect(); gc.freeze()
print("ready", flush=True)
for line in sys.stdin:
    job = json.loads(line)
    pid = os.fork()
    if not pid:
        os.chdir(job["cwd"])
        os.environ.update(job["environment"])
        sys.path[:0] = job["path"]
        for descriptor, name in ((1, "stdout"), (2, "stderr")):
            os.dup2(os.open(job[name], os.O_WRONLY | os.O_CREAT | os.O_TRUNC), descriptor)
        os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
        code = 1
        try:
            if job["python"]:
                exec(compile(job["python"], job["name"], "exec"), {"__name__": "__main__"})
                code = 0
            else:
                sys.argv = ["golfbench", *job["arguments"]]
                golfbench.cli.main.main()
        except SystemExit as end:
            code = end.code or 0
        except BaseException:
            import traceback
            traceback.print_exc()
        threading._shutdown()
        atexit._run_exitfuncs()
        sys.stdout.flush()
        os._exit(code)
    print(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]), flush=True)
"""


class Typist:
    """A process that has everything imported and runs one command after the other, each in a fork.

    Args:
        folder: Where it keeps what commands print.
        environment: Variables of the process.
    """

    def __init__(self, folder: Path, environment: Mapping[str, str]) -> None:
        self.streams = {name: folder / name for name in ("stdout", "stderr")}
        self._server = subprocess.Popen(
            [sys.executable, "-c", SERVER],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            cwd=folder,
            env=environment,
        )
        self._answer()

    def _answer(self) -> str:
        assert self._server.stdout is not None
        return self._server.stdout.readline().strip()

    def run(self, **job: object) -> int:
        """Run a job; return its exit code."""
        assert self._server.stdin is not None
        streams = {name: str(path) for name, path in self.streams.items()}
        self._server.stdin.write(json.dumps({**streams, **job}) + "\n")
        self._server.stdin.flush()
        return int(self._answer())

    def close(self) -> None:
        self._server.communicate("")


class Reader:
    """Somebody who follows a page: types its commands, one after the other, in a folder of their own.

    Args:
        folder: The folder; ``examples`` and ``leaderboards`` of the repository are in it.
        typist: Who runs the commands.
    """

    def __init__(self, folder: Path, typist: Typist) -> None:
        self.folder, self.typist = folder, typist
        self.installed = folder / ".installed"
        self.installed.mkdir()
        self.exported: dict[str, str] = {}

    def follow(self, block: Block) -> None:
        """Do what a block says.

        Raises:
            AssertionError: If a command fails, or has no known way to be run.
        """
        if block.title:
            path = self.folder / block.title
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(block.text, encoding="utf-8")
        elif block.language == "python":
            self._job(block.place, python=block.text)
        elif block.language == "bash":
            for line in block.lines():
                self._type(block, line)
        else:
            raise AssertionError(f"{block.place}: nobody knows how to run {block.language}")

    def _type(self, block: Block, line: str) -> None:
        words = shlex.split(line, comments=True)
        if words[:1] == ["export"]:
            self.exported |= dict(word.split("=", 1) for word in words[1:])
        elif words[:3] == ["pip", "install", "-e"]:
            self._install(self.folder / words[3])
        elif words[:1] == ["golfbench"]:
            arguments = [word for given in words[1:] for word in self._found(given)]
            extra = shlex.split(block.words) if block.mark == "run with" and words[1] == "run" else []
            self._job(f"{block.place}: {line}", arguments=[*arguments, *extra])
        else:
            raise AssertionError(f"{block.place}: nobody knows how to run '{line}'")

    def _found(self, word: str) -> list[str]:
        """Return the files that a pattern stands for, as a shell does."""
        return sorted(str(p.relative_to(self.folder)) for p in self.folder.glob(word)) if "*" in word else [word]

    def _install(self, project: Path) -> None:
        """Do what ``pip install -e`` does, without a download: the modules and the entry points are found."""
        facts = tomllib.loads((project / "pyproject.toml").read_text(encoding="utf-8"))["project"]
        for source in (project / "src" if (project / "src").is_dir() else project).iterdir():
            if source.suffix == ".py" or (source / "__init__.py").is_file():
                (self.installed / source.name).symlink_to(source)
        metadata = self.installed / f"{facts['name'].replace('-', '_')}-{facts['version']}.dist-info"
        metadata.mkdir()
        (metadata / "METADATA").write_text(
            f"Metadata-Version: 2.1\nName: {facts['name']}\nVersion: {facts['version']}\n"
        )
        groups = facts.get("entry-points", {})
        lines = [f"[{name}]\n" + "".join(f"{k} = {v}\n" for k, v in group.items()) for name, group in groups.items()]
        (metadata / "entry_points.txt").write_text("\n".join(lines))

    def _job(self, what: str, arguments: Sequence[str] = (), python: str = "") -> None:
        exported = self.exported.get("PYTHONPATH", "." if python else "")
        folders = [str(self.installed), *exported.split(os.pathsep)] if exported else [str(self.installed)]
        code = self.typist.run(
            cwd=str(self.folder),
            environment={**self.exported, "PYTHONPATH": os.pathsep.join(folders)},
            path=[str(self.folder / folder) for folder in folders],
            arguments=list(arguments),
            python=python,
            name=what,
        )
        errors = self.typist.streams["stderr"].read_text(encoding="utf-8")
        # doctor says 3 where something is missing that no page promises
        assert code in ((0, 3) if list(arguments) == ["doctor"] else (0,)), (
            f"{what}\nexit code {code}\n{errors[-3000:]}"
        )
        assert "Traceback" not in errors
