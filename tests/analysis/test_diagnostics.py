"""Diagnostics find what was planted, say the fix, and find nothing in a sound study."""

import shutil
from dataclasses import dataclass, replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from toys import go

import dlx
from dlx import claims, data, models, optim, overrides
from dlx.analysis import bounds
from dlx.analysis.budgets import best_against_budget, spent
from dlx.analysis.convergence import still_improving
from dlx.analysis.diagnostics import at_bound, diagnose
from dlx.analysis.importance import axes_importance, nuisance_importance
from dlx.canonical import key
from dlx.declaration import Declaration, Nuisance
from dlx.records import COMPLETED, MEMBERSHIP, Outcome, to_records
from dlx.results import Results
from dlx.store import Store


@dataclass(frozen=True)
class Descent(dlx.Trial):
    """A loss with its optimum at a known place, and a curve that ends flat or does not."""

    width: int = 1
    lr: float = 0.01
    momentum: float = 0.45
    layers: int = 4
    act: str = "relu"
    optimum: float = 0.01
    best_momentum: float = 0.45
    best_layers: int = 4
    noise: float = 0.0
    flat: bool = True
    slope: float = 1.0
    breaks: str = ""

    def run(self, ctx):
        if self.breaks == "raise" and self.width == 1:
            raise RuntimeError("<b>the dog</b>\x1b[31m ate it")
        if self.breaks == "nan" and self.lr > 0.1:
            return {"val/loss": float("nan")}
        value = (np.log10(self.lr / self.optimum)) ** 2 + (self.momentum - self.best_momentum) ** 2
        value += 0.1 * (self.layers - self.best_layers) ** 2 + self.noise * ctx.rng("noise").normal()
        for step in (1, 4, 16, 64, 200, 256):
            slope = 0.0 if self.flat or self.width == 1 else self.slope
            fall = (1 - slope) * np.exp(-step / 20) + slope * (1 - step / 256)
            ctx.log(step, {"val/loss": value + 10.0 * fall + 1e-3 * ctx.rng(f"step {step}").normal()})
        return {"val/loss": value + 10.0 * (0.0 if self.flat else fall), "test/loss": value, "test/norm": value}


def study(template, **changes):
    options = {"name": "descent", "question": "How low?", "template": template, "seeds": 3,
               "objective": dlx.minimize("val/loss"), "search": dlx.Random(trials=24, repeats=3, recheck=2)}
    return dlx.Study(**{**options, **changes})


def found(results):
    return {d.kind: d for d in diagnose(results)}


def keys(results, **where):
    return tuple(results.where(**where).grid["cell"].to_pylist())


SOUND = Descent(width=dlx.grid(1, 2), lr=dlx.loguniform(1e-4, 1.0))


def test_a_sound_study_has_no_findings(tmp_path):
    results = go(study(SOUND), tmp_path)
    assert diagnose(results) == [] and at_bound(results) == {}
    assert diagnose(go(study(Descent(width=dlx.grid(1, 2)), search=None, objective=None), tmp_path / "b")) == []


def test_nothing_stored_has_no_findings(tmp_path):
    results = study(SOUND).results(str(tmp_path))
    assert diagnose(results) == [] and at_bound(results) == {}


def test_a_copied_home_says_the_same_without_the_file_of_the_study(tmp_path):
    template = Descent(width=dlx.grid(1, 2), lr=dlx.loguniform(1e-4, 1e-2), act=dlx.choice("relu", "tanh"), optimum=1.0)
    results = go(study(template), tmp_path / "home")
    shutil.copytree(tmp_path / "home", tmp_path / "copy")
    said = Declaration.stored(Store("descent", str(tmp_path / "copy")))
    copied = Results.of(said, str(tmp_path / "copy"))
    assert len(at_bound(results)) == 2 and at_bound(copied) == at_bound(results)
    assert diagnose(copied) == diagnose(results)
    assert axes_importance(copied, "val/loss") == axes_importance(results, "val/loss")
    assert nuisance_importance(copied) == nuisance_importance(results)
    assert spent(copied).equals(spent(results)) and best_against_budget(copied).equals(best_against_budget(results))


