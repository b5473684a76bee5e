import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from dlx import figures
from dlx.errors import DeclarationError, DlxError
from dlx.figures.learning import mean_lines
from dlx.stats import one_sample


def test_lines_are_means_of_the_logged_curves_and_bands_their_intervals(results, ends):
    axes = figures.LearningCurves("train/loss", scale=10)(results).axes[0]
    history = results.history().to_pandas()
    history = history[(history.metric == "train/loss") & (history.phase == "final")]
    expected = dict(list(history.groupby(["width", "noise"])))
    assert len(axes.lines) == len(axes.collections) == len(expected) == 6
    for (_, curve), line, band in zip(expected.items(), axes.lines, axes.collections, strict=True):
        for step, values in curve.groupby("step").value:
            found = one_sample(10 * values.to_numpy())
            assert dict(zip(line.get_xdata(), line.get_ydata(), strict=True))[step] == pytest.approx(found.value)
            assert ends(band, step) == pytest.approx((found.low, found.high))


def test_seconds_are_steps_times_the_least_time_of_a_step(results):
    where = {"width": 10, "noise": 0.0}
    drawn = (figures.LearningCurves("train/loss", where=where, x=x)(results) for x in ("step", "seconds"))
    steps, times = (figure.axes[0] for figure in drawn)
    last = steps.lines[0].get_xdata()[-1]
    least = min(results.where(where).table["seconds"].to_pylist())
    np.testing.assert_allclose(times.lines[0].get_xdata(), steps.lines[0].get_xdata() * least / last)
    assert times.get_xlabel().endswith("(s)") and steps.get_xlabel() == "training step"


def test_searches_are_the_sample_of_tuned_cells(searched, ends):
    figure = figures.LearningCurves("val/loss", where={"width": 1, "optimizer": "sgd"})(searched)
    history = searched.where(width=1, optimizer="sgd", phase="final", ).history().to_pandas()
    search = dict(zip(searched.table["key"].to_pylist(), searched.table["search"].to_pylist(), strict=True))
    values = history.assign(search=history.key.map(search)).groupby(["step", "search"]).value.mean()
    for step in (1, 10):
        found = one_sample(values[step].to_numpy())
        assert ends(figure.axes[0].collections[0], step) == pytest.approx((found.low, found.high))
    assert figure.get_supxlabel() == "Means, n = 6 trials a line; bands: 95 % t intervals over 3 searches."


@pytest.mark.parametrize(("y_range", "cut"), [((0.0, 1e-3), True), ((-1e9, 1e9), False), (None, False)])
def test_what_is_cut_off_is_said(flawed, y_range, cut):
    figure = figures.LearningCurves("train/loss", where={"width": [1, 8, 16]}, y_range=y_range)(flawed)
    assert y_range is None or all(axes.get_ylim() == y_range for axes in figure.axes if axes.axison)
    assert ("go on beyond" in " ".join(figure.get_supxlabel().split())) == cut


def test_a_level_is_drawn_in_every_panel(flawed):
    figure = figures.LearningCurves("train/loss", where={"width": [1, 8, 16]}, level=0.5)(flawed)
    for axes in (axes for axes in figure.axes if axes.axison):
        assert list(axes.lines[-1].get_ydata()) == [0.5, 0.5]


def test_lines_end_where_a_trial_diverges(flawed):
    figure = figures.LearningCurves("train/loss", where={"width": [4, 16], "noise": 0.0, "kind": "$"})(flawed)
    assert [list(line.get_xdata()) for line in figure.axes[0].lines] == [[0, 1], [0, 1, 10, 100]]
    said = figure.get_supxlabel().replace("\n", " ")
    assert said.endswith("A line ends where one of its trials diverges. Left out: 3 diverged.")


def test_colour_dash_and_panels_tell_lines_apart(flawed):
    figure = figures.LearningCurves("train/loss", where={"width": [1, 8, 16]})(flawed)
    panels = [axes for axes in figure.axes if axes.axison]
    assert [axes.get_title(loc="left").split()[0] for axes in panels] == ["kind"] * 3
    for axes in panels:  # colours for widths, dashes for noise
        looks = {(line.get_color(), str(line._unscaled_dash_pattern)) for line in axes.lines}
        assert len(looks) == len(axes.lines) == 6


def test_an_axis_has_panels_where_asked(flawed):
    figure = figures.LearningCurves("train/loss", panel="noise", where={"width": [1, 8, 16], "kind": "$"})(flawed)
    panels = [axes for axes in figure.axes if axes.axison]
    assert all(axes.get_title(loc="left").startswith("noise") for axes in panels) and len(panels) > 1
    assert all(len(axes.lines) == 3 for axes in panels)


def test_numbers_of_many_lines_have_a_colour_bar(results, monkeypatch):
    monkeypatch.setattr("dlx.figures.learning.MOST_NAMED", 2)
    figure = figures.LearningCurves("train/loss", where={"noise": 0.0})(results)
    assert figure.axes[-1].get_ylabel() == "width" and not figure.legends
    assert [t.get_text() for t in figure.axes[-1].get_yticklabels()] == ["1", "10", "100"]


def test_one_seed_has_no_band(results):
    figure = figures.LearningCurves("train/loss")(results.where(seed=0))
    assert not figure.axes[0].collections and "bands" not in figure.get_supxlabel()


def test_refuses_unknown_metrics_and_too_many_lines(results, monkeypatch):
    with pytest.raises(DeclarationError, match=r"wants the logged metric 'train/los', .* did you mean 'train/loss'"):
        figures.LearningCurves("train/los")(results)
    monkeypatch.setattr("dlx.figures.learning.MOST_LINES", 5)
    with pytest.raises(DlxError, match=r"would have 1 panels with 6 lines each; give it where="):
        figures.LearningCurves("train/loss")(results)


@given(st.data())
def test_a_mean_is_there_exactly_where_all_trials_of_a_cell_are_finite(data):
    trials, cells = data.draw(st.integers(1, 6)), 3
    cell = np.array(data.draw(st.lists(st.integers(0, cells - 1), min_size=trials, max_size=trials)))
    logged = [(row, step, data.draw(st.sampled_from([0.0, 1.0, 2.5, np.nan, np.inf])))
              for row in range(trials) for step in range(3) if data.draw(st.booleans())]
    row, step, value = (np.array(c) for c in zip(*logged, strict=True)) if logged else (np.array([], int),) * 3
    lines = mean_lines(cell, np.arange(trials), row, step, np.asarray(value, float), cells)
    for c in range(cells):
        own = {r for r in row.tolist() if cell[r] == c}
        for s in range(3):
            here = [v for r, t, v in logged if r in own and t == s and np.isfinite(v)]
            there = c in lines and s in lines[c].step
            assert there == (len(here) == len(own) > 0)
            if there:
                assert lines[c].mean[list(lines[c].step).index(s)] == pytest.approx(np.mean(here))
