import dataclasses
import math
import subprocess
import sys
from dataclasses import dataclass, replace
from typing import ClassVar

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from dlx import checkpoint, data, losses, metrics, models, noise, optim
from dlx.context import Context, Place
from dlx.data import Split
from dlx.errors import DeclarationError
from dlx.member import Order
from dlx.pack import Member, Pack, Resources
from dlx.training import Training
from dlx.trial import setting_digest
from dlx.worker import run_pack

N, FEATURES, CLASSES = 60, 8, 3


@dataclass(frozen=True)
class Blobs:
    """Three clouds of points; ``broken`` data cannot be loaded, ``private`` inputs differ between members."""

    spread: float = 1.0
    broken: bool = False
    private: bool = False
    varies: ClassVar[tuple[str, ...]] = ("spread", "broken")

    def dimensions(self):
        return data.Dimensions(FEATURES, CLASSES, (FEATURES,))

    def samples(self):
        return N - 20

    def load(self, streams):
        if self.broken:
            raise OSError("no such blobs")
        rng = streams.rng("data") if self.private else Context(0).rng("table")
        targets = torch.arange(N) % CLASSES
        inputs = torch.from_numpy(rng.normal(size=(N, FEATURES))) * self.spread
        inputs[:, :CLASSES] += torch.nn.functional.one_hot(targets, CLASSES)
        rows = torch.from_numpy(streams.rng("split").permutation(N))
        return {"train": Split(inputs, targets, rows[20:]), "val": Split(inputs, targets, rows[:20])}


def training(**changes):
    given_ = {"data": Blobs(), "model": models.MLP(width=5, depth=1), "optimizer": optim.SGD(lr=0.1), "steps": 30,
              "batch_size": 7, "dtype": "float64", "measure": 4, **changes}
    return Training(**given_)


def run_together(trials, seeds):
    contexts = [Context(s) for s in seeds]
    return type(trials[0]).run_pack(trials, contexts), contexts


# ---------------------------------------------------------------- exactness

rates = st.floats(1e-3, 0.1)
OPTIMIZERS = {
    "SGD": st.builds(optim.SGD, lr=rates, momentum=st.floats(0, 0.9), weight_decay=st.floats(0, 0.1)),
    "Adam": st.builds(optim.Adam, lr=st.floats(1e-4, 0.01), betas=st.tuples(st.floats(0.5, 0.9), st.floats(0.9, 0.99))),
    "AdamW": st.builds(optim.AdamW, lr=st.floats(1e-4, 0.01), weight_decay=st.floats(0, 0.5)),
    "Muon": st.builds(optim.Muon, lr=st.floats(1e-4, 0.01), momentum=st.floats(0.5, 0.95)),
}
MODELS = [models.MLP(5, 1), models.MLP(4, 3, activation="tanh"), models.Linear()]


@settings(max_examples=8, deadline=None, derandomize=True)
@given(st.data())
def test_a_pack_equals_its_members_alone(draw):
    kind = draw.draw(st.sampled_from(sorted(OPTIMIZERS)))
    base = training(steps=200, measure=3, batch_size=draw.draw(st.sampled_from([1, 7, 40, None])),
                    model=draw.draw(st.sampled_from(MODELS)),
                    loss=draw.draw(st.sampled_from([losses.CrossEntropy(), losses.MSE()])),
                    data=Blobs(private=draw.draw(st.booleans())))
    members = draw.draw(st.integers(2, 4))
    trials = [replace(base, optimizer=draw.draw(OPTIMIZERS[kind]),
                      data=replace(base.data, spread=draw.draw(st.floats(0.5, 2))))
              for _ in range(members)]
    seeds = draw.draw(st.lists(st.integers(0, 1_000), min_size=members, max_size=members))
    together, contexts = run_together(trials, seeds)
    for trial, seed, result, ctx in zip(trials, seeds, together, contexts, strict=True):
        alone = Context(seed)
        assert trial.run(alone) == pytest.approx(result, rel=0, abs=1e-10)
        for name, (steps, values) in ctx.history.items():
            assert alone.history[name][0] == steps and alone.history[name][1] == pytest.approx(values, rel=0, abs=1e-10)


