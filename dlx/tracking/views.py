"""Saved views of MLflow's page of runs: which runs, columns, order and charts; experiment tags that its UI reads.

A view is a tag ``mlflow.sharedViewState.<id>`` with the state of the page as MLflow 3.17 saves it, offered in the menu
"Views" and opened by ``?viewStateShareKey=<id>``.
"""

import base64
import json
import re
import urllib.parse
import zlib
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Any

from dlx.records import COMPLETED, FINAL
from dlx.tracking.client import name_of
from dlx.tuning import Objective, ranked

PREFIX = "mlflow.sharedViewState."
CELLS, CURVES, FINALS, TRIALS, TROUBLE = "dlx-cells", "dlx-curves", "dlx-finals", "dlx-trials", "dlx-trouble"
MOST = 12  # metrics that get columns and charts
MOST_FOLDED = 200  # cells whose trials are shown folded
LONGEST = 20_000  # characters of an experiment's tag
TRAINING = "workflowType=machine_learning"  # and not the pages for language models
MEANS, BOUNDS = "Means of cells", "The same with 95 % intervals, dashed below and dotted above"
NAME, NAME_WIDTH = "attributes.`Run Name`", 380  # pixels
COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#56B4E9", "#E69F00", "#000000")  # Okabe and Ito 2008


@dataclass(frozen=True)
class Layout:
    """What matters in a study's experiment.

    cells: their keys as declared; axes: of the cells; nuisance: axes that are tuned; metrics: as far as they are known.
    """

    cells: Sequence[str] = ()
    axes: Sequence[str] = ()
    nuisance: Sequence[str] = ()
    metrics: Sequence[str] = ()
    objective: Objective | None = None

    @property
    def ranked(self) -> list[str]:
        """The metrics as ``dlx.tuning.ranked`` has them, the objective among them."""
        return ranked({*self.metrics, *([self.objective.metric] if self.objective else [])}, self.objective)


def cells_filter() -> str:
    """The search that shows one run a cell."""
    return "tags.`dlx.kind` = 'cell'"


def link(experiment: str, view: str = CELLS) -> str:
    """The page of an experiment in MLflow's UI as one of its views shows it, to be put behind the server's address."""
    mode = "&compareRunsMode=CHART" if view == CURVES else ""
    return f"#/experiments/{experiment}/runs?viewStateShareKey={view}{mode}&{TRAINING}"


def link_without_views(experiment: str) -> str:
    """The same of an experiment that has no views, filtered to its cells."""
    query = urllib.parse.quote(cells_filter(), safe="")
    return f"#/experiments/{experiment}/runs?searchFilter={query}&{TRAINING}"


def artifact(experiment: str, run: str, name: str) -> str:
    """The page of a run's artifact, likewise."""
    return f"#/experiments/{experiment}/runs/{run}/artifacts/{urllib.parse.quote(name)}?{TRAINING}"


def views(layout: Layout, cells: Sequence[str] = (), curves: Collection[str] | None = None) -> dict[str, str]:
    """The experiment's tags.

    cells: their names, of which trials are shown folded; curves: metrics that are logged against steps, None: all.
    """
    metrics = layout.ranked[:MOST]
    drawn = metrics if curves is None else [m for m in metrics if m in curves]
    axes = [_param(axis) for axis in layout.axes]
    tuned = [_param(p) for p in dict.fromkeys(re.sub(r"\[[^\]]*\]", "", axis) for axis in layout.nuisance)]
    values = [_metric(m) for m in metrics]
    bounds = [_metric(f"{metrics[0]}{end}") for end in ("_low", "_high")] if metrics else []
    better = layout.objective is not None and layout.objective.sign > 0
    best = (values[0], better) if layout.objective and values else None
    tuning = (_metric(layout.objective.metric), better) if layout.objective else None
    declared, filed = ("tags.`dlx.row`", True), [f"tags.`dlx.{name}`" for name in ("phase", "search", "seed")]
    trial, status = "tags.`dlx.kind` = 'trial'", "tags.`dlx.status`"
    found = {
        CELLS: ("1 Cells", _state(cells_filter(), [*axes, *values[:1], *bounds, *values[1:], _metric("n")],
                                  best or declared) | _charts(metrics, drawn)),
        CURVES: ("2 Mean curves (charts)", _state(cells_filter(), axes, declared) | _charts(drawn or metrics, drawn)),
        FINALS: ("3 Final trials by cell",
                 _state(f"{trial} AND tags.`dlx.phase` = '{FINAL}'", values, best) | _grouped(cells)),
        TRIALS: ("4 All trials", _state(trial, [*values[:4], *axes, *tuned, *filed], tuning)),
        TROUBLE: ("5 Failed, diverged, stopped", _state(
            f"{trial} AND {status} != '{COMPLETED}' AND {status} != 'running'",
            [status, "tags.`dlx.error`", *axes, *tuned, *filed])),
    }
    tags = {f"{PREFIX}{view}": _envelope(name, state) for view, (name, state) in found.items()}
    return {name: value for name, value in tags.items() if len(value) <= LONGEST}


