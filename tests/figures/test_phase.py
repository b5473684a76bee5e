import numpy as np
import pytest
from matplotlib.collections import LineCollection, QuadMesh
from matplotlib.colors import to_hex

from dlx import figures
from dlx.errors import DeclarationError, DlxError


def mesh(axes):
    (found,) = [c for c in axes.collections if isinstance(c, QuadMesh)]
    rows, columns = (n - 1 for n in found.get_coordinates().shape[:2])
    return np.ma.filled(found.get_array().reshape(rows, columns), np.nan)


def test_the_heat_map_is_the_table_of_means(results):
    figure = figures.PhaseDiagram("width", "noise", "test/error", scale=100)(results)
    means = {(r["noise"], r["width"]): 100 * r["test/error.mean"] for r in results.cells().to_pylist()}
    expected = np.array([[means[n, w] for w in (1, 10, 100)] for n in (0.0, 0.15)])
    assert mesh(figure.axes[0]) == pytest.approx(expected)
    written = [t.get_text() for t in figure.axes[0].texts]
    assert written == [f"{m:.1f}" for m in expected.ravel()]
    ticks = [[t.get_text() for t in axis.get_ticklabels()] for axis in (figure.axes[0].xaxis, figure.axes[0].yaxis)]
    assert ticks == [["1", "10", "100"], ["0", "0.15"]]
    assert figure.get_supxlabel() == "Means, n = 4 a cell."


def test_other_axes_have_panels_and_flaws_are_hatched(flawed):
    figure = figures.PhaseDiagram("width", "noise", "test/error")(flawed)
    panels = [axes for axes in figure.axes if axes.get_title(loc="left")]
    kinds = list(dict.fromkeys(flawed.grid["kind"].to_pylist()))
    assert len(panels) == len(kinds) == 3
    rows = flawed.cells().to_pylist()
    for axes, kind in zip(panels, kinds, strict=True):
        means = mesh(axes)
        for row in (r for r in rows if r["kind"] == kind):
            found = means[[0.0, 0.5].index(row["noise"]), [1, 2, 4, 8, 16].index(row["width"])]
            mean = np.nan if row["test/error.mean"] is None else row["test/error.mean"]
            assert found == pytest.approx(mean, nan_ok=True)
        hatches = [c.get_hatch() for c in axes.collections if c.get_hatch()]
        assert sorted(hatches) == sorted(["xxxx"] * 3 + ["||||"] * 2)  # widths 2 with noise and 4; width 8
    assert [t.get_text() for t in figure.legends[0].get_texts()] == ["all diverged or failed", "some diverged"]


def test_contours_part_the_cells_above_from_those_below(results):
    axes = figures.PhaseDiagram("width", "noise", "test/error", contours=(0.5,))(results).axes[0]
    above = mesh(axes) > 0.5
    lines = [c for c in axes.collections if isinstance(c, LineCollection)][-1]
    assert to_hex(lines.get_edgecolor()[0]) == "#000000"
    for (x, y), (x_end, y_end) in (segment.tolist() for segment in lines.get_segments()):
        if x == x_end:  # upright, between columns
            row, column = round((y + y_end) / 2), int(x)
            assert above[row, column] != above[row, column + 1]
        else:
            row, column = int(y), round((x + x_end) / 2)
            assert above[row, column] != above[row + 1, column]
    edges = (above[1:] != above[:-1]).sum() + (above[:, 1:] != above[:, :-1]).sum()
    assert len(lines.get_segments()) == edges > 0


def test_text_is_dark_on_light_and_light_on_dark(results):
    axes = figures.PhaseDiagram("width", "noise", "test/error")(results).axes[0]
    for text in axes.texts:
        ground = np.array(text.get_bbox_patch().get_facecolor()[:3]) @ (0.2126, 0.7152, 0.0722)
        assert (text.get_color() == "white") == (ground < 0.5)


def test_refuses_unknown_names_and_values_without_a_logarithm(results):
    with pytest.raises(DeclarationError, match=r"The figure phase wants the axis 'nois', .* did you mean 'noise'\?"):
        figures.PhaseDiagram("width", "nois", "test/error")(results)
    with pytest.raises(DlxError, match="no finite mean above 0, and log=True"):
        figures.PhaseDiagram("width", "noise", "test/error", scale=-1, log=True)(results)


def test_equal_values_have_a_logarithmic_scale_too(results):
    one = {"width": 1, "noise": 0.0}
    axes = figures.PhaseDiagram("width", "noise", "test/error", log=True, where=one)(results).axes[0]
    assert len(axes.texts) == mesh(axes).size == 1
