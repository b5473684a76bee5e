"""The driver's side of a thousand workers, without Ray: what a message costs, and how often idle workers ask."""

from dataclasses import dataclass

from packs import Packs, pack_of

import dlx
from dlx.executors.tune_cluster import Cluster
from dlx.executors.tune_shifts import Desk
from dlx.pack import Resources

WORKERS = 300


@dataclass(frozen=True)
class Nothing(dlx.Trial):
    number: int

    def run(self, ctx):
        return {}


class Machine(dict):
    """One with one CPU, that counts how often it is asked what it has."""

    asked = 0

    def get(self, name, otherwise=None):
        Machine.asked += 1
        return {"CPU": 1.0}.get(name, otherwise)


class Machines(Cluster):
    def __init__(self, machines):
        super().__init__()
        self.there = [Machine() for _ in range(machines)]

    def _up(self):
        return self.there


class Worker:
    """Takes what it is given."""

    def __init__(self):
        self.give, self.given = self, []

    def remote(self, parcel, elsewhere):
        self.given.append(parcel)


def opened(workers):
    """A desk with so many workers that are up and run a pack each, and their configurations."""
    desk = Desk(Packs(pack_of(Nothing(i)) for i in range(workers)), Machines(workers), lambda slots: None)
    configs = [desk.open(str(i)) for i in range(workers)]
    for i in range(workers):
        desk.result(str(i), {"worker": Worker(), "machine": "here"})
    return desk, configs


def test_all_workers_are_told_how_many_there_will_be():
    _, configs = opened(WORKERS)
    assert {config["workers"] for config in configs} == {WORKERS}


def test_a_message_asks_no_machine_what_it_has():
    desk, _ = opened(WORKERS)
    assert all(len(shift.worker.given) == 1 for shift in desk.shifts.values())
    before = Machine.asked
    for i in range(WORKERS):
        assert desk.open("one more") is None and desk.result(str(i), {"idle": True})
    assert Machine.asked - before <= WORKERS


def test_a_place_that_is_free_is_filled_again():
    desk, _ = opened(3)
    desk.feed.queue.extend(pack_of(Nothing(i)) for i in range(10, 12))
    assert desk.open("3") is None
    desk.died("0", "killed")
    assert desk.open("3")["cpus"] == Resources().cpus and desk.open("4") is None
    desk.died("3", "killed before it was up")
    assert desk.open("5") is not None and desk.open("6") is None
    desk.begin()
    assert desk.open("7") is not None
