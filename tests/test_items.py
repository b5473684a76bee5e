"""Values by item, from the model's outputs to the table of results."""

from dataclasses import dataclass, replace

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from stored import members, stored

import dlx
from dlx import data, losses, metrics, models, optim
from dlx.context import Context
from dlx.errors import DeclarationError, DlxError
from dlx.metrics import item_names
from dlx.pack import Pack, Resources
from dlx.records import ITEMS
from dlx.results import Results
from dlx.tracking.rows import Slots, curves_of, run_of
from dlx.trial import setting_digest
from dlx.worker import run_pack

MEANS = [metrics.loss(), metrics.error(), metrics.accuracy(), metrics.nll(), metrics.brier(), metrics.margin()]
NO_MEANS = [metrics.perplexity(), metrics.ece(), metrics.psnr(), metrics.margin("min"), metrics.margin(normalised=True),
            metrics.weight_norm(), metrics.sharpness()]
NAMES = tuple(f"test/{m.name}" for m in MEANS)


def training(**changes):
    """Of figures whose test set is the same for every seed."""
    given_ = {"data": data.Digits(), "model": models.MLP(width=8, depth=1), "optimizer": optim.SGD(lr=0.1), "steps": 30,
              "batch_size": 50, "dtype": "float64", "measure": 3, "metrics": tuple(MEANS), "items": NAMES, **changes}
    return dlx.Training(**given_)


def ran(trials, seeds):
    contexts = [Context(seed) for seed in seeds]
    return dlx.Training.run_pack(trials, contexts), contexts


def values(ctx, name):
    items, found = ctx.history[f"{name}{ITEMS}"]
    assert items == list(range(360))
    return np.array(found)


# ---------------------------------------------------------------- of one model's outputs


@given(st.sampled_from(MEANS), st.integers(0, 10_000), st.sampled_from([None, 1, 4]), st.booleans())
def test_each_item_is_the_metric_of_that_sample_alone(metric, seed, length, signs):
    generator, shape = torch.Generator().manual_seed(seed), (7,) if length is None else (7, length)
    signs = signs and metric.name in ("loss", "error", "accuracy", "margin")
    outputs = torch.randn(*shape, 1 if signs else 3, generator=generator, dtype=torch.float64)
    targets = torch.randint(0, 2 if signs else 3, shape, generator=generator)
    targets, loss = (2.0 * targets.unsqueeze(-1) - 1, losses.Logistic()) if signs else (targets, losses.CrossEntropy())
    each = metric.measure_items(outputs, targets, loss)
    alone = [metric.measure(outputs[i : i + 1], targets[i : i + 1], loss).item() for i in range(7)]
    assert each.shape == (7,) and each.tolist() == pytest.approx(alone, rel=1e-12, abs=1e-12)
    assert each.mean().item() == pytest.approx(metric.measure(outputs, targets, loss).item(), rel=1e-12, abs=1e-12)


def test_only_means_over_samples_have_items():
    assert [item_names(m)[-1] for m in MEANS] == list(NAMES) and not any(map(item_names, NO_MEANS))
    assert item_names(metrics.only(metrics.error(), metrics.At((1,)))) == ("train/error", "val/error", "test/error")


# ---------------------------------------------------------------- of a pack


@pytest.fixture(scope="module")
def pack():
    """Three members, of other seeds and rates; of each what it returned and its context, together and alone."""
    trials = [training(), training(optimizer=optim.SGD(lr=0.02)), training()]
    together, alone = ran(trials, (0, 1, 2)), [ran([t], [s]) for s, t in enumerate(trials)]
    return list(zip(*together, strict=True)), [(r[0], c[0]) for r, c in alone]


@pytest.mark.parametrize("name", NAMES)
def test_the_mean_of_the_items_is_the_metric_alone_and_in_a_pack(pack, name):
    for (packed, ctx), (single, own) in zip(*pack, strict=True):
        assert values(ctx, name).mean() == pytest.approx(packed[name], rel=1e-12)
        assert values(own, name).mean() == pytest.approx(single[name], rel=1e-12)
        np.testing.assert_allclose(values(ctx, name), values(own, name), rtol=1e-9, atol=1e-10)
    losses_ = [values(ctx, "test/loss") for _, ctx in pack[0]]
    assert not np.allclose(losses_[0], losses_[1]) and not np.allclose(losses_[0], losses_[2])


def test_items_are_no_metric_and_change_no_key(pack):
    assert all(ITEMS not in name for returned, _ in pack[0] for name in returned)
    assert setting_digest(training()) == setting_digest(training(items=()))
    assert training().shape() != training(items=()).shape()


def test_a_diverged_member_leaves_none_and_its_neighbour_keeps_its_own(pack):
    trials = [training(), training(optimizer=optim.SGD(lr=1e200))]
    (good, bad), contexts = ran(trials, (0, 1))
    assert not np.isfinite(bad["test/error"]) and not any(ITEMS in name for name in contexts[1].history)
    np.testing.assert_allclose(values(contexts[0], "test/loss"), values(pack[1][0][1], "test/loss"), rtol=1e-9)
    assert np.isfinite(good["test/error"])


# ---------------------------------------------------------------- what is refused


@pytest.mark.parametrize(("changes", "sentence"), [
    ({"items": ("test/ece",), "metrics": [metrics.ece(), metrics.error()]}, "no mean over samples"),
    ({"items": ("test/eror",)}, "did you mean 'test/error'"),
    ({"items": ("error",)}, "no mean over samples"),
    ({"items": ("test/loss",), "metrics": [metrics.error()]}, "that metrics measures"),
    ({"items": ("test/loss",), "metrics": [metrics.psnr()]}, r"metrics.error\(\)"),
])
def test_what_has_no_items_is_refused_when_it_is_declared(changes, sentence):
    with pytest.raises(DeclarationError, match=sentence):
        training(**changes).check()


