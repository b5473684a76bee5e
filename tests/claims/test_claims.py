"""Every kind of claim on truths that hold, that do not hold, and that make no difference."""

import dataclasses
import json
import math

import numpy as np
import pyarrow as pa
import pytest
from claims import truths
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

import dlx.claims
from dlx.canonical import key
from dlx.claims import (
    Above,
    Below,
    Correlated,
    Equivalent,
    Higher,
    Lower,
    Ordering,
    Peak,
    Sooner,
    Trend,
)
from dlx.declaration import decode, encode
from dlx.records import FAILED, MEMBERSHIP, to_records
from dlx.results import Results
from dlx.stats import peak_t, tost

A, B, C = {"arm": "a"}, {"arm": "b"}, {"arm": "c"}


def arms(means, spread=0.1, **fields):
    """By arm and x: a mean, noise of its own, and noise that all arms share at a seed."""

    def truth(labels, seed):
        shared = truths.noise("shared", seed)
        own = spread * truths.noise(sorted(labels.items()), seed)
        return {"test/loss": means(labels) + shared + own} | {n: f(labels, seed) for n, f in fields.items()}

    return truth


def one(claim, home, truth, seeds=8, **axes):
    results = truths.fill(truths.study([claim], seeds, **(axes or {"arm": "ab"})), home, truth)
    (verdict,) = results.verdicts()
    return verdict


BY_ARM = {"a": 1.0, "b": 2.0, "c": 3.0}
X = (1.0, 2.0, 4.0, 8.0, 16.0)
HUMP = dict(zip(X, (1.0, 1.2, 3.0, 1.4, 1.1), strict=True))
CASES = [  # claim, what it must be called on the truth above, axes
    (Lower("test/loss", A, B), "supported", "ab"),
    (Lower("test/loss", A, B, by=0.5), "supported", "ab"),
    (Lower("test/loss", A, B, by=1.5), "refuted", "ab"),
    (Lower("test/loss", B, A), "refuted", "ab"),
    (Higher("test/loss", B, A, by=0.5), "supported", "ab"),
    (Higher("test/loss", A, B), "refuted", "ab"),
    (Lower("test/loss", A, B, test="exact"), "supported", "ab"),
    (Ordering("test/loss", [A, B, C]), "supported", "abc"),
    (Ordering("test/loss", [A, C, B]), "refuted", "abc"),
    (Ordering("test/loss", [A, B, C], by=0.5), "supported", "abc"),
    (Equivalent("test/loss", A, B, margin=1.5), "supported", "ab"),
    (Equivalent("test/loss", A, B, margin=0.5), "refuted", "ab"),
]


@pytest.mark.parametrize(("claim", "outcome", "arm"), CASES, ids=lambda v: str(v))
def test_differences_between_arms(tmp_path, claim, outcome, arm):
    verdict = one(claim, tmp_path, arms(lambda labels: BY_ARM[labels["arm"]]), arm=arm)
    assert (verdict.outcome, verdict.label) == (outcome, "confirmatory")
    assert verdict.low < verdict.effect < verdict.high
    if len(arm) == 2:
        assert abs(verdict.effect) == pytest.approx(1.0, abs=0.2)


OVER_X = [
    (Trend("test/loss", "x", direction="falling"), "supported", lambda x: -x),
    (Trend("test/loss", "x", direction="rising"), "refuted", lambda x: -x),
    (Trend("test/loss", "x", direction="rising"), "refuted", HUMP.get),
    (Trend("test/loss", "x", slope=(-1.1, -0.9)), "supported", lambda x: -x),
    (Trend("test/loss", "x", slope=(None, -1.5)), "refuted", lambda x: -x),
    (Trend("test/loss", "x", slope=(-1.5, None)), "supported", lambda x: -x),
    (Peak("test/loss", "x", at=4, left=1, right=16), "supported", HUMP.get),
    (Peak("test/loss", "x", at=4, left=1, right=16, by=3), "refuted", HUMP.get),
    (Peak("test/loss", "x", at=(2, 8), left=1, right=16, by=0.5), "supported", HUMP.get),
    (Peak("test/loss", "x", at=(2, 8), left=1, right=16, by=3), "refuted", HUMP.get),
    (Peak("test/loss", "x", at=(2, 8), left=1, right=16), "refuted", lambda x: abs(x - 8)),
]


