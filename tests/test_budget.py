"""Budgets: what they refuse, and what they say when they are spent."""

import pytest
from toys import Slow, go

import dlx
from dlx.budget import Budget
from dlx.live import Quiet


@pytest.mark.parametrize("limit", ["max_seconds", "max_trials", "max_gpu_hours"])
@pytest.mark.parametrize("value", [0, -1, float("nan")])
def test_a_limit_is_more_than_nothing(limit, value):
    with pytest.raises(dlx.DeclarationError, match=f"{limit} is {value}"):
        Budget(**{limit: value}).check()


def test_the_first_limit_that_is_reached_is_named():
    assert Budget().spent(10**9, 10**9, 10**9) is None
    budget = Budget(max_seconds=60, max_trials=3, max_gpu_hours=0.5)
    assert budget.spent(59.9, 2, 0.4) is None
    assert budget.spent(60, 2, 0.4) == "max_seconds=60"
    assert budget.spent(1, 3, 0.4) == "max_trials=3"
    assert budget.spent(1, 2, 0.5) == "max_gpu_hours=0.5"


@pytest.mark.parametrize(("options", "most"), [({"max_trials": 3}, 3), ({"max_seconds": 0.05}, 4)])
def test_a_run_says_which_budget_is_used_up(tmp_path, options, most):
    said = []

    class Listening(Quiet):
        def say(self, line):
            said.append(line)

    marks = tmp_path / "marks"
    marks.mkdir()
    study = dlx.Study("slow", "?", Slow(dlx.grid(*range(8)), str(marks), 0.02))
    results = go(study, tmp_path, view=Listening(), **options)
    ((name, value),) = options.items()
    assert said == [f"Stopped before the end: {name}={value:g} is used up."]
    assert 1 <= len(results.table) <= most
    said.clear()
    go(study, tmp_path, view=Listening(), max_trials=100)
    assert not said
