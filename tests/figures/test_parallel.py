import numpy as np
import pytest
from matplotlib.collections import LineCollection
from stored import stored

import dlx
from dlx import figures
from dlx.errors import DlxError
from dlx.figures.parallel import ABSENT


def lines(figure):
    """Asks and final trials: places and values."""
    drawn = [c for c in figure.axes[0].collections if isinstance(c, LineCollection)]
    return [(np.array([s[:, 1] for s in c.get_segments()]), np.array(c.get_array())) for c in drawn]


def test_lines_pass_where_trials_lie_on_their_scales(searched):
    figure = figures.Parallel(scale=10)(searched)
    (asks, ask_values), (finals, final_values) = lines(figure)
    table = searched.table.to_pandas()
    tune, final = table[table.phase == "tune"], table[table.phase == "final"]
    assert (len(asks), len(finals)) == (len(tune), len(final)) == (96, 24)
    assert sorted(ask_values) == pytest.approx(sorted(10 * tune["val/loss"]))
    assert sorted(final_values) == pytest.approx(sorted(10 * final["val/loss"]))
    names = [t.get_text() for t in figure.axes[0].get_xticklabels()]
    assert names == ["width", "optimizer", "lr"]
    placed = {tuple(np.round(row, 9)) for row in asks}
    lr = np.log(tune["param.lr"] / 1e-4) / np.log(1.0 / 1e-4)
    expected = zip(tune.width - 1.0, tune.optimizer.map({"sgd": 0.0, "muon": 1.0}), lr, strict=True)
    assert placed == {tuple(np.round(row, 9)) for row in expected}


def test_the_best_lie_on_top_and_the_worst_share_a_colour(searched):
    figure = figures.Parallel()(searched)
    (_, values), _ = lines(figure)
    assert list(values) == sorted(values, reverse=True)
    norm = figure.axes[0].collections[0].norm
    every = np.concatenate([v for _, v in lines(figure)])
    assert (norm.vmin, norm.vmax) == pytest.approx((every.min(), np.quantile(every, 0.95)))
    assert f"the worst {(every > norm.vmax).sum()} share the last colour." in figure.get_supxlabel()


def test_lines_pass_below_the_axes_that_their_trial_lacks(searched):
    table = searched.table
    lacking = searched.where(optimizer="sgd")
    values = [None if o == "muon" else v for o, v in zip(
        table["optimizer"].to_pylist(), table["param.lr"].to_pylist(), strict=True)]
    place = table.column_names.index("param.lr")
    partly = type(searched)(searched.declaration, searched.store, searched.grid,
                            table.set_column(place, "param.lr", [values]), searched._metrics, searched.study)
    (asks, _), _ = lines(figures.Parallel()(partly))
    (without, _), _ = lines(figures.Parallel()(lacking))
    assert (asks[:, 2] == ABSENT).sum() == len(asks) - len(without) == 48


def test_a_metric_may_be_called_as_another_column(tmp_path):
    @dlx.trial()
    def timed(ctx, width: int):
        return {"seconds": 1000.0 * width}

    study = dlx.Study("timed", "?", timed(width=dlx.grid(1, 2)), seeds=2)
    _, (_, values) = lines(figures.Parallel("seconds")(stored(study, tmp_path)))
    assert sorted(values) == [1000.0, 1000.0, 2000.0, 2000.0]


def test_too_many_axes_are_refused(results, monkeypatch):
    monkeypatch.setattr("dlx.figures.parallel.MOST_AXES", 1)
    with pytest.raises(DlxError, match="would have 2 axes that vary; give it where= that leaves 1 to 1"):
        figures.Parallel()(results)