@pytest.mark.parametrize("name", sorted(OPTIMIZERS))
def test_every_optimizer_lowers_the_loss_in_a_pack(name):
    trials = [training(steps=100, optimizer=getattr(optim, name)(lr=0.02))] * 2
    _, contexts = run_together(trials, [0, 1])
    for ctx in contexts:
        first, *_, last = ctx.history["train/loss"][1]
        assert last < 0.9 * first


def test_every_model_trains_alone_and_in_a_pack():
    for model in MODELS:
        trial = training(model=model, steps=100)
        together, _ = run_together([trial] * 2, [0, 1])
        assert trial.run(Context(1)) == pytest.approx(together[1], rel=0, abs=1e-10)
        assert together[1]["train/error"] < 0.5


def test_equals_a_plain_loop_in_pytorch():
    trial = training(optimizer=optim.SGD(lr=0.05, momentum=0.9, weight_decay=0.01), steps=25, batch_size=9)
    ctx = Context(5)
    train, val = trial.data.load(ctx).values()
    torch.manual_seed(ctx.generator("init").initial_seed())
    model = trial.model.build(trial.data.dimensions()).double()
    descent = torch.optim.SGD(model.parameters(), 0.05, momentum=0.9, weight_decay=0.01)
    rows = torch.cat([train.rows[torch.randperm(40, generator=g)] for g in [ctx.generator("order")] for _ in range(6)])
    for batch in rows[: 25 * 9].view(25, 9):
        descent.zero_grad()
        torch.nn.functional.cross_entropy(model(train.inputs[batch]), train.targets[batch]).backward()
        descent.step()
    outputs = model(val.inputs[val.rows])
    result = trial.run(ctx)
    expected = torch.nn.functional.cross_entropy(outputs, val.targets[val.rows]).item()
    assert result["val/loss"] == pytest.approx(expected, rel=0, abs=1e-12)
    wrong = outputs.argmax(1) != val.targets[val.rows]
    assert result["val/error"] == pytest.approx(wrong.double().mean().item())


def test_initial_parameters_do_not_depend_on_precision_or_global_state():
    results = []
    for dtype in ("float32", "float64"):
        torch.manual_seed(len(results))
        before = torch.get_rng_state()
        results.append(training(steps=1, dtype=dtype).run(Context(3)))
        assert torch.equal(torch.get_rng_state(), before)
    assert results[0] == pytest.approx(results[1], abs=1e-6)


# ---------------------------------------------------------------- failures stay with their member


def test_a_diverging_member_touches_nobody():
    wild = training(optimizer=optim.SGD(lr=1e12), steps=60)
    calm = training(steps=60)
    together, contexts = run_together([calm, wild, calm], [0, 1, 2])
    assert not math.isfinite(together[1]["train/loss"]) and not math.isfinite(together[1]["val/error"])
    assert len(contexts[1].history["train/loss"][0]) == 4
    for i in (0, 2):
        assert together[i] == pytest.approx(calm.run(Context(i)), rel=0, abs=1e-10)


def test_a_member_that_cannot_be_set_up_yields_its_exception():
    broken = training(data=Blobs(broken=True))
    together, _ = run_together([broken, training(), broken], [0, 1, 2])
    assert isinstance(together[0], OSError) and isinstance(together[2], OSError)
    assert together[1] == pytest.approx(training().run(Context(1)), rel=0, abs=1e-10)
    with pytest.raises(OSError, match="no such blobs"):
        broken.run(Context(0))


