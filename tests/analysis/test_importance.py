"""Importances: the variance of final values by axis, equal to statsmodels, and of asks by nuisance axis, by Optuna."""

import itertools
from dataclasses import dataclass

import numpy as np
import optuna
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from statsmodels.formula.api import ols
from statsmodels.stats.anova import anova_lm
from toys import go

import dlx
from dlx.analysis.asks import asks
from dlx.analysis.decomposition import MOST_COLUMNS, Design, parts
from dlx.analysis.importance import axes_importance, nuisance_importance
from dlx.declaration import Nuisance
from dlx.errors import DeclarationError
from dlx.search import importances


@dataclass(frozen=True)
class Rule:
    gain: float
    lr: float = 0.1


@dataclass(frozen=True)
class Fit(dlx.Trial):
    """A loss that is a known function of its values, plus what a seed does in all cells, plus noise."""

    a: float = 0.0
    b: float = 0.0
    c: float = 0.0
    lr: float = 0.1
    decay: float = 0.1
    rule: Rule | None = None
    shared: float = 0.0
    noise: float = 0.0
    breaks: bool = False

    def run(self, ctx):
        if self.breaks and self.a == 1.0 and ctx.seed == 0:
            return {"val/loss": float("nan"), "test/loss": float("nan"), "test/error": 0.9}
        value = self.a + self.b + 2.0 * self.a * self.c + (self.rule.gain if self.rule else 0.0)
        own = np.random.default_rng([ctx.seed, *(round(1e6 * (v + 100)) for v in (value, self.lr, self.decay))])
        value += self.shared * ctx.rng("shared").normal() + self.noise * own.normal()
        tuned = (np.log10(self.lr) + 2.0) ** 2 + 0.01 * np.log10(self.decay) ** 2
        return {"val/loss": value + tuned, "test/loss": value, "test/error": 0.1 * value}


def study(**changes):
    template = Fit(a=dlx.grid(-1.0, 0.0, 1.0), b=dlx.grid(0.0, 0.5), c=dlx.grid(0.0, 1.0), shared=1.0, noise=0.5)
    return dlx.Study(**{"name": "fit", "question": "Which?", "template": template, "seeds": 5, **changes})


def frame(results):
    finals = results.finals("test/loss")
    rows = {name: np.array(results.grid[name].to_pylist())[finals.cell] for name in results.axes}
    return pd.DataFrame({**{n.rpartition(".")[2]: v for n, v in rows.items()}, "seed": finals.seed, "y": finals.value})


def by_axes(shares):
    return {s.axes or s.name: s for s in shares}


# ---------------------------------------------------------------- against statsmodels


def test_balanced_shares_are_those_of_statsmodels(tmp_path):
    results = go(study(), tmp_path)
    found, rows = by_axes(axes_importance(results, "test/loss")), frame(results)
    table = anova_lm(ols("y ~ C(a) * C(b) * C(c) + C(seed)", rows).fit(), typ=1)
    error = table.loc["Residual", "mean_sq"]
    variance = (table["sum_sq"] - table["df"] * error) / len(rows)
    noise = ols("y ~ C(a) * C(b) * C(c)", rows).fit().mse_resid
    whole = variance.drop(["C(seed)", "Residual"]).sum() + noise
    names = {("a",): "C(a)", ("b",): "C(b)", ("c",): "C(c)", ("a", "b"): "C(a):C(b)", ("a", "c"): "C(a):C(c)",
             ("b", "c"): "C(b):C(c)", "further interactions": "C(a):C(b):C(c)"}
    assert found.keys() == {*names, "seeds"}
    for axes, name in names.items():
        assert found[axes].share == pytest.approx(max(variance[name] / whole, 0.0), abs=1e-12)
    assert found["seeds"].share == pytest.approx(noise / whole)
    assert all(s.low <= s.share <= s.high for s in found.values())
    assert found["a", "c"].name == "a × c" and list(found)[-1] == "seeds"
    assert found["a", "c"].low > 0.0


