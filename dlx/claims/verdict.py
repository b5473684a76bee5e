"""What results say of a claim: one outcome, with its effect, interval, corrected p and the reasons behind it."""

import dataclasses
import math
from typing import Literal

Outcome = Literal["supported", "refuted", "undecided"]
Label = Literal["confirmatory", "exploratory", "descriptive"]


@dataclasses.dataclass(frozen=True)
class Verdict:
    """Whether a claim holds, as one line that a reader can check.

    ``claim``: the whole sentence; ``label``: how much the outcome counts, ``descriptive`` the least; ``effect``,
    ``low``, ``high``: estimate and interval at ``level``, of the part of the claim that decides it; ``what``: what is
    estimated; ``margin``: where the outcome turns; ``p``: two-sided, ``p_corrected`` by Holm (1979) over the study's
    claims; ``smallest_p``: that an exact test can reach; ``seeds``: of each cell, or of each of its ``searches`` (0:
    untuned); ``reasons``: why it is undecided, exploratory or descriptive, and what was counted how, a sentence each.
    """

    name: str
    claim: str
    outcome: Outcome
    label: Label
    effect: float | None
    low: float | None
    high: float | None
    what: str
    margin: float
    test: str
    p: float | None
    p_corrected: float | None
    smallest_p: float | None
    seeds: int
    searches: int
    level: float
    reasons: tuple[str, ...] = ()

    def __str__(self) -> str:
        from dlx.text import clean

        said = [self._estimate(), self._size(), *([self.label] if self.label != "confirmatory" else [])]
        why = f" — {self.reasons[0]}" if self.reasons and self.outcome == "undecided" else ""
        return clean(f"{self.outcome:<12} {self.name}: {', '.join(s for s in said if s)}{why}")

    def _repr_html_(self) -> str:
        from dlx.notebook import verdicts_html

        return verdicts_html([self])

    def _estimate(self) -> str:
        if self.effect is None:
            return self.what
        parts = [f"{self.what} = {number(self.effect)}"]
        if self.low is not None and self.high is not None:
            parts[0] += f" [{number(self.low)}, {number(self.high)}]"
        if self.p is not None:
            corrected = "" if self.p_corrected in (None, self.p) else f" (Holm {_p(self.p_corrected)})"
            parts.append(f"p {_p(self.p)}{corrected}" if self.p < 1e-4 else f"p = {_p(self.p)}{corrected}")
        if self.smallest_p is not None:
            parts.append(f"smallest p {_p(self.smallest_p)}")
        return ", ".join(parts)

    def _size(self) -> str:
        seeds = f"{self.seeds} seed{'' if self.seeds == 1 else 's'}"
        return f"{self.searches} search{'' if self.searches == 1 else 'es'} × {seeds}" if self.searches else seeds


def number(value: float) -> str:
    """A number in three digits, whole from a thousand on, with a true minus sign."""
    if math.isinf(value):
        return "∞" if value > 0 else "−∞"
    whole = 1_000 <= abs(value) < 1_000_000
    return f"{value + 0.0:{'.0f' if whole else '.3g'}}".replace("-", "−")


def as_given(value: float) -> str:
    """A number as a user wrote it, up to six digits, with a true minus sign."""
    return f"{value:g}".replace("-", "−")


def _p(value: float | None) -> str:
    if value is None:
        return ""
    return "< 0.0001" if value < 1e-4 else f"{value:.2g}"
