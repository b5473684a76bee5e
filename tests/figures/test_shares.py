import math

import pytest
from matplotlib.patches import Rectangle
from toys import go

import dlx
from dlx import figures
from dlx.analysis.importance import axes_importance, nuisance_importance
from dlx.errors import DlxError


def bars(axes):
    names = [t.get_text() for t in axes.get_yticklabels()]
    widths = [p.get_width() for p in axes.patches if isinstance(p, Rectangle)]
    return dict(zip(names, widths, strict=True))


def test_bars_are_shares_in_percent_and_lines_their_intervals(results):
    axes = figures.Importance("test/error")(results).axes[0]
    shares = axes_importance(results, "test/error")
    assert list(bars(axes).values()) == pytest.approx([100 * s.share for s in shares])
    assert list(bars(axes))[:2] == [s.axes[0] for s in shares[:2]]
    lines = [tuple(line.get_xdata()) for line in axes.lines]
    assert lines == [pytest.approx((100 * s.low, 100 * s.high)) for s in shares if s.low is not None]


def test_shares_of_some_cells_alone(results):
    shares = axes_importance(results.where(noise=0.0), "test/error")
    drawn = bars(figures.Importance("test/error", where={"noise": 0.0})(results).axes[0])
    assert list(drawn.values()) == pytest.approx([100 * s.share for s in shares])


@dlx.trial()
def basin(ctx, depth: int, lr: float, decay: float):
    loss = math.log10(lr) ** 2 + 0.1 * decay + depth + 0.01 * ctx.rng(f"{depth}").normal()
    return {"val/loss": loss, "test/loss": loss}


def test_nuisance_axes_have_a_panel_an_arm(tmp_path):
    template = basin(depth=dlx.grid(1, 2), lr=dlx.loguniform(0.01, 10.0), decay=dlx.uniform(0.0, 1.0))
    found = go(dlx.Study("basin", "?", template, dlx.minimize("val/loss"), dlx.TPE(trials=12, repeats=3), 2), tmp_path)
    arms = nuisance_importance(found)
    panels = figures.Importance("test/loss")(found).axes
    assert [axes.get_title(loc="left") for axes in panels] == ["variance of test/loss", *(f"tuning: {a}" for a in arms)]
    assert [bars(axes) for axes in panels[1:]] == [
        {name: pytest.approx(100 * share) for name, share in arm.items()} for arm in arms.values()]
    assert max(bars(panels[1]), key=bars(panels[1]).get) == "lr"


def test_one_cell_is_refused(results):
    one = results.where(width=1, noise=0.0)
    assert not axes_importance(one, "test/error") and not nuisance_importance(one)
    with pytest.raises(DlxError, match="no axis varies among the trials that ran"):
        figures.Importance("test/error")(one)
