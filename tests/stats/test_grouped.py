"""The interval is SciPy's, group by group."""

import math

import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats as reference

from dlx.stats import clustered, means

VALUES = st.floats(-1e3, 1e3) | st.just(math.nan) | st.just(math.inf)


@given(rows=st.lists(st.tuples(st.integers(0, 4), VALUES), max_size=40))
def test_means_and_intervals_are_those_of_the_finite_values(rows):
    found = means(np.array([v for _, v in rows]), np.array([g for g, _ in rows], dtype=int), 5)
    for group in range(5):
        sample = [v for g, v in rows if g == group and math.isfinite(v)]
        assert found.count[group] == len(sample)
        assert np.isnan(found.mean[group]) if not sample else np.isclose(found.mean[group], np.mean(sample))
        if len(sample) < 2:
            assert np.isnan(found.half_width[group])
        else:
            wide = reference.t.ppf(0.975, len(sample) - 1) * np.std(sample, ddof=1) / math.sqrt(len(sample))
            assert np.isclose(found.half_width[group], wide, atol=1e-9)


def test_clusters_are_the_sample():
    values, searches = np.array([1.0, 3.0, 10.0, 12.0, 5.0, np.nan]), np.array([0, 0, 1, 1, 2, 2])
    found = clustered(values, np.zeros(6, dtype=int), searches, 1)
    plain = means(np.array([2.0, 11.0, 5.0]), np.zeros(3, dtype=int), 1)
    assert (found.count[0], found.mean[0], found.half_width[0]) == (5, plain.mean[0], plain.half_width[0])
