"""Stored trials run again, each alone and from its first step, by an executor; nothing is written into the home."""

import dataclasses
import sys
from collections import deque
from collections.abc import Mapping, Sequence
from typing import Any

from dlx import checkpoint
from dlx.errors import DlxError
from dlx.kept import cells_of, trial_of
from dlx.pack import Executor, Member, Pack, Resources
from dlx.partials import Partial
from dlx.provenance import source_digest
from dlx.records import Records
from dlx.store import Store
from dlx.study import Study
from dlx.trial import Trial, trial_key


@dataclasses.dataclass(frozen=True)
class Again:
    """What came of a trial's second run; ``records``: None where it did not end, and ``reason`` says why.

    ``labels``: axis → value of its cell; ``trial``: None where today's declaration has no such setting; ``died``:
    whether it took its worker down.
    """

    labels: Mapping[str, Any]
    trial: Trial | None
    records: Records | None = None
    reason: str = ""
    died: bool = False


def run_again(
    study: Study, store: Store, rows: Sequence[Mapping[str, Any]], executor: Executor | None = None
) -> dict[str, Again]:
    """Key → what came of it, for rows with ``key``, ``cell`` and ``seed``; executor: None: this process."""
    filed, cells = store.membership(), cells_of(study, [row["cell"] for row in rows])
    trials = {r["key"]: trial_of(study, cells[r["cell"]], filed, r["key"], r["seed"]) for r in rows}
    packs = {r["key"]: _pack(study, store, trials[r["key"]], r["key"], r["seed"]) for r in rows}
    queue = _Queue([pack for pack in packs.values() if pack is not None])
    (executor or _here()).run(queue)
    found = {}
    for row in rows:
        key, pack = row["key"], packs[row["key"]]
        labels, trial = study.space.labels(cells[row["cell"]]), trials[key]
        if pack is None:
            missing = "today's declaration has no such setting" if trial is None else "its parent left no checkpoint"
            found[key] = Again(labels, trial, reason=missing)
        else:
            alias = pack.members[0].key
            died = queue.reasons.get(alias)
            found[key] = Again(labels, trial, queue.records.get(alias), died or "it was not run", died is not None)
    return found


def _here() -> Executor:
    from dlx.executors.local import Local

    return Local()


def _pack(study: Study, store: Store, trial: Trial | None, key: str, seed: int) -> Pack | None:
    """The trial alone, under a key of its own, so that no state of the stored one is found, changed or removed."""
    if trial is None:
        return None
    parent = getattr(trial, "parent", None)
    start = trial_key(parent, seed) if isinstance(parent, Trial) else None
    if start is not None and not checkpoint.exists(store.folder, start):
        return None
    member = Member(f"again-{key}", trial, seed, parent=start)
    return Pack((member,), study.resources_of(trial), store.folder, source_digest(trial), whole=True)


class _Queue:
    """A feed of packs that each run once; what came back lies in memory."""

    def __init__(self, packs: Sequence[Pack]) -> None:
        self._packs, self._running = deque(packs), 0
        self.records: dict[str, Records] = {}
        self.reasons: dict[str, str] = {}  # of packs that took their worker down

    def take(self, resources: Resources | None = None) -> Pack | None:
        pack = next((p for p in self._packs if resources is None or p.resources == resources), None)
        if pack is not None:
            self._packs.remove(pack)
            self._running += 1
        return pack

    def done(self, pack: Pack, records: Records) -> None:
        self._running -= 1
        self.records[pack.members[0].key] = records

    def partial(self, pack: Pack, partial: Partial) -> None:
        """Only whole trials count."""

    def lost(self, pack: Pack, reason: str) -> None:
        self._running -= 1
        self.reasons[pack.members[0].key] = reason

    def astray(self, pack: Pack, reason: str) -> None:
        self.lost(pack, reason)

    def give_back(self, pack: Pack) -> None:
        self._running -= 1
        self._packs.appendleft(pack)

    def refuse(self, pack: Pack, error: DlxError) -> None:
        raise error

    def say(self, line: str) -> None:
        print(line, file=sys.stderr)

    @property
    def finished(self) -> bool:
        return not self._packs and not self._running

    @property
    def waiting(self) -> int:
        return len(self._packs)

    def waiting_for(self, resources: Resources) -> int:
        return sum(pack.resources == resources for pack in self._packs)

    def tick(self) -> None:
        """Nothing is due."""
