import importlib.util
import sys
from collections import deque
from pathlib import Path

import cloudpickle
import pyarrow as pa

from dlx.pack import Member, Pack, Resources
from dlx.trial import trial_key


def pack_of(*trials, seeds=None, resources=Resources(), folder="file:///nowhere"):
    members = tuple(Member(trial_key(t, s), t, s) for t, s in zip(trials, seeds or range(len(trials)), strict=True))
    return Pack(members, resources, folder)


class Packs:
    """A feed over a list of packs: a lost one is put back once, then written down."""

    def __init__(self, packs, stop_after=None):
        self.queue, self.flying = deque(packs), []
        self.records, self.losses, self.returned, self.partials, self.said = [], [], [], [], []
        self.ticks, self.stopped, self.stop_after = 0, False, stop_after

    def take(self, resources=None):
        for pack in self.queue:
            if resources in (None, pack.resources) and not self.stopped:
                self.queue.remove(pack)
                self.flying.append(pack)
                return pack
        return None

    def done(self, pack, records):
        self.flying.remove(pack)
        self.records.append(records)
        self.stopped = self.stopped or len(self.records) == self.stop_after

    def partial(self, pack, partial):
        assert pack in self.flying
        self.partials.append((pack, partial))

    def lost(self, pack, reason):
        self.flying.remove(pack)
        again = all(p is not pack for p, _ in self.losses)
        self.losses.append((pack, reason))
        if again:
            self.queue.append(pack)

    def astray(self, pack, reason):
        self.lost(pack, reason)

    def give_back(self, pack):
        self.flying.remove(pack)
        self.returned.append(pack)

    def refuse(self, pack, error):
        self.give_back(pack)
        raise error

    def say(self, line):
        self.said.append(line)

    @property
    def finished(self):
        return self.stopped or not (self.queue or self.flying)

    @property
    def waiting(self):
        return 0 if self.stopped else len(self.queue)

    def waiting_for(self, resources):
        return 0 if self.stopped else sum(pack.resources == resources for pack in self.queue)

    def tick(self):
        self.ticks += 1

    @property
    def rows(self):
        return pa.Table.from_batches([r.trials for r in self.records]).to_pylist() if self.records else []

    @property
    def history(self):
        return pa.Table.from_batches([r.history for r in self.records]).to_pylist() if self.records else []


def study_trials():
    """The module of a study file, as a loader makes it: by path, under a name that workers cannot import."""
    name = "dlx_study_of_a_test"
    if name not in sys.modules:
        spec = importlib.util.spec_from_file_location(name, Path(__file__).with_name("trials_of_a_study.py"))
        module = importlib.util.module_from_spec(spec)
        sys.modules[name] = module
        spec.loader.exec_module(module)
        cloudpickle.register_pickle_by_value(module)
    return sys.modules[name]
