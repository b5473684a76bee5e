import numpy as np
import pytest
from scipy import stats

from dlx import figures
from dlx.errors import DlxError
from dlx.figures.scatter import correlation, within_cells


def test_points_are_final_trials(results):
    axes = figures.Scatter("test/error", "sharpness", "noise")(results).axes[0]
    table = results.table.to_pandas()
    assert len(axes.lines) == 2
    for noise, line in zip((0.0, 0.15), axes.lines, strict=True):
        expected = table[table.noise == noise][["test/error", "sharpness"]].to_numpy()
        assert sorted(map(tuple, line.get_xydata())) == sorted(map(tuple, expected))


def test_the_correlation_is_over_cells_within_each_seed(results):
    table = results.table.to_pandas()
    z = [np.arctanh(stats.pearsonr(own["test/error"], own["sharpness"])[0]) for _, own in table.groupby("seed")]
    low, high = np.tanh(stats.t.interval(0.95, len(z) - 1, np.mean(z), stats.sem(z)))
    said = figures.Scatter("test/error", "sharpness")(results).get_supxlabel()
    interval = f"[{low:.3g}, {high:.3g}]"
    assert said == f"n = 24 final trials, r = {np.tanh(np.mean(z)):.3g} {interval} over 6 cells (t, 4 units)."


def test_log_scales_are_those_of_the_correlation(results):
    figure = figures.Scatter("test/error", "sharpness", log_x=True, log_y=True)(results)
    table = results.table.to_pandas()
    z = [np.arctanh(stats.pearsonr(np.log(own["test/error"]), np.log(own["sharpness"]))[0])
         for _, own in table.groupby("seed")]
    assert f"r = {np.tanh(np.mean(z)):.3g} [" in figure.get_supxlabel()
    assert (figure.axes[0].get_xscale(), figure.axes[0].get_yscale()) == ("log", "log")


def test_within_one_cell_it_is_pearsons_with_fishers_interval():
    x, y = np.random.default_rng(0).normal(size=(2, 30))
    found = stats.pearsonr(x, y)
    interval = found.confidence_interval(0.95)
    assert within_cells(x, y, np.zeros(30, int)) == pytest.approx((found.statistic, interval.low, interval.high))


def test_differences_between_few_cells_are_no_correlation():
    rng = np.random.default_rng(1)
    cell = np.repeat([0, 1], 500)
    x, y = rng.normal(size=(2, 1000)) + 100.0 * cell
    r, low, high = within_cells(x, y, cell)
    assert low < 0 < high and abs(r) < 0.1
    units = np.full((2, 2), 1.0)
    assert correlation(units, units, x[:2], y[:2], cell[:2]) == "too few for a correlation."


def test_trials_without_a_place_are_counted(flawed):
    said = figures.Scatter("test/error", "sharpness")(flawed).get_supxlabel().replace("\n", " ")
    lost = flawed.cells().to_pandas()[["diverged", "failed", "missing"]].sum()
    left_out = f"Left out: {lost.diverged} diverged, {lost.failed} failed, {lost.missing} missing."
    assert said.endswith(f" {lost.diverged} have no place here. {left_out}")
    with pytest.raises(DlxError, match="no final trial has both test/error and sharpness"):
        figures.Scatter("test/error", "sharpness", where={"width": 4})(flawed)
