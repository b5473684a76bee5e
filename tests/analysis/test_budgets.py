"""Budgets: what was spent equals what was done, and the best of k asks is what subsets of asks give on average."""

import itertools
import json
from dataclasses import dataclass

import numpy as np
import pytest
import torch
from optim_twins import CASES
from test_optim import hyper_of, start
from toys import Valley, go, tuned

import dlx
from dlx import data, models, optim
from dlx.analysis.budgets import GRADIENTS, best_against_budget, spent


@dataclass(frozen=True)
class Uneven(dlx.Trial):
    """A loss that is its learning rate, but where that is high."""

    width: int
    lr: float

    def run(self, ctx):
        if self.lr > 0.5:
            raise RuntimeError("too high")
        return {"val/loss": float("nan") if self.lr > 0.3 else self.width * self.lr, "test/loss": 0.0}


def uneven(**changes):
    options = {
        "name": "uneven", "question": "?", "template": Uneven(dlx.grid(1, 2), dlx.uniform(0.0, 1.0)),
        "objective": dlx.minimize("val/loss"), "search": dlx.Random(trials=8, repeats=3, top=2, recheck=1), "seeds": 2,
    }
    return dlx.Study(**{**options, **changes})


def training(optimizer, **changes):
    values = {"data": data.Digits(), "model": models.Linear(), "steps": 6, "batch_size": 16}
    return dlx.Training(optimizer=optimizer, **values, **changes)


# ---------------------------------------------------------------- spent


def test_trials_and_seconds_of_a_cell_are_those_of_its_rows(tmp_path):
    results = go(tuned(), tmp_path)
    table, rows = spent(results).to_pandas(), results.to_pandas()
    assert table.columns.tolist() == ["cell", "width", "tune", "recheck", "final", "gradients", "seconds"]
    for cell, own in rows.groupby("cell"):
        row = table.set_index("cell").loc[cell]
        for phase, count in own["phase"].value_counts().items():
            assert row[phase] == count
        assert row["seconds"] == pytest.approx(own["seconds"].sum())
    assert table["gradients"].isna().all()  # of trials of one's own nothing is known
    empty = spent(tuned().results(str(tmp_path / "none")))
    assert empty["tune"].to_pylist() == [0, 0] and empty["seconds"].to_pylist() == [0.0, 0.0]


def test_gradients_are_steps_times_what_the_optimizer_asks_for(tmp_path):
    plain = optim.SGD(lr=0.1)
    rules = dlx.grid(plain, optim.SAM(plain), optim.EMA(optim.Clip(optim.ASAM(plain), 1.0), 0.9))
    study = dlx.Study(name="steps", question="?", template=training(rules), seeds=2)
    assert spent(go(study, tmp_path))["gradients"].to_pylist() == [12, 24, 24]
    ranges = {"optimizer.lr": dlx.Range(0.01, 1.0)}
    population = dlx.PBT(training(plain), ranges=ranges, objective="val/loss", members=4, every=2)
    study = dlx.Study(name="population", question="?", template=population, seeds=1)
    assert spent(go(study, tmp_path))["gradients"].to_pylist() == [24]


def test_asks_stopped_early_count_as_far_as_they_came(tmp_path):
    study = dlx.Study(
        name="halved", question="?", template=training(optim.SGD(lr=dlx.loguniform(1e-3, 1.0)), measure=6),
        objective=dlx.minimize("val/loss"), seeds=2,
        search=dlx.Random(trials=4, parallel=4, top=1, prune=dlx.Halving(eta=2.0, min_steps=2)),
    )
    results = go(study, tmp_path)
    status = results.to_pandas().query("phase == 'tune'")["status"]
    assert (status == "pruned").sum() == 3
    assert spent(results)["gradients"].to_pylist() == [2 * 2 + 4 + 6 + 2 * 6]


