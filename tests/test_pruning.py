"""Stopping early inside a pack: who, when, and that it is the same on every machine."""

import math
from collections import Counter, defaultdict
from dataclasses import dataclass

import pytest
from hypothesis import given
from hypothesis import strategies as st
from test_training import training
from toys import go

import dlx
from dlx import optim
from dlx.context import Context
from dlx.errors import DeclarationError
from dlx.executors.local import Local
from dlx.pruning import Halving, Median, Prune, Pruned

# ---------------------------------------------------------------- rules


def test_halving():
    rule = Halving(eta=3, min_steps=10)
    assert rule.rungs(1_000) == [10, 30, 90, 270, 810] and rule.rungs(10) == []
    assert rule.survivors([[5.0], [1.0], [math.inf], [2.0], [2.0]]) == [1, 3]
    assert Halving(eta=1.01, min_steps=1).rungs(6) == [1, 2, 3, 4, 5]


def test_median():
    rule = Median(min_steps=5, every=10)
    assert rule.rungs(30) == [5, 15, 25]
    assert rule.survivors([[1.0, 3.0], [4.0, 4.0], [9.0, 2.5], [8.0, 8.0]]) == [0, 1, 2]


@given(st.lists(st.lists(st.floats(0, 9) | st.just(math.inf), min_size=2, max_size=2), min_size=2, max_size=9),
       st.sampled_from([Halving(2.0), Halving(4.5), Median()]))
def test_the_best_always_goes_on_and_nobody_is_invented(scores, rule):
    left = rule.survivors(scores)
    assert left == sorted(set(left)) and set(left) <= set(range(len(scores))) and left
    assert min(of_one[-1] for of_one in scores) in {scores[i][-1] for i in left} or isinstance(rule, Median)


# ---------------------------------------------------------------- in a pack

RULE = Prune(Halving(eta=2.0, min_steps=5), "val/loss", 1)
RATES = [1e-6, 0.3, 1e-5, 0.1, 1e12, 0.2, 1e-4, 0.05]


def cohort_of(rates, name, seed=0):
    return [(training(steps=40, optimizer=optim.SGD(lr), measure=3), seed, name) for lr in rates]


def run_cohorts(members):
    contexts = []
    for _, seed, cohort in members:
        contexts.append(ctx := Context(seed))
        ctx.cohort, ctx.prune = cohort, RULE
    trials = [trial for trial, _, _ in members]
    return type(trials[0]).run_pack(trials, contexts), contexts


def test_the_worse_half_leaves_at_each_rung_and_the_others_are_not_touched():
    results, contexts = run_cohorts(cohort_of(RATES, "a"))
    last = [max(ctx.history["val/loss"][0]) for ctx in contexts]
    assert Counter(last) == {5: 4, 10: 2, 20: 1, 40: 1}
    for rate, result, at in zip(RATES, results, last, strict=True):
        alone = training(steps=40, optimizer=optim.SGD(rate), measure=3)
        if at == 40:
            assert result == pytest.approx(alone.run(Context(0)), rel=0, abs=1e-10)
        else:
            assert isinstance(result, Pruned)
            expected = training(steps=at, optimizer=optim.SGD(rate), measure=1).run(Context(0))
            assert result.metrics == pytest.approx(expected, rel=0, abs=1e-10, nan_ok=True)
    assert last[RATES.index(1e12)] == 5, "what diverged is worst"


def test_cohorts_are_judged_apart_and_those_without_one_never():
    a, b, c = cohort_of(RATES[:4], "a"), cohort_of(RATES[4:], "b", seed=3), cohort_of(RATES[:2], None)
    together, _ = run_cohorts([c[0], *a, *b, c[1]])
    apart = run_cohorts(a)[0] + run_cohorts(b)[0]
    assert not isinstance(together[0], Pruned) and not isinstance(together[-1], Pruned)
    for one, other in zip(together[1:-1], apart, strict=True):
        assert isinstance(one, Pruned) == isinstance(other, Pruned)
        one, other = (getattr(r, "metrics", r) for r in (one, other))
        assert one == pytest.approx(other, rel=0, abs=1e-10, nan_ok=True)


# ---------------------------------------------------------------- in a study


