"""What is printed fails no verb. Real processes: only there a stdout can be closed, full or without a reader."""

import json
import os
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

MAIN = f"{shlex.quote(sys.executable)} -c 'from golfbench.cli.main import main; main()'"
#: The record that the command writes on a healthy terminal.
LETTERS = r"""
import typer
from golfbench import hookimpl
from golfbench.cli import console


@hookimpl
def golfbench_commands(app):
    @app.command()
    def letters(json: bool = False, many: int = 0, saved: bool = False, fail: bool = False) -> None:
        if saved:
            console.saved("results in x.sdf")
        if json:
            console.print_json({"id": "Ångström–α\U0001f600\udce9"})
        else:
            console.print_table(("max force (eV/Å)",), [("naïve–α\U0001f600\udce9",)] * (many or 1))
        console.note("Å is a letter")
        raise typer.Exit(3 if fail else 0)
"""


@pytest.fixture
def shell(site, add_plugin, tmp_path: Path):
    """Run a line of the shell in which ``golfbench`` is the program; return the process."""
    add_plugin("letters", LETTERS)

    def run(line: str, **variables: str) -> subprocess.CompletedProcess[bytes]:
        path = os.pathsep.join(filter(None, [str(site), os.environ.get("PYTHONPATH")]))
        environment = {**os.environ, "PYTHONPATH": path, "GOLFBENCH_PLUGINS": "letters", **variables}
        text = f'set -o pipefail\ngolfbench() {{ {MAIN} "$@"; }}\n{line}'
        return subprocess.run(
            ["bash", "-c", text], env=environment, cwd=tmp_path, capture_output=True, timeout=60, check=False
        )

    return run


@pytest.mark.parametrize(
    ("line", "code", "errors"),
    [
        ("golfbench letters > /dev/full", 1, ["warning: stdout could not be written: No space left on device"]),
        ("golfbench letters >&-", 1, ["warning: stdout could not be written: it is closed"]),
        ("golfbench letters --json > /dev/full", 1, ["warning: stdout could not be written: No space left on device"]),
        ("golfbench letters --fail > /dev/full", 3, ["warning: stdout could not be written: No space left on device"]),
        (
            "golfbench letters --saved > /dev/full",
            0,
            ["results in x.sdf", "warning: stdout could not be written: No space left on device"],
        ),
        ("golfbench letters --many 100000 | head -1", 0, []),
        ("golfbench letters --many 100000 --fail | head -1", 3, []),
        ("golfbench --version >&-", 1, ["warning: stdout could not be written: it is closed"]),
        ("golfbench --help > /dev/full", 1, ["warning: stdout could not be written: No space left on device"]),
        ("golfbench letters 2>&- >/dev/null", 0, None),
        ("golfbench letters 2>/dev/full >/dev/null", 0, None),
        ("golfbench letters --fail >&- 2>&- <&-", 3, None),
        ("golfbench nonsense 2>/dev/full", 2, None),
    ],
)
def test_the_exit_code_is_that_of_the_work_unless_stdout_was_the_only_place(shell, line, code, errors):
    done = shell(line)
    lines = [text for text in done.stderr.decode().splitlines() if "is a letter" not in text]
    assert (done.returncode, lines) == (code, [f"golfbench: {text}" for text in errors or []])


def test_no_file_takes_the_number_of_a_closed_stdout(shell, tmp_path):
    """What a library prints on descriptor 1 would end up in it."""
    code = "import os; from golfbench.cli.streams import open_streams; open_streams(); print(os.open('f', 65))"
    assert shell(f"{shlex.quote(sys.executable)} -c {shlex.quote(code)} >&- 2>&- <&-").returncode == 0
    code += "; os.write(1, b'noise')"
    shell(f"{shlex.quote(sys.executable)} -c {shlex.quote(code)} >&- 2>&- <&-")
    assert (tmp_path / "f").read_bytes() == b""


@pytest.mark.parametrize(
    ("variables", "heading", "cell"),
    [
        ({"PYTHONIOENCODING": "ascii"}, "max force (eV/A)", rb"na\xefve-\u03b1\U0001f600\udce9"),
        ({"PYTHONIOENCODING": "latin-1"}, "max force (eV/Å)", b"na\xefve-\\u03b1\\U0001f600\\udce9"),
        ({"PYTHONIOENCODING": "cp437"}, "max force (eV/Å)", b"na\x8bve-\xe0\\U0001f600\\udce9"),
        ({"PYTHONIOENCODING": "utf-8"}, "max force (eV/Å)", "naïve–α\U0001f600".encode() + rb"\udce9"),
        (
            {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"},
            "max force (eV/A)",
            rb"na\xefve-\u03b1\U0001f600\udce9",
        ),
    ],
)
def test_a_terminal_without_a_letter_gets_another_one_and_json_stays_json(shell, variables, heading, cell):
    done = shell("golfbench letters", **variables)
    encoding = variables.get("PYTHONIOENCODING", "ascii")
    assert done.returncode == 0
    assert done.stdout == heading.encode(encoding) + b"\n" + cell + b"\n"
    document = shell("golfbench letters --json", **variables)
    assert json.loads(document.stdout.decode(encoding)) == {"id": "Ångström–α\U0001f600\udce9"}


@pytest.mark.parametrize("variables", [{"TERM": "dumb"}, {"NO_COLOR": "1"}, {"COLUMNS": "20"}])
def test_a_poor_terminal_gets_the_table(shell, variables):
    """``script`` lends a terminal."""
    done = shell(f"script -qec {shlex.quote(f'{MAIN} letters')} /dev/null", **variables)
    assert done.returncode == 0
    assert b"Traceback" not in done.stdout
    assert b"max force" in done.stdout
