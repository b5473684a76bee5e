import json
import math
import os
import subprocess
import sys
import warnings
from dataclasses import dataclass

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import dlx.search
from dlx import markers
from dlx.errors import DeclarationError
from dlx.records import COMPLETED, DIVERGED, FAILED, PRUNED
from dlx.search import RUNNING, Told, ask, check
from dlx.space import Space
from dlx.study import Study
from dlx.trial import Trial
from dlx.tuning import CMA, GP, QMC, TPE, Random, maximize, minimize

LOSS = minimize("val/loss")
LR, MOMENTUM, DEPTH = markers.loguniform(1e-5, 10.0), markers.uniform(0.0, 0.9), markers.randint(1, 5)


@dataclass(frozen=True)
class Step:
    lr: float


@dataclass(frozen=True)
class Momentum:
    lr: float
    momentum: float


@dataclass(frozen=True)
class Fit(Trial):
    lr: float = 0.1
    momentum: float = 0.9
    depth: int = 1
    optimizer: object = None


def of(**markers_by_name):
    space = Space(Fit(**markers_by_name))
    return lambda suggest: space.ask(space.cells[0], suggest)


FLAT = of(lr=LR, momentum=MOMENTUM, depth=DEPTH)
CONDITIONAL = of(
    momentum=MOMENTUM, optimizer=markers.choice(Step(lr=LR), Momentum(lr=LR, momentum=markers.uniform(0.5, 1.0)))
)
KINDS = [Random, TPE, GP, CMA, QMC]


def distance(params):
    return math.log10(params["lr"] / 3e-2) ** 2


def searched(search, define, ends, objective=LOSS, repeat=0):
    """A whole search in which ask i ends as ``ends[i]`` says (status, value), asked as the driver asks."""
    history = []
    for i in range(len(ends)):
        if i % search.parallel == 0:
            history = [Told(t.params, *ends[j]) for j, t in enumerate(history)]
        history.append(Told(ask(search, objective, "cell", repeat, i, history, define), RUNNING))
    return [Told(t.params, *end) for t, end in zip(history, ends, strict=True)]


def best_of(search, repeat):
    history = []
    for i in range(search.trials):
        params = ask(search, LOSS, "cell", repeat, i, history, of(lr=LR))
        history.append(Told(params, COMPLETED, distance(params)))
    return min(t.value for t in history)


END = st.one_of(
    st.tuples(st.just(COMPLETED), st.floats(-1e6, 1e6)),
    st.tuples(st.just(COMPLETED), st.sampled_from([math.nan, math.inf, None])),
    st.tuples(st.just(DIVERGED), st.sampled_from([None, math.nan])),
    st.tuples(st.just(FAILED), st.none()),
    st.tuples(st.just(PRUNED), st.sampled_from([None, 0.5, math.inf])),
)


@pytest.mark.parametrize("define", [FLAT, CONDITIONAL], ids=["flat", "conditional"])
@pytest.mark.parametrize("kind", KINDS)
def test_a_resumed_search_asks_what_it_would_have_asked(kind, define):
    @settings(max_examples=2 if kind is GP else 12, deadline=None)
    @given(ends=st.lists(END, min_size=7, max_size=7 if kind is GP else 20), parallel=st.integers(1, 4),
           objective=st.sampled_from([LOSS, maximize("val/accuracy")]))
    def holds(ends, parallel, objective):
        search = kind(trials=20, parallel=parallel)
        history = searched(search, define, ends, objective)
        dlx.search._states.clear()
        again = [ask(search, objective, "cell", 0, i, history[:i], define) for i in range(len(ends))]
        assert again == [t.params for t in history]

    holds()


@pytest.mark.parametrize("kind", KINDS)
def test_values_are_within_bounds_of_their_kind_and_six_digits_long(kind):
    ends = [(COMPLETED, float(i % 3)) for i in range(8)]
    for told in searched(kind(trials=8), FLAT, ends):
        assert 1e-5 <= told.params["lr"] <= 10.0 and 0.0 <= told.params["momentum"] <= 0.9
        assert type(told.params["depth"]) is int and 1 <= told.params["depth"] <= 4
        assert all(v == float(f"{v:.6g}") for v in told.params.values())


def test_rounding_stays_within_the_bounds():
    low, high = 0.12345678, 0.12345679
    params = ask(Random(trials=1), LOSS, "cell", 0, 0, [], of(lr=markers.loguniform(low, high)))
    assert low <= params["lr"] <= high


@pytest.mark.parametrize("kind", KINDS)
def test_asks_of_one_generation_and_searches_of_one_cell_differ(kind):
    ends = [(COMPLETED, float(i)) for i in range(8)]
    first, second = (searched(kind(trials=8, parallel=4), FLAT, ends, repeat=r) for r in (0, 1))
    asked = [json.dumps(t.params) for t in [*first, *second]]
    assert len(set(asked)) == len(asked)


def test_other_processes_ask_the_same():
    script = (
        "import json\n"
        "from test_search import *\n"
        "ends = [(COMPLETED, 1.0), (FAILED, None), (DIVERGED, None), (PRUNED, 0.3), (COMPLETED, 0.2)]\n"
        "print(json.dumps([[t.params for t in searched(k(trials=5, parallel=2), d, ends)]\n"
        "                  for k in KINDS for d in (FLAT, CONDITIONAL)]))\n"
    )
    printed = {
        subprocess.run([sys.executable, "-c", script], cwd=os.path.dirname(__file__), check=True, text=True,
                       capture_output=True, env={**os.environ, "PYTHONHASHSEED": seed}).stdout
        for seed in ("1", "2")
    }
    assert len(printed) == 1


