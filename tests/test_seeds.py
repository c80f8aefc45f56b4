"""Random streams: a pure function of seed and name, fixed over versions, apart from torch's own generator."""

import numpy as np
import pytest
import torch

from golfbench.seeds import derived, torch_seed


def test_streams_are_the_same_numbers_for_ever() -> None:
    # a resumed run draws again what a run of an older version drew
    assert derived(0, "trajectory", 17).integers(2**32, size=3).tolist() == [4225361503, 3959279024, 3423176438]
    assert derived(7).integers(2**32, size=3).tolist() == [4065701829, 3333152297, 2963894351]


def test_a_stream_depends_on_the_seed_and_on_every_axis_but_not_on_the_order_of_use() -> None:
    names = [(0, "a", 1), (1, "a", 1), (0, "a", 2), (0, "b", 1), (0, 1, "a"), (0, "a"), (0,), (0, "a", 1, 1)]
    forwards = {name: tuple(derived(*name).random(4)) for name in names}
    backwards = {name: tuple(derived(*name).random(4)) for name in reversed(names)}
    assert forwards == backwards
    assert len(set(forwards.values())) == len(names)


def test_streams_look_independent() -> None:
    draws = np.array([derived(0, "trajectory", k).standard_normal(64) for k in range(64)])
    correlation = np.corrcoef(draws) - np.eye(64)
    assert np.abs(correlation).max() < 0.6  # 5 standard deviations of 1/sqrt(64)
    assert abs(draws.mean()) < 5 / 64


def test_torch_is_seeded_inside_and_untouched_outside() -> None:
    torch.manual_seed(5)
    expected = torch.rand(3)
    torch.manual_seed(5)
    with torch_seed(0, "weights"):
        first = torch.rand(3)
    assert torch.equal(torch.rand(3), expected)
    with torch_seed(0, "weights"):
        assert torch.equal(torch.rand(3), first)
    with torch_seed(1, "weights"):
        assert not torch.equal(torch.rand(3), first)


def _fails() -> None:
    with torch_seed(0, "weights"):
        torch.rand(1)
        raise KeyError


def test_torch_is_restored_after_an_error() -> None:
    state = torch.random.get_rng_state()
    with pytest.raises(KeyError):
        _fails()
    assert torch.equal(torch.random.get_rng_state(), state)
