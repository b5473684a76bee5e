"""How one search tunes one cell: asks, the best few checked on further seeds, the choice run on fresh ones."""

import json
import math
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

from dlx.records import COMPLETED, FINAL, RECHECK, TUNE
from dlx.search import RUNNING, Told, ask
from dlx.space import Cell
from dlx.study import Study
from dlx.tuning import FINALS_OF_A_SEARCH, TUNING_SEEDS

SEEDS_OF_A_SEARCH = 1_000  # apart, so that the seeds of two searches of a cell differ


class Slot(NamedTuple):
    """What a row is wanted for: a place in the membership table, beside its key and seed."""

    cell: str
    phase: str
    search: int | None = None
    ask: int | None = None
    params: str | None = None  # JSON


class Wanted(NamedTuple):
    """Nuisance values of a cell at a seed, and what for."""

    cell: Cell
    params: Mapping[str, Any] | None
    seed: int
    slot: Slot


def seed_of(search: int, recheck: int = 0) -> int:
    """The seed of all asks of a search (``recheck=0``), or of its n-th check."""
    return TUNING_SEEDS + SEEDS_OF_A_SEARCH * search + recheck


class Tuning:
    """One of the independent searches of a cell: says what it wants next, is told what became of it.

    ``asked``: nuisance values of asks that an earlier run made, by their number. ``replay``: ask nothing else.
    """

    def __init__(
        self, study: Study, cell: Cell, repeat: int, asked: Mapping[int, Mapping[str, Any]], replay: bool = False
    ) -> None:
        assert study.search is not None and study.objective is not None
        self.study, self.cell, self.repeat = study, cell, repeat
        self.search, self.objective = study.search, study.objective
        self.asked, self.replay = asked, replay
        self.name = study.cell_key(cell)
        self.told: list[Told] = []
        self.scores: dict[int, list[float]] = {}  # ask → values of the chosen few over seeds
        self.choice: int | None = None
        self.finished = False
        self._open = 0

    def begin(self) -> list[Wanted]:
        """The first asks."""
        return self._opened(self._generation())

    def tell(self, slot: Slot, status: str, value: float | None) -> list[Wanted]:
        """Take in how a wanted trial ended (``value``: its objective); what is wanted next, empty while others run."""
        assert slot.ask is not None
        if slot.phase == TUNE:
            self.told[slot.ask] = Told(self.told[slot.ask].params, status, value)
        elif slot.phase == RECHECK:
            self.scores[slot.ask].append(self._score(status, value))
        self._open -= 1
        return [] if self._open else self._opened(self._next())

    def ahead(self) -> Iterator[tuple[str, int]]:
        """Phase and seed of the trials that may still be wanted, at most, beside those that it said it wants."""
        top = min(self.search.top, self.search.trials)
        if not self.scores and not self.finished:
            yield from [(TUNE, seed_of(self.repeat))] * (self.search.trials - len(self.told))
            checks = self.search.recheck if top > 1 else 0
            yield from ((RECHECK, seed_of(self.repeat, n + 1)) for n in range(checks) for _ in range(top))
        if self.choice is None and not self.finished:
            yield from ((FINAL, seed) for seed in self._final_seeds())

    def _opened(self, wanted: list[Wanted]) -> list[Wanted]:
        self._open = len(wanted)
        return wanted

    def _next(self) -> list[Wanted]:
        if len(self.told) < self.search.trials:
            return self._generation()
        if self.choice is not None:
            self.finished = True
            return []
        if not self.scores:
            self.scores = {i: [self._score(self.told[i].status, self.told[i].value)] for i in self._best()}
            if len(self.scores) > 1 and self.search.recheck:
                return [
                    self._wanted(RECHECK, i, seed_of(self.repeat, n + 1))
                    for i in self.scores for n in range(self.search.recheck)
                ]
        if not self.scores:
            self.finished = True  # no ask of this search ended well: there is nothing to choose
            return []
        self.choice = min(self.scores, key=lambda i: (sum(self.scores[i]) / len(self.scores[i]), i))
        return [self._wanted(FINAL, self.choice, seed) for seed in self._final_seeds()]

    def _generation(self) -> list[Wanted]:
        """Asks made together; what an earlier run asked is not asked again."""
        start = len(self.told)
        for i in range(start, min(start + self.search.parallel, self.search.trials)):
            params = self.asked.get(i)
            if params is None:
                if self.replay:
                    break
                params = ask(self.search, self.objective, self.name, self.repeat, i, self.told, self._define)
            self.told.append(Told(params, RUNNING))
        return [self._wanted(TUNE, i, seed_of(self.repeat)) for i in range(start, len(self.told))]

    def _final_seeds(self) -> list[int]:
        return [seed + FINALS_OF_A_SEARCH * self.repeat for seed in self.study.seed_list]

    def _define(self, suggest: Any) -> dict[str, Any]:
        return self.study.space.ask(self.cell, suggest)

    def _wanted(self, phase: str, i: int, seed: int) -> Wanted:
        params = self.told[i].params
        return Wanted(self.cell, params, seed, Slot(self.name, phase, self.repeat, i, json.dumps(dict(params))))

    def _best(self) -> Sequence[int]:
        """The asks that ended well with the smallest scores, best first, none with equal values."""
        ended = [i for i, t in enumerate(self.told) if t.status == COMPLETED and t.value is not None]
        distinct = {json.dumps(dict(self.told[i].params)): i for i in reversed(ended)}
        ranked = sorted(distinct.values(), key=lambda i: (self._score(COMPLETED, self.told[i].value), i))
        return ranked[: self.search.top]

    def _score(self, status: str, value: float | None) -> float:
        """The objective, smaller is better; infinite for what did not end well."""
        return self.objective.sign * value if status == COMPLETED and value is not None else math.inf
