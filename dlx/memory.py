"""What earlier runs left: how trials ended, what each row is filed under, what searches asked."""

import json
import sys
import typing
from collections.abc import Collection, Mapping
from functools import cached_property
from typing import Any

from dlx.errors import DeclarationError
from dlx.nodes import DerivedValue
from dlx.protocol import Slot, Wanted
from dlx.records import FAILED, FINAL, PARENT, PRUNED, RECHECK, TUNE
from dlx.study import Study
from dlx.trial import digest, trial_key

if typing.TYPE_CHECKING:
    from dlx.store import Store

Result = tuple[str, float | None]  # a status, and the objective where the trial returned it


class Memory:
    """The store as planning and running look at it; with ``retry_failed`` failures count as missing."""

    def __init__(self, study: Study, store: "Store", retry_failed: bool = False) -> None:
        self.study, self.store = study, store
        self.statuses = store.statuses()
        if retry_failed:
            self.statuses = {k: s for k, s in self.statuses.items() if s != FAILED}
        self.parents: dict[str, set[tuple[str, int]]] = {}  # cell → key and seed of its parents
        self._metric = study.objective.metric if study.objective else None
        self._keys: dict[tuple[Slot, int], str] = {}
        self._asked: dict[tuple[str, int], dict[int, Mapping[str, Any]]] = {}
        self._results: dict[str, Result] = {}
        self._read_all = False
        self._prunes = study.scheduler is not None or (study.search is not None and study.search.prune is not None)
        self._certain = not any(isinstance(node, DerivedValue) for node in study.space.root.walk())
        self._read_membership()

    def _read_membership(self) -> None:
        table = self.store.membership()
        names = ("key", "seed", "cell", "phase", "search", "ask", "params")
        for identity, seed, *slot in zip(*(table.column(n).to_pylist() for n in names), strict=True):
            cell, phase, search, ask, params = slot
            if phase == PARENT:
                self.parents.setdefault(cell, set()).add((identity, seed))
                continue
            self._keys[Slot(*slot), seed] = identity
            if phase == TUNE:
                self._asked.setdefault((cell, search), {})[ask] = json.loads(params)

    # ------------------------------------------------------------ is it stored?

    def stored(self, identity: str) -> str | None:
        """The key under which a trial is stored: its own, or that of what was stopped early; None: missing."""
        if identity in self.statuses:
            return identity
        if self._prunes and (pruned := self.pruned_key(identity)) in self.statuses:
            return pruned
        return None

    def look_up(self, wanted: Wanted) -> str | None:
        """The key under which the trial for a slot of a search is stored, None: missing."""
        if (filed := self.known(wanted)) is not None:
            return filed
        return self.stored(trial_key(self.study.space.trial(wanted.cell, wanted.params), wanted.seed))

    def known(self, wanted: Wanted) -> str | None:
        """The same where the membership table says it, without making the trial; None: it does not."""
        filed = self._keys.get((wanted.slot, wanted.seed))
        if self._certain and filed is not None and self.statuses.get(filed, PRUNED) != PRUNED:
            return filed  # the values are those of the slot, and nothing else enters the key
        return None

    def filed(self, slot: Slot, seed: int) -> str | None:
        """The key that the membership table has in a slot."""
        return self._keys.get((slot, seed))

    def pruned_key(self, identity: str) -> str:
        """The key of a trial that was stopped early, which depends on scheduler and search as well."""
        return digest(f"{identity}\0{self._protocol}".encode()).hex()

    @cached_property
    def _protocol(self) -> str:
        search = self.study.search.identity() if self.study.search else ""
        return json.dumps(_said(self.study.scheduler), sort_keys=True) + f"\0{search}"

    # ------------------------------------------------------------ what searches know

    def asked(self, cell: str, search: int) -> Mapping[int, Mapping[str, Any]]:
        """Nuisance values by the number of the ask."""
        return self._asked.get((cell, search), {})

    def result(self, phase: str, identity: str) -> Result:
        """How a stored trial ended, as a search is told of it; of final ones the objective is not read."""
        if phase == FINAL:
            return self.statuses[identity], None
        if identity not in self._results and not self._read_all:
            keys = {k for (slot, _), k in self._keys.items() if slot.phase in (TUNE, RECHECK)}
            self._results, self._read_all = self._read(keys) | self._results, True
        if identity not in self._results:
            self._results |= self._read({identity})
        if identity not in self._results:
            raise DeclarationError(f"The trial {identity} was removed from the store while it was read; run again.")
        return self._results[identity]

    def _read(self, keys: Collection[str]) -> dict[str, Result]:
        table = self.store.trials(keys, columns=["key", "status", "metrics"])
        columns = (table.column(n).to_pylist() for n in ("key", "status", "metrics"))
        return {k: (s, dict(m or ()).get(self._metric)) for k, s, m in zip(*columns, strict=True)}

    def remember(self, identity: str, status: str, metrics: Mapping[str, float]) -> None:
        """Keep how a trial of this run ended."""
        identity, status = sys.intern(identity), sys.intern(status)
        self.statuses[identity] = status
        if self._metric is not None:
            self._results[identity] = status, metrics.get(self._metric)


def _said(value: Any, depth: int = 6) -> Any:
    """What an object holds, as JSON: its scalars, and those of what it holds in turn (the rungs of a scheduler)."""
    if value is None or isinstance(value, bool | int | float | str):
        return value
    if isinstance(value, list | tuple):
        return [_said(v, depth - 1) for v in value] if depth else []
    held = value if isinstance(value, dict) else getattr(value, "__dict__", {})
    inner = {str(n): _said(v, depth - 1) for n, v in held.items()} if depth else {}
    return [type(value).__name__, inner]
