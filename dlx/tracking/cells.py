"""One MLflow run a cell: mean curves and 95 % t-intervals over its final trials."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from dlx.records import COMPLETED, DIVERGED
from dlx.stats import clustered, means
from dlx.tracking.client import Point, Run
from dlx.tracking.rows import Curves, describe_cell, milliseconds, thin
from dlx.tracking.views import COLOURS


class Final(NamedTuple):
    """One final trial of a cell: its row, its curves, the search that chose it."""

    row: Mapping[str, Any]
    curves: Curves
    search: int


def cell_run(
    cell: str, labels: Mapping[str, Any], trials: Sequence[Final], digest: str, place: int | None = None
) -> Run:
    """The run of a cell, of its final trials; finite values are averaged, and of how many is the metric ``n``.

    place: among the declared cells, by which they are sorted and the first few coloured.
    """
    ran = [t for t in trials if t.row["status"] in (COMPLETED, DIVERGED)]
    started = min(milliseconds(t.row) for t in trials)
    ended = max(milliseconds(t.row) + round(t.row["seconds"] * 1000) for t in trials)
    statuses = [t.row["status"] for t in trials]
    name = describe_cell(labels)
    tags = {"kind": "cell", "cell": name or cell, "cell_key": cell, "digest": digest}
    if place is not None:
        tags["row"] = f"{place:07}"
    tags |= {f"n_{status}": str(statuses.count(status)) for status in sorted(set(statuses))}
    points = [p for metric in _metrics(ran) for p in _metric_points(metric, ran, started, ended)]
    return Run(name=name or "all", tags=tags, status="FINISHED" if ran else "FAILED", started=started, ended=ended,
               params=labels, points=[*points, Point("n", float(len(ran)), 0, ended)],
               colour=COLOURS[place] if place is not None and place < len(COLOURS) else "")


def _metrics(trials: Sequence[Final]) -> list[str]:
    return list(dict.fromkeys(m for t in trials for m in (*t.curves, *dict(t.row["metrics"] or []))))


def _metric_points(metric: str, trials: Sequence[Final], started: int, ended: int) -> Iterator[Point]:
    """The mean curve, then the final mean, later in time so that MLflow shows it as the latest."""
    measured = [(dict(zip(*t.curves[metric], strict=True)), t.search) for t in trials if metric in t.curves]
    steps = sorted(set.intersection(*(set(c) for c, _ in measured))) if measured else []
    values = np.array([[c[s] for c, _ in measured] for s in steps])
    for name, column in _bounds(metric, values, [search for _, search in measured]).items():
        yield from (Point(name, v, s, started) for s, v in thin(steps, column) if np.isfinite(v))
    last = max((s for c, _ in measured for s in c), default=0)
    final = [(m[metric], t.search) for t in trials if metric in (m := dict(t.row["metrics"] or []))]
    values = np.array([[v for v, _ in final]])
    for name, column in _bounds(metric, values, [search for _, search in final]).items():
        yield from (Point(name, v, last, ended) for v in column if np.isfinite(v))


def _bounds(metric: str, values: NDArray[np.float64], searches: Sequence[int]) -> dict[str, list[float]]:
    """Columns of the mean over trials and of its bounds; ``values``: (steps, trials); searches: of the trials."""
    if not values.size:
        return {}
    groups = np.repeat(np.arange(len(values)), values.shape[1])
    if len(set(searches)) > 1:
        found = clustered(values.ravel(), groups, np.tile(np.array(searches), len(values)), len(values))
    else:
        found = means(values.ravel(), groups, len(values))
    return {
        metric: found.mean.tolist(),
        f"{metric}_low": (found.mean - found.half_width).tolist(),
        f"{metric}_high": (found.mean + found.half_width).tolist(),
    }
