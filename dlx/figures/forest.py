"""Forest plots: the effects of a study's claims with their intervals, and the margins at which outcomes turn."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from dlx.claims.verdict import p_value
from dlx.errors import DlxError
from dlx.figures.style import GREY, SMALL, canvas, finish, house_style, shown
from dlx.text import number

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from dlx.claims.verdict import Verdict
    from dlx.results import Results

LOOKS: dict[str, dict[str, Any]] = {  # by outcome, told apart by shape and word as well as by colour
    "supported": {"color": "#007a5a", "marker": "o"},
    "refuted": {"color": "#b84a00", "marker": "X"},
    "undecided": {"color": GREY, "marker": "D", "markerfacecolor": "white"},
}
ROW, PANEL = 0.72, 0.5  # inches of a claim, and of a panel's axis
LONGEST_NAME, LONGEST_TEXT = 76, 84  # characters of a line


@dataclass(frozen=True)
class Forest:
    """The verdicts of a study's claims: effects, their intervals, and the margins at which outcomes turn.

    Claims on the same metric share an axis in its units; others have panels of their own. title; name: of the files.
    """

    name: str = "claims"
    title: str = ""

    def __call__(self, results: "Results") -> "Figure":
        """The figure; raises DlxError for a study without claims."""
        verdicts = list(results.verdicts())
        if not verdicts:
            raise DlxError(f"The figure {self.name} has nothing to show: the study {results.declaration.name} states "
                           "no claims; give it claims=[…].")
        panels: dict[str, list[Verdict]] = {}
        for verdict in verdicts:
            panels.setdefault(measure(verdict, results.metrics), []).append(verdict)
        heights = [PANEL + ROW * len(found) for found in panels.values()]
        with house_style():
            figure = canvas(sum(heights) + 0.6)
            grid = figure.subplots(len(panels), squeeze=False, gridspec_kw={"height_ratios": heights})
            for axes, (unit, found) in zip(grid[:, 0], panels.items(), strict=True):
                self._panel(axes, unit, found)
            levels = sorted({verdict.level for verdict in verdicts})
            level = " or ".join(f"{100 * level:.4g}" for level in levels)
            finish(figure, self.title, f"Effects with {level} % intervals; dashed: where the outcome turns; "
                   "● supported, ✖ refuted, ◇ undecided.")
            return figure

    def _panel(self, axes: "Axes", unit: str, verdicts: Sequence["Verdict"]) -> None:
        from matplotlib.transforms import blended_transform_factory

        beside = blended_transform_factory(axes.transAxes, axes.transData)
        for row, verdict in enumerate(verdicts):
            look = LOOKS[verdict.outcome]
            if verdict.effect is not None and math.isfinite(verdict.effect):
                for margin in margins(verdict):
                    axes.plot([margin, margin], [row - 0.02, row + 0.46], color="#333333", linewidth=1.2,
                              linestyle=(0, (3, 2)), zorder=1)
                axes.plot(ends(verdict), [row + 0.22] * 2, color=look["color"], linewidth=2.2, solid_capstyle="butt")
                axes.plot([verdict.effect], [row + 0.22], markersize=8, linestyle="", markeredgewidth=1.6, **look)
            word = axes.text(0, row - 0.4, verdict.outcome, transform=beside, color=look["color"], fontsize=9,
                             fontweight="bold", va="center")
            counts = aside(verdict)
            axes.annotate(f"{shown(verdict.name, LONGEST_NAME - len(counts))}{counts}", (1, 0), xycoords=word,
                          xytext=(6, 0), textcoords="offset points", fontsize=9, va="bottom")
            axes.text(0, row - 0.16, shown(words(verdict), LONGEST_TEXT), transform=beside, color=GREY,
                      fontsize=SMALL, va="center")
        axes.set(ylim=(len(verdicts) - 0.45, -0.62), yticks=[], xlabel=shown(unit, LONGEST_TEXT))
        if not axes.lines:
            axes.set_xticks([])
        axes.xaxis.label.set_fontsize(9)
        axes.spines["left"].set_visible(False)
        axes.grid(False)
        axes.margins(x=0.06)


def measure(verdict: "Verdict", metrics: Sequence[str]) -> str:
    """What an effect is measured in: its metric, where it is a difference or a mean of one, else all its words."""
    head = verdict.what.partition(" of ")[0]
    return head if head in metrics else verdict.what


def margins(verdict: "Verdict") -> list[float]:
    """Where a verdict turns: on both sides of 0 for an equivalence."""
    return [-verdict.margin, verdict.margin] if verdict.test.startswith("TOST") else [verdict.margin]


def ends(verdict: "Verdict") -> tuple[float, float]:
    """The ends of a verdict's interval; the effect itself where it has none."""
    assert verdict.effect is not None
    low, high = verdict.low, verdict.high
    return (
        verdict.effect if low is None or not math.isfinite(low) else low,
        verdict.effect if high is None or not math.isfinite(high) else high,
    )


def aside(verdict: "Verdict") -> str:
    """A label that says how little an outcome counts."""
    return "" if verdict.label == "confirmatory" else f" ({verdict.label})"


def words(verdict: "Verdict") -> str:
    """Effect, interval, p and n in one line; why there is no estimate where there is none."""
    if verdict.effect is None:
        return verdict.reasons[0] if verdict.reasons else verdict.what
    parts = [number(verdict.effect)]
    if verdict.low is not None and verdict.high is not None:
        parts[0] += f" [{number(verdict.low)}, {number(verdict.high)}]"
    if verdict.p_corrected is not None:
        parts.append(f"p {p_value(verdict.p_corrected)} (Holm)")
    return ", ".join([*parts, verdict.size])
