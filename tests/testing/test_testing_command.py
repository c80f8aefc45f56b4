"""``golfbench plugins check`` as a program."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

HERE = Path(__file__).parent


@pytest.fixture
def check(tmp_path):
    """Run ``golfbench plugins ...`` with the wrong components installed beside what is."""
    info = tmp_path / "dist_wrong-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: dist-wrong\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text("[golfbench]\nwrong = wrong_plugin\nabsent = no_such_module\n")
    path = os.pathsep.join(filter(None, [str(tmp_path), str(HERE), os.environ.get("PYTHONPATH")]))

    def run(*arguments: str, plugins: str = "wrong,absent,selections") -> subprocess.CompletedProcess[str]:
        environment = {**os.environ, "PYTHONPATH": path, "GOLFBENCH_PLUGINS": plugins}
        command = [sys.executable, "-m", "golfbench", "plugins", *arguments]
        return subprocess.run(command, env=environment, capture_output=True, text=True, cwd=tmp_path)

    return run


def test_one_line_a_check_with_number_and_tolerance(check):
    done = check("check", "flipped", "sound")
    header, *lines = [line.split("\t") for line in done.stdout.splitlines()]
    assert done.returncode == 1
    assert header == ["component", "check", "result", "measured", "explanation"]
    rows = {(component, name): (result, measured, text) for component, name, result, measured, text in lines}
    result, measured, text = rows["oracle flipped", "forces"]
    assert result == "failed"
    assert measured.endswith("> 0.0005 Hartree/Å")
    assert text.endswith("they are -1 times that (their sign is flipped?)")
    assert rows["oracle sound", "forces"][0] == "passed"
    assert [key for key, row in rows.items() if row[0] == "failed"] == [("oracle flipped", "forces")]
    assert done.stderr.splitlines()[-1] == "golfbench: error: 1 checks failed"


def test_a_plugin_stands_for_all_its_components(check):
    done = check("check", "selections", "--json")
    assert done.returncode == 0, done.stderr
    report = json.loads(done.stdout)
    assert report["passed"] is True
    names = [entry["component"] for entry in report["components"]]
    assert len(set(names)) == len(names) == 19
    assert {"golf", "golf-neural", "random", "kernel", "mixed", "none"} < set(names)
    keys = {"passed", "name", "status", "measured", "tolerance", "unit", "explanation"}
    assert all(set(line) == keys for entry in report["components"] for line in entry["checks"])


@pytest.mark.parametrize(
    ("arguments", "line"),
    [
        (("check", "gollf"), "unknown plugin or component 'gollf': did you mean 'golf'"),
        (("check", "absent"), "plugin 'absent' did not load: ModuleNotFoundError"),
        (("check", "golf:patient=2"), "unknown parameter 'patient': did you mean 'patience'"),
        (("new", "oracle", "sound"), "oracle 'sound' exists already, in dist-wrong"),
        (("new", "oracle", "Sound"), "'Sound' is not in kebab case"),
    ],
)
def test_what_cannot_be_done_is_said_in_one_line(arguments, line, check):
    done = check(*arguments)
    assert done.returncode == 2
    assert line in done.stderr
    assert len(done.stderr.splitlines()) == 1
