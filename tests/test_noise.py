import math

import pytest
import torch
from scipy import stats

from dlx.noise import bits, fold, normal, uniform

KEY = torch.tensor(12345)


def test_uniform_is_uniform_and_normal_is_normal():
    drawn = uniform(KEY, (400, 50), torch.float64)
    assert drawn.min() >= 0 and drawn.max() < 1
    assert stats.kstest(drawn.flatten().numpy(), "uniform").pvalue > 0.01
    assert stats.kstest(normal(KEY, (20_000,), torch.float64).numpy(), "norm").pvalue > 0.01
    assert normal(KEY, (200_000,), torch.float32).isfinite().all()


def test_every_bit_is_fair_and_neighbours_are_independent():
    drawn = bits(KEY, (1 << 16,))
    ones = torch.stack([(drawn >> i) & 1 for i in range(64)]).double().mean(dim=1)
    assert (ones - 0.5).abs().max() < 5 * 0.5 / math.sqrt(1 << 16)
    keys = torch.stack([fold(KEY, i) for i in range(4_000)])
    across = torch.stack([uniform(k, (1,), torch.float64)[0] for k in keys])
    assert stats.kstest(across.numpy(), "uniform").pvalue > 0.01
    u = uniform(KEY, (20_000,), torch.float64)
    for lag in (1, 2, 64):
        assert abs(torch.corrcoef(torch.stack([u[lag:], u[:-lag]]))[0, 1]) < 0.03
    other = uniform(fold(KEY, 1), (20_000,), torch.float64)
    assert abs(torch.corrcoef(torch.stack([u, other]))[0, 1]) < 0.03


def test_keys_make_streams_of_their_own():
    assert len({fold(torch.tensor(k), n).item() for k in range(100) for n in range(-50, 50)}) == 10_000


def test_the_same_numbers_in_every_precision_and_in_a_pack():
    assert torch.equal(uniform(KEY, (9,), torch.float32).double(), uniform(KEY, (9,), torch.float64))
    keys = torch.arange(5)
    together = torch.func.vmap(lambda k: normal(fold(k, k), (3, 2), torch.float64))(keys)
    for k, drawn in zip(keys, together, strict=True):
        assert torch.equal(drawn, normal(fold(k, k), (3, 2), torch.float64))


def test_the_numbers_are_fixed_for_good():
    assert bits(KEY, (2,)).tolist() == GOLDEN_BITS
    assert uniform(KEY, (1,), torch.float64).item() == pytest.approx((GOLDEN_BITS[0] % 2**64 >> 40) / 2**24, abs=0)


GOLDEN_BITS = [5160037856816701702, 4133696321680452001]
