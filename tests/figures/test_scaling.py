import numpy as np
import pytest
from scipy import stats

import dlx
from dlx import figures
from dlx.errors import DlxError
from dlx.figures.scaling import fit

X = np.array([1.0, 2.0, 4.0, 8.0])


def test_a_power_law_is_found_exactly():
    found = fit(X, 3 * X**-0.5, np.stack([3 * X**-0.5, 3 * X**-0.5]))
    assert (found.exponent.value, found.factor, found.r2) == pytest.approx((-0.5, 3.0, 1.0))
    assert found.off == pytest.approx(0, abs=1e-12)


def test_the_interval_is_over_units_where_all_are_whole_else_over_points():
    rng = np.random.default_rng(0)
    units = X**-0.5 * np.exp(0.1 * rng.normal(size=(5, 4)))
    slopes = [stats.linregress(np.log(X), np.log(unit)).slope for unit in units]
    low, high = stats.t.interval(0.95, 4, np.mean(slopes), stats.sem(slopes))
    found = fit(X, units.mean(axis=0), units).exponent
    assert (found.value, found.low, found.high) == pytest.approx((np.mean(slopes), low, high))
    others = np.concatenate([units, np.full((3, 4), np.nan)])  # units of lines of another kind
    assert fit(X, units.mean(axis=0), others).exponent == found
    units[0, 0] = np.nan
    line = stats.linregress(np.log(X), np.log(units[1:].mean(axis=0)))
    half = stats.t.ppf(0.975, 2) * line.stderr
    found = fit(X, units[1:].mean(axis=0), units).exponent
    assert (found.value, found.low, found.high) == pytest.approx((line.slope, line.slope - half, line.slope + half))


def test_points_are_means_bars_intervals_and_the_legend_has_the_law(results, ends):
    figure = figures.Scaling("width", "sharpness", where={"noise": 0.0})(results)
    axes = figure.axes[0]
    rows = [r for r in results.cells().to_pylist() if r["noise"] == 0.0]
    points, law = axes.lines
    assert list(points.get_ydata()) == pytest.approx([r["sharpness.mean"] for r in rows])
    for row in rows:
        mean, half = row["sharpness.mean"], row["sharpness.half_width"]
        low, high = ends(axes.collections[0], row["width"])
        assert high == pytest.approx(mean + half) and low == pytest.approx(mean - min(half, 0.9 * mean))
    x, y = law.get_xdata(), law.get_ydata()
    exponent = np.diff(np.log(y))[0] / np.diff(np.log(x))[0]
    assert figure.legends[0].get_texts()[0].get_text().startswith(f"sharpness: exponent −{-exponent:.3g} [−")
    assert -0.6 < exponent < -0.4 and (axes.get_xscale(), axes.get_yscale()) == ("log", "log")


def test_an_axis_without_numbers_is_refused(flawed):
    with pytest.raises(DlxError, match="fits power laws over kind, which has no numbers; name another axis"):
        figures.Scaling("kind", "sharpness")(flawed)
    with pytest.raises(dlx.errors.DeclarationError, match="wants the metric"):
        figures.Scaling("width", "sharpnes")(flawed)
