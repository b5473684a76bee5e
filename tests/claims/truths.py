"""Studies whose truth is known: final values stored as a run would leave them, tuned by dlx's own protocol."""

import json
import zlib
from dataclasses import dataclass

import numpy as np
import pyarrow as pa

import dlx
from dlx.canonical import key
from dlx.declaration import claim_digest
from dlx.protocol import Tuning
from dlx.records import COMPLETED, DIVERGED, FINAL, MEMBERSHIP, Outcome, to_records
from dlx.register import Register
from dlx.results import Results
from dlx.store import Store
from dlx.tuning import FINALS_OF_A_SEARCH


@dataclass(frozen=True)
class Arm(dlx.Trial):
    """One of several arms of one of many studies that are stored as one."""

    copy: int = 0
    arm: str = "a"
    x: float = 1.0
    lr: float = 0.1


def study(claims=(), seeds=5, **axes):
    return dlx.Study(name="truth", question="?", template=Arm(**{n: dlx.grid(*v) for n, v in axes.items()}),
                     seeds=seeds, claims=list(claims))


def tuned(claims=(), seeds=5, trials=16, repeats=3, **axes):
    return dlx.Study(
        name="truth", question="?", seeds=seeds, claims=list(claims),
        template=Arm(**{n: dlx.grid(*v) for n, v in axes.items()}, lr=dlx.loguniform(1e-3, 10.0)),
        objective=dlx.minimize("val/loss"), search=dlx.Random(trials=trials, repeats=repeats, parallel=trials),
    )


def outcome(name, seed, found):
    """A row of what a trial returned: metrics, ``None`` for one that diverged, or (metrics, curve of test/loss)."""
    metrics, curve = found if isinstance(found, tuple) else (found, None)
    diverged = metrics is None
    return Outcome(name, seed, {}, DIVERGED if diverged else COMPLETED, 1.0, 0.0,
                   metrics={"test/loss": float("nan")} if diverged else metrics,
                   history={} if curve is None else {"test/loss": curve})


def stated(declared, home):
    """Enter the claims as a run does before its first trial."""
    store = Store(declared.name, str(home))
    Register(store, [declared.cell_key(c) for c in declared.space.cells]).state(
        {claim_digest(c): str(c) for c in declared.claims}, stored=False)
    return store


def fill(declared, home, truth):
    """Results of an untuned study; ``truth(labels, seed)``: what a final trial returns."""
    store = stated(declared, home)
    rows = [outcome(key(cell.digest, seed), seed, truth(declared.space.labels(cell), seed))
            for cell in declared.space.cells for seed in declared.seed_list]
    store.commit([to_records(rows, {})], pa.Table.from_pylist([], MEMBERSHIP))
    return Results.of(declared, str(home))


def search(declared, home, truth):
    """Results of a tuned study, asked, checked again and chosen by ``dlx.protocol.Tuning``.

    ``truth(labels, params, seed, phase, search)``: what a trial returns.
    """
    store, rows, members = stated(declared, home), [], []
    for cell in declared.space.cells:
        labels = declared.space.labels(cell)
        for repeat in range(declared.search.repeats):
            tuning = Tuning(declared, cell, repeat, {})
            wanted = tuning.begin()
            while wanted:
                told = []
                for w in wanted:
                    found = truth(labels, w.params, w.seed, w.slot.phase, repeat)
                    name = f"{w.slot.cell[:12]}{w.slot.phase}{repeat}-{w.slot.ask}-{w.seed}"
                    rows.append(outcome(name, w.seed, found))
                    members.append({"key": name, "seed": w.seed, **w.slot._asdict()})
                    told.append((w.slot, rows[-1].status, rows[-1].metrics.get("val/loss")))
                wanted = [more for one in told for more in tuning.tell(*one)]
    store.commit([to_records(rows, {})], pa.Table.from_pylist(members, MEMBERSHIP))
    return Results.of(declared, str(home))


def finals(declared, home, values):
    """Results of a tuned study whose searches are over: values (cells, searches, seeds) of test/loss."""
    store, rows, members = stated(declared, home), [], []
    for cell, of_cell in zip(declared.space.cells, values.tolist(), strict=True):
        name = declared.cell_key(cell)
        for search, of_search in enumerate(of_cell):
            for seed, value in zip(declared.seed_list, of_search, strict=True):
                seed += FINALS_OF_A_SEARCH * search
                rows.append(outcome(f"{name[:16]}{seed}", seed, {"test/loss": value}))
                members.append({"key": rows[-1].key, "seed": seed, "cell": name, "phase": FINAL, "search": search})
    store.commit([to_records(rows, {})], pa.Table.from_pylist(members, MEMBERSHIP))
    return Results.of(declared, str(home))


def noise(*place):
    """A standard normal number for a place."""
    return np.random.default_rng(zlib.crc32(json.dumps(place).encode())).normal()