@pytest.mark.parametrize(("claim", "outcome", "mean"), OVER_X, ids=lambda v: None if callable(v) else str(v))
def test_courses_over_an_axis(tmp_path, claim, outcome, mean):
    verdict = one(claim, tmp_path, arms(lambda labels: mean(labels["x"])), x=X)
    assert verdict.outcome == outcome, verdict
    assert verdict.low <= verdict.effect <= verdict.high


def test_the_exponent_of_a_power_law_is_a_slope_of_logarithms(tmp_path):
    claim = Trend("test/loss", "x", slope=(-0.55, -0.45), log=True)

    def truth(labels, seed):
        return {"test/loss": 3 * labels["x"] ** -0.5 * math.exp(0.01 * truths.noise("power", labels["x"], seed))}

    verdict = one(claim, tmp_path, truth, x=X)
    assert verdict.outcome == "supported" and verdict.effect == pytest.approx(-0.5, abs=0.02)
    below = one(claim, tmp_path / "below", arms(lambda labels: -9.0), x=X)
    assert below.outcome == "undecided" and "log=False" in below.reasons[0]


def test_thresholds_hold_in_every_cell(tmp_path):
    truth = arms(lambda labels: BY_ARM[labels["arm"]] * 5)
    for i, (claim, outcome) in enumerate((
        (Below("test/loss", 20.0), "supported"), (Below("test/loss", 12.0), "refuted"),
        (Below("test/loss", 10.0, where={"arm": ["a", "b"]}), "undecided"), (Above("test/loss", 1.0), "supported"),
        (Above("test/loss", 7.0), "refuted"), (Above("test/loss", 7.0, where={"arm": ["b", "c"]}), "supported"),
    )):
        verdict = one(claim, tmp_path / str(i), truth, seeds=10, arm="abc")
        assert verdict.outcome == outcome, verdict


def test_correlations_across_cells(tmp_path):
    truth = arms(lambda labels: labels["x"], 0.2, sharpness=lambda labels, seed: -labels["x"] + truths.noise(seed))
    for i, (claim, outcome) in enumerate((
        (Correlated("sharpness", "test/loss", below=-0.5), "supported"),
        (Correlated("sharpness", "test/loss", above=0.0), "refuted"),
        (Correlated("sharpness", "test/loss", below=-0.5, kind="pearson"), "supported"),
    )):
        verdict = one(claim, tmp_path / str(i), truth, x=X)
        assert verdict.outcome == outcome and -1 <= verdict.low <= verdict.effect < -0.9


def test_times_to_a_threshold(tmp_path):
    rate = {"a": 0.5, "b": 0.05, "c": 0.0}

    def truth(labels, seed):
        steps = list(range(1, 101))
        pace = rate[labels["arm"]] * math.exp(0.3 * truths.noise(labels["arm"], seed))
        return {"test/loss": 1.0}, (steps, [math.exp(-pace * step) for step in steps])

    for i, (claim, outcome) in enumerate((
        (Sooner("test/loss", 0.1, A, B), "supported"), (Sooner("test/loss", 0.1, B, A), "refuted"),
        (Sooner("test/loss", 0.1, A, C), "supported"), (Sooner("test/loss", -1.0, A, B), "undecided"),
    )):
        verdict = one(claim, tmp_path / str(i), truth, arm="abc")
        assert verdict.outcome == outcome, verdict
        assert outcome == "undecided" or verdict.smallest_p == pytest.approx(2 / math.comb(16, 8))
    assert verdict.reasons[0].startswith("No final trial got test/loss to −1; train longer")


def test_few_times_cannot_reach_a_small_p(tmp_path):
    def truth(labels, seed):
        return {"test/loss": 1.0}, ([1, 2, 3, 4], [0.0] * 4 if labels["arm"] == "a" else [1.0, 1.0, 1.0, seed % 2])

    verdict = one(Sooner("test/loss", 0.5, A, B), tmp_path, truth, seeds=3)
    assert (verdict.outcome, verdict.label, verdict.smallest_p) == ("undecided", "descriptive", pytest.approx(0.1))


