"""Generated series: each kind is what its equation says, in windows like those of ETTh1."""

import numpy as np
import pytest
import torch

from dlx import data
from dlx.context import Context
from dlx.data.series import KINDS


def hours(kind):
    return KINDS[kind](np.random.default_rng(3))


def test_seasons_repeat_each_week_but_for_the_trend():
    x = hours("seasonal")
    assert np.allclose(x[168:] - x[:-168], 2.0 * 168 / len(x))
    assert np.ptp(x[168:] - x[:-168]) < 1e-9 < np.ptp(x[24:] - x[:-24])


def test_chaos_follows_the_equation_of_mackey_and_glass_and_forgets_where_it_began():
    x = hours("chaotic")
    middle, delayed = (x[30:-1] + x[31:]) / 2, (x[:-31] + x[1:-30]) / 2
    slope = 0.2 * delayed / (1 + delayed**10) - 0.1 * middle
    np.testing.assert_allclose(x[31:] - x[30:-1], slope, atol=0.02)
    other = KINDS["chaotic"](np.random.default_rng(4))
    assert abs(np.corrcoef(x, other)[0, 1]) < 0.1 and x.min() > 0.2 and x.max() < 1.5


def test_regimes_have_their_periods_and_last_ten_days():
    x = hours("switching")
    fast = 2 * 0.99 * np.cos(2 * np.pi / 12) * x[1:-1] - 0.99**2 * x[:-2]
    slow = 2 * 0.99 * np.cos(2 * np.pi / 36) * x[1:-1] - 0.99**2 * x[:-2]
    of_fast, of_slow = (np.convolve((x[2:] - f) ** 2, np.ones(25) / 25, "valid") for f in (fast, slow))
    assert np.median(np.minimum(of_fast, of_slow)) == pytest.approx(1.0, abs=0.1)  # the noise of whichever drives
    moves = np.abs(np.diff((of_fast < of_slow).astype(int))).sum()
    assert 30 < moves < 150


@pytest.mark.parametrize("made", [data.Series("chaotic", 48, 24, stride=1), data.Series("chaotic", 48, 24, stride=7)])
def test_windows_begin_a_stride_apart_and_go_on_where_they_end(made):
    splits = made.load(Context(0))
    dense = data.Series("chaotic", 48, 24).load(Context(0))
    for name, start in (("train", 0), ("val", 8_640 - 48), ("test", 11_520 - 48)):
        inputs, targets = splits[name].take(splits[name].rows)
        every = dense[name].take(dense[name].rows)
        assert torch.equal(inputs, every[0][:: made.stride]) and torch.equal(targets, every[1][:: made.stride])
        last = start + made.stride * (len(inputs) - 1) + 48 + 24
        assert last <= {"train": 8_640, "val": 11_520, "test": 14_400}[name] < last + made.stride
    x = dense["train"].take(dense["train"].rows[::48])[0]
    assert abs(x.mean()) < 0.02 and abs(x.std() - 1) < 0.02
    inputs, targets = dense["train"].take(torch.tensor([0, 48]))
    assert torch.equal(targets[0], inputs[1, :24, 0])


def test_noise_is_white_and_a_share_of_the_deviation():
    clean, noisy = (data.Series("seasonal", noise=n).load(Context(0))["train"].inputs[:, 0, 0] for n in (0.0, 0.5))
    slope = float((clean * noisy).mean() / clean.square().mean())
    rest = noisy - slope * clean
    assert float((rest / slope).std()) == pytest.approx(0.5, rel=0.15)
    assert abs(float((rest[1:] * rest[:-1]).mean() / rest.square().mean())) < 0.05
