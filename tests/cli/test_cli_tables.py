"""Tables on a terminal of 80 columns: nothing is wider, nothing is cut, and failures are counted."""

import contextlib
import json
import os
import pty
import re
import shutil
import sys
from pathlib import Path

import pytest

from golfbench.cli import console
from golfbench.oracles.ledger import PURPOSES

ROOT = Path(__file__).parents[2]
RESULTS = ROOT / "examples" / "results"


def on_a_terminal(*arguments: str, width: int = 80) -> str:
    """Run the command line on a terminal of so many columns, and return what it shows, without its progress."""
    pid, terminal = pty.fork()
    if not pid:
        os.environ["COLUMNS"] = str(width)
        os.execv(sys.executable, [sys.executable, "-m", "golfbench", *arguments])
    shown = b""
    with contextlib.suppress(OSError):  # how a terminal says that the program has ended
        while block := os.read(terminal, 65536):
            shown += block
    os.waitpid(pid, 0)
    lines = re.sub(r"\x1b\[[0-9;?]*[a-zA-Z]", "", shown.decode()).splitlines()
    return "\n".join(line.split("\r")[-1] for line in lines if "━━" not in line)


def widest(text: str) -> int:
    """Return the length of the longest line that is drawn; notes are the terminal's to break."""
    return max(len(line) for line in text.splitlines() if not line.startswith("golfbench: "))


def squeezed(text: str) -> str:
    return re.sub(r"\s", "", text)


@pytest.fixture
def run(tmp_path: Path) -> Path:
    shutil.copytree(RESULTS / "druglike-mini-seeds", tmp_path / "run")
    return tmp_path / "run"


def test_report_has_its_numbers_with_an_interval(run):
    text = on_a_terminal("report", str(run))
    assert widest(text) <= 80
    assert "…" not in text
    assert {"mmff94", "painn:preset=small", "Success,", "Div.,", "calls"} <= set(text.split())
    # the verdict below the table says the same interval
    assert "[3.24, 5.32]" in text
    assert "3.24 to 5.32" in " ".join(text.split())
    # three seeds have a spread that one has not
    assert "[11.32, 25.22]" in text
    assert "11.32 to 25.22" in " ".join(text.split())


def test_the_interval_of_a_mean_is_that_of_its_sample(run):
    """For 12 compounds of one conformer the interval is about 2.2 standard errors of the mean to each side."""
    records = [json.loads(line) for line in (run / "records.jsonl").read_text().splitlines()]
    mmff94 = [r for r in records if r["model"] == "mmff94"]
    residuals = [(r["energy_final_hartree"] - r["energy_reference_hartree"]) * 627.5095 for r in mmff94]
    mean = sum(residuals) / len(residuals)
    error = (sum((x - mean) ** 2 for x in residuals) / (len(residuals) - 1) / len(residuals)) ** 0.5
    shown = re.search(r"mmff94.*?\[(\S+), (\S+)\]", on_a_terminal("report", str(run)), re.DOTALL)
    assert float(shown[1]) == pytest.approx(mean - 1.96 * error, abs=0.15)
    assert float(shown[2]) == pytest.approx(mean + 1.96 * error, abs=0.15)


def test_status_has_all_purposes_side_by_side(run):
    lines = (run / "oracle_calls.jsonl").read_text().splitlines()[: len(PURPOSES)]
    calls = [json.loads(line) | {"purpose": purpose} for line, purpose in zip(lines, PURPOSES, strict=True)]
    (run / "oracle_calls.jsonl").write_text("".join(f"{json.dumps(call)}\n" for call in calls))
    text = on_a_terminal("status", str(run))
    assert widest(text) <= 80
    assert set(PURPOSES) <= set(text.split())


@pytest.mark.parametrize("track", ["druglike-xtb", "druglike-mini"])
def test_leaderboards_have_every_entry_with_its_interval(track):
    text = on_a_terminal("leaderboard", "show", track, "--leaderboards", str(ROOT / "leaderboards"))
    assert widest(text) <= 80
    published = [json.loads(path.read_text()) for path in (ROOT / "leaderboards" / track).glob("*.json")]
    counts = [int(count) for count in re.findall(r"(\d+)/\d+\b", text)]
    lost = {"oracle_failed", "error", "skipped", "interrupted"}
    failed = [sum(r["status"] in lost for run in e["runs"] for r in run["records"]) for e in published]
    assert sorted(counts) == sorted(failed)
    for entry in published:
        assert squeezed(entry["model"]) in squeezed(re.sub(r"\[.*?\]", "", text)) or entry["model"][:16] in text


def test_minimize_breaks_names_and_says_which_columns_have_no_room(tmp_path):
    name = "a-molecule-of-a-library-with-a-name-of-fifty-letters"
    (tmp_path / "in.smi").write_text(f"CCO {name}\nnonsense lost\n")
    command = ("minimize", str(tmp_path / "in.smi"), "-m", "mmff94", "-n", "2", "--deduplicate", "--check-minima")
    text = on_a_terminal(*command)
    assert widest(text) <= 80
    column = "".join(line[:19].strip() for line in text.splitlines())
    assert f"{name}/0" in column
    assert "no room for the columns atoms, model calls, max force (eV/Å): --wide shows all" in text
    assert "1 skipped" in text
    whole = on_a_terminal(*command, "--wide")
    assert {"atoms", "calls", "force"} <= set(whole.split())
    assert "no room" not in whole


def test_a_table_gives_up_the_spare_columns_and_then_becomes_a_list(capsys, monkeypatch):
    columns, rows = ("name", "first number", "second number"), [("x" * 30, "1.25", "-2"), ("y", "", "3")]
    shown = {}
    for width in (60, 36, 24, 12, 8):
        monkeypatch.setenv("COLUMNS", str(width))
        console._draw_table(columns, rows, "", ("second number", "first number"))
        shown[width] = capsys.readouterr()
        assert widest(shown[width].out) <= width or width == 8
    assert "x" * 30 in shown[60].out
    assert shown[60].err == ""
    assert "second number" not in shown[24].out.replace("\n", " ")
    assert shown[24].err == "golfbench: no room for the columns second number: --wide shows all\n"
    assert shown[12].err == "golfbench: no room for the columns second number, first number: --wide shows all\n"
    assert "second number: -2" in shown[8].out


def test_wide_draws_all_columns_whatever_the_terminal(capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", "20")
    console._draw_table(("name", "number"), [("x" * 30, "1.25")], "", ("number",), wide=True)
    text = capsys.readouterr().out
    assert "1.25" in text
    assert squeezed(text).count("x") == 30
