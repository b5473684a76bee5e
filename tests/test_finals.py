"""Final values come by cell and independent draw: the search where a cell is tuned, the seed where it is not."""

import numpy as np
import pytest
from toys import Unruly, Valley, go, tuned, valley

import dlx
from dlx.errors import DeclarationError
from dlx.records import FINAL
from dlx.tuning import FINALS_OF_A_SEARCH


def test_units_are_seeds_where_nothing_is_tuned(tmp_path):
    results = go(valley(seeds=3), tmp_path)
    found = results.finals("test/loss")
    assert found.cell.tolist() == [0, 0, 0, 1, 1, 1, 2, 2, 2, 3, 3, 3] and found.unit.tolist() == [0, 1, 2] * 4
    assert found.value.tolist() == results.table["test/loss"].to_pylist() and not found.diverged.any()
    part = results.finals("test/loss", {"width": 2, "lr": [0.1]})
    assert part.value.tolist() == results.where(width=2, lr=0.1).table["test/loss"].to_pylist()


def test_units_are_searches_where_cells_are_tuned_and_each_has_seeds_of_its_own(tmp_path):
    results = go(tuned(), tmp_path)
    found = results.finals("test/loss")
    assert found.unit.tolist() == [0, 0, 1, 1] * 2
    assert found.seed.tolist() == [0, 1, FINALS_OF_A_SEARCH, FINALS_OF_A_SEARCH + 1] * 2
    final = results.where(phase=FINAL).table
    assert len(set(zip(final["cell"].to_pylist(), final["seed"].to_pylist(), strict=True))) == len(final) == 8


def test_both_kinds_stand_beside_each_other(tmp_path):
    lr = dlx.grid(0.01, dlx.loguniform(1e-4, 1.0))
    results = go(tuned(template=Valley(width=1, lr=lr)), tmp_path)
    found = results.finals("val/loss")
    assert [found.unit[found.cell == i].tolist() for i in (0, 1)] == [[0, 1], [0, 0, 1, 1]]


def test_diverged_trials_are_there_and_failed_ones_are_not(tmp_path):
    study = dlx.Study(name="s", question="?", template=Unruly(dlx.grid("well", "nan", "raise")), seeds=2)
    found = go(study, tmp_path).finals("loss")
    assert found.cell.tolist() == [0, 0, 1, 1] and found.diverged.tolist() == [False, False, True, True]
    assert np.isnan(found.value[2:]).all() and found.value[:2].tolist() == [0.5, 0.5]


def test_an_unknown_metric_is_named(tmp_path):
    with pytest.raises(DeclarationError, match=r"returned 'test/los'; did you mean 'test/loss'\?"):
        go(valley(), tmp_path).finals("test/los")


def test_seeds_of_several_searches_may_not_meet():
    with pytest.raises(DeclarationError, match="give numbers below 10⁶"):
        tuned(seeds=[3, 1_000_000])
