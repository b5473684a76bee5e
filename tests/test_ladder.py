"""A ladder is its trainings, and n is where a line through them reaches the accuracy."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import dlx
from dlx import data, metrics, models, optim
from dlx.context import Context
from dlx.errors import DeclarationError
from dlx.ladder import crossed

RUNGS = (16, 32, 64)


def ladder(**changes):
    made = data.GaussianMixture(n=100, separation=3.0)
    training = dlx.Training(made, models.Linear(), optim.SGD(lr=0.3), steps=9, batch_size=16, dtype="float64",
                            metrics=(metrics.accuracy(),))
    return dlx.Ladder(**{"training": training, "rungs": RUNGS, "reaches": 0.8, **changes})


def test_a_ladder_is_its_trainings():
    ladders = [ladder(), ladder(training=dlx.Training(**{**vars(ladder().training), "optimizer": optim.SGD(lr=0.01)}))]
    assert ladders[0].shape() == ladders[1].shape()
    contexts = [Context(3), Context(4)]
    packed = dlx.Ladder.run_pack(ladders, contexts)
    for one, ctx, found in zip(ladders, contexts, packed, strict=True):
        assert found == pytest.approx(one.run(alone := Context(ctx.seed)), rel=1e-10)
        assert set(found) == {f"{split}/{name}" for split in ("val", "test") for name in ("n", "log2_n", "censored")}
        assert ctx.history.keys() == alone.history.keys() == {"val/accuracy", "test/accuracy"}
        for n, accuracy in zip(*ctx.history["test/accuracy"], strict=True):
            trained = one._on(n).run(Context(ctx.seed))
            assert accuracy == pytest.approx(trained["test/accuracy"], rel=1e-10)


@given(accuracies=st.lists(st.floats(0, 1), min_size=3, max_size=3), reaches=st.floats(0.05, 0.95))
def test_n_is_where_the_line_reaches_the_accuracy(accuracies, reaches):
    log2_n, censored = crossed(RUNGS, accuracies, reaches)
    if accuracies[0] >= reaches:
        assert (log2_n, censored) == (4.0, True)
    elif max(accuracies) < reaches:
        assert (log2_n, censored) == (6.0, True)
    else:
        assert not censored and 4.0 <= log2_n <= 6.0
        assert np.interp(log2_n, [4.0, 5.0, 6.0], accuracies) == pytest.approx(reaches, abs=1e-9)


def test_a_diverged_rung_reaches_nothing():
    assert crossed(RUNGS, [math.nan, 0.7, math.nan], 0.8) == (6.0, True)


@pytest.mark.parametrize(("changes", "said"), [
    ({"rungs": ()}, "rungs is"), ({"rungs": (32, 16)}, "rungs is"), ({"rungs": (0, 16)}, "rungs is"),
    ({"rungs": (16, 100)}, "n is 100"), ({"rungs": (8, 32)}, "batch_size is 16"), ({"reaches": 1.0}, "reaches is"),
    ({"training": dlx.Training(data.Digits(), models.Linear(), optim.SGD(lr=0.1), steps=1)}, "measures no accuracy"),
])
def test_what_cannot_be_is_said(changes, said):
    with pytest.raises(DeclarationError, match=said):
        ladder(**changes).check()
