import pytest

from dlx import data, metrics, models, optim, programs
from dlx.context import Context
from dlx.training import Training

RULES = (optim.SGD(lr=0.1), optim.Adam(lr=0.01), optim.EMA(optim.SGD(lr=0.1), decay=0.5))


@pytest.fixture
def nothing_recorded(monkeypatch):
    for name in ("_programs", "_inspections"):
        monkeypatch.setattr(programs, name, {})


def curvature(optimizer, **changes):
    given = {"data": data.GaussianMixture(n=40, inputs=4), "model": models.MLP(width=3, depth=1), "steps": 3,
             "dtype": "float64", "metrics": (metrics.loss(), metrics.hessian_trace(2), metrics.weight_norm())}
    trial = Training(optimizer=optimizer, **given | changes)
    return Training.run_pack([trial] * 2, [Context(0), Context(1)])


def test_what_inspects_weights_and_loss_is_recorded_once_for_all_optimizers(nothing_recorded, monkeypatch):
    shared = [curvature(rule) for rule in RULES]
    assert len(programs._inspections) == 1 and len(programs._programs) == len(RULES)
    for rule, found in zip(RULES, shared, strict=True):
        monkeypatch.setattr(programs, "_inspections", {})
        assert curvature(rule) == found
    assert len({pack[0]["train/hessian_trace"] for pack in shared}) == len(RULES)


def test_how_long_a_constant_rate_trains_needs_no_other_programs(nothing_recorded):
    for steps, measure in ((2, 1), (3, 2)):
        curvature(RULES[0], steps=steps, measure=measure)
    assert len(programs._programs) == 1
    curvature(RULES[0], schedule=optim.Cosine(), steps=2)
    curvature(RULES[0], schedule=optim.Cosine(), steps=3)
    assert len(programs._programs) == 3
