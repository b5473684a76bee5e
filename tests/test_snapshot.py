"""What was interrupted half-way ends with the very numbers of what was not."""

import dataclasses
import math
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch
from test_training import Jitter, training

import dlx
from dlx import optim
from dlx.context import Context, Place
from dlx.errors import HomeError
from dlx.pack import Member, Pack, Resources
from dlx.snapshot import Snapshot, Snapshots, discard, held, identify
from dlx.store import Store
from dlx.worker import Stopped, run_pack

KEYS = ("k0", "k1", "k2")


@dataclasses.dataclass(frozen=True)
class Blocks(dlx.Trial):
    """Hands a state on."""

    def run(self, ctx):
        ctx.save({"at": torch.zeros(2)})
        return {"distance": 0.0}


def snapshot(step, keys=KEYS):
    tensors = {"0": torch.randn(len(keys), 2, 3), "1": torch.arange(len(keys))}
    return Snapshot(step, tuple(keys), tensors, {k: {"val/loss": ([1, 5], [0.1, math.inf])} for k in keys})


def same(one, other):
    assert (one.step, one.keys, one.history) == (other.step, other.keys, other.history)
    assert all(torch.equal(t, other.tensors[name]) for name, t in one.tensors.items())


# ---------------------------------------------------------------- files


def test_the_newest_is_found_two_are_kept_and_all_go_at_the_end(tmp_path):
    folder, made = tmp_path.as_uri(), [snapshot(s) for s in (3, 20, 1_000)]
    snapshots = Snapshots(folder, KEYS, 0.0)
    assert snapshots.find() is None and held(folder) == {}
    for one in made:
        snapshots.save(one)
    same(Snapshots(folder, KEYS).find(), made[-1])
    assert len(list(tmp_path.rglob("*.safetensors"))) == 2
    assert held(folder) == dict.fromkeys(KEYS, identify(KEYS))
    snapshots.remove()
    assert held(folder) == {} and Snapshots(folder, KEYS).find() is None
    snapshots.remove()


def test_some_of_the_members_go_on_from_a_larger_pack(tmp_path):
    whole = snapshot(7)
    Snapshots(tmp_path.as_uri(), KEYS).save(whole)
    assert Snapshots(tmp_path.as_uri(), ["k2", "k0"]).find() is None
    found = Snapshots(tmp_path.as_uri(), ["k2", "k0"], resume=["gone", identify(KEYS)]).find()
    assert found.keys == ("k2", "k0") and torch.equal(found.tensors["0"], whole.tensors["0"][[2, 0]])
    assert Snapshots(tmp_path.as_uri(), ["k2", "k9"], resume=[identify(KEYS)]).find() is None
    discard(tmp_path.as_uri(), [identify(KEYS), "never was"])
    assert held(tmp_path.as_uri()) == {}


def test_a_damaged_one_is_passed_over_for_the_one_before(tmp_path):
    snapshots, older = Snapshots(tmp_path.as_uri(), KEYS), snapshot(4)
    snapshots.save(older)
    snapshots.save(snapshot(9))
    newest = max(tmp_path.rglob("*.safetensors"))
    whole = newest.read_bytes()
    for damaged in (whole[:-7], whole[:20], b"", b"\xff" * 40):
        newest.write_bytes(damaged)
        again = Snapshots(tmp_path.as_uri(), KEYS)
        same(again.find(), older)
        (note,) = again.notes
        assert newest.name in note and "damaged" in note
        held(tmp_path.as_uri())


@pytest.mark.parametrize("trial", [Blocks(), training(steps=3)], ids=["own", "training"])
def test_a_state_that_trials_start_from_and_cannot_be_written_is_no_result(tmp_path, trial):
    (tmp_path / "checkpoints").touch()
    pack = Pack((Member("k0", trial, 0, keep=True),), Resources(), tmp_path.as_uri())
    with pytest.raises(HomeError, match="cannot be read or written where the trial runs"):
        run_pack(pack)


def test_a_parents_state_that_cannot_be_read_is_no_result(tmp_path):
    (tmp_path / "checkpoints" / "parent.safetensors").mkdir(parents=True)
    trial = training(steps=3, parent=training(steps=2))
    pack = Pack((Member("k0", trial, 0, parent="parent"),), Resources(), tmp_path.as_uri())
    with pytest.raises(HomeError, match="cannot be read or written where the trial runs"):
        run_pack(pack)


def test_one_of_another_format_is_said_and_not_used(tmp_path, monkeypatch):
    monkeypatch.setattr("dlx.snapshot.FORMAT", "0")
    Snapshots(tmp_path.as_uri(), KEYS).save(snapshot(4))
    monkeypatch.undo()
    snapshots = Snapshots(tmp_path.as_uri(), KEYS)
    assert snapshots.find() is None
    assert "has format 0 and this dlx reads 1; its trials start anew" in snapshots.notes[0]


def test_a_place_that_cannot_be_written_is_said_once_and_tried_again_and_nothing_fails(tmp_path):
    obstacle, last = tmp_path / "checkpoints", snapshot(3)
    obstacle.write_text("a file where a folder should be")
    snapshots = Snapshots(tmp_path.as_uri(), KEYS, 0.0)
    for step in (1, 2):
        assert snapshots.due
        snapshots.save(snapshot(step))
        assert len(snapshots.notes) == 1 and "could not be written" in snapshots.notes[0]
    obstacle.unlink()
    snapshots.save(last)
    same(Snapshots(tmp_path.as_uri(), KEYS).find(), last)


# ---------------------------------------------------------------- training


def places(folder, resume=()):
    return [Place(folder, key, every=0.0, resume=resume) for key in KEYS]


