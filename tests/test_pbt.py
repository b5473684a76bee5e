"""Population-based training: the very numbers of a plain loop, also after interruptions."""

import copy
import math
from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from test_training import Blobs, Jitter, training
from toys import go

import dlx
from dlx import checkpoint, data, losses, metrics, models, optim
from dlx.context import Context, Place
from dlx.errors import DeclarationError
from dlx.member import begin
from dlx.pack import Member, Pack, Resources
from dlx.pbt import PBT, MemberContext, Population, Range
from dlx.snapshot import Snapshot, Snapshots, held
from dlx.trial import setting_digest, trial_key
from dlx.worker import run_pack

RANGES = {"optimizer.lr": Range(1e-3, 1.0), "optimizer.momentum": Range(0.1, 0.9, log=False)}


def population(changes=None, **more):
    base = training(optimizer=optim.SGD(0.1, momentum=0.5), steps=60, measure=3, **(changes or {}))
    declared = {"training": base, "ranges": RANGES, "objective": "val/loss", "members": 8, "every": 7, **more}
    return PBT(**declared)


# ---------------------------------------------------------------- numbers


class Plain:
    """A member as one would write it with ``torch.optim``, beginning with the same parameters and batches."""

    def __init__(self, trial, ctx, lr, momentum):
        member = begin(trial, ctx)
        self.module, self.order, self.splits = member.module.double(), member.order, member.splits
        self.optimizer = torch.optim.SGD(self.module.parameters(), lr, momentum)

    @property
    def hyper(self):
        return self.optimizer.param_groups[0]

    def loss(self, split, rows):
        inputs, targets = self.splits[split].take(rows)
        return torch.nn.functional.cross_entropy(self.module(inputs), targets)

    def step(self):
        self.optimizer.zero_grad()
        self.loss("train", self.order.take(1)[0]).backward()
        self.optimizer.step()

    def judged(self):
        with torch.no_grad():
            return float(self.loss("val", self.splits["val"].rows))

    def copy(self, other):
        self.module.load_state_dict(other.module.state_dict())
        self.optimizer.load_state_dict(copy.deepcopy(other.optimizer.state_dict()))


def plain_population(trial, seed):
    ctx, n, k = Context(seed), trial.members, int(trial.members * trial.quantile)
    rng = ctx.rng("population")
    rates = np.exp(rng.uniform(math.log(1e-3), math.log(1.0), n))
    momenta = rng.uniform(0.1, 0.9, n)
    members = [Plain(trial.training, MemberContext(ctx, i), *of_one)
               for i, of_one in enumerate(zip(rates, momenta, strict=True))]
    history = {}
    for step in range(1, trial.training.steps + 1):
        for member in members:
            member.step()
        scores = [member.judged() for member in members]
        best = members[int(np.argmin(scores))]
        history[step] = min(scores), best.hyper["lr"], best.hyper["momentum"]
        if step % trial.every == 0 and step < trial.training.steps:
            rng = ctx.rng(f"population/{step}")
            ranked = np.argsort(scores, kind="stable")
            for i, source in zip(ranked[-k:], rng.choice(ranked[:k], k), strict=True):
                members[i].copy(members[source])
            for name, low, high in (("lr", 1e-3, 1.0), ("momentum", 0.1, 0.9)):
                for i, sign in zip(ranked[-k:], rng.choice([-1.0, 1.0], k), strict=True):
                    members[i].hyper[name] = min(max(members[i].hyper[name] * trial.factor**sign, low), high)
    return history


@pytest.mark.parametrize(("seed", "changes"), [(0, {}), (1, {"quantile": 0.5, "factor": 3.0}), (2, {"every": 1})])
def test_a_population_equals_a_plain_loop(seed, changes):
    trial, ctx = population(**changes), Context(seed)
    final = trial.run(ctx)
    expected = plain_population(trial, seed)
    for i, name in enumerate(names := ("val/loss", "population/optimizer.lr", "population/optimizer.momentum")):
        steps, logged = ctx.history[name]
        assert logged == pytest.approx([expected[step][i] for step in steps], rel=0, abs=1e-10)
    assert {*range(trial.every, 60, trial.every), 60} <= set(steps)
    assert tuple(final[name] for name in names) == pytest.approx(expected[60], rel=0, abs=1e-10)
    again = Context(seed)
    assert trial.run(again) == final and again.history == ctx.history
    assert trial.run(Context(seed + 10)) != final