# ---------------------------------------------------------------- bounds


def test_an_optimum_at_a_bound_is_found_on_the_axis_own_scale(tmp_path):
    template = Descent(
        width=dlx.grid(1, 2), lr=dlx.loguniform(1e-4, 1e-2), momentum=dlx.uniform(0.0, 0.9),
        layers=dlx.randint(1, 5), optimum=1.0,
    )
    results = go(study(template, search=dlx.TPE(trials=40, repeats=2, top=1)), tmp_path)
    diagnosis = next(d for d in diagnose(results) if d.kind == "bound" and d.sentence.startswith("lr "))
    assert diagnosis.cells == keys(results)
    assert "within 5 % of its upper bound 0.01 by 4 of 4 searches in 2 of 2 cells" in diagnosis.sentence
    assert "widen it, --set 'template.lr=loguniform(0.0001, 0.1)', or fix it there" in diagnosis.sentence
    said = at_bound(results)
    assert said.keys() == set(keys(results))
    assert all("lr lies within 5 %" in s and "2 of 2 searches" in s for s in said.values())
    layers = next(d for d in diagnose(results) if d.kind == "bound" and d.sentence.startswith("layers "))
    assert "upper bound 4 " in layers.sentence and "randint(1, 9)" in layers.sentence
    assert not any(d.sentence.startswith("momentum ") for d in diagnose(results))
    wider = study(replace(template, lr=dlx.loguniform(1e-4, 100.0), layers=dlx.randint(1, 9)),
                  search=dlx.TPE(trials=40, repeats=2, top=1))
    assert at_bound(go(wider, tmp_path)) == {}


def test_a_cell_is_at_a_bound_where_most_of_its_searches_are(tmp_path):
    template = Descent(width=dlx.grid(*range(20)), lr=dlx.loguniform(1e-4, 1.0), optimum=1.0)
    results = go(study(template, search=dlx.Random(trials=12, repeats=4, top=1), seeds=1), tmp_path)
    finals = results.to_pandas().query("phase == 'final'")
    near = (finals["param.lr"] >= 10 ** (0.95 * 4 - 4)).groupby(finals["cell"]).sum()
    assert set(near) >= {1, 2, 3} and at_bound(results).keys() == set(near.index[near > 2])
    for cell, sentence in at_bound(results).items():
        assert f"upper bound 1 in {near[cell]} of 4 searches" in sentence


@given(st.sampled_from(["uniform", "loguniform", "randint"]), st.integers(1, 50), st.integers(2, 1000), st.booleans())
def test_ends_of_a_range_are_near_and_its_middle_is_not(kind, low, width, upper):
    axis = Nuisance(kind, float(low), float(low + width))
    last = low + width - (kind == "randint")
    middle = np.sqrt(low * last) if kind == "loguniform" else (low + last) / 2
    assert bounds.position(axis, np.array([low, middle, last])) == pytest.approx([0.0, 0.5, 1.0])
    _, marker = overrides.parse(f"template.lr={bounds.wider(axis, upper)}")
    assert (marker.high > axis.high, marker.low < axis.low) == (upper, not upper) and marker.spelled == kind
    marker.check("template.lr")


# ---------------------------------------------------------------- how trials ended


def test_failed_trials_are_counted_with_their_commonest_reason(tmp_path):
    results = go(study(replace(SOUND, breaks="raise"), search=dlx.Random(trials=8, repeats=2)), tmp_path)
    failed = found(results)["failed"]
    assert failed.cells == keys(results, width=1)
    assert failed.sentence.startswith(f"16 of {len(results.table)} trials failed, in 1 of 2 cells, 16 of them by ")
    assert "<b>the dog</b> [31m ate it" in failed.sentence and "--retry-failed" in failed.sentence


