"""The same study gives the same numbers in this process and through Ray, packed and alone."""

import math

import pytest
from toys import go

import dlx
from dlx import data, metrics, models, optim


def study(**changes):
    declared = {
        "name": "equal",
        "question": "Are the numbers the same everywhere?",
        "template": dlx.Training(
            data=data.MNIST1D(n=200, label_noise=dlx.grid(0.0, 0.2)),
            model=models.MLP(width=dlx.grid(3, 5), depth=1),
            optimizer=dlx.grid(
                optim.SGD(lr=dlx.loguniform(1e-2, 1.0), momentum=0.9), optim.Adam(lr=dlx.loguniform(1e-3, 0.1)),
            ),
            batch_size=20, steps=40, dtype="float64", metrics=(metrics.loss(), metrics.error()), measure=3,
        ),
        "objective": dlx.minimize("val/loss"),
        "search": dlx.TPE(trials=5, repeats=1, parallel=2, startup=2, top=2, recheck=1),
        "seeds": 2,
    }
    return dlx.Study(**{**declared, **changes})


def by_slot(results):
    found = {}
    for r in results.table.to_pylist():
        found[r["cell"], r["phase"], r["search"], None if r["phase"] == "final" else r["ask"], r["seed"]] = r
    return found


@pytest.fixture(scope="module")
def reference(tmp_path_factory):
    return go(study(), tmp_path_factory.mktemp("reference"))


@pytest.mark.parametrize("how", ["alone", "ray", "small packs"])
def test_numbers_do_not_depend_on_how_they_are_computed(reference, tmp_path, how):
    packs = {"alone": 1, "ray": 64, "small packs": 3}[how]
    results = go(study(pack=packs), tmp_path, executor="ray" if how == "ray" else "local")
    expected, found = by_slot(reference), by_slot(results)
    assert len(expected) == 8 * (5 + 2 + 2) and found.keys() == expected.keys()
    for slot, row in expected.items():
        assert found[slot]["key"] == row["key"]
        for metric in results.metrics:
            assert math.isclose(found[slot][metric], row[metric], rel_tol=0, abs_tol=1e-10), (slot, metric)
    assert max(results.store.trials().column("members").to_pylist()) > 1 or how == "alone"
    curves = [sorted((r["key"], r["metric"], r["step"]) for r in x.history().to_pylist()) for x in (reference, results)]
    assert curves[0] == curves[1]
