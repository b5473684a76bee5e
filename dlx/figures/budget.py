"""Best against budget: what a search of fewer asks would have found."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from dlx.errors import DlxError
from dlx.figures import lookup
from dlx.figures.style import finish, house_style, legend_over, look, panels, shown

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from dlx.results import Results

MOST_PANELS, MOST_LINES = 12, 14


@dataclass(frozen=True)
class BestAgainstBudget:
    """The objective that the best of k asks is expected to have, by k, and what final trials of the choice have.

    Means over searches as lines, their 95 % t intervals as bands; final values stand at the right end with theirs.
    colour: the axis that lines differ by (chosen where left out); further axes have panels. title, y_label: with units;
    scale: what values are multiplied by; where: cells, as in ``Results.where``; name: of the files.
    """

    colour: str | None = None
    name: str = "best_against_budget"
    title: str = ""
    y_label: str = ""
    scale: float = 1.0
    where: Mapping[str, Any] | None = None

    def __call__(self, results: "Results") -> "Figure":
        """The figure; raises DlxError where no search is complete or there is too much, DeclarationError for names."""
        from dlx.analysis.budgets import best_against_budget

        results = results.where(self.where or {})
        rows = best_against_budget(results).to_pylist()
        objective = results.declaration.objective
        if not rows or objective is None:
            raise DlxError(f"The figure {self.name} has nothing to show: {results.declaration.name} has no tuned cell "
                           "whose searches are complete; run it.")
        colour, groups = self._arrange(results, rows)
        names = list(lookup.grouped(rows, [colour] if colour else []))
        with house_style():
            figure, grid = panels(list(groups), 2.0)
            handles: dict[str, Any] = {}
            for axes, found in zip(grid.all, groups.values(), strict=True):
                for name, line in lookup.grouped(found, [colour] if colour else []).items():
                    handles[name] = self._line(axes, line, names.index(name))
            for axes in grid.bottom:
                axes.set_xlabel("asks of a search")
            for axes in grid.left:
                axes.set_ylabel(self.y_label or shown(objective.metric))
            if len(names) > 1:
                legend_over(figure, list(handles.values()), list(handles))
            searches = max(row["searches"] for row in rows)
            said = f"Means, n = {searches} searches; bands: 95 % t intervals" if searches > 1 else "n = 1 search"
            finish(figure, self.title, f"{said}; points at the right: what the searches' choices have on fresh seeds.")
            return figure

    def _arrange(
        self, results: "Results", rows: Sequence[lookup.Row]
    ) -> tuple[str | None, dict[str, list[lookup.Row]]]:
        """The axis that colours tell apart, and rows by panel."""
        varying = lookup.varying(rows, results.axes)
        colour = lookup.axis(self.name, results, self.colour) if self.colour else next(
            (name for name in varying if not lookup.numeric(lookup.values(rows, name))), next(iter(varying), None))
        groups = lookup.grouped(rows, [name for name in varying if name != colour])
        lines = len({row[colour] for row in rows}) if colour else 1
        if len(groups) > MOST_PANELS or lines > MOST_LINES:
            raise DlxError(f"The figure {self.name} would have {len(groups)} panels with {lines} lines each; give it "
                           f"where= that leaves at most {MOST_PANELS} with {MOST_LINES}.")
        return colour, groups

    def _line(self, axes: "Axes", rows: Sequence[lookup.Row], i: int) -> Any:
        rows = [row for row in sorted(rows, key=lambda row: row["asks"]) if row["best"] is not None]
        asks, best = [row["asks"] for row in rows], [row["best"] * self.scale for row in rows]
        half = [(row["half_width"] or 0.0) * self.scale for row in rows]
        (handle,) = axes.plot(asks, best, color=look(i)["color"])
        if any(half):
            low, high = ([b + sign * h for b, h in zip(best, half, strict=True)] for sign in (-1, 1))
            axes.fill_between(asks, low, high, color=look(i)["color"], alpha=0.18, linewidth=0)
        final = rows[-1] if rows else {}
        if final.get("final") is not None:
            place = asks[-1] * 1.06 + 0.02 * asks[-1] * i
            axes.errorbar([place], [final["final"] * self.scale], [(final["final.half_width"] or 0.0) * self.scale],
                          linestyle="", elinewidth=1.2, **look(i))
        return handle
