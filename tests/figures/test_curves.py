import pytest

from dlx import figures
from dlx.errors import DeclarationError, DlxError

WIDTHS, NOISES = (1, 10, 100), (0.0, 0.15)


def curves(**changes):
    return figures.Curves(**{"x": "width", "y": "test/error", "scale": 100, "log_x": True, **changes})


def test_lines_are_means_and_bands_are_intervals(results, ends):
    axes = curves()(results).axes[0]
    rows = results.cells().to_pylist()
    assert len(axes.lines) == len(axes.collections) == len(NOISES)
    for noise, line, band in zip(NOISES, axes.lines, axes.collections, strict=True):
        expected = [r for r in rows if r["noise"] == noise]
        assert list(line.get_xdata()) == list(WIDTHS)
        assert list(line.get_ydata()) == pytest.approx([100 * r["test/error.mean"] for r in expected])
        for r in expected:
            mean, half = 100 * r["test/error.mean"], 100 * r["test/error.half_width"]
            assert ends(band, r["width"]) == pytest.approx((mean - half, mean + half))


def test_every_line_looks_different_and_is_named(results):
    axes = curves(y=("test/error", "train/error"))(results).axes[0]
    looks = {(line.get_color(), line.get_linestyle()) for line in axes.lines}
    assert len(looks) == len(axes.lines) == 4
    assert [line.get_label() for line in axes.lines] == [text.get_text() for text in axes.get_legend().get_texts()] == [
        f"noise {noise}, {metric}" for noise in NOISES for metric in ("test/error", "train/error")
    ]


def test_the_caption_says_n_and_what_is_left_out(results, flawed):
    assert curves()(results).get_supxlabel() == "Means, n = 4 a point; bands: 95 % t intervals."
    said = curves()(flawed).get_supxlabel()
    assert said == "Means, n = 1–3 a point; bands: 95 % t intervals. Left out: 24 diverged, 9 failed, 2 missing."


def test_one_seed_has_no_band(results):
    figure = curves()(results.where(seed=0))
    assert figure.get_supxlabel() == "Means, n = 1 a point. Left out: 18 missing."
    low, high = zip(*((v.min(), v.max()) for band in figure.axes[0].collections for path in band.get_paths()
                      for v in [path.vertices[path.vertices[:, 0] == 10][:, 1]]), strict=True)
    assert low == high


def test_points_of_others_are_shown(results):
    points = figures.Points("published", {10.0: 42.0})
    last = curves(points=points)(results).axes[0].lines[-1]
    assert (list(last.get_xdata()), list(last.get_ydata()), last.get_label()) == ([10.0], [42.0], "published")


def test_an_axis_may_be_called_by_its_end_and_cells_be_chosen(searched):
    axes = curves(x="width", y="test/loss", where={"optimizer": "sgd"})(searched).axes[0]
    assert [list(line.get_xdata()) for line in axes.lines] == [[1, 2]]


def test_unknown_axes_and_metrics_are_refused(results):
    with pytest.raises(DeclarationError, match=r"the axis 'with', which the results lack; did you mean 'width'\?"):
        curves(x="with")(results)
    with pytest.raises(DeclarationError, match=r"the metric 'test/eror', which the results lack; did you mean 'test"):
        curves(y="test/eror")(results)


def test_more_lines_than_differ_are_refused(results, monkeypatch):
    monkeypatch.setattr("dlx.figures.curves.MOST_LINES", 1)
    with pytest.raises(DlxError, match=r"would have 2 lines a metric; give it where= that leaves at most 1\."):
        curves()(results)
    assert curves(where={"noise": 0.0})(results)