def test_worker_marks_how_each_member_ended():
    trials = [training(), training(optimizer=optim.SGD(lr=1e12), steps=30), training(data=Blobs(broken=True))]
    pack = Pack(tuple(Member(str(i), t, i) for i, t in enumerate(trials)), Resources(), "file:///nowhere")
    records = run_pack(pack)
    assert records.trials.column("status").to_pylist() == ["completed", "diverged", "failed"]
    assert set(records.history.column("key").to_pylist()) == {"0", "1"}


@dataclass(frozen=True)
class Forgetful(optim.SGD):
    """Takes its learning rate from where it is another member's."""

    def update(self, gradient, state, params, hyper):
        return {k: p - self.lr * gradient(params)[k] for k, p in params.items()}, state


def test_an_optimizer_that_bypasses_hyper_is_an_error_not_a_wrong_number():
    with pytest.raises(TypeError, match="Varying"):
        training(optimizer=Forgetful(lr=0.1)).run(Context(0))


# ---------------------------------------------------------------- schedules, augmentation, notes


@dataclass(frozen=True)
class Halves:
    """Half the learning rate from a share of the steps on."""

    after: float = 0.5
    varies: ClassVar[tuple[str, ...]] = ("after",)

    def factor(self, step, steps, hyper):
        return torch.where(step < hyper["after"] * steps, 1.0, 0.5)


@dataclass(frozen=True)
class Jitter:
    """Noise on the inputs."""

    scale: float
    varies: ClassVar[tuple[str, ...]] = ("scale",)

    def augment(self, inputs, key, hyper):
        return inputs + hyper["scale"] * noise.normal(key, inputs.shape, inputs.dtype)


def test_a_schedule_scales_every_learning_rate():
    halved = training(steps=1, optimizer=optim.SGD(lr=0.1), schedule=Halves(after=0.0))
    plain = training(steps=1, optimizer=optim.SGD(lr=0.05))
    assert halved.run(Context(0)) == pytest.approx(plain.run(Context(0)), rel=0, abs=1e-14)
    never = training(schedule=Halves(after=1.0))
    assert never.run(Context(0)) == pytest.approx(training().run(Context(0)), rel=0, abs=1e-14)


def test_random_steps_are_the_same_alone_and_in_a_pack():
    trials = [training(schedule=Halves(a), augment=(Jitter(s), Jitter(0.1)), steps=200, measure=3)
              for a, s in ((0.2, 0.0), (0.5, 0.3), (0.9, 1.0))]
    together, _ = run_together(trials, [4, 4, 5])
    for trial, seed, result in zip(trials, [4, 4, 5], together, strict=True):
        assert trial.run(Context(seed)) == pytest.approx(result, rel=0, abs=1e-10)
    assert len({r["train/loss"] for r in together}) == 3


# ---------------------------------------------------------------- shape


def test_shape_agrees_for_what_may_vary_and_only_for_that():
    base = training(data=data.MNIST1D(), optimizer=optim.Adam(lr=0.1))
    alike = replace(base, data=data.MNIST1D(label_noise=0.2), optimizer=optim.Adam(lr=0.3, betas=(0.5, 0.9)))
    assert base.shape() == alike.shape() and hash(base.shape()) == hash(alike.shape())
    changes = {
        "data": data.MNIST1D(n=2_000), "model": models.MLP(6, 1), "optimizer": optim.AdamW(lr=0.1), "steps": 31,
        "batch_size": 8, "loss": losses.MSE(), "dtype": "float32", "parent": training(),
        "metrics": (metrics.error(),), "measure": 5, "watch": ("val",), "schedule": Halves(), "augment": (Jitter(0.1),),
        "items": ("val/error",),
    }
    assert set(changes) == {f.name for f in dataclasses.fields(Training)}
    for name, value in changes.items():
        assert replace(base, **{name: value}).shape() != base.shape(), name
    nesterov = [training(optimizer=optim.SGD(0.1, momentum=0.9, nesterov=n)).shape() for n in (True, False)]
    assert nesterov[0] != nesterov[1]


