"""Runs of trials that still run: a few, whose curves grow until the run of the stored trial takes their place."""

import hashlib
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

from dlx.records import now
from dlx.tracking.client import Experiment, Point, Run, refused
from dlx.tracking.rows import Labels, Slot, describe_cell, name_of_trial

if TYPE_CHECKING:
    from dlx.protocol import Slot as Place

RUNNING = "running"  # the tag ``dlx.status`` of a run that grows
MOST = 64  # runs that grow at a time
SPARSE = 15  # a point is sent when a 15th of the steps so far went by since the last: 190 points of 10⁶ steps
LONGEST = 5_000  # points of a trial that wait to be sent

Points = Sequence[tuple[str, int, float]]  # metric, step, value


class Growing(NamedTuple):
    """What is new of a trial that still runs; ``values``: flat path → scalar; ``started``: seconds since the epoch."""

    key: str
    seed: int
    values: Mapping[str, Any]
    place: "Place"
    started: float
    points: Points

    def with_more(self, points: Points) -> "Growing":
        """The same with later points as well, the latest of all of them where they are many."""
        return self._replace(points=[*self.points, *points][-LONGEST:])


class Nursery:
    """The growing runs of one driver; ``home``: of its store, by which those of a killed one are known."""

    def __init__(self, home: str, labels: Labels) -> None:
        self.home = hashlib.blake2b(home.encode(), digest_size=8).hexdigest()
        self._labels = labels
        self._ids: dict[str, str] = {}  # key → run
        self.doubtful = False  # MLflow may hold a run that is not known here
        self._last: dict[tuple[str, str], int] = {}  # key and metric → the last step that was sent

    def __len__(self) -> int:
        return len(self._ids)

    @property
    def keys(self) -> list[str]:
        """Those of the trials."""
        return list(self._ids)

    def __contains__(self, key: str) -> bool:
        return key in self._ids

    def grow(self, experiment: Experiment, new: Growing) -> None:
        """Begin the run of a trial, or add points to it; one that MLflow does not take is let be."""
        points = self._due(new)
        try:
            if new.key not in self._ids:
                self._ids[new.key] = experiment.begin(self._run(new, points))
            elif points:
                experiment.log(self._ids[new.key], points)
        except Exception as e:
            self.doubtful = True
            self.forget(new.key)
            if not refused(e):
                raise
            return
        self._last |= {(new.key, p.metric): p.step for p in points}

    def end(self, experiment: Experiment, key: str) -> None:
        """Remove the run of a trial that runs no more."""
        if key in self._ids:
            experiment.delete(self._ids[key])
            self.forget(key)

    def forget(self, key: str) -> None:
        """The run of a key is no more."""
        self._ids.pop(key, None)
        self._last = {k: step for k, step in self._last.items() if k[0] != key}

    def _due(self, new: Growing) -> list[Point]:
        """The points that are far enough apart."""
        found, time = [], round(now() * 1000)
        last = {metric: step for (key, metric), step in self._last.items() if key == new.key}
        for metric, step, value in new.points:
            before = last.get(metric)
            if before is None or step - before >= max(1, before / SPARSE):
                found.append(Point(metric, value, step, time))
                last[metric] = step
        return found

    def _run(self, new: Growing, points: Sequence[Point]) -> Run:
        place, labels, started = new.place, self._labels(new.place.cell), round(new.started * 1000)
        tags = {
            "kind": "trial", "key": new.key, "seed": str(new.seed), "status": RUNNING, "home": self.home,
            "cell": describe_cell(labels) or place.cell, "cell_key": place.cell, "phase": place.phase,
            "search": "" if place.search is None else str(place.search),
        }
        slot = Slot(place.cell, place.phase, place.search, place.params)
        return Run(name=name_of_trial(slot, new.seed, labels), tags={n: v for n, v in tags.items() if v},
                   status="RUNNING", started=started, ended=started, params=new.values, points=points)
