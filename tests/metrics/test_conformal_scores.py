"""Conformal scores equal those of MAPIE, and thresholds leave out the share that they must."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from mapie.conformity_scores import APSConformityScore, RAPSConformityScore

from dlx import metrics

N, LABELS, ALPHA = 1_500, 12, 0.1
LOGITS = 2 * np.random.default_rng(0).normal(size=(N, LABELS))
DRAWN = (LOGITS + np.random.default_rng(1).gumbel(size=LOGITS.shape)).argmax(axis=1)  # by their probabilities


def probabilities(logits):
    p = np.exp(logits)
    return p / p.sum(axis=1, keepdims=True)


def test_scores_of_the_truth_equal_mapie():
    p, at = probabilities(LOGITS), (np.arange(N), DRAWN)
    aps = APSConformityScore()
    aps.set_external_attributes(classes=np.arange(LABELS), random_state=7)
    u = np.random.RandomState(7).uniform(size=N)
    expected = aps.get_conformity_scores(DRAWN, p, y_enc=DRAWN)[:, 0]
    np.testing.assert_allclose(metrics.adaptive_scores(p, u)[at], expected, atol=1e-12)
    rank = (p >= p[at][:, None]).sum(axis=1)
    raps = RAPSConformityScore()._regularize_conformity_score(np.array([3]), 0.1, expected[:, None], rank)
    np.testing.assert_allclose(metrics.adaptive_scores(p, u, 0.1, 3)[at], raps.ravel(), atol=1e-12)


def test_the_temperature_is_that_of_labels_drawn_at_it():
    for scale in (0.7, 1.0, 10.0):
        assert metrics.temperature(scale * LOGITS, DRAWN) == pytest.approx(scale, rel=0.2)


@settings(deadline=None, max_examples=30)
@given(n=st.integers(12, 200), seed=st.integers(0, 9))
def test_the_threshold_leaves_out_at_most_its_share(n, seed):
    scores = np.random.default_rng(seed).normal(size=n)
    t = metrics.conformal_threshold(scores, ALPHA)
    assert (scores <= t).sum() == int(np.ceil((n + 1) * (1 - ALPHA)))


def test_too_few_scores_have_no_threshold():
    assert metrics.conformal_threshold(np.zeros((2, 8)), ALPHA).tolist() == [np.inf, np.inf]


def test_the_penalty_is_the_one_with_the_smallest_sets():
    p, u, at = probabilities(LOGITS), np.random.default_rng(2).uniform(size=N), (np.arange(N), DRAWN)
    penalty, free = metrics.raps_constants(p, DRAWN, u, ALPHA)
    rank = (p >= p[at][:, None]).sum(axis=1)
    assert (rank <= free).mean() >= 1 - ALPHA > (rank < free).mean()

    def size(penalty):
        scores = metrics.adaptive_scores(p, u, penalty, free)
        return (scores <= metrics.conformal_threshold(scores[at], ALPHA)).sum(axis=1).mean()

    assert all(size(penalty) <= size(other) for other in (0.0, 0.001, 0.01, 0.1, 0.2, 0.5))
