"""Loggers that break one promise each: the check of that promise fails, with what is wrong."""

import os
import time
from dataclasses import replace
from pathlib import Path

import pytest

from golfbench import hookimpl
from golfbench.registry import Plugin, Registry
from golfbench.specs import LoggerSpec, Parameter


class Sound:
    def __init__(self, folder: Path, run: str, combination: str):
        self.path = folder / "log.txt"

    def scalars(self, step, values):
        with self.path.open("a") as file:
            file.write(f"{step} {dict(values)}\n")

    def close(self):
        pass


class Silent(Sound):
    def scalars(self, step, values):
        pass


class Thief(Sound):
    def scalars(self, step, values):
        super().scalars(step, values)
        values.clear()


class Choosy(Sound):
    def scalars(self, step, values):
        super().scalars(step, {name: int(value) for name, value in values.items()})


class ClosedOnce(Sound):
    def close(self):
        self.path.rename(self.path.with_suffix(".closed"))


class Forgetful(Sound):
    def __init__(self, folder, run, combination):
        super().__init__(folder, run, combination)
        self.path.unlink(missing_ok=True)
        self.path.touch()


class OnlyOne(Sound):
    owner = None

    def scalars(self, step, values):
        OnlyOne.owner = OnlyOne.owner or self.path
        if not OnlyOne.owner.parent.exists():
            OnlyOne.owner = self.path
        if OnlyOne.owner == self.path:
            super().scalars(step, values)


class Littering(Sound):
    def close(self):
        os.environ["LITTER"] = str(time.monotonic_ns())


class Slow(Sound):
    def scalars(self, step, values):
        time.sleep(0.006)
        super().scalars(step, values)


SOUND = LoggerSpec(name="sound", factory=f"{__name__}:Sound", summary="Fine.")
WRONG = {
    "writing": [(Silent, "nothing was written"), (Thief, "the values are others afterwards")],
    "odd-values": [(Choosy, "cannot convert float NaN to integer")],
    "closed-twice": [(ClosedOnce, "FileNotFoundError")],
    "resumed": [(Forgetful, "the log has shrunk")],
    "one-after-the-other": [(OnlyOne, "the second log is not kept")],
    "no-trace": [(Littering, "environment variable LITTER")],
    "quick": [(Slow, "for eight values")],
}


def found_with(spec, owner, monkeypatch):
    monkeypatch.setattr("golfbench.specs.load_factory", lambda *_: owner)
    plugin = type("Offering", (), {"golfbench_loggers": hookimpl(lambda self: [spec])})()
    found = Registry([])
    found.register(plugin, Plugin("offering", "offering", "1"))
    return found


def test_a_sound_one_passes(examine, failed, monkeypatch):
    results = examine("logger", "sound", found_with(SOUND, Sound, monkeypatch), common=False)
    assert failed(results) == set()
    assert len(results) == 8
    assert results["quick"].measured < 5.0


@pytest.mark.parametrize(
    ("check", "owner", "reason"), [(check, owner, why) for check, listed in WRONG.items() for owner, why in listed]
)
def test_the_check_of_a_broken_promise_fails(check, owner, reason, examine, failed, monkeypatch):
    monkeypatch.delenv("LITTER", raising=False)
    results = examine("logger", "sound", found_with(SOUND, owner, monkeypatch), common=False)
    assert check in failed(results)
    assert reason in results[check].explanation
    os.environ.pop("LITTER", None)


def test_names_that_the_suite_passes_itself_are_reserved(examine, failed, monkeypatch):
    spec = replace(SOUND, parameters=(Parameter("folder", "", "Mine."),))
    results = examine("logger", "sound", found_with(spec, Sound, monkeypatch), common=False)
    assert "reserved" in failed(results)
    assert "folder" in results["reserved"].explanation
