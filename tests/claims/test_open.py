"""A claim that finished trials leave open says truly what leaves it open."""

import pytest
from claims import truths

from dlx.claims import Lower, Sooner

A, B = {"arm": "a"}, {"arm": "b"}


def open_verdict(claim, seeds, home, truth):
    (verdict,) = truths.fill(truths.study([claim], seeds, arm="ab"), home, truth).verdicts()
    assert verdict.outcome == "undecided"
    return verdict


def test_more_seeds_are_not_asked_of_values_that_never_differ(tmp_path):
    found = open_verdict(Lower("test/loss", A, B), 6, tmp_path, lambda labels, seed: {"test/loss": 1.0})
    assert (found.low, found.high, found.p) == (0.0, 0.0, 1.0)
    assert found.reasons == ("All draws equal 0, where the outcome turns; more of them decide nothing.",)


def test_an_interval_that_excludes_the_margin_is_not_said_to_reach_across_it(tmp_path):
    def truth(labels, seed):  # every a gets there, one step later each; two b of four do, both at step 4
        first = 1 + seed if labels["arm"] == "a" else 4 if seed < 2 else 9
        return {"test/loss": 1.0}, ([*range(1, 6)], [float(step < first) for step in range(1, 6)])

    found = open_verdict(Sooner("test/loss", 0.5, A, B), 4, tmp_path, truth)
    assert 0 < found.low < found.high and found.p == pytest.approx(6 / 70)
    assert found.reasons[0] == "p = 0.086 (exact log-rank) is above 0.05; give more seeds."