def test_diverged_asks_name_the_bound_and_diverged_finals_count_as_worst(tmp_path):
    results = go(study(replace(SOUND, breaks="nan"), search=dlx.Random(trials=24, repeats=2)), tmp_path)
    diverged = found(results)["diverged"]
    asks = results.to_pandas().query("phase == 'tune'")
    assert diverged.sentence.startswith(f"{(asks['status'] == 'diverged').sum()} of 96 asks diverged, in 2 of 2 cells")
    assert diverged.sentence.endswith("lower the upper bound of template.lr.")
    fixed = go(study(Descent(lr=dlx.grid(0.01, 0.5), breaks="nan"), search=None), tmp_path / "fixed")
    diverged = found(fixed)["diverged"]
    assert diverged.cells == keys(fixed, lr=0.5)
    assert diverged.sentence.startswith("3 of 6 final trials diverged, in 1 of 2 cells, and count as worst; lower the")


# ---------------------------------------------------------------- tuning


@pytest.mark.parametrize(("axes", "least"), [(1, 5), (2, 11), (3, 23)])
def test_few_asks_for_many_axes(tmp_path, axes, least):
    tuned = {"lr": dlx.loguniform(1e-4, 1.0), "momentum": dlx.uniform(0.0, 0.9), "act": dlx.choice("relu", "tanh")}
    template = Descent(**dict(list(tuned.items())[:axes]))
    for trials in (least - 1, least):
        results = go(study(template, search=dlx.Random(trials=trials, top=1), seeds=1), tmp_path / str(trials))
        assert ("asks" in found(results)) == (trials < least)
        assert 1 - (1 - 0.5**axes) ** least >= 0.95 > 1 - (1 - 0.5**axes) ** (least - 1)
        if trials < least:
            assert f"{trials} asks are few for {axes} nuisance axes, in 1 of 1 cells" in found(results)["asks"].sentence


def test_noise_of_tuning_beside_what_settings_differ_by(tmp_path):
    noisy = go(study(replace(SOUND, noise=3.0), search=dlx.Random(trials=24, repeats=6, recheck=4)), tmp_path / "noisy")
    noise = found(noisy)["noise"]
    checks = noisy.to_pandas().query("phase == 'recheck'").groupby(["width", "search", "ask"])["val/loss"]
    within, between = checks.var().mean(), checks.mean().groupby(["width", "search"]).var().mean()
    assert within**0.5 == pytest.approx(3.0, rel=0.2)
    assert f"(standard deviation {within**0.5:.2g})" in noise.sentence
    assert f"differ ({max(between - within / 4, 0) ** 0.5:.2g})" in noise.sentence
    searches = noisy.to_pandas().query("phase == 'tune'").groupby(["width", "search"])
    best = {group: rows.loc[rows["val/loss"].idxmin(), "ask"] for group, rows in searches}
    chosen = noisy.to_pandas().query("phase == 'final'").groupby(["width", "search"])["ask"].first()
    changed = sum(best[group] != ask for group, ask in chosen.items())
    assert f"changed the choice of {changed} of 12 searches" in noise.sentence
    quiet = study(replace(SOUND, noise=1e-6), search=dlx.Random(trials=24, repeats=6, recheck=4))
    assert "noise" not in found(go(quiet, tmp_path / "quiet"))


def test_a_claim_about_what_was_not_tuned_for_is_said(tmp_path):
    claim = claims.Lower("test/norm", {"width": 1}, {"width": 2}, because="norms are the question")
    results = go(study(SOUND, claims=[claim], search=dlx.Random(trials=5), seeds=1), tmp_path)
    assert "about test/norm, but the cells were tuned for val/loss" in found(results)["metric"].sentence
    twin = claims.Lower("test/loss", {"width": 1}, {"width": 2})
    assert "metric" not in found(go(study(SOUND, claims=[twin], search=dlx.Random(trials=5), seeds=1), tmp_path))


# ---------------------------------------------------------------- training


