"""One search by itself: what it wants next, whatever the order in which it is told."""

import itertools
import random
from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st
from toys import tuned

import dlx
from dlx.protocol import Tuning, seed_of
from dlx.records import COMPLETED, DIVERGED, FAILED, FINAL, PRUNED, RECHECK, TUNE


def finish(study, ended, seed=0, tuning=None):
    """Tell a search everything it wants, in any order; all that it wanted."""
    dice, (cell, *_) = random.Random(seed), study.space.cells
    tuning = tuning or Tuning(study, cell, 0, {})
    waiting, seen = tuning.begin(), []
    while waiting:
        one = waiting.pop(dice.randrange(len(waiting)))
        seen.append(one)
        waiting += tuning.tell(one.slot, *ended(one))
    assert tuning.finished
    return tuning, sorted(seen, key=lambda one: (one.slot.phase, one.slot.ask, one.seed))


def by_lr(one):
    return COMPLETED, one.params["lr"]


SEARCHES = st.builds(
    dlx.Random, trials=st.integers(1, 7), parallel=st.integers(1, 9), top=st.integers(1, 4), recheck=st.integers(0, 2)
)


@given(search=SEARCHES, seed=st.integers(0, 10**6), statuses=st.lists(
    st.sampled_from([COMPLETED, FAILED, DIVERGED, PRUNED, "none"]), min_size=7, max_size=7))
def test_it_ends_whatever_it_is_told(search, seed, statuses):
    study = tuned(search=search, seeds=2)

    def ended(one):
        status = statuses[one.slot.ask]
        return (COMPLETED, None) if status == "none" else (status, one.params["lr"])

    tuning, seen = finish(study, ended, seed)
    count = Counter(one.slot.phase for one in seen)
    well = [s == COMPLETED for s in statuses[: search.trials]]
    chosen = min(search.top, sum(well))
    assert count[TUNE] == search.trials and count[FINAL] == (2 if chosen else 0)
    assert count[RECHECK] == (chosen * search.recheck if chosen > 1 else 0)
    assert not list(tuning.ahead())
    assert len({(one.slot, one.seed) for one in seen}) == len(seen)


@given(search=SEARCHES, seed=st.integers(0, 10**6), stop=st.integers(0, 20))
def test_what_is_ahead_is_a_bound_at_every_moment(search, seed, stop):
    study = tuned(search=search, seeds=2)
    (cell, *_) = study.space.cells
    _, whole = finish(study, by_lr, seed)
    tuning, dice = Tuning(study, cell, 0, {}), random.Random(seed)
    waiting, seen = tuning.begin(), []
    while waiting and len(seen) < stop:
        one = waiting.pop(dice.randrange(len(waiting)))
        seen.append(one)
        waiting += tuning.tell(one.slot, *by_lr(one))
    known = Counter((one.slot.phase, one.seed) for one in seen + waiting)
    wanted = Counter((one.slot.phase, one.seed) for one in whole)
    assert wanted <= known + Counter(tuning.ahead())


def test_a_replay_asks_nothing_new():
    study = tuned()
    (cell, *_) = study.space.cells
    tuning, seen = finish(study, by_lr)
    asked = {one.slot.ask: one.params for one in seen if one.slot.phase == TUNE}
    for known in range(len(asked) + 1):
        replay = Tuning(study, cell, 0, dict(itertools.islice(sorted(asked.items()), known)), replay=True)
        waiting, told = replay.begin(), []
        while waiting:
            one = waiting.pop()
            told.append(one)
            waiting += replay.tell(one.slot, *by_lr(one))
        assert replay.finished == (known == len(asked))
        assert sum(one.slot.phase == TUNE for one in told) == known
    assert replay.choice == tuning.choice


@pytest.mark.parametrize(("objective", "best"), [(dlx.minimize("v"), min), (dlx.maximize("v"), max)])
def test_the_choice_is_the_best_in_its_direction(objective, best):
    tuning, seen = finish(tuned(objective=objective, search=dlx.Random(trials=9, top=1)), by_lr)
    assert tuning.told[tuning.choice].params["lr"] == best(one.params["lr"] for one in seen)


def test_a_recheck_may_overturn_the_choice():
    study = tuned(search=dlx.Random(trials=4, top=2, recheck=1))

    def ended(one):  # the best ask does badly on the other seed
        value = 0.0 if one.slot.ask == 2 else 1.0 + one.slot.ask
        return COMPLETED, value if one.slot.phase == TUNE or one.slot.ask != 2 else 9.0

    tuning, _ = finish(study, ended)
    assert tuning.choice == 0


def test_seeds_of_searches_and_checks_differ():
    seeds = {seed_of(search, check) for search in range(5) for check in range(5)}
    assert len(seeds) == 25
