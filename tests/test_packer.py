"""How jobs become packs: sizes, resources, fairness."""

import dataclasses
from collections import Counter
from dataclasses import dataclass

from hypothesis import given
from hypothesis import strategies as st
from toys import valley

import dlx
from dlx.agenda import Agenda
from dlx.memory import Memory
from dlx.packer import WINDOW, Packer
from dlx.records import Outcome, Pace, to_records
from dlx.store import Store


@dataclass(frozen=True)
class Shaped(dlx.Trial):
    """A trial of any shape; none: it runs alone."""

    form: str | None
    number: int

    def shape(self):
        return self.form


def packer(tmp_path, study, halfway=None):
    return Packer(study, Agenda(study, Memory(study, Store(study.name, str(tmp_path)))), halfway or {})


def shaped(*forms, **changes):
    return valley(template=Shaped(dlx.grid(*forms), dlx.grid(*range(10))), **{"seeds": 1, **changes})


def ran(seconds, members=10, pace=None):
    """Records of a pack, each trial of which took so long."""
    outcome = Outcome("k", 0, {}, "completed", seconds, 0.0, members=members)
    return dataclasses.replace(to_records([outcome], {}), pace=pace)


def all_packs(packing, slots, resources=None):
    packs = []
    while jobs := packing.take(slots, 0, 10**6, resources):
        packs.append(jobs)
    return packs


@given(forms=st.lists(st.sampled_from(["a", "b", "c", None]), min_size=1, max_size=4, unique=True),
       pack=st.integers(1, 30), slots=st.integers(1, 9), seeds=st.integers(1, 4))
def test_every_job_is_in_one_pack_of_equal_shapes(tmp_path_factory, forms, pack, slots, seeds):
    packing = packer(tmp_path_factory.mktemp("p"), shaped(*forms, pack=pack, seeds=seeds))
    packs = all_packs(packing, slots)
    keys = [job.key for jobs in packs for job in jobs]
    assert len(keys) == len(set(keys)) == len(forms) * 10 * seeds
    for jobs in packs:
        assert len({job.trial.form for job in jobs}) == 1 and len(jobs) <= pack
        assert jobs[0].trial.form is not None or len(jobs) == 1
    assert packing.waiting == 0


def test_packs_are_as_large_as_may_be_and_keep_all_slots_busy(tmp_path):
    assert list(map(len, all_packs(packer(tmp_path, shaped("a", seeds=13, pack=64)), 1))) == [64, 64, 2]
    sizes = list(map(len, all_packs(packer(tmp_path, shaped("a", pack=64)), 5)))
    assert len(sizes) >= 5


def test_packs_are_as_large_for_many_slots_as_for_few_while_there_are_enough_jobs(tmp_path):
    study = valley(template=Shaped("a", dlx.grid(*range(2 * WINDOW))), seeds=1, pack=64)
    sizes = list(map(len, all_packs(packer(tmp_path, study), 100)))
    assert sizes[:10] == [64] * 10 and sum(sizes) == 2 * WINDOW
    assert len(packer(tmp_path, study).take(1_000, 0, 64)) == 9  # each gets a share of all of them


def test_the_last_jobs_are_split_among_the_idle_and_only_where_that_is_worth_it(tmp_path):
    packing = packer(tmp_path, shaped("a", pack=64, seeds=10))
    first = packing.take(4, 3, 10)
    assert len(packing.take(4, 3, 64)) == 23  # of 90 of unknown length
    packing.learn(first[0], 10, ran(10.0))
    assert len(packing.take(4, 3, 64)) == 17  # of 67: longer than a pack need be
    packing.learn(first[0], 10, ran(0.5))
    assert len(packing.take(4, 3, 64)) == 20  # of 50: ten seconds
    packing.learn(first[0], 10, ran(0.0))
    assert len(packing.take(4, 2, 64)) == 15 == len(packing.take(4, 3, 64))  # of 30, by two of four


def test_at_most_so_many(tmp_path):
    packing = packer(tmp_path, shaped("a", pack=64))
    assert len(packing.take(1, 0, 3)) == 3 and len(packing.take(1, 0, 64)) == 7


def test_a_small_group_does_not_wait_for_a_large_one(tmp_path):
    study = valley(template=Shaped("a", dlx.grid(*range(1_000))), seeds=1, pack=4)
    few = valley(template=Shaped(dlx.grid("b", "a"), dlx.grid(*range(1_000))), seeds=1, pack=4,
                 skip=lambda t: t.form == "b" and t.number > 3)
    assert len(all_packs(packer(tmp_path, study), 1)) == 250
    firsts = [packer_jobs[0].trial.form for packer_jobs in all_packs(packer(tmp_path, few), 1)[:5]]
    assert "b" in firsts


def test_groups_take_turns(tmp_path):
    packing = packer(tmp_path, shaped("a", "b", "c", seeds=8, pack=8))
    firsts = [jobs[0].trial.form for jobs in all_packs(packing, 1)]
    assert set(firsts[:3]) == {"a", "b", "c"} and Counter(firsts) == {"a": 10, "b": 10, "c": 10}


def test_packs_of_equal_resources_follow_one_another(tmp_path):
    def resources(trial):
        return dlx.Resources(cpus=1 + trial.number % 2)

    packing = packer(tmp_path, shaped("a", None, resources=resources, pack=3))
    big = dlx.Resources(cpus=2)
    assert all(job.trial.number % 2 for job in packing.take(1, 0, 64, big))
    cpus = [resources(jobs[0].trial).cpus for jobs in all_packs(packing, 1)]
    assert cpus == sorted(cpus)
    assert packing.take(1, 0, 64, dlx.Resources(cpus=3)) == []


def test_only_a_window_of_jobs_is_looked_at(tmp_path):
    study = valley(template=Shaped(None, dlx.grid(*range(3 * WINDOW))), seeds=1)
    packing = packer(tmp_path, study)
    packing.take(1, 0, 1)
    assert packing.waiting == WINDOW - 1


def test_what_stands_half_way_in_a_pack_goes_on_together(tmp_path):
    study = shaped("a", pack=64)
    keys = [job.key for jobs in all_packs(packer(tmp_path, study), 1) for job in jobs]
    halfway = {key: "one" if i % 3 else "other" for i, key in enumerate(keys) if i < 7}
    packs = all_packs(packer(tmp_path, study, halfway), 1)
    assert {frozenset(job.key for job in jobs) for jobs in packs} == {
        frozenset(k for k in keys if halfway.get(k) == which) for which in ("one", "other", None)}


def test_packs_grow_while_that_is_faster_and_shrink_when_memory_runs_out(tmp_path):
    packing = packer(tmp_path, shaped("a", seeds=100))
    first = packing.take(1, 0, 10**6)
    assert len(first) == 64
    packing.learn(first[0], 64, ran(1.0, 64, Pace(1_000.0, 0.1)))  # and 936 s of work wait
    second = packing.take(1, 0, 10**6)
    assert len(second) == 128
    packing.learn(second[0], 128, ran(1.0, 64))  # half of it at a time
    assert len(packing.take(1, 0, 10**6)) == 64
    packing.lost(first[0], 64)
    assert len(packing.take(1, 0, 10**6)) == 32
