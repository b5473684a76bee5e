"""Importance: bars of what share of a metric's variance each axis accounts for."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from dlx.errors import DlxError
from dlx.figures import lookup
from dlx.figures.style import COLOURS, GREY, canvas, finish, house_style, shown

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from dlx.analysis.importance import Share
    from dlx.results import Results

MOST_BARS = 12
BAR, PANEL = 0.27, 0.75  # inches of a bar, and of a panel beside its bars


@dataclass(frozen=True)
class Importance:
    """Shares of a metric's variance by scientific axis and pair of axes, and of the search's outcome by nuisance axis.

    metric: by name, the first of the results where left out; see ``dlx.analysis.importance``. title; name: of files;
    where: cells, as in ``Results.where``.
    """

    metric: str | None = None
    name: str = "importance"
    title: str = ""
    where: Mapping[str, Any] | None = None

    def __call__(self, results: "Results") -> "Figure":
        """The figure; raises DlxError where there is nothing to share out, DeclarationError for a metric."""
        from dlx.analysis.importance import axes_importance, nuisance_importance

        results = results.where(self.where or {})
        metric = lookup.metric(self.name, results, self.metric)
        shares = axes_importance(results, metric)
        arms = nuisance_importance(results)
        if not shares and not arms:
            raise DlxError(f"The figure {self.name} has nothing to show: no axis varies among the trials that ran, or "
                           "there are no two seeds.")
        named = [*shares[:MOST_BARS], *(s for s in shares[MOST_BARS:] if not s.axes)]
        sizes = [len(named)] * bool(named) + [len(arm) for arm in arms.values()]
        with house_style():
            figure = canvas(0.5 + sum(PANEL + BAR * size for size in sizes))
            grid = figure.subplots(len(sizes), squeeze=False, sharex=True,
                                   gridspec_kw={"height_ratios": [PANEL / 2 + BAR * size for size in sizes]})
            places = list(grid[:, 0])
            if named:
                self._axes(places.pop(0), metric, named)
            for axes, (arm, found) in zip(places, arms.items(), strict=True):
                _bars(axes, [shown(name) for name in found], list(found.values()), [COLOURS[2]] * len(found))
                axes.set_title(f"tuning: {shown(arm)}", fontsize=9.5)
            grid[-1, 0].set_xlabel("share (%)")
            known = any(share.low is not None for share in named)
            lines = "; lines: 95 % jackknife intervals" if known else ""
            tuning = " Tuning: what sets the best asks apart (PED-ANOVA)." if arms else ""
            finish(figure, self.title, f"Shares of variance by functional ANOVA of final values{lines}.{tuning}")
            return figure

    def _axes(self, axes: "Axes", metric: str, shares: Sequence["Share"]) -> None:
        names = [shown(" × ".join(map(lookup.short, s.axes)) or s.name) for s in shares]
        colours = [GREY if not s.axes else COLOURS[0] if len(s.axes) == 1 else COLOURS[4] for s in shares]
        _bars(axes, names, [s.share for s in shares], colours)
        for i, s in enumerate(shares):
            if s.low is not None and s.high is not None:
                axes.plot([100 * s.low, 100 * s.high], [i, i], color="black", linewidth=1.2)
        axes.set_title(f"variance of {shown(metric)}", fontsize=9.5)


def _bars(axes: "Axes", names: Sequence[str], shares: Sequence[float], colours: Sequence[Any]) -> None:
    axes.barh(range(len(names)), [100 * share for share in shares], color=colours, height=0.7)
    axes.set_yticks(range(len(names)), names, fontsize=9)
    axes.set(xlim=(0, 100), ylim=(len(names) - 0.4, -0.6))
    axes.grid(False, axis="y")
    for i, share in enumerate(shares):
        axes.annotate(f"{100 * share:.0f}", (1.01, i), xycoords=("axes fraction", "data"), fontsize=9, va="center")
