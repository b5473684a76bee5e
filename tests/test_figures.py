import math

import pytest
from stored import stored

import dlx
from dlx import figures
from dlx.errors import DeclarationError, DlxError
from dlx.results import Results

WIDTHS, NOISES, SEEDS = (1, 10, 100), (0.0, 0.15), 4


@dlx.trial()
def measured(ctx, width: int, noise: float):
    if noise > 1.0:
        raise ValueError("too much noise")
    error = 0.5 + noise - 0.1 * math.log10(width) + 0.01 * ctx.seed
    return {"test/error": error, "train/error": error / 2}


def study(noises=NOISES, **more):
    template = measured(width=dlx.grid(*WIDTHS), noise=dlx.grid(*noises))
    return dlx.Study(name="figured", question="?", template=template, seeds=SEEDS, **more)


@pytest.fixture(scope="module")
def results(tmp_path_factory):
    return stored(study(), tmp_path_factory.mktemp("home"))


def curves(**changes):
    return figures.Curves(**{"x": "width", "y": "test/error", "scale": 100, "log_x": True, **changes})


def texts(figure):
    from matplotlib.text import Text

    return [t for t in figure.findobj(Text) if t.get_text()]


def test_lines_are_means_and_bands_are_intervals(results):
    axes = curves()(results).axes[0]
    rows = results.cells().to_pylist()
    assert len(axes.lines) == len(axes.collections) == len(NOISES)
    for noise, line, band in zip(NOISES, axes.lines, axes.collections, strict=True):
        expected = [r for r in rows if r["noise"] == noise]
        assert list(line.get_xdata()) == list(WIDTHS)
        assert list(line.get_ydata()) == pytest.approx([100 * r["test/error.mean"] for r in expected])
        corners = band.get_paths()[0].vertices
        for r in expected:
            at = corners[corners[:, 0] == r["width"], 1]
            mean, half = 100 * r["test/error.mean"], 100 * r["test/error.half_width"]
            assert (min(at), max(at)) == pytest.approx((mean - half, mean + half))


def test_every_line_looks_different_and_is_named(results):
    axes = curves(y=("test/error", "train/error"))(results).axes[0]
    looks = {(line.get_color(), line.get_linestyle()) for line in axes.lines}
    assert len(looks) == len(axes.lines) == 4
    assert [line.get_label() for line in axes.lines] == [
        f"noise {noise}, {metric}" for noise in NOISES for metric in ("test/error", "train/error")
    ]


def test_the_caption_says_n_and_what_is_left_out(tmp_path):
    whole = curves()(stored(study(), tmp_path / "whole"))
    assert whole.get_supxlabel() == "Means, n = 4 a point; bands: 95 % t intervals."
    part = curves()(stored(study(noises=(0.0, 2.0)), tmp_path / "part", skip=1))
    assert part.get_supxlabel() == "Means, n = 3–4 a point; bands: 95 % t intervals. Left out: 12 failed, 1 missing."


def test_points_of_others_are_shown(results):
    points = figures.Points("published", {10.0: 42.0})
    last = curves(points=points)(results).axes[0].lines[-1]
    assert (list(last.get_xdata()), list(last.get_ydata()), last.get_label()) == ([10.0], [42.0], "published")


def test_text_is_legible_at_600_pixels(results):
    figure = curves(title="A title", x_label="width (units)", y_label="error (%)")(results)
    pixels = {t.get_text(): t.get_fontsize() / 72 * 600 / figure.get_figwidth() for t in texts(figure)}
    assert {"A title", "width (units)", "error (%)"} <= pixels.keys()
    assert min(pixels.values()) >= 11


def test_files_are_svg_and_png_and_the_same_each_time(results, tmp_path):
    once, again = (figures.save(curves()(results), tmp_path / name) for name in ("a", "b"))
    assert [f.name for f in once] == ["a.svg", "a.png"]
    assert [f.read_bytes() for f in once] == [f.read_bytes() for f in again]
    assert "Means, n = 4 a point" in once[0].read_text()
    assert once[1].read_bytes().startswith(b"\x89PNG")


def test_a_figure_that_cannot_be_drawn_leaves_the_others(results, tmp_path):
    def broken(results):
        raise ZeroDivisionError("no")

    files, problems = figures.draw([broken, curves(y="test/eror"), curves(name="../fine")], results, tmp_path / "out")
    assert [f.relative_to(tmp_path).as_posix() for f in files] == ["out/fine.svg", "out/fine.png"]
    assert problems[0] == "The figure broken could not be drawn: ZeroDivisionError: no"
    assert problems[1] == (
        "The figure curves wants the metric 'test/eror', which the results lack; did you mean 'test/error'?"
    )


def test_unknown_axes_and_empty_results_are_refused(results, tmp_path):
    with pytest.raises(DeclarationError, match=r"the axis 'with', which the results lack; did you mean 'width'\?"):
        curves(x="with")(results)
    with pytest.raises(DlxError, match=r"nothing to show: no trial of figured is stored; run it\."):
        curves()(Results.of(study(), str(tmp_path)))