def test_curves_that_still_fall_are_found_and_flat_ones_are_not(tmp_path):
    template = Descent(width=dlx.grid(1, 2, 3), flat=False)
    results = go(study(template, search=None, seeds=4), tmp_path)
    improving = found(results)["improving"]
    assert improving.cells == keys(results, width=[2, 3])
    assert improving.sentence.startswith("val/loss still improves at the last step in 2 of 3 cells")
    cells, gains = still_improving(results)
    assert cells.tolist() == [1, 2] and gains == pytest.approx([0.1, 0.1], rel=0.02)
    for slope, seen in ((0.2, 1), (0.02, 0)):  # of which the last tenth brings 2 and 0.2 %
        slower = go(study(Descent(width=2, flat=False, slope=slope), search=None, seeds=4), tmp_path)
        assert len(still_improving(slower)[0]) == seen
    rising = go(study(template, search=None, seeds=4, objective=dlx.maximize("val/loss")), tmp_path)
    assert len(still_improving(rising)[0]) == 0
    assert len(still_improving(go(study(template, search=None, objective=None), tmp_path))[0]) == 0


def test_noise_alone_seldom_looks_like_improvement(tmp_path):
    results = go(study(Walk(number=dlx.grid(*range(300))), search=None, seeds=4), tmp_path)
    assert len(still_improving(results)[0]) <= 1


@dataclass(frozen=True)
class Walk(dlx.Trial):
    """A curve of noise around nothing."""

    number: int

    def run(self, ctx):
        values = ctx.rng(f"curve {self.number}").normal(size=20)
        for step, value in enumerate(values):
            ctx.log(step, {"val/loss": float(value)})
        return {"val/loss": float(values[-1])}


# ---------------------------------------------------------------- budgets


@pytest.mark.parametrize(("slow", "stated"), [(10.0, True), (1.9, False), (0.01, False)])
def test_unequal_seconds_are_stated_where_they_are_more_than_overheads(tmp_path, slow, stated):
    declared = study(Descent(width=dlx.grid(1, 2), layers=dlx.grid(4, 5)), search=None)
    base = 1.0 if slow > 1 else slow / 3
    seconds = {4: base, 5: slow}
    outcomes = [
        Outcome(key(cell.digest, seed), seed, {}, COMPLETED, seconds[declared.space.labels(cell)["layers"]], 0.0)
        for cell in declared.space.cells for seed in declared.seed_list
    ]
    Store(declared.name, str(tmp_path)).commit([to_records(outcomes, {})], MEMBERSHIP.empty_table())
    results = declared.results(str(tmp_path))
    budgets = [d for d in diagnose(results) if d.kind == "budget"]
    assert len(budgets) == stated
    if stated:
        assert set(budgets[0].cells) == set(keys(results, layers=5))
        assert "along layers: seconds a trial: 1 (4) to 10 (5)." in budgets[0].sentence


def test_asks_of_tuned_cells_beside_untuned_ones_are_stated(tmp_path):
    rule = dlx.grid(Fixed(0.01), Fixed(dlx.loguniform(1e-4, 1.0)))
    results = go(study(Chosen(rule), search=dlx.Random(trials=6, repeats=2), seeds=1), tmp_path)
    budget = found(results)["budget"]
    assert results.grid["tuned"].to_pylist() == [False, True] and budget.cells == (results.grid["cell"][1].as_py(),)
    assert "asks a cell: 0 (" in budget.sentence and " to 12 (" in budget.sentence


@dataclass(frozen=True)
class Fixed:
    """A rate."""

    lr: float


@dataclass(frozen=True)
class Chosen(dlx.Trial):
    """A loss that is its rule's rate."""

    rule: Fixed

    def run(self, ctx):
        return {"val/loss": self.rule.lr}


def test_sharpness_aware_steps_are_twice_the_gradients(tmp_path):
    plain = optim.SGD(lr=0.1)
    template = dlx.Training(
        data=data.Digits(), model=models.Linear(), optimizer=dlx.grid(plain, optim.SAM(plain)), steps=5, batch_size=16,
    )
    results = go(study(template, search=None, objective=None, seeds=2), tmp_path)
    budget = found(results)["budget"]
    assert "along optimizer: gradients a trial: 5 (SGD) to 10 (SAM)" in budget.sentence
