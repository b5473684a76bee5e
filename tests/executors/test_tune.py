import gc
import subprocess
import sys
from pathlib import Path

import psutil
import pytest
from packs import Packs, pack_of

from dlx import models, optim
from dlx.errors import ExecutorError
from dlx.executors import tune_partials
from dlx.executors.local import Local
from dlx.executors.tune import Tune
from dlx.executors.tune_partials import Box, post
from dlx.pack import Resources
from dlx.partials import Partial
from dlx.training import Training


@pytest.fixture(scope="module")
def cluster():
    """One Ray for the module; executors in this process use it and leave it up."""
    before = set(psutil.Process().children(recursive=True))
    own = Tune(cpus=2).cluster
    own.start()
    yield own
    own.stop()
    assert not set(psutil.Process().children(recursive=True)) - before


def by_key(feed):
    """Rows and history without what differs from run to run, and of a traceback what was raised."""
    changing = ("seconds", "started")
    rows = {r["key"]: {k: v for k, v in r.items() if k not in changing} for r in feed.rows}
    for row in rows.values():
        row["error"] = row["error"] and row["error"].splitlines()[-1]
    assert len(rows) == len(feed.rows), "a trial was delivered twice"
    return rows, sorted(feed.history, key=lambda r: (r["key"], r["metric"]))


def mixed_packs(t):
    training = [
        Training(data=t.Blobs(s), model=models.Linear(), optimizer=optim.SGD(lr=0.1), steps=5, batch_size=10)
        for s in (1.0, 2.0, 0.5)
    ]
    return [pack_of(*training), *(pack_of(t.Double(x), seeds=[4]) for x in (1.0, -1.0, 2.5, 3.0))]


def test_the_same_rows_as_in_this_process(cluster, trials):
    import torch

    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    here, there = Packs(mixed_packs(trials)), Packs(mixed_packs(trials))
    try:
        Local().run(here)
    finally:
        torch.set_num_threads(threads)
    Tune().run(there)
    assert by_key(here) == by_key(there)
    assert sorted(r["status"] for r in there.rows).count("failed") == 1
    assert not there.flying and not there.losses
    assert gc.isenabled() and not gc.get_freeze_count()


def test_all_slots_are_busy_and_a_long_pack_holds_nothing_up(cluster, trials):
    feed = Packs([pack_of(trials.Nap(i, 3.0 if i == 0 else 0.1)) for i in range(16)])
    Tune().run(feed)
    times = [dict(r["metrics"]) for r in feed.rows]
    longest = max(times, key=lambda m: m["ended"] - m["begun"])
    beside = [m for m in times if m["process"] != longest["process"]]
    assert len(times) == 16 and sum(m["begun"] < longest["ended"] for m in beside) >= 8


def test_a_long_pack_says_how_far_it_is(cluster, trials):
    feed = Packs([pack_of(trials.Descent(0.1, 0.4)), pack_of(trials.Descent(0.1))])
    Tune().run(feed)
    (pack, partial), *_ = feed.partials
    assert pack.members[0].trial.pause and 10 <= partial.step < 20
    ((key, curves),) = partial.curves.items()
    whole = next(h for h in feed.history if h["key"] == key == pack.members[0].key)
    assert curves == {"val/loss": (whole["step"][:partial.step], whole["value"][:partial.step])}
    assert len(feed.rows) == 2 and not feed.losses


def test_boxes_of_one_cluster_are_apart_and_are_cleared(cluster, trials, monkeypatch):
    monkeypatch.setattr(tune_partials, "LOOK", 0.0)
    mine, other = Box(), Box()
    pack = pack_of(trials.Double(1.0))
    send, send_other = post(mine.name, pack), post(other.name, pack)
    sent = [Partial(step, 9, {"a": {"loss": ([step], [0.5])}}) for step in range(12)]
    for partial in sent:
        send(partial)
    send_other(sent[0])
    assert mine.collect() == [(pack.members[0].key, partial) for partial in sent], "all, in their order"
    assert mine.collect() == []
    send(sent[0])
    mine.clear()
    assert mine.collect() == [] and other.collect() == [(pack.members[0].key, sent[0])]


def test_a_dead_worker_loses_its_pack_alone(cluster, trials, tmp_path):
    feed = Packs([pack_of(trials.Deadly(str(tmp_path))), pack_of(trials.Deadly(str(tmp_path), True)),
                  *(pack_of(trials.Nap(i, 0.05)) for i in range(10))])
    Tune().run(feed)
    assert len(by_key(feed)[0]) == 11
    assert len(feed.losses) == 3 and all("worker process died" in reason for _, reason in feed.losses)


def test_a_worker_that_misses_the_home_is_no_failure(cluster, trials, tmp_path):
    feed = Packs([pack_of(trials.Away(str(tmp_path))), pack_of(trials.Double(1.0))])
    Tune().run(feed)
    assert [reason for _, reason in feed.losses] == ["The home cannot be read."]
    assert [r["status"] for r in feed.rows] == ["completed"] * 2