def study(**changes):
    descent = optim.SGD(dlx.loguniform(1e-6, 1.0), momentum=dlx.grid(0.0, 0.5))
    search = dlx.TPE(trials=12, repeats=2, parallel=6, top=2, recheck=1, prune=dlx.Halving(eta=2, min_steps=4))
    declared = {"template": training(optimizer=descent, steps=40), "objective": dlx.minimize("val/loss"),
                "search": search, "seeds": 2, **changes}
    return dlx.Study("early", "?", **declared)


def outcome(results):
    table = results.all.table if hasattr(results, "all") else results.table
    columns = ("cell", "phase", "search", "ask", "seed")
    return {tuple(row[c] for c in columns): (row["key"], row["status"]) for row in table.to_pylist()}


class Impatient(Local):
    """Stops after so many packs, as a driver that is killed."""

    def __init__(self, packs):
        super().__init__()
        self.packs = packs

    def run(self, feed):
        take, taken = feed.take, iter(range(self.packs))

        def limited(resources=None):
            if next(taken, None) is None:
                feed.interrupt()
                return None
            return take(resources)

        feed.take = limited
        super().run(feed)


def test_a_study_prunes_alike_in_packs_of_any_size_and_after_interruptions(tmp_path):
    whole = outcome(go(study(), tmp_path / "whole"))
    statuses = Counter((phase, status) for (_, phase, *_), (_, status) in whole.items())
    assert statuses["tune", "pruned"] >= 24 and statuses["tune", "completed"] >= 8
    assert statuses["final", "completed"] == 8 and not statuses["final", "pruned"]
    assert outcome(go(study(pack=3), tmp_path / "small")) == whole
    for packs in (1, 1, 2, 1):
        go(study(pack=8), tmp_path / "cut", executor=Impatient(packs))
    assert outcome(go(study(pack=8), tmp_path / "cut")) == whole


def test_no_pack_splits_a_cohort(tmp_path):
    cohorts = defaultdict(set)

    class Watching(Local):
        def run(self, feed):
            take = feed.take

            def noted(resources=None):
                if (pack := take(resources)) is not None:
                    for member in pack.members:
                        cohorts[member.cohort].add(id(pack))
                    kept.append(pack)
                return pack

            kept = []
            feed.take = noted
            super().run(feed)

    go(study(pack=5), tmp_path, executor=Watching())
    named = {name: packs for name, packs in cohorts.items() if name is not None}
    assert len(named) == 8 and all(len(packs) == 1 for packs in named.values())


def test_more_asks_later_prune_as_if_they_had_been_there(tmp_path):
    short = study(search=dlx.TPE(trials=6, parallel=6, prune=dlx.Halving(eta=2, min_steps=4)))
    long = study(search=dlx.TPE(trials=12, parallel=6, prune=dlx.Halving(eta=2, min_steps=4)))
    go(short, tmp_path / "grown")
    assert outcome(go(long, tmp_path / "grown")) == outcome(go(long, tmp_path / "new"))


# ---------------------------------------------------------------- bad input


@dataclass(frozen=True)
class Plain(dlx.Trial):
    lr: float

    def run(self, ctx):
        return {"val/loss": self.lr}


@pytest.mark.parametrize(("changes", "message"), [
    ({"search": dlx.TPE(trials=8, prune=dlx.Halving(eta=1.0))}, "prune.eta is 1.0"),
    ({"search": dlx.TPE(trials=8, prune=dlx.Halving(min_steps=0))}, "prune.min_steps is 0"),
    ({"search": dlx.TPE(trials=8, prune=dlx.Median(every=0))}, "prune.every is 0"),
    ({"search": dlx.TPE(trials=8, prune="halving")}, "search.prune is 'halving'; give a rule"),
    ({"search": dlx.TPE(trials=9, parallel=4, prune=dlx.Median())}, "trials=9.*parallel=4"),
    ({"search": dlx.TPE(trials=9, parallel=1, prune=dlx.Median())}, "parallel=1"),
    ({"template": training(optimizer=optim.SGD(dlx.uniform(0.0, 1.0)), watch=("train",))}, "'val' to template.watch"),
    ({"template": Plain(dlx.uniform(0.0, 1.0))}, "scheduler="),
])
def test_bad_input(changes, message):
    with pytest.raises(DeclarationError, match=message):
        study(**changes)
