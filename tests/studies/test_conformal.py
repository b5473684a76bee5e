"""Sets of the study equal those of MAPIE, and a calibration draw covers what it must."""

import importlib.util
import sys
from pathlib import Path

import numpy as np
import pytest
from scipy.stats import betabinom
from sklearn.base import BaseEstimator, ClassifierMixin

from dlx import metrics

N, LABELS = 1_500, 12
FILE = Path(__file__).parents[2] / "studies/misc/conformal.py"


@pytest.fixture(scope="module")
def conformal():
    spec = importlib.util.spec_from_file_location("study_of_conformal_sets", FILE)
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    yield module
    del sys.modules[spec.name]


@pytest.fixture(scope="module")
def logits():
    return 2 * np.random.default_rng(0).normal(size=(N, LABELS))


@pytest.fixture(scope="module")
def labels(logits):
    """Drawn from the probabilities that the logits mean."""
    return (logits + np.random.default_rng(1).gumbel(size=logits.shape)).argmax(axis=1)


def probabilities(logits):
    p = np.exp(logits)
    return p / p.sum(axis=1, keepdims=True)


class Known(ClassifierMixin, BaseEstimator):
    """A classifier whose logits are its inputs."""

    classes_ = np.arange(LABELS)

    def fit(self, x, y):
        return self

    def predict_proba(self, x):
        return probabilities(x)

    def predict(self, x):
        return x.argmax(axis=1)


def test_sizes_of_split_sets_equal_mapie(conformal, logits, labels):
    from mapie.classification import SplitConformalClassifier

    pool = conformal.of_labels("split", logits, labels, np.random.default_rng(0))
    y = labels[conformal.SAMPLES:]
    third = slice(conformal.SAMPLES)
    x = logits[conformal.SAMPLES:] / metrics.temperature(logits[third], labels[third])
    t = metrics.conformal_threshold(pool.truth[third], conformal.ALPHA)
    reference = SplitConformalClassifier(Known().fit(x, y), confidence_level=1 - conformal.ALPHA, prefit=True)
    reference.conformalize(x[: conformal.SAMPLES], y[: conformal.SAMPLES])
    _, chosen = reference.predict_set(x)
    some = np.arange(len(y)) % 3 == 0
    assert pool.sizes(np.array([t, np.inf]), some) == pytest.approx([chosen[some].sum(axis=1).mean(), LABELS])


@pytest.mark.parametrize("method", ["split", "APS", "RAPS"])
def test_draws_cover_as_the_beta_binomial_says(conformal, logits, labels, method):
    pool = conformal.of_labels(method, logits, labels, np.random.default_rng(3))
    thresholds, test = metrics.calibration_draws(pool.truth, 500, 400, 0.1, np.random.default_rng(4))
    covered, tests = ((pool.truth <= thresholds[:, None]) & test).sum(axis=1), len(pool.truth) - 500
    assert (test.sum(axis=1) == tests).all()
    law = betabinom(tests, 451, 50)
    assert np.mean(covered) == pytest.approx(law.mean(), abs=4 * law.std() / 20)
    assert np.std(covered) == pytest.approx(law.std(), rel=0.15)
    least, most = metrics.covered_within(tests, 500, 0.1)
    assert law.cdf(most) - law.cdf(least - 1) >= 0.95 > law.cdf(most - 1) - law.cdf(least)


def test_constants_are_those_of_one_calibration_draw(conformal):
    from scipy.stats import beta

    left_out = int((conformal.SAMPLES + 1) * conformal.ALPHA)
    interval = beta.interval(0.95, conformal.SAMPLES + 1 - left_out, left_out)
    np.testing.assert_allclose((conformal.LOW, conformal.HIGH), interval, atol=5e-4)


def test_intervals_cover_by_moving_both_bounds(conformal):
    rng = np.random.default_rng(0)
    x, noise = rng.normal(size=(2, 4_000))
    bounds = np.stack([x - 1.0, x + 1.0], axis=1)
    pool = conformal.of_numbers(bounds, x + noise, np.abs(x))
    t = metrics.conformal_threshold(pool.truth, conformal.ALPHA)
    assert np.mean((x + noise >= bounds[:, 0] - t) & (x + noise <= bounds[:, 1] + t)) == pytest.approx(0.9, abs=1e-3)
    assert pool.sizes(np.array([t]), x > 0) == pytest.approx([2 + 2 * t])