def test_no_curve_is_said(tmp_path):
    verdict = one(Sooner("test/loss", 0.5, A, B), tmp_path, arms(lambda labels: 0.0))
    assert verdict.outcome == "undecided" and "logged no curve of test/loss" in verdict.reasons[0]


# ---------------------------------------------------------------- against scipy, and pairs


def test_curves_of_trials_that_failed_are_left_out(tmp_path):
    study = truths.study([Sooner("test/loss", 0.5, A, B)], 6, arm="ab")
    store, (first, second) = truths.stated(study, tmp_path), study.space.cells
    rows = [truths.outcome(key(cell.digest, seed), seed, ({"test/loss": 0.0}, ([1, 2, 3], curve)))
            for cell, curve in ((first, [1.0, 0.0, 0.0]), (second, [1.0, 1.0, 0.0])) for seed in study.seed_list]
    rows[0] = dataclasses.replace(rows[0], status=FAILED, metrics={}, error="ValueError: no")
    store.commit([to_records(rows, {})], pa.Table.from_pylist([], MEMBERSHIP))
    results = Results.of(study, str(tmp_path))
    (finding,) = (claim.measure(results) for claim in study.claims)
    assert finding.parts[0].units == 11
    assert "1 of 12 final trials failed" in results.verdicts()[0].reasons[0]


def test_the_smallest_p_of_an_equivalence_is_one_sided(tmp_path):
    claim = Equivalent("test/loss", A, B, margin=0.5)
    verdict = one(claim, tmp_path, lambda labels, seed: {"test/loss": 1.0}, seeds=5)
    assert verdict.p == verdict.smallest_p == 2.0**-5 and verdict.outcome == "supported"


def test_a_claim_is_the_paired_test_of_scipy(tmp_path):
    claim = Lower("test/loss", A, B, by=0.2)
    results = truths.fill(truths.study([claim], 8, arm="ab"), tmp_path, arms(lambda labels: labels["arm"] == "b", 1.0))
    values = results.finals("test/loss").value.reshape(2, 8)
    known = stats.ttest_1samp(values[0] - values[1], -0.2)
    (verdict,) = results.verdicts()
    interval = stats.ttest_1samp(values[0] - values[1], 0).confidence_interval()
    assert verdict.p == pytest.approx(known.pvalue) and (verdict.low, verdict.high) == pytest.approx(tuple(interval))
    within = Equivalent("test/loss", A, B, margin=2.0).measure(results)
    assert within.p_for == pytest.approx(tost(values[0] - values[1], 2.0).p)


def test_all_parts_must_hold_and_any_may_refute(tmp_path):
    claim = Ordering("test/loss", [A, B, C])
    for i, means in enumerate(({"a": 1.0, "b": 2.0, "c": 2.6}, {"a": 1.0, "b": 2.0, "c": 1.4})):
        study = truths.study([claim], 6, arm="abc")
        results = truths.fill(study, tmp_path / str(i), arms(lambda labels, m=means: m[labels["arm"]], 0.3))
        values = results.finals("test/loss").value.reshape(3, 6)
        less, greater = (
            [stats.ttest_1samp(step, 0, alternative=way).pvalue for step in np.diff(values, axis=0)]
            for way in ("greater", "less")
        )
        found = claim.measure(results)
        assert found.p_for == pytest.approx(min(1.0, 2 * max(less)))
        assert found.p_against == pytest.approx(min(1.0, 2 * 2 * min(greater)))
        assert found.decisive.what == "test/loss of arm=b − arm=c"


def test_a_peak_in_a_window_is_the_max_statistic(tmp_path):
    claim = Peak("test/loss", "x", at=(2, 8), left=1, right=16, by=0.1)
    results = truths.fill(truths.study([claim], 6, x=X), tmp_path, arms(lambda labels: HUMP[labels["x"]], 0.8))
    values = results.finals("test/loss").value.reshape(len(X), 6).T
    best, known = peak_t(values[:, 1:4] - values[:, :1], values[:, 1:4] - values[:, 4:], 0.1)
    (verdict,) = results.verdicts()
    assert best == 1 and (verdict.p, verdict.low, verdict.effect) == pytest.approx((known.p, known.low, known.value))
    assert "x=4 − the higher of x=1 and x=16" in verdict.what