OPTIMIZERS = {
    "optimizer.inner.lr": optim.SAM(optim.Adam(0.01), rho=0.1),
    "optimizer.inner.betas[1]": optim.EMA(optim.Adam(0.01)),
    "optimizer.weight_decay": optim.Muon(0.01, weight_decay=0.1),
}


@settings(max_examples=8, derandomize=True, deadline=None)
@given(st.sampled_from(sorted(OPTIMIZERS)), st.lists(st.floats(-1, 1) | st.just(math.inf), min_size=9, max_size=9),
       st.sampled_from([0.12, 0.3, 0.5]), st.integers(0, 99))
def test_the_worst_become_the_best_and_nobody_else_changes(path, scores, quantile, seed):
    ranges = {path: Range(0.2, 0.6), "augment[0].scale": Range(0.0, 2.0, log=False), "schedule.warmup": Range(0.1, 0.9)}
    trial = population({"augment": (Jitter(1.0),), "schedule": optim.Cosine()}, ranges=ranges, members=9,
                       quantile=quantile)
    trial = replace(trial, training=replace(trial.training, optimizer=OPTIMIZERS[path]))
    trial.check()
    crowd = Population(trial, Context(seed))
    crowd.loop.advance(3)
    before, hyper, crowd.scores = crowd.loop.now, {p: v.copy() for p, v in crowd.hyper.items()}, scores
    crowd.evolve(3)
    ranked, k = sorted(range(9), key=scores.__getitem__), int(9 * quantile)
    for i in range(9):
        same = [j for j in range(9) if all(
            torch.equal(new[i], old[j]) for new, old in zip(crowd.loop.now.leaves, before.leaves, strict=True))]
        if i in ranked[:-k]:
            assert same == [i] and all(crowd.hyper[p][i] == hyper[p][i] for p in ranges)
            continue
        assert len(same) == 1 and same[0] in ranked[:k]
        for p, r in ranges.items():
            moved = [min(max(hyper[p][same[0]] * by, r.low), r.high) for by in (1.2, 1 / 1.2)]
            assert crowd.hyper[p][i] == pytest.approx(moved[0], 1e-12) or crowd.hyper[p][i] == pytest.approx(moved[1])
    evolved = {tuple(values) for values in crowd.hyper.values()}
    assert evolved <= {tuple(leaf.tolist()) for leaf in crowd.loop.hyper.leaves}
    crowd.loop.advance(5)


@pytest.mark.parametrize("seed", range(2))
def test_it_lowers_the_learning_rate_and_so_beats_the_best_constant_one(seed):
    noisy = data.TeacherStudent(n=4_000, noise=1.0, validation=0.5, test_samples=2_000)  # less validation is overfitted
    base = dlx.Training(noisy, models.Linear(), optim.SGD(0.1), steps=1_500, batch_size=2, loss=losses.MSE(),
                        metrics=(metrics.loss(),), measure=1, dtype="float64")
    evolving = PBT(base, {"optimizer.lr": Range(1e-4, 0.3)}, "val/loss", members=12, every=50)
    found = evolving.run(ctx := Context(seed))
    constant = [replace(base, optimizer=optim.SGD(lr)) for lr in np.geomspace(1e-4, 0.3, 24).tolist()]
    alone = dlx.Training.run_pack(constant, [Context(seed) for _ in constant])
    best = min((of_one for of_one in alone if math.isfinite(of_one["val/loss"])), key=lambda of_one: of_one["val/loss"])
    assert found["test/loss"] < best["test/loss"]
    rates = ctx.history["population/optimizer.lr"][1]
    assert np.median(rates[-5:]) < np.median(rates[:5]) / 3


