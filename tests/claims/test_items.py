"""Claims whose test set is a sample as well: against dlx.stats, over many studies of known truth, and in a real run."""

import math
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pytest
from claims import truths
from scipy import stats
from toys import go

import dlx
from dlx import data, metrics, models, optim
from dlx.canonical import key
from dlx.claims import Above, Below, Equivalent, Higher, Lower, Ordering
from dlx.declaration import Declaration, decode, encode
from dlx.errors import DeclarationError
from dlx.records import COMPLETED, DIVERGED, FINAL, ITEMS, MEMBERSHIP, Outcome, to_records
from dlx.results import Results
from dlx.stats import block_bootstrap, item_bootstrap, one_sample
from dlx.tuning import FINALS_OF_A_SEARCH

A, B = {"arm": "a"}, {"arm": "b"}


def row(name, seed, values, items=None, metric=None):
    """What a trial left whose items have these values, None for one that diverged."""
    if values is None:
        return Outcome(name, seed, {}, DIVERGED, 1.0, 0.0, metrics={"test/loss": math.nan})
    items = list(range(len(values))) if items is None else list(items)
    curve = {f"test/loss{ITEMS}": (items, [float(v) for v in values])} if items else {}
    return Outcome(name, seed, {}, COMPLETED, 1.0, 0.0, history=curve,
                   metrics={"test/loss": float(np.mean(values)) if metric is None else metric})


def filled(study, home, left):
    """Results of an untuned study; ``left(labels, seed)``: what ``row`` takes behind the seed."""
    store = truths.stated(study, home)
    rows = [row(key(cell.digest, seed), seed, *left(study.space.labels(cell), seed))
            for cell in study.space.cells for seed in study.seed_list]
    store.commit([to_records(rows, {})], pa.Table.from_pylist([], MEMBERSHIP))
    return Results.of(study, str(home))


def searched(study, home, values):
    """Results of a tuned study whose searches are over: values (cells, searches, seeds, items)."""
    store, rows, members = truths.stated(study, home), [], []
    for cell, of_cell in zip(study.space.cells, values, strict=True):
        for search, of_search in enumerate(of_cell):
            for seed, found in zip(study.seed_list, of_search, strict=True):
                seed += FINALS_OF_A_SEARCH * search
                rows.append(row(f"{study.cell_key(cell)[:16]}{seed}", seed, found))
                members.append({"key": rows[-1].key, "seed": seed, "cell": study.cell_key(cell), "phase": FINAL,
                                "search": search})
    store.commit([to_records(rows, {})], pa.Table.from_pylist(members, MEMBERSHIP))
    return Results.of(study, str(home))


def effects(rng, studies, units, items, of_units, of_items, of_both):
    """Differences of two arms (studies, units, items) around 0."""
    return (of_units * rng.normal(size=(studies, units, 1)) + of_items * rng.normal(size=(studies, 1, items))
            + of_both * rng.normal(size=(studies, units, items)))


def part(claim, results):
    (found,) = claim.measure(results).parts
    return found


# ---------------------------------------------------------------- equal to dlx.stats


@pytest.fixture
def grid(tmp_path):
    """Two arms at two x, 6 seeds, 40 items: values (arms, x, seeds, items) and the results."""
    values = np.random.default_rng(1).normal(size=(2, 2, 6, 40)).cumsum(axis=3)
    x = (1.0, 2.0)
    study = truths.study((), 6, arm="ab", x=x)
    return values, filled(study, tmp_path, lambda labels, seed: (
        values["ab".index(labels["arm"]), x.index(labels["x"]), seed],))


def same(found, expected):
    assert (found.effect, found.low, found.high) == pytest.approx((expected.value, expected.low, expected.high))
    assert (found.test, found.units) == (expected.test, expected.n)


def test_pairs_agree_in_unit_and_item_and_in_all_other_axes(grid):
    values, results = grid
    difference = (values[0] - values[1]).mean(axis=0)
    for by in (0.0, 0.5):
        same(part(Lower("test/loss", A, B, by, test="items"), results), item_bootstrap(difference, -by))
        same(part(Higher("test/loss", A, B, by, test="blocks"), results), block_bootstrap(difference, None, by))
    same(part(Higher("test/loss", A, B, test="blocks", block=7), results), block_bootstrap(difference, 7))
    same(part(Lower("test/loss", A, B, where={"x": 2.0}, test="items"), results), item_bootstrap(
        values[0, 1] - values[1, 1]))


def test_thresholds_of_each_cell(grid):
    values, results = grid
    for kind in (Below, Above):
        found = kind("test/loss", 1.0, test="items").measure(results).parts
        for one, cell in zip(found, values.reshape(4, 6, 40), strict=True):
            same(one, item_bootstrap(cell, 1.0))
    (one,) = Below("test/loss", 1.0, where={**A, "x": 1.0}, test="blocks", block=4).measure(results).parts
    same(one, block_bootstrap(values[0, 0], 4, 1.0))