def test_key_leaves_out_what_only_observes():
    assert setting_digest(training()) == setting_digest(training(metrics=[metrics.loss()], measure=7))
    assert setting_digest(training()) != setting_digest(training(dtype="float32"))
    assert setting_digest(training()) != setting_digest(training(parent=training()))


# ---------------------------------------------------------------- parents


def test_a_child_starts_where_its_parent_ended(tmp_path):
    folder = tmp_path.as_uri()
    parent = training(steps=20)
    parents = [Context(i, place=Place(folder, f"parent{i}", keep=True)) for i in range(2)]
    ended = Training.run_pack([parent] * 2, parents)
    child = training(steps=1, optimizer=optim.SGD(lr=0.0), parent=parent)
    children = [Context(i, place=Place(folder, f"child{i}", parent=f"parent{i}", keep=i == 0)) for i in range(2)]
    began = Training.run_pack([child] * 2, children)
    assert list(began) == [pytest.approx(e, rel=0, abs=1e-12) for e in ended]
    assert checkpoint.exists(folder, "child0") and not checkpoint.exists(folder, "child1")
    saved = checkpoint.load(folder, "parent0")
    assert {k: tuple(v.shape) for k, v in saved.items()} == {
        "0.weight": (5, 8), "0.bias": (5,), "2.weight": (3, 5), "2.bias": (3,)}


def test_a_child_of_another_kind_gets_the_trained_module_of_its_parent(tmp_path):
    parent, folder = training(steps=20, dtype="float64"), str(tmp_path)
    (ended,) = Training.run_pack([parent], [Context(3, place=Place(folder, "parent", keep=True))])
    child = Context(3, place=Place(folder, "child", parent="parent"))
    x, y = (val := parent.data.load(child)["val"]).take(val.rows)
    for module, same in ((parent.trained(child), True), (parent.trained(Context(3)), False)):
        loss = torch.nn.functional.cross_entropy(module(x.double()), y).item()
        assert not module.training and (loss == pytest.approx(ended["val/loss"], rel=1e-12)) is same


def test_a_child_whose_parent_is_gone_or_does_not_fit_fails_alone(tmp_path):
    place = Place(tmp_path.as_uri(), "wide", keep=True)
    training(model=models.MLP(9, 1)).run(Context(0, place=place))
    child = training(parent=training())
    contexts = [Context(i, place=Place(tmp_path.as_uri(), f"{i}", parent=p)) for i, p in enumerate(["gone", "wide"])]
    gone, unfit = Training.run_pack([child] * 2, contexts)
    assert "gone" in str(gone) and "size mismatch" in str(unfit)


# ---------------------------------------------------------------- steps and batches


def test_batches_go_through_one_permutation_after_another():
    rows = torch.arange(100, 110)
    whole = Order(rows, 4, torch.Generator().manual_seed(0)).take(10)
    assert whole.shape == (10, 4)
    for epoch in whole.flatten().view(4, 10):
        assert sorted(epoch.tolist()) == rows.tolist()
    order = Order(rows, 4, torch.Generator().manual_seed(0))
    assert torch.equal(torch.cat([order.take(k) for k in (1, 2, 3, 4)]), whole)


def test_history_has_every_metric_of_every_split():
    ctx = Context(0)
    result = training(metrics=[metrics.loss(), metrics.accuracy()], steps=30, measure=3).run(ctx)
    assert set(result) == {"train/loss", "train/accuracy", "val/loss", "val/accuracy"} == set(ctx.history)
    for name, (steps, values) in ctx.history.items():
        assert steps == [1, 5, 30] and values[-1] == result[name]


def test_on_the_way_only_the_splits_that_are_watched_are_measured():
    plain, watched = Context(0), Context(0)
    assert training(watch=("val",)).run(watched) == training().run(plain)
    last = plain.history["train/loss"][0][-1]
    assert watched.history["val/loss"] == plain.history["val/loss"] and watched.history["train/loss"][0] == [last]
    with pytest.raises(DeclarationError, match="watch has 'tset'; the data has the splits train, val"):
        training(watch=("tset",)).run(Context(0))