@pytest.mark.filterwarnings("ignore:divide by zero")  # in an F that is not looked at
@settings(max_examples=25, deadline=None)
@given(st.lists(st.integers(2, 4), min_size=1, max_size=3), st.integers(2, 5), st.integers(0, 10**6), st.booleans())
def test_any_grid_and_seeds_that_are_missing_equal_statsmodels(sizes, seeds, start, whole):
    rng = np.random.default_rng(start)
    cells = np.array(list(itertools.product(*map(range, sizes))))
    cell, unit = np.repeat(np.arange(len(cells)), seeds), np.tile(np.arange(seeds), len(cells))
    value = cells[cell].sum(axis=1) + rng.normal(size=seeds)[unit] + rng.normal(size=len(cell))
    if not whole:
        kept = rng.random(len(cell)) < 0.8
        kept[unit == 0] = True
        cell, unit, value = cell[kept], unit[kept], value[kept]
    names = "abc"[: len(sizes)]
    design = Design(dict(zip(names, cells.T, strict=True)), len(cells))
    rows = pd.DataFrame({"y": value, "cell": cell, "unit": unit, **{n: cells[cell, i] for i, n in enumerate(names)}})
    additive = ols("y ~ C(cell) + C(unit)", rows).fit()
    found = parts(design, cell, unit, value)
    if additive.df_resid <= 0:
        return
    mean = additive.params.to_numpy()[: len(cells)].copy()  # of cells, the first one's and differences from it
    mean[1:] += mean[0]
    table = anova_lm(ols(f"y ~ ({' + '.join(f'C({n})' for n in names)})**2", rows[:0].reindex(range(len(cells))).assign(
        y=mean, **dict(zip(names, cells.T, strict=True)))).fit(), typ=1)
    error = additive.mse_resid * np.mean(1 / np.bincount(cell))
    noise = np.sum((value - (np.bincount(cell, value) / np.bincount(cell))[cell]) ** 2) / (len(value) - len(cells))
    variance = [(table.loc[name, "sum_sq"] - table.loc[name, "df"] * error) / len(cells)
                for name in (":".join(f"C({n})" for n in term) for term in design.terms)]
    spread = (np.sum((mean - mean.mean()) ** 2) - (len(cells) - 1) * error) / len(cells)
    expected = np.array([*variance, spread - sum(variance), noise]) / (spread + noise)
    assert found.shares == pytest.approx(expected, abs=1e-8)
    assert found.shares.sum() == pytest.approx(1.0)
    scaled = parts(design, cell, unit, 3.0 - 100.0 * value)
    assert scaled.shares == pytest.approx(found.shares, abs=1e-8)


def test_grids_with_holes_are_split_by_what_each_part_adds():
    rng = np.random.default_rng(1)
    cells = np.array([c for c in itertools.product(range(3), range(3), range(4)) if c not in ((0, 0, 0), (2, 1, 3))])
    mean = cells @ [1.0, 0.5, 0.2] + cells[:, 0] * cells[:, 1] + rng.normal(size=len(cells))
    design = Design(dict(zip("abc", cells.T, strict=True)), len(cells))
    rows = pd.DataFrame({"y": mean, **dict(zip("abc", cells.T, strict=True))})
    table = anova_lm(ols("y ~ (C(a) + C(b) + C(c))**2", rows).fit(), typ=2)
    squares, df = design.squares(mean)
    assert not design.crossed
    assert squares == pytest.approx(table["sum_sq"].to_numpy()[:-1]) and df.tolist() == table["df"].tolist()[:-1]


def test_an_axis_inside_an_option_is_what_it_adds_to_that_option(tmp_path):
    template = Fit(a=dlx.grid(0.0, 1.0), rule=dlx.grid(Rule(gain=dlx.grid(0.0, 1.0, 4.0)), None), noise=0.1)
    results = go(study(template=template, seeds=4), tmp_path)
    found = by_axes(axes_importance(results, "test/loss"))
    rows = frame(results)
    rows = rows.assign(rule=rows["rule"].fillna("none"), gain=rows["gain"].map(str))
    rows = rows.groupby(["a", "rule", "gain"], as_index=False)["y"].mean()
    residual = [ols(f"y ~ {text}", rows).fit().ssr for text in ("C(a)", "C(a) + C(rule)", "C(a) + C(gain)")]
    outer, nested = residual[0] - residual[1], residual[1] - residual[2]  # without a gain there is no rule
    assert found.keys() == {("a",), ("rule",), ("rule[Rule].gain",), ("a", "rule"), ("a", "rule[Rule].gain"), "seeds"}
    assert found["rule[Rule].gain",].share / found["rule",].share == pytest.approx(nested / outer, rel=0.01)
    assert found["rule[Rule].gain",].share > 0.5 and found["a", "rule"].share < 0.01


# ---------------------------------------------------------------- truth


def shares_of(rng, effect, seeds):
    """Shares of a 4 × 3 grid whose first axis has this effect, for seeds and noise of variance 1 each."""
    cells = np.array(list(itertools.product(range(4), range(3))))
    cell, unit = np.repeat(np.arange(12), seeds), np.tile(np.arange(seeds), 12)
    value = effect * cells[cell, 0] + rng.normal(size=seeds)[unit] + rng.normal(size=len(cell))
    return parts(Design(dict(zip("ab", cells.T, strict=True)), 12), cell, unit, value).shares


