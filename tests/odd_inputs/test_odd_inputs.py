"""Every odd input: no traceback, no record lost in silence, none above a minute, good molecules always written."""

import json
import re
import resource
import signal
import subprocess
import sys
import unicodedata
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from ase.io import iread
from make import odd_inputs
from odd_table import Answer, OddInput, Record, hill
from rdkit import Chem
from rdkit.rdBase import BlockLogs
from typer.testing import CliRunner

from golfbench.cli.main import build_app

#: Of processor time: what a busy machine cannot change.
LIMIT_S = 60
#: Of wall time, for what hangs.
WALL_LIMIT_S = 240
#: Longer lines are dumps, not messages.
LINE_LIMIT = 600
WRITTEN = ("converged", "step_limit")
PROGRESS = "minimizing: "


@dataclass
class Done:
    """What a command left."""

    exit_code: int
    stdout: str
    stderr: str
    noise: str
    seconds: float
    output: Path | None
    rows: list[dict[str, Any]] | None

    @property
    def messages(self) -> str:
        return "\n".join(line for line in self.stderr.split("\n") if not line.startswith(PROGRESS))


@pytest.mark.parametrize("odd", odd_inputs(), ids=lambda odd: odd.name)
def test_odd_input(odd: OddInput, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]):
    monkeypatch.chdir(tmp_path)
    odd.write(tmp_path)
    before = {path.name for path in tmp_path.iterdir()}
    done = _apart(odd) if odd.apart or odd.stdin else _within(odd, capfd)
    done.output = _output(odd, before)
    complaints = [*_always(odd, done)]
    tried = [[*_judge(odd, answer, done)] for answer in odd.answers]
    if all(tried):
        complaints += min(tried, key=len)
    assert not complaints, "\n".join([*map(_printable, complaints), "--- stderr", _printable(done.messages)[:1500]])


def _processor_s() -> float:
    """Return the processor time of this process and of the children that have ended, s."""
    used = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return sum(u.ru_utime + u.ru_stime for u in used)


def _printable(text: str) -> str:
    return "".join(c if c.isprintable() or c == "\n" else repr(c)[1:-1] for c in text)


def _within(odd: OddInput, capfd: pytest.CaptureFixture[str]) -> Done:
    """Run the verb in this process; what libraries print past Python is noise."""

    def late(*_: object) -> None:
        raise TimeoutError(f"not done after {WALL_LIMIT_S} s")

    capfd.readouterr()
    before = signal.signal(signal.SIGALRM, late)
    signal.alarm(WALL_LIMIT_S)
    start = _processor_s()
    try:
        result = CliRunner().invoke(build_app(), odd.command)
    finally:
        signal.alarm(0)
        signal.signal(signal.SIGALRM, before)
    if result.exception is not None and not isinstance(result.exception, SystemExit):
        raise result.exception
    noise = "".join(capfd.readouterr())
    seconds = _processor_s() - start
    return Done(result.exit_code, result.stdout, result.stderr, noise, seconds, None, _rows(result.stdout))


def _apart(odd: OddInput) -> Done:
    """Run the program as a person would."""
    start = _processor_s()
    ran = subprocess.run(
        [sys.executable, "-c", "from golfbench.cli.main import main; main()", *odd.command],
        input=odd.stdin.encode(),
        capture_output=True,
        timeout=WALL_LIMIT_S,
    )
    out, err = ran.stdout.decode(), ran.stderr.decode()
    return Done(ran.returncode, out, err, "", _processor_s() - start, None, _rows(out))


def _rows(stdout: str) -> list[dict[str, Any]] | None:
    return json.loads(stdout)["rows"] if stdout.strip() else None


def _output(odd: OddInput, before: set[str]) -> Path | None:
    """Return the file that was made."""
    made = [path for path in Path().iterdir() if path.name not in before]
    assert len(made) <= 1, f"more than one new file: {made}"
    return made[0] if made else None


