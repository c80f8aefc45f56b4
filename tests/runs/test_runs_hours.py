"""What the calls of a plan will take, by few or many earlier calls, or by what the oracle declares."""

import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from golfbench.oracles.cache import LabelCache
from golfbench.oracles.sizes import basis_functions
from golfbench.registry import registry
from golfbench.runs import runner
from golfbench.runs.baseline import Permission
from golfbench.runs.config import RunConfig
from golfbench.runs.hours import Hours, call_seconds, hours_of
from golfbench.runs.shards import Share
from golfbench.specs import OracleSpec

#: Calls of Psi4 1.3.2 for a track (wB97X-D/def2-SVP, one core): basis functions and CPU seconds. None of them is among
#: those that the plugin declares.
MEASURED = ((141, 17.8), (175, 31.8), (181, 33.4), (195, 44.7), (209, 49.7), (211, 49.1), (222, 60.2), (227, 71.2))
DECLARED = registry().find(OracleSpec, "psi4").timings["wB97X-D/def2-SVP"]


def test_what_psi4_declares_holds_for_other_molecules() -> None:
    sizes, seconds = zip(*MEASURED, strict=True)
    assert call_seconds((), DECLARED, sizes) == pytest.approx(seconds, rel=0.2)


def test_one_call_on_a_slower_machine_moves_all_sizes() -> None:
    """Three times as slow at one size is three times as slow at each."""
    usual = call_seconds((), DECLARED, [150, 300])
    slow = call_seconds([(150, 3 * usual[0])], DECLARED, [150, 300])
    assert slow == pytest.approx(3 * usual, rel=1e-6)


@pytest.mark.parametrize("power", [0.5, 2.0, 4.0])
def test_many_calls_of_many_sizes_say_what_the_power_is(power: float) -> None:
    rng = np.random.default_rng(3)
    sizes = rng.integers(60, 400, 200)
    known = [(int(n), float(0.01 * n**power * np.exp(rng.normal(0, 0.2)))) for n in sizes]
    asked = [50, 100, 500]
    assert call_seconds(known, DECLARED, asked) == pytest.approx(0.01 * np.power(asked, power), rel=0.15)


def test_a_call_that_waited_for_hours_moves_little() -> None:
    known = [(100, 10.0)] * 5 + [(200, 56.0)] * 5
    calm = call_seconds(known, DECLARED, [150])
    assert call_seconds([*known, (150, 7200.0)], DECLARED, [150]) == pytest.approx(calm, rel=0.2)


def test_two_calls_of_nearly_one_size_do_not_say_what_the_power_is() -> None:
    """Alone, they would say that time falls with size."""
    small, large = call_seconds([(150, 25.0), (151, 22.0)], DECLARED, [150, 300])
    assert small == pytest.approx(23.5, rel=0.1)
    assert 4 * small < large < 8 * small


@pytest.mark.parametrize(
    ("smiles_numbers", "count"),
    [
        ([8, 1, 1], 24),
        ([6, 6, 8] + [1] * 6, 72),
        ([6, 35, 1, 1, 1], 61),
        ([16, 6, 6, 17], 64),
        ([53, 1], 31),
        ([], 0),
    ],
    ids=["water", "ethanol", "bromomethane", "S C2 Cl", "hydrogen iodide", "nothing"],
)
def test_basis_functions_are_those_of_def2_svp(smiles_numbers: list[int], count: int) -> None:
    """As Psi4 1.3.2 counts them."""
    assert basis_functions(np.array(smiles_numbers, dtype=np.int64)) == count


@pytest.mark.parametrize(
    ("hours", "told"),
    [
        (
            Hours("psi4", 6.24, 63.0, 12, 2),
            "psi4: about 3.1 h at most on 2 workers (63 s a call, by 12 earlier calls in",
        ),
        (Hours("psi4", 0.5, 20.0, 0, 1), "psi4: about 30 min at most on 1 worker (20 s a call, as its plugin says)"),
        (Hours("psi4", 40.0, 20.0, 3), "psi4: about 40 h at most, divided by the number of calls at a time (20 s"),
        (Hours("gfn1-xtb", 2.0, 0.1, 500, 1, 40), "gfn1-xtb: about 2.0 h for walks of 40 steps on 1 worker (0.1 s"),
        (Hours("psi4"), "how long they take is not known: no earlier call of psi4 is in the label cache"),
    ],
)
def test_it_is_told_in_one_sentence(hours: Hours, told: str) -> None:
    assert hours.sentence.startswith(told)


@pytest.mark.parametrize(
    ("facts", "told"),
    [
        ({}, r"psi4: about \d+ (min|h) at most on 2 workers"),
        ({"workers": 4}, r"psi4: about [\d.]+ (min|h) at most on 4 workers"),
        ({"oracles": ["psi4:method=hf,basis=sto-3g"]}, None),  # nothing is declared at this level
        ({"oracles": ["mmff94"], "references": [], "delta": None}, None),  # milliseconds
    ],
    ids=["default", "workers", "another level", "cheap"],
)
def test_a_run_says_before_it_starts_how_long_it_takes(
    facts: dict[str, Any], told: str | None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("GOLFBENCH_CACHE", str(tmp_path / "labels.sqlite"))
    config = RunConfig.model_validate({"models": ["mace"], "oracles": ["psi4"], "dataset": "druglike-mini"} | facts)
    sentences: list[str] = []
    runner._tell_hours(config, runner.open_dataset(config.dataset), Share(), Permission(tell=sentences.append))
    assert len(sentences) == (told is not None)
    assert not sentences or re.match(str(told), sentences[0])


def test_walks_on_a_base_are_taken_to_come_to_rest(tmp_path: Path) -> None:
    """A plan allows for 500 steps of each walk; the time that is told is for 40."""
    cache = LabelCache(tmp_path / "labels.sqlite")
    for calls in ({"base": 501_000}, {"base": 501_000, "evaluation": 1}):
        config = RunConfig.model_validate({"models": ["painn"], "dataset": "druglike-mini", "delta": "psi4"})
        assert config.protocol.rule.max_steps == 500
        (found,) = hours_of(config, runner.open_dataset(config.dataset), {"psi4": calls}, cache)
        assert found.steps == 40
        assert found.hours
        assert found.seconds_per_call
        assert found.hours * 3600 / found.seconds_per_call == pytest.approx(41_000 + calls.get("evaluation", 0))
