"""The register tells claims that were stated before their trials ran from those that were not, and counts looks."""

import pytest
from toys import go, tuned, valley

import dlx
from dlx import claims
from dlx.declaration import claim_digest
from dlx.register import SAMPLE, Look, Register
from dlx.store import Store

EARLY = claims.Lower("test/loss", {"width": 2}, than={"width": 1})
LATE = claims.Lower("test/loss", {"lr": 0.01}, than={"lr": 0.1})


def test_a_claim_is_stated_once_before_or_after(tmp_path):
    register = go(valley(claims=[EARLY]), tmp_path).register
    assert register.stated(claim_digest(EARLY)) is True and register.stated(claim_digest(LATE)) is None
    register = go(valley(claims=[LATE, EARLY]), tmp_path).register
    assert register.stated(claim_digest(EARLY)) is True and register.stated(claim_digest(LATE)) is False


def test_each_number_of_seeds_is_a_look(tmp_path):
    for seeds in (5, 5, 7):
        results = go(valley(claims=[EARLY], seeds=seeds), tmp_path)
    looks = Register(results.store, results.grid["cell"].to_pylist()).looks(claim_digest(EARLY))
    assert looks == [Look(5, 0), Look(7, 0)]


def test_a_run_that_was_cut_short_is_no_look(tmp_path):
    results = go(valley(claims=[EARLY]), tmp_path, max_trials=3)
    assert results.missing and not Register(results.store, results.grid["cell"].to_pylist()).looks(claim_digest(EARLY))


def test_looks_at_other_cells_do_not_count(tmp_path):
    store = Store("s", str(tmp_path))
    cells = [f"{i:032x}" for i in range(100)]
    one = Register(store, cells)
    one.state({"claim": "A is lower."}, stored=False)
    one.look(["claim", "unknown"], Look(5, 3))
    assert Register(store, cells).looks("claim") == [Look(5, 3)]
    assert Register(store, [*cells[::2], "f" * 32]).looks("claim") == [Look(5, 3)]
    assert Register(store, cells[SAMPLE:]).looks("claim") == []


@pytest.mark.parametrize("text", ["[1", '{"a": 1}', '{"a": {"stated": true, "looks": [{"seeds": 3}]}}', "null"])
def test_a_damaged_register_says_so(tmp_path, text):
    results = go(valley(claims=[EARLY]), tmp_path)
    (tmp_path / "studies" / "valley" / "claims.json").write_text(text)
    store = Store("valley", str(tmp_path))
    assert Register(store, results.grid["cell"].to_pylist()).stated(claim_digest(EARLY)) is None
    assert "claims.json is damaged" in store.damaged[0]


def test_more_searches_after_a_look_explore(tmp_path):
    changes = {"claims": [claims.Lower("test/loss", {"width": 2}, than={"width": 1})], "seeds": 5}
    first = go(tuned(search=dlx.Random(trials=5, repeats=3), **changes), tmp_path).verdicts()[0]
    more = go(tuned(search=dlx.Random(trials=5, repeats=4), **changes), tmp_path).verdicts()[0]
    assert (first.label, more.label) == ("confirmatory", "exploratory")
    assert "looked at with 3 searches before there were 4" in " ".join(more.reasons)