def test_a_conditional_space_gives_only_the_axes_of_the_branch_taken():
    for told in searched(TPE(trials=12), CONDITIONAL, [(COMPLETED, float(i)) for i in range(12)]):
        tuned_momentum = "optimizer[Momentum].momentum" in told.params
        assert tuned_momentum == (told.params["optimizer"] == "Momentum")


def diverging_asks(status):
    """How many of 10 × 20 later asks diverge, above a learning rate of 0.1, when that is told as this status."""
    define, search, count = of(lr=LR), TPE(trials=30), 0
    for repeat in range(10):
        history = []
        for i in range(30):
            params = ask(search, LOSS, "cell", repeat, i, history, define)
            diverged = params["lr"] > 0.1
            history.append(Told(params, status) if diverged else Told(params, COMPLETED, distance(params)))
            count += diverged and i >= 10
    return count


def test_a_search_learns_from_trials_that_diverge():
    assert diverging_asks(DIVERGED) < diverging_asks(FAILED) / 2


@pytest.mark.parametrize(("objective", "value"), [(LOSS, 2.0), (maximize("val/accuracy"), 0.5)])
@pytest.mark.parametrize("kind", [TPE, GP, CMA])
def test_diverged_trials_are_told_as_the_worst_value(kind, objective, value):
    ends = [(COMPLETED, 0.5), (DIVERGED, None), (COMPLETED, 2.0), (COMPLETED, math.inf), (COMPLETED, 1.0)] * 2
    worst = [(COMPLETED, value) if status == DIVERGED or end == math.inf else (status, end) for status, end in ends]
    search = kind(trials=10, parallel=10)
    told = searched(search, FLAT, ends, objective)
    other = [Told(t.params, *end) for t, end in zip(told, worst, strict=True)]
    assert ask(search, objective, "cell", 0, 10, told, FLAT) == ask(search, objective, "cell", 0, 10, other, FLAT)


def test_the_direction_is_respected():
    history = [Told(p, COMPLETED, v) for p, v in (({"lr": 1e-4}, 0.0), ({"lr": 1e-3}, 0.0), ({"lr": 1.0}, 1.0))] * 4
    asked = {
        objective.direction: [ask(TPE(trials=99, parallel=1), objective, "cell", r, 12, history, of(lr=LR))["lr"]
                              for r in range(9)]
        for objective in (minimize("m"), maximize("m"))
    }
    assert sorted(asked["maximize"])[4] > 10 * sorted(asked["minimize"])[4]


def test_all_diverged_and_all_failed_searches_go_on():
    for status in (DIVERGED, FAILED, PRUNED):
        for kind in KINDS:
            assert len(searched(kind(trials=7, parallel=3), FLAT, [(status, None)] * 7)) == 7


def test_sobol_points_are_those_of_one_scrambled_sequence():
    points = [t.params for t in searched(QMC(trials=16), FLAT, [(FAILED, None)] * 16)]
    assert sorted(math.floor((math.log10(p["lr"]) + 5) / 6 * 16) for p in points) == list(range(16))
    assert sorted(p["depth"] for p in points) == sorted([1, 2, 3, 4] * 4)


def test_tpe_beats_random_search():
    tpe, blind = (sum(best_of(s, r) for r in range(10)) for s in (TPE(trials=24), Random(trials=24)))
    assert tpe < blind / 2


def test_cma_narrows_down_on_the_optimum():
    define, search, history = of(lr=LR, momentum=MOMENTUM), CMA(trials=60), []
    for i in range(60):
        params = ask(search, LOSS, "cell", 0, i, history, define)
        history.append(Told(params, COMPLETED, distance(params) + (params["momentum"] - 0.4) ** 2))
    first, last = ([distance(t.params) for t in part] for part in (history[:12], history[-12:]))
    assert sum(last) < sum(first) / 5


def test_nothing_is_said_while_asking(capfd):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for kind in KINDS:
            searched(kind(trials=6, parallel=2), CONDITIONAL, [(COMPLETED, 1.0)] * 6)
    assert capfd.readouterr() == ("", "")


def test_a_missing_package_is_named():
    script = (
        "import sys; sys.modules['cmaes'] = None\n"
        "from dlx.search import check\nfrom dlx.tuning import CMA, TPE\n"
        "check(TPE(trials=1))\ncheck(CMA(trials=1))\n"
    )
    ran = subprocess.run([sys.executable, "-c", script], text=True, capture_output=True)
    assert "DeclarationError" in ran.stderr and "pip install cmaes" in ran.stderr
    check(CMA(trials=1))


@pytest.mark.parametrize(("template", "named"), [
    (Fit(lr=LR), "finds only lr"),
    (Fit(lr=LR, momentum=markers.choice(0.0, 0.9)), "template.momentum"),
    (Fit(optimizer=markers.grid(Momentum(lr=LR, momentum=MOMENTUM), Step(lr=LR))), "optimizer=Step"),
])
def test_cma_refuses_spaces_it_cannot_search(template, named):
    with pytest.raises(DeclarationError, match=named):
        Study(name="s", question="?", template=template, objective=LOSS, search=CMA(trials=8))


def test_optuna_is_imported_only_to_ask():
    script = "import sys, dlx.search; assert 'optuna' not in sys.modules and 'scipy' not in sys.modules"
    subprocess.run([sys.executable, "-c", script], check=True)