def _metric(name: str) -> str:
    return f"metrics.`{name_of(name)}`"


def _param(name: str) -> str:
    return f"params.`{name_of(name)}`"


def _state(query: str, columns: Sequence[str], order: tuple[str, bool] | None = None) -> dict[str, Any]:
    """What the page of runs keeps of itself; ``order``: a column, and whether the smallest comes first."""
    key, ascending = order or ("attributes.start_time", False)
    return {
        "searchFilter": query, "orderByKey": key, "orderByAsc": ascending, "startTime": "ALL",
        "lifecycleFilter": "Active", "datasetsFilter": [], "modelVersionFilter": "All Runs",
        "selectedColumns": list(columns), "columnOrder": [NAME, *columns], "columnWidths": {NAME: NAME_WIDTH},
        "runsHiddenMode": "SHOW_ALL", "hideEmptyCharts": True, "useGroupedValuesInCharts": True, "groupBy": None,
    }


def _grouped(cells: Sequence[str]) -> dict[str, Any]:
    keys = [{"mode": "tag", "groupByData": "dlx.cell"}]
    return {"groupBy": {"aggregateFunction": "average", "groupByKeys": keys},
            "groupsExpanded": {f"tag.dlx.cell.{cell}": False for cell in cells[:MOST_FOLDED]}}


def _charts(metrics: Sequence[str], curves: Collection[str]) -> dict[str, Any]:
    """Charts of means, then those with their bounds; MLflow's own charts of the bounds and of ``n`` are left out."""
    cards = [_card(m, MEANS, [m] if m in curves else []) for m in metrics]
    cards += [_card(m, BOUNDS, [m, f"{m}_low", f"{m}_high"]) for m in metrics if m in curves]
    own = [name for m in metrics for name in (f"{m}_low", f"{m}_high")]
    cards += [_card(name, MEANS, [name]) | {"deleted": True, "isGenerated": True} for name in (*own, "n")]
    sections = [{"uuid": name, "name": name, "display": True, "isReordered": True, "deleted": False,
                 "isGenerated": False} for name in ((MEANS, BOUNDS) if curves else (MEANS,))]
    return {"compareRunCharts": cards, "compareRunSections": sections, "isAccordionReordered": True}


def _card(metric: str, section: str, curves: Sequence[str]) -> dict[str, Any]:
    """A chart: curves over steps, or a bar a run where there are none."""
    card = {"uuid": f"{section} {metric}", "metricSectionId": section, "metricKey": name_of(metric),
            "deleted": False, "isGenerated": False, "runsCountToCompare": 100}
    if not curves:
        return {**card, "type": "BAR", "displayName": metric}
    return {
        **card, "type": "LINE", "displayName": metric, "selectedMetricKeys": list(map(name_of, curves)), "range": {},
        "lineSmoothness": 0, "xAxisScaleType": "linear", "scaleType": "linear", "xAxisKey": "step",
        "selectedXAxisMetricKey": "",
        "displayPoints": False, "yAxisKey": "metric", "yAxisExpressions": [], "ignoreOutliers": False,
        "useGlobalXaxisKey": False, "useGlobalLineSmoothing": True,
    }


def _envelope(name: str, state: dict[str, Any]) -> str:
    packed = base64.b64encode(zlib.compress(json.dumps(state, separators=(",", ":")).encode())).decode()
    return json.dumps({"name": name, "createdAt": 0, "updatedAt": 0, "state": f"deflate;{packed}"})