def trials():
    return [training(steps=60, batch_size=7, measure=8, augment=(Jitter(0.2),),
                     optimizer=optim.SGD(lr, momentum=0.9)) for lr in (0.01, 0.1, 0.2)]


def interrupted(folder, at):
    """Ends the pack as soon as it logs this step, as a kill would; the step of its last snapshot."""
    contexts = [Context(seed, place=place) for seed, place in enumerate(places(folder))]

    def stop(step, _):
        if step >= at:
            raise Stopped

    contexts[0].on_log = stop
    with pytest.raises(Stopped):
        type(trials()[0]).run_pack(trials(), contexts)
    return Snapshots(folder, KEYS).find().step


@pytest.mark.parametrize("at", [2, 9, 60])
def test_a_pack_killed_half_way_ends_with_the_same_numbers(tmp_path, at):
    undisturbed = [Context(seed) for seed in range(3)]
    expected = type(trials()[0]).run_pack(trials(), undisturbed)
    step = interrupted(tmp_path.as_uri(), at)
    contexts = [Context(seed, place=place) for seed, place in enumerate(places(tmp_path.as_uri()))]
    heard = []
    contexts[0].on_log = lambda at, _: heard.append(at)
    assert type(trials()[0]).run_pack(trials(), contexts) == expected
    assert [c.history for c in contexts] == [c.history for c in undisturbed]
    assert 0 < step < min(heard) and held(tmp_path.as_uri()) == {}


def test_a_part_of_a_pack_goes_on_with_its_numbers(tmp_path):
    expected = [trial.run(Context(seed)) for seed, trial in enumerate(trials())]
    interrupted(tmp_path.as_uri(), 20)
    contexts = [Context(seed, place=place) for seed, place in enumerate(places(tmp_path.as_uri(), [identify(KEYS)]))]
    chosen = [2, 0]
    results = type(trials()[0]).run_pack([trials()[i] for i in chosen], [contexts[i] for i in chosen])
    for i, result in zip(chosen, results, strict=True):
        assert result == pytest.approx(expected[i], rel=0, abs=1e-10)


def test_a_snapshot_that_does_not_fit_is_not_used(tmp_path):
    expected = [trial.run(Context(seed)) for seed, trial in enumerate(trials())]
    Snapshots(tmp_path.as_uri(), KEYS).save(snapshot(5))
    contexts = [Context(seed, place=place) for seed, place in enumerate(places(tmp_path.as_uri()))]
    results = type(trials()[0]).run_pack(trials(), contexts)
    assert "does not fit" in contexts[0].notes[0]
    for result, alone in zip(results, expected, strict=True):
        assert result == pytest.approx(alone, rel=0, abs=1e-10)


# ---------------------------------------------------------------- trials of the user's own


@dataclasses.dataclass(frozen=True)
class Walk(dlx.Trial):
    """A random walk that can go on where it was."""

    length: int
    die_at: int | None = None

    def run(self, ctx):
        start, state = ctx.resume() or (0, {"at": torch.zeros(2)})
        at = state["at"]
        for step in range(start, self.length):
            if step == self.die_at:
                raise KeyboardInterrupt
            at = at + dlx.noise.normal(dlx.noise.fold(torch.tensor(ctx.seed), step), (2,), torch.float32)
            ctx.log(step, distance=at.norm())
            ctx.checkpoint(step + 1, lambda at=at: {"at": at})
        return {"distance": float(at.norm())}


def test_a_trial_of_the_users_own_goes_on_where_it_was(tmp_path):
    def pack(trial):
        return Pack((Member("w", trial, 3),), Resources(), tmp_path.as_uri(), checkpoint_every=1e-9)

    alone = run_pack(Pack((Member("w", Walk(20), 3),), Resources(), (tmp_path / "other").as_uri()))
    with pytest.raises(KeyboardInterrupt):
        run_pack(pack(Walk(20, die_at=12)))
    assert held(tmp_path.as_uri()) == {"w": identify(["w"])}
    again = run_pack(pack(Walk(20)))
    assert again.history.column("value").equals(alone.history.column("value"))
    assert again.trials.column("metrics").equals(alone.trials.column("metrics")) and held(tmp_path.as_uri()) == {}


# ---------------------------------------------------------------- a driver that is killed

STUDY = """
import dlx
from dlx import data, models, optim

STUDY = dlx.Study(
    "long", "?", dlx.Training(data.MNIST1D(n=500), models.MLP(8, 1), optim.SGD(dlx.grid(0.01, 0.1)), steps=STEPS,
                              batch_size=50, measure=5),
    seeds=3, checkpoint_every=0.05,
)
"""


def test_a_study_whose_driver_is_killed_half_way_through_a_pack_ends_with_the_same_numbers(tmp_path, monkeypatch):
    file = tmp_path / "long.py"
    file.write_text(STUDY.replace("STEPS", "4000"))
    command = [str(Path(sys.executable).with_name("dlx")), "run", str(file), "--executor", "local",
               "--tracking-uri", "off"]
    results = {}
    for home in ("disturbed", "calm"):
        monkeypatch.setenv("DLX_HOME", str(tmp_path / home))
        folder = Store("long", str(tmp_path / home)).folder
        if home == "disturbed":
            driver = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
            while driver.poll() is None and len(held(folder)) < 6:
                time.sleep(0.02)
            os.kill(driver.pid, signal.SIGKILL)
            driver.wait()
            assert len(Store("long", str(tmp_path / home)).trials()) == 0 and len(held(folder)) == 6
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
        table = Store("long", str(tmp_path / home)).trials()
        results[home] = dict(zip(table["key"].to_pylist(), table["metrics"].to_pylist(), strict=True))
        assert held(folder) == {}
    assert results["disturbed"] == results["calm"] and len(results["calm"]) == 6