def test_the_unit_of_tuned_arms_is_the_search(tmp_path):
    values = np.random.default_rng(2).normal(size=(2, 4, 3, 20))
    claim = Lower("test/loss", A, B, test="items")
    results = searched(truths.tuned([claim], seeds=3, repeats=4, arm="ab"), tmp_path, values)
    same(part(claim, results), item_bootstrap((values[0] - values[1]).mean(axis=1)))
    assert claim.measure(results).searches == 4


def test_a_diverged_trial_counts_as_the_worst_at_every_item(tmp_path):
    values = np.random.default_rng(3).normal(size=(2, 5, 30))
    study = truths.study((), 5, arm="ab")
    results = filled(study, tmp_path, lambda labels, seed: (
        None if labels["arm"] == "a" and seed == 2 else values["ab".index(labels["arm"]), seed],))
    claim = Lower("test/loss", A, B, test="items")
    assert part(claim, results).effect == pytest.approx(part(Lower("test/loss", A, B), results).effect)
    full = values.copy()
    full[0, 2] = max(values[0, [0, 1, 3, 4]].mean(axis=1).max(), values[1].mean(axis=1).max())
    same(part(claim, results), item_bootstrap(full[0] - full[1]))
    notes = claim.measure(results).notes
    assert "1 diverged final trials" in notes[0] and notes[1] == "30 items of the test set are a sample as well."


# ---------------------------------------------------------------- over many studies


def covered(parts, studies, truth=0.0):
    share = float(np.mean([p.low <= truth <= p.high for p in parts]))
    return share, 2 * math.sqrt(0.05 * 0.95 / studies)


@pytest.mark.parametrize(("of_items", "least_t"), [(1.0, 0.0), (0.0, 0.93)])
def test_intervals_over_new_units_and_items_cover_and_those_over_units_do_not(tmp_path, of_items, least_t):
    copies, units, items = 300, 5, 25
    found = effects(np.random.default_rng(4), copies, units, items, 0.1, of_items, 1.0)
    study = truths.study((), units, copy=range(copies), arm="ab")
    results = filled(study, tmp_path, lambda labels, seed: (
        found[labels["copy"], seed] if labels["arm"] == "a" else np.zeros(items),))
    at = [{"copy": i} for i in range(copies)]
    share, error = covered([part(Lower("test/loss", A, B, where=w, test="items"), results) for w in at], copies)
    assert share >= 0.95 - error
    if of_items:  # what units and items have in common counts twice where items make no difference
        assert share <= 0.95 + 2 * error
    over_units = [part(Lower("test/loss", A, B, where=w), results) for w in at]
    share, _ = covered(over_units, copies)
    assert share >= least_t if not of_items else share < 0.85
    known = stats.ttest_1samp(found.mean(axis=2), 0, axis=1).confidence_interval()
    np.testing.assert_allclose([p.low for p in over_units], known.low, rtol=1e-6)


def test_windows_of_a_series_need_blocks(tmp_path):
    copies, units, length, memory = 150, 4, 300, 0.9
    rng = np.random.default_rng(5)
    shared, own = (np.zeros((copies, n, length + 100)) for n in (1, units))
    for series in (shared, own):
        for t in range(1, series.shape[2]):
            series[..., t] = memory * series[..., t - 1] + rng.normal(size=series.shape[:2])
    found = (shared + 0.3 * own)[..., 100:]
    study = truths.study((), units, copy=range(copies), arm="ab")
    results = filled(study, tmp_path, lambda labels, seed: (
        found[labels["copy"], seed] if labels["arm"] == "a" else np.zeros(length),))
    parts = {test: [part(Higher("test/loss", A, B, where={"copy": i}, test=test), results) for i in range(copies)]
             for test in ("items", "blocks")}
    width = {test: np.array([p.high - p.low for p in of_test]) for test, of_test in parts.items()}
    assert np.median(width["blocks"] / width["items"]) > 2 and (width["blocks"] > width["items"]).mean() > 0.95
    assert covered(parts["blocks"], copies)[0] >= 0.85 > 0.6 > covered(parts["items"], copies)[0]


# ---------------------------------------------------------------- what is refused


@pytest.mark.parametrize(("claim", "sentence"), [
    (Lower("test/loss", A, B, block=3), "blocks are for test='blocks'"),
    (Lower("test/loss", A, B, test="items", block=3), "blocks are for test='blocks'"),
    (Below("test/loss", 1.0, test="blocks", block=0), "block is 0; give a number of neighbouring windows"),
    (Higher("test/loss", A, B, test="blocks", block=2.5), "block is 2.5"),
    (Lower("test/loss", A, B, test="itmes"), "'items' or 'blocks'"),
    (Ordering("test/loss", [A, B], test="items"), "must be 't' or 'exact' or 'trimmed'"),
])
def test_refused_when_it_is_declared(claim, sentence):
    with pytest.raises(DeclarationError, match=sentence):
        Declaration.of(truths.study([claim], arm="ab"))


