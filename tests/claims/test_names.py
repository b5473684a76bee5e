"""A claim that the study cannot answer is refused when the study is declared, with the place and the fix."""

import time

import numpy as np
import pyarrow as pa
import pytest
from claims import truths

import dlx
from dlx.claims import Above, Below, Correlated, Equivalent, Higher, Lower, Ordering, Peak, Sooner, Trend
from dlx.claims.arms import Grid
from dlx.errors import DeclarationError

A, B = {"arm": "a"}, {"arm": "b"}
MUON, SGD = {"optimizer": "Muon"}, {"optimizer": "SGD"}
X = (1.0, 2.0, 4.0, 8.0)


def training(**changes):
    template = dlx.Training(
        data=dlx.data.MNIST1D(n=200), model=dlx.models.MLP(width=dlx.grid(8, 16), depth=1), steps=10,
        optimizer=dlx.grid(dlx.optim.SGD(lr=dlx.loguniform(1e-3, 1.0)), dlx.optim.Muon(lr=dlx.loguniform(1e-4, 0.1))),
    )
    declared = {"name": "names", "question": "?", "template": template, "objective": dlx.minimize("val/error"),
                "search": dlx.TPE(trials=4, repeats=3), "seeds": 5}
    return dlx.Study(**{**declared, **changes})


@pytest.mark.parametrize(("claim", "said"), [
    (Lower("test/eror", MUON, SGD), "no trial returns 'test/eror'; did you mean 'test/error'?"),
    (Lower("dev/error", MUON, SGD), "did you mean"),
    (Lower("test/error", {"optimiser": "Muon"}, SGD), "no axis 'optimiser'; did you mean 'optimizer'?"),
    (Lower("test/error", {"optimizer": "Moun"}, SGD), "no cell of the study has optimizer=Moun; did you mean 'Muon'?"),
    (Lower("test/error", MUON, SGD, where={"width": 32}), "has width=32; there are 8, 16."),
    (Lower("test/error", MUON, {"width": 8}), "have cells in common"),
    (Lower("test/error", MUON, MUON), "have cells in common"),
    (Lower("test/error", {"width": []}, {"width": 8}), "no cell has width in (); correct"),
    (Lower("test/error", MUON, SGD, by=10**400), "by is 1000"),
    (Lower("test/error", MUON, SGD, where=MUON), "no cell has optimizer=SGD and optimizer=Muon"),
    (Lower("test/error", {"optimizer[SGD].lr": 0.1}, SGD), "is tuned, so no cell has a value of it"),
    (Lower("test/loss", MUON, SGD), "tuned for val/error, not for test/loss; claim 'test/error', or say in because="),
    (Lower("val/error", MUON, SGD), "val/error chose the values of the tuned cells, and flatters them"),
    (Lower("train/error", MUON, SGD), "because="),
    (Correlated("test/error", "train/loss", above=0.1), "because="),
    (Lower("test/error", MUON, SGD, by=-1), "by is -1"),
    (Lower("test/error", MUON, SGD, test="u"), "test is 'u'; it must be 't' or 'exact' or 'trimmed'"),
    (Higher("test/error", MUON, SGD, worst="up"), "worst is 'up'"),
    (Higher("test/error", MUON, SGD, label="sure"), "label is 'sure'"),
    (Ordering("test/error", [MUON]), "two or more"),
    (Equivalent("test/error", MUON, SGD, margin=0), "margin is 0"),
    (Trend("test/error", "optimizer", direction="rising"), "takes 2 or more numbers"),
    (Trend("test/error", "width", where={"width": 8}, direction="rising"), "takes 2 or more numbers"),
    (Trend("test/error", "width"), "give one of slope=(low, high) and direction="),
    (Trend("test/error", "width", slope=(1, -1)), "slope is (1, -1)"),
    (Trend("test/error", "width", slope=(1,)), "slope is (1,)"),
    (Trend("test/error", "width", direction="down"), "'falling' or 'rising'"),
    (Below("test/error", "low"), "value is 'low'"),
    (Sooner("test/error", 0.1, MUON, {"optimizer": "Adam"}), "optimizer=Adam"),
    (Correlated("test/error", "test/error"), "one of above= and below="),
    (Correlated("test/error", "test/error", above=1.0), "between −1 and 1"),
    (Lower("test/error", "Muon", SGD), "a is 'Muon'; give values by axis"),
    (Lower("test/error", MUON, SGD, where=["x"]), "where is ('x',); give values by axis"),
    (Ordering("test/error", ["Muon", "SGD"]), "conditions[0] is 'Muon'"),
    (Lower(3, MUON, SGD), "its metric is 3"),
    ("Muon beats SGD", "claims[0] is 'Muon beats SGD'"),
])
def test_what_the_study_does_not_have_is_named(claim, said):
    with pytest.raises(DeclarationError) as e:
        training(claims=[claim])
    assert said in str(e.value)