@pytest.mark.parametrize(("source", "name", "sentence"), [
    (data.Digits(), "val/error", "Digits draws the split 'val' anew for every seed"),
    (data.Digits(), "train/error", "'train' anew"),
    (data.Digits(), "rest/error", "the data has the splits train, val, test"),
    (data.GaussianMixture(inputs=4, n=40, test_samples=20), "test/error", "seeds already sample it; leave it out"),
    (data.ModularArithmetic(p=7), "test/error", "'test' anew"),
])
def test_samples_that_a_seed_draws_are_no_items(source, name, sentence):
    result, ctx = ran([training(data=source, items=(name,), batch_size=None, steps=2)], (3,))
    assert isinstance(result[0], DeclarationError) and not ctx[0].history
    with pytest.raises(DeclarationError, match=sentence):
        raise result[0]


@pytest.mark.parametrize(("found", "item"), [
    ([1.0], None), ([], None), ([[1.0, 2.0]], None), ([1.0, 2.0], [0]), ([1.0, 2.0], [3, 3]),
])
def test_one_number_for_each_of_two_items_or_more(found, item):
    with pytest.raises(ValueError, match="give one number for each of two or more"):
        Context(0).items("test/loss", found, item)


def test_items_that_are_not_finite_are_not_recorded():
    ctx = Context(0)
    ctx.items("test/loss", torch.tensor([1.0, torch.nan]))
    assert not ctx.history
    ctx.items("test/loss", torch.tensor([1.0, 2.0]), item=[7, 5])
    assert ctx.history == {f"test/loss{ITEMS}": ([7, 5], [1.0, 2.0])}


# ---------------------------------------------------------------- stored


@dataclass(frozen=True)
class Graded(dlx.Trial):
    """Ten tasks, graded one by one; told to, it diverges or has no grades."""

    skill: float
    way: str = "well"

    def run(self, ctx):
        grades = self.skill + ctx.rng("noise").normal(size=10)
        ctx.log(1, {"test/loss": 5.0})
        if self.way == "diverge":
            grades[3] = np.inf
        if self.way != "unheard":
            ctx.items("test/loss", grades)
        return {"test/loss": grades.mean()}


@pytest.fixture(scope="module")
def graded(tmp_path_factory):
    study = dlx.Study(name="graded", question="?", template=Graded(skill=dlx.grid(0.0, 1.0)), seeds=3)
    return stored(study, tmp_path_factory.mktemp("graded"))


def test_results_give_items_by_trial(graded):
    found = graded.items("test/loss")
    assert found.value.shape == (6, 10) and found.item.tolist() == list(range(10))
    finals = graded.finals("test/loss")
    for name in ("cell", "unit", "seed"):
        assert getattr(found, name).tolist() == getattr(finals, name).tolist()
    np.testing.assert_allclose(found.value.mean(axis=1), finals.value, rtol=1e-12)
    part = graded.items("test/loss", {"skill": 1.0})
    np.testing.assert_array_equal(part.value, found.value[3:])
    assert part.cell.tolist() == [1, 1, 1]


def test_curves_are_given_without_them(graded):
    history = graded.history()
    assert set(history["metric"].to_pylist()) == {"test/loss"} and len(history) == 6


def test_mlflow_is_not_told_of_them(graded):
    member = members(graded.study)[0]
    records = run_pack(Pack((member,), Resources(), ""))
    assert pc.sum(pc.ends_with(records.history["metric"], ITEMS)).as_py() == 1
    curves = curves_of(pa.Table.from_batches([records.history]))[member.key]
    run = run_of(records.trials.to_pylist()[0], curves, Slots(), lambda cell: {})
    assert {point.metric for point in run.points} == set(curves) == {"test/loss"}


def test_a_metric_without_items_says_how_to_record_them(graded, tmp_path):
    with pytest.raises(DlxError, match=r"items=\('val/loss',\)"):
        graded.items("val/loss")
    results = stored(dlx.Study(name="unheard", question="?", template=Graded(0.0, "unheard"), seeds=2), tmp_path)
    with pytest.raises(DlxError, match="recorded no items of test/loss"):
        results.items("test/loss")


def test_trials_that_are_not_wanted_are_left_out(tmp_path):
    first = dlx.Study(name="fewer", question="?", template=Graded(dlx.grid(0.0, 1.0)), seeds=2)
    stored(first, tmp_path)
    results = Results.of(replace(first, seeds=[1]), str(tmp_path))
    assert results.items("test/loss").seed.tolist() == [1, 1]


def test_diverged_trials_are_left_out(tmp_path):
    study = dlx.Study(name="mixed", question="?", template=Graded(0.0, dlx.grid("well", "diverge")), seeds=2)
    results = stored(study, tmp_path)
    assert results.items("test/loss").cell.tolist() == [0, 0] and results.finals("test/loss").diverged.sum() == 2


def test_a_stored_training_has_the_items_that_its_model_gives(tmp_path):
    study = dlx.Study(name="figures", question="?", template=training(steps=5, items=("test/error",)), seeds=2)
    results = stored(study, tmp_path)
    found = results.items("test/error")
    assert found.value.shape == (2, 360) and set(np.unique(found.value)) == {0.0, 1.0}
    np.testing.assert_allclose(found.value.mean(axis=1), results.finals("test/error").value, rtol=1e-12)
    assert not pc.any(pc.ends_with(results.history()["metric"], ITEMS)).as_py()
