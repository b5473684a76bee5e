"""What results say of a claim: one outcome, with its effect, interval, corrected p and the reasons behind it."""

import dataclasses
from collections import Counter
from collections.abc import Iterable
from typing import Literal, get_args

from dlx.text import clean, count, number

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
        said = [self.estimate, self.size, *([self.label] if self.label != "confirmatory" else [])]
        asked = self.outcome == "undecided" or self.label != "confirmatory"
        why = f" — {self.reasons[0]}" if self.reasons and asked else ""
        return clean(f"{self.outcome:<12} {self.name}: {', '.join(s for s in said if s)}{why}")

    def _repr_html_(self) -> str:
        from dlx.notebook import verdicts_html

        return verdicts_html([self])

    @property
    def estimate(self) -> str:
        """What is estimated, with its interval and p, or what stands in the way."""
        if self.effect is None:
            return self.what
        parts = [f"{self.what} = {number(self.effect)}"]
        if self.low is not None and self.high is not None:
            parts[0] += f" [{number(self.low)}, {number(self.high)}]"
        if self.p is not None:
            parts.append(f"p {p_value(self.p)}")
            if self.p_corrected is not None and self.p_corrected != self.p:
                parts[-1] += f" (Holm {p_value(self.p_corrected).removeprefix('= ')})"
        if self.smallest_p is not None:
            parts.append(f"smallest p {p_value(self.smallest_p).removeprefix('= ')}")
        return ", ".join(parts)

    @property
    def size(self) -> str:
        """How many seeds, and how many searches where there were any."""
        seeds = count(self.seeds, "seed")
        return f"{count(self.searches, 'search', 'searches')} × {seeds}" if self.searches else seeds


def counted(verdicts: Iterable[Verdict]) -> str:
    """How many came out how: ``2 supported, 1 undecided``."""
    found = Counter(verdict.outcome for verdict in verdicts)
    return ", ".join(f"{found[outcome]} {outcome}" for outcome in get_args(Outcome) if found[outcome])


def as_given(value: float) -> str:
    """A number as a user wrote it, up to six digits, with a true minus sign."""
    return f"{value:g}".replace("-", "−")


def p_value(p: float) -> str:
    """A p value to two digits, such as ``= 0.023``; below 0.0001 only that."""
    return "< 0.0001" if p < 1e-4 else f"= {p:.2g}"
