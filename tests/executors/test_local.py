import time
from dataclasses import dataclass, replace

import pytest
import torch
from packs import Packs, pack_of

from dlx import partials
from dlx.errors import ExecutorError
from dlx.executors.local import Local
from dlx.pack import Resources
from dlx.trial import Trial


@dataclass(frozen=True)
class Double(Trial):
    x: float

    def run(self, ctx):
        if self.x < 0:
            raise ValueError("x is negative")
        ctx.log(1, x=self.x)
        return {"y": 2 * self.x}


def test_every_pack_runs_once_and_failures_are_rows():
    feed = Packs([pack_of(Double(x)) for x in (1.0, -1.0, 3.0)])
    Local().run(feed)
    assert [(r["status"], dict(r["metrics"])) for r in feed.rows] == [
        ("completed", {"y": 2.0}), ("failed", {}), ("completed", {"y": 6.0})
    ]
    assert "x is negative" in feed.rows[1]["error"]
    assert feed.ticks >= 3 and not feed.flying


def test_it_stops_when_the_feed_does():
    feed = Packs([pack_of(Double(float(x))) for x in range(9)], stop_after=2)
    Local().run(feed)
    assert len(feed.rows) == 2 and len(feed.queue) == 7


def test_a_feed_that_never_gives_is_an_error():
    feed = Packs([pack_of(Double(1.0))])
    feed.take = lambda resources=None: None
    with pytest.raises(ExecutorError, match="nothing waits"):
        Local().run(feed)


@dataclass(frozen=True)
class Long(Trial):
    seconds: float

    def run(self, ctx):
        end = time.monotonic() + self.seconds
        for step in range(10**9):
            ctx.log(step, x=step)
            if time.monotonic() > end:
                return {"y": step}
            time.sleep(0.01)


def test_a_long_pack_says_how_far_it_is_and_lets_the_feed_tick(monkeypatch):
    monkeypatch.setattr(partials, "FIRST", 0.2)
    feed = Packs([pack_of(Long(0.6)), pack_of(Long(0.0))])
    ticks = []
    feed.tick = lambda: ticks.append(len(feed.flying))
    Local().run(feed)
    ((pack, partial),) = feed.partials
    steps, values = partial.curves[pack.members[0].key]["x"]
    assert steps == list(range(partial.step + 1)) == values and partial.step >= 5
    assert ticks == [1, 1, 0, 1, 0], "at the beginning and the end of each pack, and while the long one ran"


@dataclass(frozen=True)
class Threads(Trial):
    def run(self, ctx):
        return {"threads": torch.get_num_threads()}


@pytest.mark.parametrize("cpus", [0.5, 1, 3])
def test_torch_uses_as_many_threads_as_cpus_were_asked_for(cpus):
    usual = torch.get_num_threads()
    feed = Packs([replace(pack_of(Threads()), resources=Resources(cpus=cpus))])
    Local().run(feed)
    assert dict(feed.rows[0]["metrics"])["threads"] == max(1, int(cpus))
    assert torch.get_num_threads() == usual
