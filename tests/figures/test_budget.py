import pytest

from dlx import figures
from dlx.analysis.budgets import best_against_budget


def test_lines_are_the_best_of_so_many_asks_and_points_the_final_values(searched, ends):
    figure = figures.BestAgainstBudget(scale=100)(searched)
    table = best_against_budget(searched).to_pandas()
    panels = figure.axes
    assert [axes.get_title(loc="left") for axes in panels] == ["width 1", "width 2"]
    for width, axes in zip((1, 2), panels, strict=True):
        curves = [line for line in axes.lines if len(line.get_xdata()) > 1]
        points = [line for line in axes.lines if len(line.get_xdata()) == 1]
        for i, optimizer in enumerate(("sgd", "muon")):
            rows = table[(table.width == width) & (table.optimizer == optimizer)].sort_values("asks")
            assert list(curves[i].get_xdata()) == list(range(1, 9))
            assert list(curves[i].get_ydata()) == pytest.approx(list(100 * rows.best))
            for _, row in rows.iterrows():
                expected = 100 * (row.best - row.half_width), 100 * (row.best + row.half_width)
                assert ends(axes.collections[2 * i], row.asks) == pytest.approx(expected)
            final = rows.iloc[-1]
            assert list(points[i].get_ydata()) == pytest.approx([100 * final["final"]])
            mean, half = 100 * final["final"], 100 * final["final.half_width"]
            bar = ends(axes.collections[2 * i + 1], points[i].get_xdata()[0])
            assert bar == pytest.approx((mean - half, mean + half))
    assert [t.get_text() for t in figure.legends[0].get_texts()] == ["optimizer sgd", "optimizer muon"]
