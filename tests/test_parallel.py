"""Several processes take the very steps of one, or say why they cannot."""

import pytest
from test_training import Jitter, training
from together import WORKERS, Strange, Trouble, failed, run_all

import dlx
from dlx import losses, models, optim
from dlx.errors import DeclarationError
from dlx.executors.tune_train import Raised
from dlx.pack import Member, Pack, Resources
from dlx.parallel import Severed, check_workers
from dlx.snapshot import Snapshots, held
from dlx.worker import Stopped, run_pack

SEED = 3
EQUAL = {
    "SGD": training(steps=200, batch_size=7, optimizer=optim.SGD(lr=0.1, momentum=0.9, nesterov=True)),
    "AdamW": training(steps=200, batch_size=8, optimizer=optim.AdamW(lr=0.01, weight_decay=0.1), loss=losses.MSE()),
    "SAM": training(steps=60, batch_size=5, optimizer=optim.EMA(optim.SAM(optim.Muon(lr=0.01), rho=0.1))),
    "clipped": training(steps=60, batch_size=None, optimizer=optim.Clip(optim.SGD(lr=0.5), norm=0.5),
                        schedule=optim.Cosine()),
    "noise": training(steps=50, batch_size=10, model=models.MLP(6, 2, norm="batch", dropout=0.3),
                      augment=(Jitter(0.2),)),
}
STRANGE = {way: training(model=Strange(way)) for way in ("mixes", "draws")}
UNLUCKY = {rank: training(loss=Trouble(at=20, rank=rank)) for rank in (0, 2)}


def pack(key, trial, folder, **options):
    return Pack((Member(key, trial, SEED),), Resources(workers=WORKERS), folder, **options)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("study")


@pytest.fixture(scope="module")
def came_to(folder):
    """Key → what the processes came to; "half-way": of a trial that one process had begun, and was killed in."""
    begun = training(steps=60, optimizer=optim.Adam(lr=0.02))
    packs = [pack(key, trial, folder.as_uri()) for key, trial in (EQUAL | STRANGE).items()]
    packs += [pack(f"unlucky {rank}", trial, folder.as_uri()) for rank, trial in UNLUCKY.items()]
    half_way = pack("half-way", begun, folder.as_uri(), checkpoint_every=1e-9)

    def stop(step, _):
        if step >= 20:
            raise Stopped

    with pytest.raises(Stopped):
        run_pack(half_way, on_log=stop)
    assert 0 < Snapshots(folder.as_uri(), ["half-way"]).find().step < 60
    every = [*packs, half_way]
    return dict(zip((p.members[0].key for p in every), run_all(every, folder), strict=True))


def same(records, trial):
    alone = run_pack(Pack((Member(records.trials["key"].to_pylist()[0], trial, SEED),), Resources(), "file:///nowhere"))
    (row,), (expected,) = records.trials.to_pylist(), alone.trials.to_pylist()
    assert row["status"] == expected["status"] == "completed"
    assert dict(row["metrics"]) == pytest.approx(dict(expected["metrics"]), rel=0, abs=1e-10)
    curves, wanted = records.history.to_pylist(), alone.history.to_pylist()
    assert [(c["metric"], c["step"]) for c in curves] == [(c["metric"], c["step"]) for c in wanted]
    for curve, one in zip(curves, wanted, strict=True):
        assert curve["value"] == pytest.approx(one["value"], rel=0, abs=1e-10)
    return row


@pytest.mark.parametrize("name", EQUAL)
def test_a_trial_ends_with_the_numbers_of_one_process(came_to, name):
    first, *others = came_to[name]
    row = same(first, EQUAL[name])
    assert others == [None] * (WORKERS - 1) and row["members"] == 1


def test_it_goes_on_from_a_snapshot_that_one_process_left(came_to, folder):
    row = same(came_to["half-way"][0], training(steps=60, optimizer=optim.Adam(lr=0.02)))
    assert row["error"] is None and held(folder.as_uri()) == {}


@pytest.mark.parametrize("way", STRANGE)
def test_what_is_no_sum_over_samples_is_refused(came_to, way):
    first, *others = came_to[way]
    (row,) = first.records.trials.to_pylist()
    assert failed(first.records) and "Strange cannot be trained by 3 workers" in row["error"]
    assert all(isinstance(other, Raised) and "cannot be trained" in other.said for other in others)


def test_what_the_first_process_raises_ends_the_others(came_to):
    first, *others = came_to["unlucky 0"]
    assert failed(first.records) and "only in process 0" in first.records.trials["error"].to_pylist()[0]
    assert all(isinstance(other, Severed) for other in others)


def test_what_another_process_raises_is_said_and_leaves_no_row(came_to):
    first, second, third = came_to["unlucky 2"]
    assert isinstance(third, Raised) and third.records is None and "only in process 2" in third.said
    assert isinstance(first, Severed) and isinstance(second, Severed)


# ---------------------------------------------------------------- what is refused


def study(**changes):
    declared = {"name": "several", "question": "?", "template": training(), "resources": Resources(workers=4)}
    return dlx.Study(**{**declared, **changes})


def test_gpus_of_a_training_are_one_for_each_worker_and_of_other_trials_all_in_one_process():
    from toys import Slow

    asked = Resources(cpus=2, gpus=8)
    template = training(batch_size=None)
    assert study(template=template, resources=asked).resources_of(template) == Resources(2, 1, workers=8)
    own = dlx.Study("own", "?", Slow(1, "x"), resources=asked)
    assert own.resources_of(own.template) == asked
    assert asked.all_gpus == Resources(2, 1, workers=8).all_gpus == 8


@pytest.mark.parametrize("asked, words", [
    ({"workers": 0}, "resources.workers is 0; it must be a whole number of at least 1"),
    ({"workers": 1.5}, "resources.workers is 1.5"),
    ({"workers": 2, "gpus": 0.5}, "resources.gpus is 0.5 for each of 2 workers"),
    ({"workers": 2, "gpus": 4}, "a worker trains on one GPU"),
])
def test_resources_that_make_no_sense(asked, words):
    with pytest.raises(DeclarationError, match=words):
        study(resources=Resources(**asked))


def test_trials_that_cannot_be_shared_are_refused():
    from toys import Valley

    with pytest.raises(DeclarationError, match="4 workers, but batch_size is 3; give each worker"):
        study(template=training(batch_size=3))
    with pytest.raises(DeclarationError, match=r"4 workers, but Valley is no dlx\.Training"):
        study(template=Valley(1, 0.1))
    with pytest.raises(DeclarationError, match=r"but Valley is no dlx\.Training"):
        study(template=Valley(dlx.grid(1, 2), 0.1), resources=lambda trial: Resources(workers=4)).plan()
    tuned = {"template": training(optimizer=optim.SGD(lr=dlx.loguniform(0.01, 1.0))),
             "objective": dlx.minimize("val/loss")}
    with pytest.raises(DeclarationError, match=r"search\.prune stops trials early that one process trains"):
        study(**tuned, search=dlx.TPE(trials=4, prune=dlx.Halving(eta=2, min_steps=5)))
    with pytest.raises(DeclarationError, match="scheduler stops trials early"):
        study(scheduler=object())
    check_workers(training(batch_size=dlx.grid(2, 4)), 4)


def test_each_trial_is_a_pack_of_its_own():
    assert study(template=training(optimizer=optim.SGD(lr=dlx.grid(0.1, 0.2))), seeds=3).plan().packs == 6
    assert study(resources=Resources(), seeds=3).plan().packs == 1