def test_a_pack_that_cannot_be_sent_has_failed_and_the_others_run(cluster, trials):
    feed = Packs([pack_of(trials.Locked()), pack_of(trials.Double(1.0))])
    Tune().run(feed)
    assert sorted(r["status"] for r in feed.rows) == ["completed", "failed"] and not feed.losses
    said = {r["error"] for r in feed.rows if r["error"]}
    assert said == {"It cannot be sent to a worker (TypeError: cannot pickle '_thread.lock' object); make in run() "
                    "what cannot be pickled."}


def test_other_resources_get_other_workers(cluster, trials):
    feed = Packs([pack_of(trials.Double(float(i)), resources=Resources(1 + i // 3)) for i in range(6)])
    Tune().run(feed)
    assert sorted(dict(r["metrics"])["threads"] for r in feed.rows) == [1, 1, 1, 2, 2, 2]


def test_what_was_not_begun_is_given_back(cluster, trials):
    feed = Packs([pack_of(trials.Nap(i, 0.05)) for i in range(30)], stop_after=3)
    Tune().run(feed)
    assert not feed.flying and 3 <= len(feed.rows) <= 5
    assert len(feed.rows) + len(feed.queue) + len(feed.returned) == 30


@pytest.mark.parametrize("asked, words", [(Resources(gpus=8), "8 GPUs"), (Resources(memory=2**50), "GiB of memory")])
def test_what_cannot_be_had_is_said_at_once(cluster, trials, asked, words):
    feed = Packs([pack_of(trials.Double(1.0), resources=asked)])
    with pytest.raises(ExecutorError, match=words):
        Tune().run(feed)
    assert not feed.flying


def test_an_exception_of_the_feed_comes_out(cluster, trials):
    feed = Packs([pack_of(trials.Double(1.0))])

    def full(pack, records):
        feed.flying.remove(pack)
        raise OSError("the disk is full")

    feed.done = full
    with pytest.raises(OSError, match="disk is full"):
        Tune().run(feed)


def test_a_ray_client_address_is_refused():
    with pytest.raises(ExecutorError, match="address='auto'"):
        Tune("ray://head:10001")


INTERRUPTED = """
import sys, time
sys.path.insert(0, {here!r})
import psutil
from packs import Packs, pack_of, study_trials
from dlx.executors import tune_partials
from dlx.executors.tune import Tune
from dlx.executors.tune_partials import Box, post

class Impatient(Packs):
    def tick(self):
        if self.flying and len(self.rows) >= 1:
            raise KeyboardInterrupt

feed = Impatient([pack_of(study_trials().Nap(i, 0.1 if i == 0 else 60.0)) for i in range(4)])
try:
    Tune(cpus=1).run(feed)
except KeyboardInterrupt:
    print("interrupted", len(feed.rows), psutil.Process().children(recursive=True))
"""


def test_an_interrupt_ends_ray_and_says_nothing():
    script = INTERRUPTED.format(here=str(Path(__file__).parent))
    ended = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=60)
    assert ended.stdout == "interrupted 1 []\n" and ended.stderr == ""


AHEAD = """
import os, sys
sys.path.insert(0, {here!r})
import psutil
from packs import Packs, pack_of, study_trials
from dlx.executors.tune import Tune
from dlx.pack import Resources

class Watching(Packs):
    started = None

    def take(self, resources=None):
        if self.started is None:
            import ray
            self.address = ray.util.get_node_ip_address()
            self.started = {{p.pid for p in psutil.Process().children(recursive=True)}}
        return super().take(resources)

trials, before = study_trials(), dict(os.environ)
feed = Watching([*(pack_of(trials.Nap(i, 1.0)) for i in range(2)), pack_of(trials.Double(1.0)),
                 pack_of(trials.Double(2.0), resources=Resources(2))])
Tune(cpus=2, trainings={trainings}).run(feed)
found = [dict(row["metrics"]) for row in feed.rows]
print(sum(m.get("process") in feed.started for m in found), sorted(m["threads"] for m in found if "threads" in m),
      sum(m.get("ahead", 0) for m in found), feed.address)
changed = {{name for name in os.environ | before if os.environ.get(name) != before.get(name)}}
assert changed <= {{"PYTHONBREAKPOINT", "RAY_CLIENT_MODE"}}, changed  # by Ray itself
"""


@pytest.mark.parametrize(("trainings", "ahead"), [(0, 0), (16, 2)])
def test_workers_that_ray_started_in_advance_are_used_and_for_many_trainings_load_ahead(trainings, ahead):
    script = AHEAD.format(here=str(Path(__file__).parent), trainings=trainings)
    ended = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=120)
    assert ended.stdout == f"2 [1.0, 2.0] {ahead}.0 127.0.0.1\n", ended.stderr


def test_there_are_as_many_workers_as_cpus_that_may_be_used():
    script = ("import os; os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})\n"
              "from dlx.executors.tune import Tune; print(Tune().slots)")
    assert subprocess.run([sys.executable, "-c", script], capture_output=True, text=True).stdout == "1\n"
