import pytest
from toys import Stage, go, tuned, valley

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


@pytest.mark.parametrize(
    ("seconds", "words"), [(0.2, "under 1 s"), (59, "59 s"), (125, "2 min 5 s"), (7_300, "2 h 1 min")]
)
def test_duration(seconds, words):
    assert duration(seconds) == words
