"""What the views of a run are shown: counts of what ended, and how far what runs is."""

import heapq
import time
from collections import Counter
from collections.abc import Iterable, Mapping

from dlx.live import Progress, Running, View
from dlx.partials import Curves, Partial
from dlx.records import DIVERGED, FAILED
from dlx.study import Study

MOST_PACKS = 5  # that are shown, those that have run longest
MOST_REASONS = 3  # why trials failed, the most frequent first
DIFFERENT = 100  # reasons that are counted
PAUSE = 0.5  # seconds between two looks at all packs


class Monitor:
    """Keeps the progress of a run up to date and shows it to a view."""

    def __init__(self, study: Study, view: View) -> None:
        self.study, self.view = study, view
        self.progress = Progress(cells=len(study.space.cells))
        self._best: float | None = None  # value of the objective so far
        self._began = time.monotonic()
        self._looked = 0.0
        self._reasons: Counter[str] = Counter()

    def ended(self, status: str) -> None:
        """A trial ended."""
        self.progress.done += 1
        self.progress.failed += status == FAILED
        self.progress.diverged += status == DIVERGED

    def failed(self, error: str | None) -> None:
        """Why a trial failed: its traceback."""
        reason = ((error or "").strip().splitlines() or ["no reason is known"])[-1]
        if reason in self._reasons or len(self._reasons) < DIFFERENT:
            self._reasons[reason] += 1
            self.progress.failures = tuple(f"{n:,} × {r}" for r, n in self._reasons.most_common(MOST_REASONS))

    def completed(self, metrics: Mapping[str, float]) -> str | None:
        """What a trial returned; a sentence when it is the first and the objective is not among it."""
        if (objective := self.study.objective) is None:
            return None
        if (value := metrics.get(objective.metric)) is None:
            return None if self._best is not None else (
                f"objective is {objective.metric!r}, which the first trial did not return; correct the name: "
                f"it returned {', '.join(sorted(metrics)) or 'nothing'}."
            )
        if self._best is None or objective.sign * value < objective.sign * self._best:
            self._best = value
            self.progress.best = f"{objective.metric} {value:.4g}"
        return None

    def show(self, cells_done: int, running: int, packs: Iterable[tuple[int, float, Partial | None]]) -> None:
        """Show how far the run is.

        running: trials; packs: of each how many trials it has, when it began, how far it is, looked at now and then.
        """
        p, now = self.progress, time.monotonic()
        p.seconds, p.cells_done = now - self._began, cells_done
        p.running = running
        p.rate = p.done / p.seconds if p.seconds else 0.0
        left = p.wanted - p.stored - p.done
        p.seconds_left = left / p.rate if p.rate and left else None
        if not running or now - self._looked >= PAUSE:
            self._looked = now
            p.packs = tuple(self._packs(packs, now))
        self.view.update(p)

    def _packs(self, running: Iterable[tuple[int, float, Partial | None]], now: float) -> Iterable[Running]:
        far = ((trials, began, partial) for trials, began, partial in running if partial is not None)
        for trials, began, partial in heapq.nsmallest(MOST_PACKS, far, key=lambda one: one[1]):
            yield Running(trials, now - began, partial.step, partial.steps or 0, self._latest(partial))

    def _latest(self, partial: Partial) -> str:
        """The last value of the objective, or of what was logged first, of the first member."""
        curves: Curves = next(iter(partial.curves.values()), {})
        objective = self.study.objective
        metric = objective.metric if objective and objective.metric in curves else next(iter(curves), None)
        return "" if metric is None else f"{metric} {curves[metric][1][-1]:.4g}"