@pytest.mark.parametrize("name", CASES)
def test_every_optimizer_takes_as_many_gradients_as_is_counted(name):
    rule = CASES[name](1.0)[0]
    params, calls = start(0), []

    def gradient(params):
        calls.append(params)
        return {k: torch.ones_like(p) for k, p in params.items()}

    rule.update(gradient, rule.init(params), params, hyper_of(rule))
    names, inner = [], rule
    while inner is not None:
        names.append(type(inner).__name__)
        inner = getattr(inner, "inner", None)
    assert len(calls) == np.prod([GRADIENTS.get(n, 1) for n in names])


# ---------------------------------------------------------------- the best of k asks


def losses(results, worst=True):
    """Cell → values of its asks (searches, asks), those that did not end well as the worst of the cell."""
    rows, found = results.to_pandas().query("phase == 'tune'").sort_values(["search", "ask"]), {}
    for cell, own in rows.groupby("cell"):
        values = own["val/loss"].to_numpy(dtype=float).reshape(own["search"].nunique(), -1)
        found[cell] = np.where(np.isfinite(values), values, np.nanmax(values))
    return found


def test_random_asks_give_the_mean_over_all_subsets(tmp_path):
    results = go(uneven(), tmp_path)
    table = best_against_budget(results).to_pandas()
    assert results.to_pandas().query("phase == 'tune'")["status"].nunique() == 3
    for cell, values in losses(results).items():
        own = table[table["cell"] == cell]
        assert own["asks"].tolist() == list(range(1, 9)) and set(own["searches"]) == {3}
        for k in range(1, 9):
            each = [np.mean([min(s) for s in itertools.combinations(search, k)]) for search in values]
            assert own["best"].iloc[k - 1] == pytest.approx(np.mean(each))
            assert own["half_width"].iloc[k - 1] == pytest.approx(4.302652729749464 * np.std(each, ddof=1) / 3**0.5)


def test_searches_that_learn_give_their_best_so_far(tmp_path):
    results = go(uneven(search=dlx.TPE(trials=8, repeats=2), template=Uneven(3, dlx.uniform(0.0, 1.0))), tmp_path)
    (values,), table = losses(results).values(), best_against_budget(results)
    assert table["best"].to_pylist() == pytest.approx(np.minimum.accumulate(values, axis=1).mean(axis=0))


def test_larger_may_be_better(tmp_path):
    low = best_against_budget(go(uneven(), tmp_path / "low"))
    high = best_against_budget(go(uneven(objective=dlx.maximize("val/loss")), tmp_path / "high"))
    assert np.all(np.diff(np.reshape(low["best"].to_pylist(), (2, 8))) <= 1e-12)
    assert np.all(np.diff(np.reshape(high["best"].to_pylist(), (2, 8))) >= -1e-12)


def test_what_came_of_the_choice_stands_beside(tmp_path):
    template = Valley(width=dlx.grid(1, 2), lr=dlx.choice(0.01, 0.010001, 0.009999))
    results = go(tuned(template=template, search=dlx.Random(trials=20, repeats=10, top=1), seeds=10), tmp_path)
    table = best_against_budget(results).to_pandas()
    finals = results.to_pandas().query("phase == 'final'").groupby(["width", "search"])["val/loss"].mean()
    for width in (1, 2):
        own = table[table["width"] == width]
        assert own["final"].nunique() == 1 and own["final"].iloc[0] == pytest.approx(finals.loc[width].mean())
        assert own["final.half_width"].iloc[0] == pytest.approx(2.262157162740992 * finals.loc[width].std() / 10**0.5)


def test_incomplete_searches_and_untuned_studies_have_no_rows(tmp_path):
    results = go(uneven(), tmp_path)
    longer = uneven(search=dlx.Random(trials=9, repeats=3, top=2, recheck=1)).results(str(tmp_path))
    assert len(best_against_budget(longer)) == 0
    part = results.where(search=[0, 1], width=2)
    assert set(best_against_budget(part)["searches"].to_pylist()) == {2}
    plain = dlx.Study(name="plain", question="?", template=Uneven(1, 0.1), seeds=1).results(str(tmp_path))
    assert best_against_budget(plain).column_names == best_against_budget(results).column_names[:1] + [
        n for n in best_against_budget(results).column_names[1:] if n != "width"]
    assert json.dumps(best_against_budget(plain).to_pylist()) == "[]"