def test_measuring_changes_nothing():
    assert training(measure=1).run(Context(0)) == pytest.approx(training(measure=9).run(Context(0)), rel=0, abs=1e-14)


# ---------------------------------------------------------------- declaration


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"steps": 0}, "^steps is 0"), ({"batch_size": 41}, "^batch_size is 41.* 40 training samples"),
        ({"batch_size": 0}, "^batch_size"), ({"measure": 0}, "^measure"), ({"metrics": ()}, "^metrics is empty"),
    ],
)
def test_check(changes, message):
    training().check()
    with pytest.raises(DeclarationError, match=message):
        training(**changes).check()


def test_declaring_loads_neither_torch_nor_numpy():
    code = "import sys, dlx.training; print([m for m in ('torch', 'numpy', 'mnist1d') if m in sys.modules])"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout == "[]\n"


def test_errors_of_a_wrong_part_give_an_example():
    for name, example in {"optimizer": "optim.SGD", "model": "models.MLP", "data": "data.MNIST1D",
                          "loss": "losses.CrossEntropy"}.items():
        with pytest.raises(DeclarationError, match=f"trial.{name} is 3; .*such as {example}"):
            setting_digest(training(**{name: 3}))


def test_mnist1d_trains(tmp_path, monkeypatch):
    monkeypatch.setenv("DLX_DATA_DIR", str(tmp_path))
    trials = [training(data=data.MNIST1D(label_noise=p), model=models.MLP(32, 2), batch_size=100, steps=600,
                       optimizer=optim.Adam(lr=0.01), dtype="float32") for p in (0.0, 0.15)]
    clean, noisy = run_together(trials, [0, 0])[0]
    assert set(clean) == {f"{s}/{m}" for s in ("train", "val", "test") for m in ("loss", "error")}
    assert clean["test/error"] < 0.5 and clean["train/loss"] < noisy["train/loss"]


def test_who_listens_hears_while_it_trains():
    heard, ctx = [], Context(0)
    ctx.on_log = lambda step, values: heard.append((step, dict(values)))
    result = training(steps=30, measure=3).run(ctx)
    assert [step for step, _ in heard] == [1, 5, 30] and heard[-1][1] == result


# ---------------------------------------------------------------- what cannot be vectorised


@dataclass(frozen=True)
class Moody:
    """A model whose forward looks at its values, or draws from PyTorch's global stream."""

    draws: bool = False

    def build(self, of):
        module = torch.nn.Linear(of.inputs, of.outputs)
        forward = module.forward

        def moody(inputs):
            if self.draws and module.training:
                return forward(inputs * torch.rand(inputs.shape[1]).to(inputs.dtype))
            return forward(inputs) if inputs.sum() > 0 else -forward(inputs)

        module.forward = moody
        return module


@pytest.mark.parametrize(("draws", "why"), [(False, "depends on values of tensors"), (True, "random numbers")])
def test_what_cannot_be_vectorised_trains_one_after_the_other_and_says_so(draws, why):
    trials = [training(model=Moody(draws), steps=40, optimizer=optim.SGD(lr=lr)) for lr in (0.01, 0.1)]
    together, contexts = run_together(trials, [0, 1])
    (note,) = contexts[0].notes
    assert "Moody trains one trial after the other" in note and why in note
    for trial, seed, result in zip(trials, (0, 1), together, strict=True):
        assert trial.run(Context(seed)) == pytest.approx(result, rel=0, abs=1e-10)


@dataclass(frozen=True)
class Many(metrics.loss):
    """A metric of many numbers."""

    def measure(self, outputs, targets, loss):
        return loss(outputs, targets)


def test_a_metric_of_many_numbers_is_refused():
    with pytest.raises(TypeError, match=r"metric 'loss' gives a tensor of shape \(40,\); it must be one number"):
        training(metrics=(Many(),)).run(Context(0))