def test_what_diverges_goes_on_from_what_does_not():
    crowd = Population(population(ranges={"optimizer.lr": Range(1e-2, 1e6)}, members=16, every=3), Context(3))
    assert math.isfinite(crowd.train()["val/loss"]) and max(crowd.hyper["optimizer.lr"]) < 1e6


def test_the_largest_value_is_best_when_maximised():
    accurate = (metrics.accuracy(), metrics.error())
    up = population({"metrics": accurate}, objective="val/accuracy", direction="maximize")
    down = population({"metrics": accurate}, objective="val/error")
    assert up.run(Context(5)) == pytest.approx(down.run(Context(5)), rel=0, abs=1e-10)


# ---------------------------------------------------------------- interruptions


def packed(trial, folder):
    return Pack((Member("p", trial, 4, keep=True),), Resources(), folder, checkpoint_every=1e-9)


@pytest.mark.parametrize("at", [28, 60])
def test_a_population_that_is_killed_half_way_ends_with_the_same_numbers(tmp_path, at):
    noisy = {"augment": (Jitter(0.3),), "model": models.MLP(5, 2, norm="batch", dropout=0.2)}
    trial, folder = population(noisy), (tmp_path / "cut").as_uri()
    whole = run_pack(packed(trial, (tmp_path / "whole").as_uri()))

    def kill(step, logged):
        if step == at:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run_pack(packed(trial, folder), on_log=kill)
    assert list(held(folder)) == ["p"]
    cut = run_pack(packed(trial, folder))
    assert cut.history.column("value").equals(whole.history.column("value"))
    assert cut.trials.column("metrics").equals(whole.trials.column("metrics")) and held(folder) == {}
    states = [checkpoint.load((tmp_path / name).as_uri(), "p") for name in ("cut", "whole")]
    assert all(np.array_equal(v, states[1][k]) for k, v in states[0].items())


def test_a_checkpoint_that_does_not_fit_is_not_used(tmp_path):
    other = Snapshot(7, ("p",), {"now/0": torch.zeros(1, 3)}, {"p": {"val/loss": ([7], [0.0])}})
    Snapshots(tmp_path.as_uri(), ("p",)).save(other)
    ctx = Context(4, place=Place(tmp_path.as_uri(), "p"))
    assert population().run(ctx) == population().run(fresh := Context(4)) and ctx.history == fresh.history
    assert "starts anew" in ctx.notes[0]


# ---------------------------------------------------------------- in a study


def test_populations_in_a_study(tmp_path):
    ranges = {"optimizer.lr": dlx.grid(Range(1e-3, 1.0), Range(1e-4, 0.1))}
    tuned = population({"data": Blobs(spread=dlx.grid(1.0, 2.0))}, ranges=ranges, factor=dlx.loguniform(1.1, 2.0))
    study = dlx.Study("crowd", "?", tuned, seeds=2, objective=dlx.minimize("val/loss"),
                      search=dlx.TPE(trials=2, top=1, recheck=0))
    results = go(study, tmp_path)
    rows = results.table.to_pylist()
    assert len(rows) == 4 * (2 + 2) and {row["status"] for row in rows} == {"completed"}
    for row in rows[::3]:
        cell = next(c for c in study.space.cells if study.cell_key(c) == row["cell"])
        trial = study.space.trial(cell, {"factor": row["param.factor"]})
        alone = trial.run(Context(row["seed"]))
        assert {name: row[name] for name in alone} == pytest.approx(alone, rel=0, abs=1e-10)


def test_a_population_begins_where_its_parent_ended_and_hands_its_best_on(tmp_path):
    parent = training(steps=20)
    crowd = population({"parent": parent})
    child = training(parent=crowd, optimizer=optim.SGD(0.0), steps=1)
    table = go(dlx.Study("family", "?", child), tmp_path / "home").store.trials().to_pylist()
    metrics_of = {row["key"]: dict(row["metrics"]) for row in table}
    family = [metrics_of.pop(trial_key(trial, 0)) for trial in (parent, crowd, child)]
    handed_on = {name: family[1][name] for name in family[2]}
    assert not metrics_of and family[2] == pytest.approx(handed_on, rel=0, abs=1e-12)
    folder = tmp_path.as_uri()
    parent.run(Context(0, place=Place(folder, "parent", keep=True)))
    begun = Population(crowd, Context(0, place=Place(folder, "crowd", parent="parent"))).loop.finals()
    for name, value in checkpoint.load(folder, "parent").items():
        assert all(torch.equal(of_one[name], torch.as_tensor(value)) for of_one in begun)


