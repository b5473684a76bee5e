"""Verdicts over many studies whose truth is known, the tuning phase included: error rates, coverage and power."""

import math

import numpy as np
import pytest
from claims import truths
from scipy import stats

from dlx.claims import Correlated, Equivalent, Lower, Peak, Trend
from dlx.stats import holm

ASKS, TOP, RECHECK = 16, 3, 2
ON_VALIDATION, ON_TEST = 0.3, 0.2  # noise of a trial's loss


def claims_on(copies, **fields):
    return [Lower("test/loss", {"arm": "a"}, {"arm": "b"}, where={"copy": i}, **fields) for i in range(copies)]


def rate(flags):
    """A share, and two of its standard errors at 5 %."""
    return float(np.mean(flags)), 2 * math.sqrt(0.05 * 0.95 / len(flags))


def landscape(lr):
    return (np.log10(lr) + 1.0) ** 2


def protocol(rng, studies, seeds):
    """Final values (studies, seeds) as ``dlx.protocol`` has them: the best few of noisy random asks, checked again."""
    floor = landscape(10 ** rng.uniform(-3, 1, (studies, ASKS)))
    first = floor + ON_VALIDATION * rng.normal(size=floor.shape)
    best = np.argsort(first, axis=1)[:, :TOP]
    again = np.take_along_axis(floor, best, 1)[:, :, None]
    again = again + ON_VALIDATION * rng.normal(size=(studies, TOP, RECHECK))
    score = (np.take_along_axis(first, best, 1) + again.sum(axis=2)) / (1 + RECHECK)
    chosen = np.take_along_axis(best, score.argmin(axis=1)[:, None], 1)
    return np.take_along_axis(floor, chosen, 1) + ON_TEST * rng.normal(size=(studies, seeds))


@pytest.fixture(scope="module")
def without_effect(tmp_path_factory):
    """1,000 studies of two identical arms: the raw findings, and the values (studies, arms, searches, seeds)."""
    rng, copies = np.random.default_rng(1), 1_000
    values = protocol(rng, copies * 2 * 3, 5).reshape(copies, 2, 3, 5)
    claims = claims_on(copies)
    study = truths.tuned(claims, seeds=5, repeats=3, copy=range(copies), arm="ab")
    results = truths.finals(study, tmp_path_factory.mktemp("null"), values.reshape(2 * copies, 3, 5))
    return [claim.measure(results) for claim in claims], values


def test_claims_without_an_effect_are_supported_in_at_most_one_study_of_twenty(without_effect):
    found, values = without_effect
    supported, error = rate([f.p_for <= 0.05 for f in found])
    refuted, _ = rate([f.p_against <= 0.05 for f in found])
    assert supported <= 0.025 + error / math.sqrt(2) and supported + refuted <= 0.05 + error
    per_search = (values[:, 0] - values[:, 1]).mean(axis=2)
    known = stats.ttest_1samp(per_search, 0, axis=1).pvalue
    np.testing.assert_allclose([f.p for f in found], known, rtol=1e-6)


def test_several_claims_of_a_study_share_its_chance_of_error(without_effect):
    p = np.array([f.p for f in without_effect[0]]).reshape(-1, 4)
    wrong, error = rate((np.apply_along_axis(holm, 1, p) <= 0.05).any(axis=1))
    assert wrong <= 0.05 + error < (p <= 0.05).any(axis=1).mean()


def test_intervals_over_searches_cover(without_effect):
    covered, error = rate([f.parts[0].low <= 0 <= f.parts[0].high for f in without_effect[0]])
    assert abs(covered - 0.95) <= error


def test_seeds_of_one_search_taken_as_draws_would_find_differences_that_are_not_there():
    a, b = (protocol(np.random.default_rng(seed), 2_000, 10) for seed in (2, 3))
    false, _ = rate(stats.ttest_1samp(a - b, 0, axis=1).pvalue <= 0.05)
    assert false > 0.15


def test_the_real_protocol_keeps_the_rate(tmp_path):
    """200 studies asked by Optuna, checked again, chosen and run through ``dlx.protocol``, judged as a user would."""
    copies, rng = 200, np.random.default_rng(4)

    def truth(labels, params, seed, phase, search):
        loss = landscape(params["lr"])
        return {"val/loss": loss + ON_VALIDATION * rng.normal(), "test/loss": loss + ON_TEST * rng.normal()}

    claims = claims_on(copies)
    results = truths.search(truths.tuned(claims, trials=6, copy=range(copies), arm="ab"), tmp_path, truth)
    supported, error = rate([claim.measure(results).p_for <= 0.05 for claim in claims])
    assert supported <= 0.05 + error
    verdicts = results.verdicts()
    assert len(verdicts) == copies and all(v.outcome == "undecided" for v in verdicts)  # Holm over 200 claims
    assert {(v.searches, v.seeds, v.label) for v in verdicts} == {(3, 5, "confirmatory")}


@pytest.mark.parametrize("seeds", [5, 10, 20])
def test_intervals_over_seeds_cover_and_planted_effects_are_found_as_often_as_theory_says(tmp_path, seeds):
    copies, rng, effect = 600, np.random.default_rng(seeds), 1.0
    shared, own = rng.normal(size=(copies, 1, seeds)), rng.normal(size=(copies, 2, seeds))
    values = shared + own + np.array([[-effect], [0.0]])
    claims = claims_on(copies)
    results = truths.fill(truths.study(claims, seeds, copy=range(copies), arm="ab"), tmp_path,
                          lambda labels, seed: {"test/loss": values[labels["copy"], "ab".index(labels["arm"]), seed]})
    found = [claim.measure(results) for claim in claims]
    covered, error = rate([f.parts[0].low <= -effect <= f.parts[0].high for f in found])
    assert abs(covered - 0.95) <= error
    power = stats.nct.sf(stats.t.ppf(0.975, seeds - 1), seeds - 1, effect / math.sqrt(2) * math.sqrt(seeds))
    supported = float(np.mean([f.p_for <= 0.05 for f in found]))
    assert abs(supported - power) <= 3 * math.sqrt(power * (1 - power) / copies)


def test_other_kinds_of_claims_keep_the_rate_at_the_edge_of_what_they_say(tmp_path):
    copies, seeds, rng = 300, 6, np.random.default_rng(7)
    x = (1.0, 2.0, 3.0, 4.0, 5.0, 6.0, 7.0)
    values = rng.normal(size=(copies, seeds, 1)) + rng.normal(size=(copies, seeds, len(x))) + np.eye(len(x))[6]
    norms, places = rng.normal(size=values.shape), [{"copy": i} for i in range(copies)]

    def truth(labels, seed):
        place = labels["copy"], seed, x.index(labels["x"])
        return {"test/loss": values[place], "norm": norms[place]}

    families = [
        [Peak("test/loss", "x", at=4, left=1, right=6, where=where) for where in places],
        [Trend("test/loss", "x", slope=(None, 0.0), where=w | {"x": x[:6]}) for w in places],
        [Equivalent("test/loss", {"x": 7.0}, {"x": 1.0}, margin=1.0, where=where) for where in places],
        [Correlated("test/loss", "norm", above=0.0, where=where) for where in places],
    ]
    results = truths.fill(truths.study(families[0], seeds, copy=range(copies), x=x), tmp_path, truth)
    for claims in families:
        supported, error = rate([claim.measure(results).p_for <= 0.05 for claim in claims])
        assert supported <= 0.05 + error, claims[0]