@pytest.mark.parametrize("effect", [0.0, 1.0])
def test_shares_are_unbiased_and_noise_has_none(effect):
    rng = np.random.default_rng(2)
    found = np.array([shares_of(rng, effect, 10) for _ in range(400)])
    variance = effect**2 * 1.25
    truth = np.array([variance, 0.0, 0.0, 0.0, 2.0]) / (variance + 2.0)
    error = found.std(axis=0) / np.sqrt(len(found))
    assert np.all(np.abs(found.mean(axis=0) - truth) < 4 * error + 0.02)
    assert np.all(np.abs(found.mean(axis=0)[1:4]) < 4 * error[1:4] + 1e-12)


def test_intervals_cover_the_truth(tmp_path):
    effects = [-1.0, 0.0, 1.0]
    variance = np.var(effects)
    truth = {("a",): variance / (variance + 1.25), "seeds": 1.25 / (variance + 1.25)}
    template = Fit(a=dlx.grid(*effects), b=dlx.grid(0.0, 1e-9), shared=1.0, noise=0.5)
    results, cover = go(study(template=template, seeds=600), tmp_path), dict.fromkeys(truth, 0)
    for first in range(0, 600, 6):
        found = by_axes(axes_importance(results.where(seed=range(first, first + 6)), "test/loss"))
        for name, share in truth.items():
            cover[name] += found[name].low <= share <= found[name].high
    assert all(count >= 88 for count in cover.values())  # of 100: 95 %, less 3 standard errors


def test_searches_are_the_noise_of_tuned_cells(tmp_path):
    template = Fit(a=dlx.grid(0.0, 1.0), b=dlx.grid(0.0, 1.0), lr=dlx.loguniform(1e-4, 1.0), noise=0.1)
    search = dlx.Random(trials=4, repeats=3)
    results = go(study(template=template, objective=dlx.minimize("val/loss"), search=search, seeds=2), tmp_path)
    found = by_axes(axes_importance(results, "val/loss"))
    assert found.keys() == {("a",), ("b",), ("a", "b"), "searches"}
    means = results.to_pandas().query("phase == 'final'").groupby(["a", "b", "search"])["val/loss"].mean().reset_index()
    table = anova_lm(ols("y ~ C(a) * C(b) + C(search)", means.rename(columns={"val/loss": "y"})).fit(), typ=1)
    variance = (table["sum_sq"] - table["df"] * table.loc["Residual", "mean_sq"]) / 12
    assert found["a",].share / found["b",].share == pytest.approx(variance["C(a)"] / variance["C(b)"])


def test_a_search_and_a_seed_of_the_same_number_share_nothing(tmp_path):
    template = Fit(a=dlx.grid(0.0, 1.0), rule=dlx.grid(Rule(0.0), Rule(0.0, lr=dlx.loguniform(1e-4, 1.0))), noise=1.0)
    search = dlx.Random(trials=4, repeats=3, top=1)
    results = go(study(template=template, objective=dlx.minimize("val/loss"), search=search, seeds=3), tmp_path)
    rows = results.to_pandas().query("phase == 'final'")
    rows = rows.assign(unit=rows["search"].map(str).where(rows["search"].notna(), "seed " + rows["seed"].map(str)))
    cells = results.grid["cell"].to_pylist()
    means = rows.groupby(["cell", "unit"], as_index=False)["test/loss"].mean()
    design = Design({"a": np.array([0, 0, 1, 1]), "rule": np.array([0, 1, 0, 1])}, 4)
    unit = np.unique(means["unit"], return_inverse=True)[1]
    expected = parts(design, means["cell"].map(cells.index).to_numpy(), unit, means["test/loss"].to_numpy())
    found = axes_importance(results, "test/loss")
    assert unit.max() == 5 and found[-1].name == "searches"
    assert found[-1].share == pytest.approx(expected.shares[-1])


# ---------------------------------------------------------------- what a study may be like


def test_diverged_trials_count_as_worst(tmp_path):
    template = Fit(a=dlx.grid(0.0, 1.0), b=dlx.grid(0.0, 3.0), breaks=True)
    for objective, worst in ((None, 4.0), (dlx.minimize("val/loss"), 4.0), (dlx.maximize("val/loss"), 0.0)):
        results = go(study(template=template, objective=objective, seeds=2), tmp_path)
        finals = results.finals("test/loss")
        value = np.where(np.isfinite(finals.value), finals.value, worst)
        design = Design({"a": np.array([0, 0, 1, 1]), "b": np.array([0, 1, 0, 1])}, 4)
        expected = parts(design, finals.cell, finals.unit, value)
        found = by_axes(axes_importance(results, "test/loss"))
        assert finals.diverged.sum() == 2
        assert found["b",].share == pytest.approx(max(expected.shares[1], 0.0))
    assert by_axes(axes_importance(results, "test/error"))["seeds"].share > 0.0  # what it returned counts as it is


