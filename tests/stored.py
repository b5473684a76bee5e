"""A study's trials run in this process and stored, without a run's driver, MLflow or Ray."""

import pyarrow as pa

from dlx.canonical import key, setting_digest
from dlx.pack import Member, Pack, Resources
from dlx.records import MEMBERSHIP
from dlx.results import Results
from dlx.store import Store
from dlx.worker import run_pack


def members(study):
    """Every wanted trial of an untuned study, by cell and seed."""
    trials = [study.space.trial(c) for c in study.space.cells]
    return [Member(key(setting_digest(t), s), t, s) for t in trials for s in study.seed_list]


def stored(study, home, skip=0):
    """The results after all trials but the first few ran, each alone."""
    store = Store(study.name, str(home))
    keep = study.keep == "final"
    records = [run_pack(Pack((m,), Resources(), store.folder, keep_final=keep)) for m in members(study)[skip:]]
    store.commit(records, pa.Table.from_pylist([], MEMBERSHIP))
    return Results.of(study, str(home))
