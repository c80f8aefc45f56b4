"""Deliberately wrong components: each fails in the line of the promise that it breaks, and says why."""

import pytest

from golfbench.errors import ConfigurationError
from golfbench.testing import Examination

WRONG = [
    ("oracle", "flipped", {"forces"}, "their sign is flipped"),
    ("oracle", "energies-in-ev", {"forces", "energy-unit"}, "energies in eV beside forces in Hartree/Å"),
    ("oracle", "all-in-ev", {"energy-unit"}, "1.52 in nature"),
    ("oracle", "per-bohr", {"forces"}, "forces per Bohr"),
    ("oracle", "stateful", {"repeatable"}, "nothing is kept between calls"),
    ("oracle", "ordered", {"permutation"}, "Another order of the atoms"),
    ("oracle", "oriented", {"rotation"}, "Rotating the molecule"),
    ("oracle", "no-sulfur", {"elements"}, "S: CS/0: no parameters for S"),
    ("oracle", "charge-blind", {"charge"}, "charges are not implemented"),
    ("oracle", "mutating", {"input-untouched"}, "changed (an atom by"),
    ("oracle", "noisy-import", {"global-state"}, "build: random numbers of Python; build: NumPy error handling"),
    ("oracle", "never-made", {"factory"}, "ValueError: no licence file"),
    ("oracle", "not-installed", {"requires"}, "install with: pip install no-such-engine"),
    ("oracle", "Unkempt", {"description", "parameters", "factory"}, "unexpected keyword argument 'size'"),
    ("model", "idle-net", {"gradients"}, "spare.weight: none; spare.bias: none"),
    ("model", "moody-net", {"repeatable"}, "nothing is kept between calls"),
    ("model", "mixing-net", {"batch-equals-single"}, "its energy alone"),
    ("model", "far-sighted-net", {"locality"}, "do not interact"),
    ("model", "jumping-net", {"smooth-cutoff"}, "does not jump"),
    ("model", "detached-net", {"forces"}, "finite differences"),
    ("model", "tilted-net", {"rotation"}, "Rotating the molecule"),
    ("model", "fixed-flipped", {"forces"}, "their sign is flipped"),
    ("model", "fixed-crosstalk", {"batch-equals-single", "bad-neighbour"}, "its neighbour's energy"),
    ("optimizer", "nosy", {"batch-equals-single"}, "among others"),
    ("optimizer", "remembering", {"admission"}, "admitted to a used slot"),
    ("optimizer", "pushing", {"shapes"}, "padding of slot 0 moved"),
    ("optimizer", "inplace", {"input-untouched"}, "forces"),
    ("optimizer", "uphill", {"bowls"}, "after 400 steps"),
    ("selection", "labels-nan", {"finite-only"}, "diverging at the end: state 6 is not finite and labelled"),
    ("selection", "dice", {"repeatable"}, "falling"),
    ("selection", "inventing", {"observed-only"}, "not of the trajectory"),
    ("selection", "endless", {"ends"}, "never says that it ends"),
    ("selection", "peeking", {"surrogate"}, "falling: it decides by it"),
    ("selection", "blind", {"surrogate"}, "falling or rising, it decides the same"),
    ("selection", "silent", {"asks-oracle"}, "asks_oracle is False"),
    ("selection", "out-of-range", {"chosen-in-range"}, "24 is no index of 24 candidates"),
    ("selection", "twice", {"chosen-in-range"}, "a candidate is chosen twice"),
    ("selection", "stingy", {"spends-the-budget"}, "fewer than may be asked for"),
    ("selection", "round-dice", {"choice-repeatable"}, "many candidates"),
    ("selection", "sorting", {"round-untouched"}, "many candidates"),
    ("selection", "round-peeking", {"sees-what-it-names"}, "it decides by more"),
    ("selection", "unnamed-spread", {"chosen-in-range"}, "raised AttributeError"),
    ("dataset", "muddled", {"ids", "methods"}, "1 labels are GFN1-xTB, not GFN2-xTB"),
    ("executor", "swallowing", {"exceptions"}, "raised None"),
]
SOUND = [("oracle", "sound"), ("model", "sound-net"), ("model", "fixed"), ("executor", "threads")]
SOUND += [("selection", "by-force"), ("selection", "by-spread")]


@pytest.mark.parametrize(("kind", "name", "lines", "reason"), WRONG, ids=[f"{k}-{n}" for k, n, _, _ in WRONG])
def test_the_right_line_fails(kind, name, lines, reason, wrong, examine, failed):
    results = examine(kind, name, wrong, common=kind not in ("model", "optimizer"))
    assert failed(results) == lines
    assert any(reason in results[line].explanation for line in lines)


@pytest.mark.parametrize(("kind", "name"), SOUND)
def test_what_the_wrong_ones_start_from_is_sound(kind, name, wrong, examine, failed):
    assert failed(examine(kind, name, wrong)) == set()


def test_what_depends_on_a_broken_promise_is_not_judged(wrong, examine):
    results = examine("oracle", "stateful", wrong)
    assert results["forces"].status == "skipped"
    assert results["forces"].explanation == "not judged, because 'repeatable' did not pass"
    assert results["repeatable"].measured == pytest.approx(3e-6, rel=0.01)  # three calls later
    assert str(results["repeatable"]).startswith("repeatable: failed 3e-06 > 1e-08 Hartree")


@pytest.mark.parametrize(
    ("kind", "reference", "line"),
    [
        ("oracel", "sound", "unknown kind 'oracel': did you mean 'oracle'"),
        ("oracle", "soud", "unknown oracle 'soud': did you mean 'sound'"),
        ("oracle", "sound:depth=3", "unknown parameter 'depth'"),
    ],
)
def test_what_does_not_exist_is_not_examined(kind, reference, line, wrong):
    with pytest.raises(ConfigurationError, match=line):
        Examination(kind, reference, wrong)