def test_cells_that_share_a_seed_are_one_draw(tmp_path):
    claim = Lower("test/loss", A, B)
    study = truths.study([claim], 6, arm="ab", x=X)

    def truth(labels, seed):
        return {"test/loss": truths.noise("by arm", labels["arm"], seed) + 0.01 * truths.noise(labels["x"], seed)}

    results = truths.fill(study, tmp_path, truth)
    values = results.finals("test/loss").value.reshape(2, len(X), 6)
    (verdict,) = results.verdicts()
    assert verdict.p == pytest.approx(stats.ttest_1samp((values[0] - values[1]).mean(axis=0), 0).pvalue)
    some = Lower("test/loss", A, B, where={"x": X[:2]}).measure(results)
    assert some.p == pytest.approx(stats.ttest_1samp((values[0, :2] - values[1, :2]).mean(axis=0), 0).pvalue)
    across = Lower("test/loss", A | {"x": [1.0, 2.0]}, B | {"x": 16.0}).measure(results)
    assert across.p == pytest.approx(stats.ttest_1samp(values[0, :2].mean(axis=0) - values[1, 4], 0).pvalue)


@settings(max_examples=25, deadline=None)
@given(st.lists(st.lists(st.floats(-100, 100, width=16), min_size=2, max_size=2), min_size=5, max_size=9),
       st.floats(0, 5, width=16))
def test_swapping_arms_mirrors_the_verdict(tmp_path_factory, values, by):
    pairs = [Lower("test/loss", A, B, by=by), Higher("test/loss", B, A, by=by),
             Lower("test/loss", A, B, by=by, test="exact"), Higher("test/loss", B, A, by=by, test="exact"),
             Equivalent("test/loss", A, B, by + 1), Equivalent("test/loss", B, A, by + 1)]
    study = truths.study(pairs, len(values), arm="ab")

    def truth(labels, seed):
        return {"test/loss": values[seed]["ab".index(labels["arm"])]}

    results = truths.fill(study, tmp_path_factory.mktemp("mirror"), truth)
    found = results.verdicts()
    for one, other in zip(found[::2], found[1::2], strict=True):
        assert (one.outcome, one.p, one.smallest_p) == (other.outcome, pytest.approx(other.p), other.smallest_p)
        assert (one.effect, one.low, one.high) == pytest.approx((-other.effect, -other.high, -other.low))


# ---------------------------------------------------------------- claims are JSON


ALL = [claim for claim, *_ in CASES + OVER_X] + [
    Below("test/loss", 1.0, where={"arm": ["a", "b"]}, name="low", because="x"), Above("test/loss", 1), Sooner(
        "test/loss", 0.1, A, B, falling=False, worst="low"), Correlated("a", "b", above=0.2, label="exploratory"),
]


@pytest.mark.parametrize("claim", ALL, ids=lambda v: str(v))
def test_claims_go_through_json(claim):
    again = decode(json.loads(json.dumps(encode(claim))))
    assert again == claim and type(again) is type(claim) and str(again) == str(claim)
    assert type(claim).__name__ in dlx.claims.__all__ and type(claim).__doc__


def test_verdicts_read_well_and_obey_nothing(tmp_path):
    claim = Lower("test/loss", A, B, name="a beats b\x1b[31m\n")
    line = str(one(claim, tmp_path, arms(lambda labels: BY_ARM[labels["arm"]])))
    assert line.startswith("supported    a beats b [31m : test/loss of arm=a − arm=b = −")
    assert line.endswith(", 8 seeds")
    assert "\x1b" not in line and "\n" not in line and "[−" in line and "p < 0.0001" in line


def test_numbers_of_numpy_are_refused_with_the_place():
    with pytest.raises(ValueError, match=r"Lower\.a is .*; a claim is kept as JSON"):
        Lower("test/loss", {"width": np.int64(3)}, B)
