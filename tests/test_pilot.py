"""How large packs become, by what they taught."""

import math
import os

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from dlx.device import forget_peak, memory_share
from dlx.pack import Resources
from dlx.pilot import FIRST, MOST, Sizes
from dlx.records import Pace


def grown(rate, memory=lambda n: 0.0):
    """The size on which packs settle whose pace is this function of it."""
    sizes = Sizes(None)
    for _ in range(20):
        sizes.learn("a", n := sizes["a"], Pace(rate(n), memory(n)), math.inf)
    assert sizes["a"] == n and sizes["b"] == FIRST
    return n


def test_the_size_doubles_as_long_as_that_pays():
    assert grown(lambda n: 1.0 * n) == MOST
    assert grown(lambda n: 1.0) == FIRST
    assert grown(lambda n: n / (1 + n / 256)) == 2_048
    assert grown(lambda n: n if n < 300 else 100.0) == 256


def test_memory_is_a_bound():
    assert grown(lambda n: 1.0 * n, lambda n: 0.1 + n / 1_024) == 512
    assert grown(lambda n: 1.0 * n, lambda n: 0.9) == FIRST


@given(st.lists(st.tuples(
    st.integers(1, MOST), st.none() | st.floats(0.1, 1e9), st.floats(0, 1), st.booleans(), st.floats(0, 1e9),
)))
def test_sizes_stay_in_their_bounds_and_what_the_user_gave_stays(events):
    free, fixed = Sizes(None), Sizes(48)
    for members, rate, memory, too_large, left in events:
        for sizes in (free, fixed):
            if too_large:
                sizes.too_large("a", members)
            else:
                sizes.learn("a", members, None if rate is None else Pace(rate, memory), left)
        assert 1 <= free["a"] <= MOST and fixed["a"] == 48


def test_what_is_no_full_pack_teaches_nothing():
    sizes = Sizes(None)
    sizes.learn("a", FIRST - 1, Pace(1e9), math.inf)
    sizes.learn("a", FIRST, None, math.inf)
    assert sizes["a"] == FIRST
    sizes.learn("a", FIRST, Pace(1.0), math.inf)
    sizes.learn("a", FIRST, Pace(1e-9), math.inf)  # of another worker, begun before
    assert sizes["a"] == 2 * FIRST


def test_a_larger_size_is_tried_only_where_enough_work_is_left():
    sizes = Sizes(None)
    for left in (0.0, 10.0, 50.0):
        sizes.learn("a", FIRST, Pace(100.0), left)
        assert sizes["a"] == FIRST
    sizes.learn("a", FIRST, Pace(100.0), 60.0)
    assert sizes["a"] == 2 * FIRST


def test_memory_is_a_share_of_what_a_worker_may_take():
    whole = memory_share(Resources(cpus=1_000_000), "cpu")
    assert 0 < whole < memory_share(Resources(cpus=1), "cpu")
    few, many = (memory_share(Resources(memory=10**n), "cpu") for n in (9, 10))
    assert few == pytest.approx(10 * many)


@pytest.mark.skipif(not os.access("/proc/self/clear_refs", os.W_OK), reason="this kernel does not forget a peak")
def test_the_peak_of_a_pack_is_not_that_of_an_earlier_one():
    shares = []
    for size in (1, 50_000_000, 1):
        forget_peak("cpu")
        np.ones(size)
        shares.append(memory_share(Resources(memory=10**9), "cpu"))
    assert shares[1] > shares[0] + 0.3 and shares[2] < shares[0] + 0.1
