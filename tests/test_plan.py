from collections import Counter

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from test_agenda import Holder, Part, Recorder
from toys import Stage, Valley, go, tuned, valley

import dlx
from dlx.plan import duration


def test_counts_before_and_after(tmp_path):
    study = valley()
    plan = study.plan(str(tmp_path))
    assert (plan.cells, plan.wanted, plan.stored, plan.missing) == (4, 8, 0, 8)
    assert plan.packs == 8 and plan.seconds is None and "unknown" in str(plan)
    assert not list(tmp_path.iterdir())
    go(study, tmp_path, max_trials=3)
    plan = study.plan(str(tmp_path))
    assert (plan.stored, plan.missing) == (3, 5) and plan.seconds is not None
    go(study, tmp_path)
    assert study.plan(str(tmp_path)).missing == 0 and "all is stored" in str(study.plan(str(tmp_path)))


def test_counts_of_a_tuned_study(tmp_path):
    study = tuned()
    plan = study.plan(str(tmp_path))
    assert {n: p.wanted for n, p in plan.phases.items()} == {"tune": 24, "recheck": 8, "final": 8}
    go(study, tmp_path, max_trials=10)
    partly = study.plan(str(tmp_path))
    assert partly.stored == 10
    go(study, tmp_path)
    assert {n: (p.wanted, p.stored) for n, p in study.plan(str(tmp_path)).phases.items()} == {
        "tune": (24, 24), "recheck": (8, 8), "final": (8, 8)}


def test_counts_of_parents(tmp_path):
    study = dlx.Study("stages", "?", Stage(dlx.grid(1.0, 2.0), parent=Stage(3.0)), seeds=3)
    assert {n: p.wanted for n, p in study.plan(str(tmp_path)).phases.items()} == {"parent": 3, "final": 6}


def test_packs_follow_shapes(tmp_path):
    training = dlx.Training(
        dlx.data.MNIST1D(), dlx.models.MLP(dlx.grid(4, 8), 1), dlx.optim.SGD(dlx.grid(0.1, 0.2)), steps=1)
    study = dlx.Study("shapes", "?", training, seeds=40, pack=64)
    plan = study.plan(str(tmp_path))
    assert plan.missing == 160 and plan.packs == 4 and plan.packs_exact


TEMPLATES = {
    "grid": lambda: Valley(dlx.grid(1, 2, 3), dlx.grid(0.1, 0.01)),
    "tuned": lambda: Valley(dlx.grid(1, 2), dlx.loguniform(1e-4, 1.0)),
    "mixed": lambda: Holder(dlx.grid(Part(7.0), Part(dlx.uniform(0.0, 5.0)), Part(dlx.grid(1.0, 2.0)))),
    "parents": lambda: Stage(dlx.grid(1.0, 2.0), parent=dlx.grid(None, Stage(1.0), Stage(3.0, parent=Stage(4.0)))),
    "tuned child": lambda: Stage(dlx.uniform(0.0, 1.0), parent=dlx.grid(Stage(1.0), Stage(3.0, parent=Stage(4.0)))),
    "tuned parent": lambda: Stage(dlx.grid(1.0, 2.0), parent=Stage(dlx.uniform(0.0, 1.0), parent=Stage(5.0))),
    "tuned and not": lambda: Stage(dlx.grid(1.0), parent=dlx.grid(None, Stage(dlx.uniform(0.0, 1.0)))),
}
AT_MOST = ("tuned parent", "tuned and not")  # an ask is filed with its own trial, not with its parent
METRICS = {Valley: "val/loss", Holder: "v", Stage: "total"}


@settings(max_examples=30, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    kind=st.sampled_from(list(TEMPLATES)), seeds=st.integers(1, 3), stops=st.lists(st.integers(1, 12), max_size=3),
    search=st.builds(dlx.Random, trials=st.integers(1, 5), repeats=st.integers(1, 2), parallel=st.integers(1, 4),
                     top=st.integers(1, 3), recheck=st.integers(0, 2)),
)
def test_what_is_counted_is_what_then_runs(tmp_path_factory, kind, seeds, stops, search):
    home, template = tmp_path_factory.mktemp("home"), TEMPLATES[kind]()
    study = valley(
        template=template, seeds=seeds, search=search, objective=dlx.minimize(METRICS[type(template)]))
    ran = 0
    for stop in (*stops, None):
        before, executor = study.plan(str(home)), Recorder()
        results = go(study, home, executor=executor, max_trials=stop)
        after, ran = study.plan(str(home)), ran + len(executor.ran)
        rows = {(r["key"], r["phase"]) for r in results.table.to_pylist()}
        own = {k for k, phase in rows if phase != "parent"}
        stored = Counter(phase for k, phase in rows if phase != "parent" or k not in own)
        assert {n: p.stored for n, p in after.phases.items() if p.stored} == stored
        assert len(executor.ran) == after.stored - before.stored
        if kind in AT_MOST:
            assert len(executor.ran) <= before.missing
        else:
            assert after.missing == before.missing - len(executor.ran)
            assert len(executor.ran) == min(before.missing, stop or before.missing)
    assert after.missing == 0 and ran == after.wanted == len({k for k, _ in rows})


@pytest.mark.parametrize(
    ("seconds", "words"), [(0.2, "under 1 s"), (59, "59 s"), (125, "2 min 5 s"), (7_300, "2 h 1 min")]
)
def test_duration(seconds, words):
    assert duration(seconds) == words