def test_one_seed_leaves_noise_among_the_interactions(tmp_path):
    results = go(study(seeds=1), tmp_path)
    found = by_axes(axes_importance(results, "test/loss"))
    assert list(found)[-1] == "further interactions and seeds" and found["a",].low is None
    assert axes_importance(results.where(b=0.0, c=0.0), "test/loss") == []
    assert axes_importance(results.where(a=0.0, b=0.0, c=0.0), "test/loss") == []
    with pytest.raises(DeclarationError, match="did you mean 'test/loss'"):
        axes_importance(results, "test/los")


def test_large_grids_are_quick_and_pairs_are_left_out_of_the_largest_regressions():
    rng = np.random.default_rng(3)
    cells = np.array(list(itertools.product(range(100), range(100))))
    value, cell = rng.normal(size=20_000), np.repeat(np.arange(10_000), 2)
    whole = parts(Design({"a": cells[:, 0], "b": cells[:, 1]}, 10_000), cell, np.tile([0, 1], 10_000), value)
    assert whole.df.tolist() == [99, 99, 99 * 99] and np.abs(whole.shares[:2]).max() < 0.01
    holes = Design({"a": cells[1:, 0], "b": cells[1:, 1]}, 9_999)
    assert MOST_COLUMNS < 9_999 and holes.terms == [("a",), ("b",)]
    squares, df = holes.squares(cells[1:, 0] + 0.0)
    assert df.tolist() == [99, 99] and squares == pytest.approx([8_332_500.0, 0.0], rel=1e-3, abs=1e-3)


# ---------------------------------------------------------------- nuisance axes


def test_importances_of_asks_are_optunas():
    def objective(trial):
        lr, rule = trial.suggest_float("lr", 1e-4, 1.0, log=True), trial.suggest_categorical("rule", ["a", "b"])
        depth = trial.suggest_int("depth", 1, 4)
        momentum = trial.suggest_float("momentum", 0.0, 0.9) if rule == "b" else 0.0
        return (np.log10(lr) + 2) ** 2 + 0.1 * depth + momentum

    optuna.logging.set_verbosity(optuna.logging.ERROR)
    expected = optuna.create_study(sampler=optuna.samplers.RandomSampler(seed=0))
    expected.optimize(objective, 60)
    axes = {"lr": Nuisance("loguniform", 1e-4, 1.0), "rule": Nuisance("choice", options=("a", "b")),
            "depth": Nuisance("randint", 1.0, 5.0), "momentum": Nuisance("uniform", 0.0, 0.9)}
    found = importances(
        [t.params for t in expected.trials], [t.value for t in expected.trials], axes)
    assert found == pytest.approx(optuna.importance.get_param_importances(expected))
    assert next(iter(found)) == "lr" and sum(found.values()) == pytest.approx(1.0)


def test_nuisance_axes_are_weighed_in_each_arm(tmp_path):
    template = Fit(
        a=dlx.grid(0.0, 50.0), rule=dlx.grid(None, Rule(0.0, lr=dlx.loguniform(1e-4, 1.0))),
        lr=dlx.loguniform(1e-4, 1.0), decay=dlx.loguniform(1e-4, 1.0),
    )
    search = dlx.Random(trials=40, repeats=2)
    results = go(study(template=template, objective=dlx.minimize("val/loss"), search=search, seeds=1), tmp_path)
    found = nuisance_importance(results)
    assert found.keys() == {"cells that tune lr, decay", "rule=Rule"}
    assert list(found["cells that tune lr, decay"]) == ["lr", "decay"]
    assert found["cells that tune lr, decay"]["lr"] > 0.8 and found["rule=Rule"]["lr"] > 0.7
    assert found["rule=Rule"].keys() == {"rule[Rule].lr", "lr", "decay"}
    part = results.where(a=0.0)
    assert len(asks(part).row) == 160 and nuisance_importance(part).keys() == found.keys()
    one = results.where(ask=list(range(4)), a=0.0)
    assert nuisance_importance(one) == {}  # eight asks an arm


def test_without_a_search_there_are_none(tmp_path):
    results = go(study(seeds=1), tmp_path)
    assert nuisance_importance(results) == {} and len(asks(results).row) == 0