def _always(odd: OddInput, done: Done):
    """Yield what is wrong whatever the input was."""
    if done.exit_code not in (0, 1, 2, 3, 4):
        yield f"exit code {done.exit_code}"
    if "Traceback" in done.stderr or "defect in golfbench" in done.stderr:
        yield "a traceback, or a defect that was owned to"
    if done.noise.strip():
        yield f"printed past the program: {done.noise.strip()[:200]}"
    if done.seconds > LIMIT_S:
        yield f"took {done.seconds:.0f} s of processor time"
    for line in done.messages.split("\n"):
        if len(line) > LINE_LIMIT:
            yield f"a line of {len(line)} characters on stderr: {line[:80]}..."
        if any(unicodedata.category(c) in ("Cc", "Zl", "Zp") and c != "\t" for c in line):
            yield "a control character on stderr"
    text = done.stdout + (done.output.read_text(encoding="utf-8", errors="replace") if done.output else "")
    for absent in odd.absent:
        if absent in text:
            yield f"{absent!r} in what was written"
    for row in done.rows or ():
        message = row["error_message"]
        if row["status"] in WRITTEN:
            continue
        if not message and row["status"] in ("skipped", "error"):
            yield f"{row['input']}: {row['status']} without a reason"
        elif message and _printable(message)[:40] not in _printable(done.messages):
            yield f"{row['input']}: its reason is not on stderr: {message[:80]}"


def _judge(odd: OddInput, answer: Answer, done: Done):
    """Yield what differs from one right answer."""
    if done.exit_code not in answer.exit_codes:
        yield f"exit code {done.exit_code}, right is {sorted(answer.exit_codes)}"
    for pattern in answer.told:
        if not re.search(pattern, done.messages, re.IGNORECASE):
            yield f"stderr does not tell of '{pattern}'"
    if answer.refused:
        yield from _refusal(answer, done)
        return
    rows = done.rows or []
    if len(rows) != len(answer.records):
        yield f"{len(rows)} rows for {len(answer.records)} records: {[(r['id'][:30], r['status']) for r in rows][:12]}"
        return
    for number, (record, row) in enumerate(zip(answer.records, rows, strict=True), start=1):
        yield from (f"record {number}: {text}" for text in _compare(record, row))
        if odd.numbered and not row["input"].endswith(f":{number}"):
            yield f"record {number} is called {row['input']}"
    if odd.max_steps is None and any(row["status"] == "step_limit" for row in rows):
        yield "did not converge"
    yield from _written(odd, answer, rows, done)


def _refusal(answer: Answer, done: Done):
    rows = done.rows or []
    if len(rows) > 1 or any(row["status"] != "skipped" for row in rows):
        yield f"not refused: {[(r['id'][:30], r['status']) for r in rows][:12]}"
    if done.output is not None:
        yield f"refused, but {done.output} was written"
    if not any(re.search(word, done.messages, re.IGNORECASE) for word in answer.refused):
        yield f"the refusal does not say {' or '.join(answer.refused)}"


def _compare(record: Record, row: dict[str, Any]):
    if row["status"] in WRITTEN:
        if not record.formula:
            yield f"read ({row['smiles'] or row['n_atoms']}, charge {row['charge']}), right is a refusal"
            return
        for key in ("charge", "multiplicity"):
            if getattr(record, key) is not None and row[key] != getattr(record, key):
                yield f"{key} {row[key]}, right is {getattr(record, key)}"
        if record.title is not None and row["id"] != record.title:
            yield f"called '{row['id'][:60]}', right is '{record.title[:60]}'"
    elif not record.words:
        yield f"{record.formula} was lost: {row['status']}, {row['error_message']}"
    elif row["status"] == "skipped" and not any(
        re.search(w, row["error_message"], re.IGNORECASE) for w in record.words
    ):
        yield f"the reason does not say {' or '.join(record.words)}: {row['error_message']}"


def _written(odd: OddInput, answer: Answer, rows: list[dict[str, Any]], done: Done):
    """Yield what the output lacks; it is read by RDKit or ASE alone."""
    wanted = [record.formula for record, row in zip(answer.records, rows, strict=True) if row["status"] in WRITTEN]
    found = [] if done.output is None else _formulas(done.output)
    more = sum(row["status"] in ("topology_changed", "diverged") for row in rows)
    if found != wanted and not (more and set(wanted) <= set(found)):
        yield f"written: {found[:12]}, right is {wanted[:12]}"
    text = "" if done.output is None else done.output.read_text(encoding="utf-8")
    if all(row["status"] in WRITTEN for row in rows):
        yield from (f"{kept!r} is not in the output" for kept in odd.kept if kept not in text)


def _formulas(path: Path) -> list[str]:
    if path.suffix.lower() == ".sdf":
        with BlockLogs():
            mols = list(Chem.SDMolSupplier(str(path), removeHs=False, sanitize=False))
        separators = sum(line == "$$$$" for line in path.read_text(encoding="utf-8").split("\n"))
        assert len(mols) == separators, f"{len(mols)} records, {separators} separators in the output"
        return ["unreadable" if mol is None else hill(a.GetSymbol() for a in mol.GetAtoms()) for mol in mols]
    return [hill(atoms.symbols) for atoms in iread(path, index=":", format="extxyz")]