def left(kind, labels, seed):
    """What a trial leaves that does one thing wrong."""
    values = np.random.default_rng(seed).normal(size=20)
    if kind == "none":
        return values, ()
    if kind == "some" and seed == 0:
        return values, ()
    if kind == "anew":
        return values, range(20 * seed, 20 * seed + 20)
    if kind == "longer":
        return (np.append(values, 0.0),) if seed == 1 else (values,)
    if kind == "cells" and labels["arm"] == "b":
        return (np.append(values, 0.0),)
    if kind == "squared":
        return values**2, None, math.sqrt((values**2).mean())
    return (values,)


@pytest.mark.parametrize(("kind", "claim", "sentence"), [
    ("none", Lower("test/loss", A, B, test="items"), r"give their Training items=('test/loss',)"),
    ("some", Lower("test/loss", A, B, test="items"), "2 of 10 final trials recorded no items of test/loss"),
    ("anew", Lower("test/loss", A, B, test="items"), "drawn anew for every seed, so seeds already sample it"),
    ("longer", Below("test/loss", 1.0, test="items"), "leave test= out"),
    ("cells", Below("test/loss", 1.0, test="blocks"), "narrow it to one test set by where="),
    ("squared", Lower("test/loss", A, B, test="items"), "test/loss is not the mean of its items in 10 of 10"),
    ("well", Lower("test/loss", A, B, test="blocks", block=11), "between 1 and 10 of 20 windows, not 11"),
])
def test_undecided_with_the_fix(tmp_path, kind, claim, sentence):
    results = filled(truths.study([claim], 5, arm="ab"), tmp_path, lambda labels, seed: left(kind, labels, seed))
    (verdict,) = results.verdicts()
    assert verdict.outcome == "undecided" and sentence in verdict.reasons[0]


def test_arms_of_which_one_is_tuned_share_no_units(tmp_path):
    template = truths.Arm(arm="a", lr=dlx.grid(0.1, dlx.loguniform(1e-3, 1.0)))
    study = dlx.Study(name="mixed", question="?", template=template, objective=dlx.minimize("val/loss"),
                      search=dlx.Random(trials=4), seeds=5)
    axis = next(iter(Declaration.of(study).axes))
    labels = Declaration.of(study).axes[axis]
    claim = Lower("test/loss", {axis: labels[0]}, {axis: labels[1]}, test="items", because="a test")
    with pytest.raises(DeclarationError, match="takes pairs, but only one side is tuned"):
        claim.check_names(Declaration.of(study).grid, objective=study.objective)


# ---------------------------------------------------------------- from the study to the verdict


def test_what_it_says_and_how_it_is_kept():
    claim = Lower("test/loss", A, B, test="blocks", block=24)
    assert str(claim).endswith("than of arm=b (block bootstrap)") and decode(encode(claim)) == claim
    assert str(Below("test/loss", 1.0, test="items")).endswith("in every cell (item bootstrap)")


@dataclass(frozen=True)
class Exam(dlx.Trial):
    """Graded on the same few tasks whatever the seed; a new school helps with some of them, and harms with others."""

    school: str

    def run(self, ctx):
        helped = np.linspace(-1.2, 1.8, 12) * (self.school == "new")
        grades = np.arange(12) - helped + 0.05 * ctx.rng(self.school).normal(size=12)
        ctx.items("test/loss", grades)
        return {"test/loss": grades.mean()}


def test_few_tasks_cannot_decide_what_seeds_alone_would(tmp_path):
    new, old = {"school": "new"}, {"school": "old"}
    claims = [Lower("test/loss", new, old), Lower("test/loss", new, old, test="items")]
    study = dlx.Study(name="exam", question="?", template=Exam(dlx.grid("new", "old")), seeds=5, claims=claims)
    seeds, items = go(study, tmp_path).verdicts()
    assert (seeds.outcome, items.outcome) == ("supported", "undecided")
    assert items.label == "confirmatory" and items.test == "item bootstrap" and items.effect == seeds.effect
    assert items.low < seeds.low < seeds.high < items.high and "12 items" in items.reasons[-1]
    again = Results.of(Results.of(study, str(tmp_path)).declaration, str(tmp_path)).verdicts()
    assert again[1] == items


def test_a_training_to_its_verdict(tmp_path):
    narrow, wide = ({"model.width": width} for width in (1, 16))
    template = dlx.Training(data=data.Digits(), model=models.MLP(width=dlx.grid(1, 16), depth=1), steps=60,
                            optimizer=optim.SGD(lr=0.3), batch_size=50, measure=2, metrics=[metrics.error()],
                            items=("test/error",))
    claims = [Lower("test/error", wide, narrow, by=0.1, test="items"), Equivalent("test/error", wide, narrow, 0.01)]
    study = dlx.Study(name="figures", question="?", template=template, seeds=5, claims=claims)
    results = go(study, tmp_path)
    verdict = results.verdicts()[0]
    assert verdict.outcome == "supported" and verdict.label == "confirmatory"
    value = results.items("test/error").value.reshape(2, 5, 360)
    known = item_bootstrap(value[1] - value[0], -0.1)
    assert (verdict.low, verdict.high) == pytest.approx((known.low, known.high))
    alone = one_sample((value[1] - value[0]).mean(axis=1), -0.1)
    assert verdict.high - verdict.low > alone.high - alone.low