def test_a_model_that_cannot_be_vectorised_trains_one_by_one():
    final = population({"model": models.Module(Sorted)}, members=4, every=20).run(ctx := Context(0))
    assert "one member after the other" in ctx.notes[0] and math.isfinite(final["val/loss"])


class Sorted(torch.nn.Module):
    """Its outputs depend on how many of its inputs are positive, as a number in Python."""

    def __init__(self, inputs, outputs):
        super().__init__()
        self.layer = torch.nn.Linear(inputs, outputs)

    def forward(self, x):
        return self.layer(x) * (2.0 if int((x > 0).sum()) % 2 else 1.0)


# ---------------------------------------------------------------- keys and bad input


def test_every_value_enters_the_key():
    base = population()
    changes = {"objective": "val/error", "direction": "maximize", "members": 9, "every": 8, "quantile": 0.3,
               "factor": 1.3, "ranges": {**RANGES, "optimizer.lr": Range(1e-3, 2.0)}, "training": training()}
    digests = {setting_digest(replace(base, **{name: value})) for name, value in changes.items()}
    assert len(digests | {setting_digest(base)}) == len(changes) + 1


@pytest.mark.parametrize(("changes", "message"), [
    ({"members": 1}, "members is 1"),
    ({"every": 0}, "every is 0"),
    ({"every": 60}, "every is 60 and training.steps is 60"),
    ({"quantile": 0.6}, "quantile is 0.6"),
    ({"quantile": 0.1}, "quantile is 0.1 of 8 members"),
    ({"factor": 1.0}, "factor is 1.0"),
    ({"direction": "up"}, "direction is 'up'"),
    ({"objective": "val/los"}, "did you mean 'val/loss'"),
    ({"ranges": {}}, "ranges is empty"),
    ({"ranges": {"optimizer.rate": Range(0.1, 1.0)}}, "'optimizer.rate', which is no part of training"),
    ({"ranges": {"optimiser.lr": Range(0.1, 1.0)}}, "did you mean 'optimizer.lr'"),
    ({"ranges": {"model.width": Range(0.1, 1.0)}}, "'model.width', which is fixed while a step is computed"),
    ({"ranges": {"optimizer.momentum": Range(0.1, 1.0)}}, r"momentum is 1.0; it must lie in \[0, 1\)"),
    ({"ranges": {"optimizer.lr": Range(1.0, 0.1)}}, "low is 1.0 and high is 0.1"),
    ({"ranges": {"optimizer.lr": Range(0.0, 1.0)}}, "low is 0.0, which has no logarithm"),
    ({"ranges": {"optimizer.lr": (0.1, 1.0)}}, "it must be a Range, such as dlx.Range"),
])
def test_bad_input(changes, message):
    with pytest.raises(DeclarationError, match=message):
        dlx.Study("bad", "?", population(**changes)).space.check()


def test_more_bad_input():
    seldom = population({"metrics": (metrics.only(metrics.loss(), metrics.Every(9)), metrics.error())})
    with pytest.raises(DeclarationError, match="'val/loss', which is not measured; did you mean 'val/error'"):
        seldom.check()
    whole = population(ranges={"optimizer.precondition_every": Range(1.0, 9.0)})
    with pytest.raises(DeclarationError, match="the whole number 10"):
        replace(whole, training=replace(whole.training, optimizer=optim.SOAP(0.1))).check()
    unvalidated = population({"data": data.MNIST1D(n=100, validation=0.0)})
    unvalidated.check()
    with pytest.raises(DeclarationError, match="'val/loss', which is not measured"):
        unvalidated.run(Context(0))