def test_what_it_has_is_taken():
    training(claims=[
        Lower("test/error", MUON, SGD), Higher("test/loss", MUON, SGD, because="the loss is what is deployed"),
        Lower("test/error", {"model.width": 8}, {"width": [16]}, where=MUON),
        Lower("val/error", MUON, SGD, because="its samples differ from seed to seed"),
        Trend("test/error", "model.width", direction="falling"), Above("test/error", 0.01),
    ])
    with pytest.raises(DeclarationError, match="flatters them; tune for 'val/error', or say in because="):
        training(objective=dlx.minimize("test/error"), claims=[Lower("test/error", MUON, SGD)])
    with pytest.raises(DeclarationError, match="Two claims are called 'won'"):
        training(claims=[Lower("test/error", MUON, SGD, name="won"), Higher("test/error", MUON, SGD, name="won")])


@pytest.mark.parametrize(("claim", "said"), [
    (Peak("loss", "x", at=3, left=1, right=8), "no value at 3; it has 1.0, 2.0, 4.0, 8.0"),
    (Peak("loss", "x", at=(5, 7), left=1, right=8), "no value at (5, 7)"),
    (Peak("loss", "x", at=2, left=1, right=16), "no cell of the study has x=16"),
    (Peak("loss", "x", at=8, left=1, right=4), "does not lie between left=1 and right=4"),
    (Peak("loss", "x", at=(4, 2), left=1, right=8), "does not lie between"),
    (Peak("loss", "x", at=(2, 4), left=1, right=8, test="exact"), "leave it out for a window"),
    (Correlated("loss", "norm", above=0.5, where={"x": [1, 2], "arm": "a"}), "across 2 cells says little"),
    (Trend("loss", "arm", direction="rising"), "'arm'"),
])
def test_windows_and_ends_lie_on_the_axis(claim, said):
    with pytest.raises(DeclarationError) as e:
        truths.study([claim], arm="ab", x=X)
    assert said in str(e.value)


def test_untuned_studies_may_claim_any_metric():
    truths.study([Lower("whatever", A, B), Correlated("loss", "norm", above=0.5)], arm="ab", x=X)


def grid(**columns):
    size = len(next(iter(columns.values())))
    return pa.table({"cell": [f"{i}" for i in range(size)], "tuned": columns.pop("tuned", [False] * size),
                     "finals": [5] * size, **columns})


def test_arms_of_two_kinds_are_compared_but_not_mixed():
    cells = grid(arm=["a", "a", "b", "b"], x=[1, 2, 1, 2], tuned=[True, True, False, False])
    Lower("loss", A, B).check_names(cells)
    for claim, said in ((Lower("loss", A, B, test="exact"), "takes pairs"), (Below("loss", 1), "narrow the claim"),
                        (Lower("loss", {"x": 1}, {"x": 2}), "narrow the claim")):
        with pytest.raises(DeclarationError, match=said):
            claim.check_names(cells)


def test_pairs_agree_in_all_axes_that_both_arms_have():
    cells = grid(arm=["a", "a", "a", "a", "b", "b"], momentum=[0.0, 0.9, 0.0, 0.9, None, None], x=[1, 1, 2, 2, 1, 3])
    a, b = Grid(cells, ["arm", "momentum", "x"]).arms([A, B])
    assert a.rows.tolist() == [0, 1] and a.weights.tolist() == [0.5, 0.5] and b.rows.tolist() == [4]
    with pytest.raises(DeclarationError, match="agree in all other axes"):
        Lower("loss", A | {"momentum": 0.0}, B).check_names(cells.take([0, 1, 5]))


def test_every_pair_counts_the_same():
    cells = grid(arm=["a", "a", "a", "b", "b"], momentum=[0.0, 0.9, 0.0, None, None], x=[1, 1, 2, 1, 2])
    a, b = Grid(cells, ["arm", "momentum", "x"]).arms([A, B])
    assert a.weights.tolist() == [0.25, 0.25, 0.5] and b.weights.tolist() == [0.5, 0.5]


def test_conditions_may_name_what_is_none_and_numbers_of_another_kind():
    cells = grid(act=["relu", None, "tanh"], x=[1.0, 2.0, 3.0])
    chosen = Grid(cells, ["act", "x"])
    assert chosen.mask({"act": None}).tolist() == [False, True, False]
    assert chosen.mask({"x": [1, 3]}).tolist() == [True, False, True]
    with pytest.raises(DeclarationError, match="no cell of the study has x=high; there are 1"):
        chosen.mask({"x": "high"})


def test_a_million_cells_are_checked_in_a_second():
    n = 500
    cells = grid(arm=np.repeat(["a", "b"], n * n * 2), x=np.tile(np.repeat(np.arange(2 * n), n), 2),
                 y=np.tile(np.arange(n), 4 * n))
    start = time.perf_counter()
    Lower("loss", A, B).check_names(cells)
    Peak("loss", "x", at=500, left=0, right=900).check_names(cells)
    assert len(cells) == 10**6 and time.perf_counter() - start < 3
