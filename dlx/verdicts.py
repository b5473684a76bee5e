"""Verdicts: claims judged by the protocol that keeps a study honest.

A claim is supported, or refuted, where the p of that direction, corrected by Holm (1979) over the study's claims, is at
most alpha = 0.05; intervals are two-sided at 1 − alpha. It is undecided, whatever its values, while final trials are
missing or failed, where fewer than three searches tuned an arm, and where an optimum lies at a bound of its search
space. It is exploratory when it was stated after its trials had run, or when seeds were added after a look that was not
declared; declared looks share alpha (Lan and DeMets 1983). It is descriptive below five seeds.
"""

import dataclasses
import math
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from dlx.claims import Claim, Verdict
from dlx.claims.draws import barren_searches
from dlx.claims.finding import Finding
from dlx.claims.verdict import Label, Outcome
from dlx.declaration import claim_digest
from dlx.errors import DlxError
from dlx.records import COMPLETED, DIVERGED, FAILED, FINAL
from dlx.stats import LEVEL, Integers, holm, spend
from dlx.text import number

if TYPE_CHECKING:
    from dlx.results import Results

FEWEST_SEEDS = 5  # below: descriptive
FEWEST_SEARCHES = 3  # below: tuning's share of the variance is not known


class Verdicts(list[Verdict]):
    """A verdict for each claim, in the order of the study."""

    def __str__(self) -> str:
        return "\n".join(map(str, self)) or "The study states no claims."

    __repr__ = __str__

    def _repr_html_(self) -> str:
        from dlx.notebook import verdicts_html

        return verdicts_html(self)


def judge(results: "Results", claims: Sequence[Claim] | None = None) -> Verdicts:
    """The verdicts of the study's claims, or of others given, each corrected over those that were stated beforehand.

    A claim that cannot be measured is undecided, with the reason and the fix.
    """
    claims = results.declaration.claims if claims is None else claims
    if not claims:
        return Verdicts()
    court = _Court(results)
    cases = [court.hear(claim) for claim in claims]
    return Verdicts(court.decide(case, p) for case, p in zip(cases, _corrected(cases), strict=True))


@dataclasses.dataclass(frozen=True)
class _Case:
    """A claim with what was measured of it; ``held_up``: why it cannot be decided; ``late``: why it explores."""

    claim: Claim
    finding: Finding
    held_up: tuple[str, ...]
    late: tuple[str, ...]

    @property
    def p(self) -> float:
        return math.nan if self.held_up else self.finding.p


def _corrected(cases: Sequence[_Case]) -> list[float]:
    """Holm's p over the claims stated beforehand; those that came later are corrected over all, and change no other."""
    p = np.array([case.p for case in cases])
    stated = np.array([not case.late for case in cases])
    found = holm(p)
    found[stated] = holm(p[stated])
    return [float(value) for value in found]


class _Court:
    """What is known of a study's results before its claims are judged one by one."""

    def __init__(self, results: "Results") -> None:
        from dlx.analysis.diagnostics import at_bound

        self.results, self.declaration = results, results.declaration
        self.seeds = len(self.declaration.seeds)
        self.bounds: Mapping[str, str] = at_bound(results) if self.declaration.search else {}
        self.missing, self.failed = _unfinished(results)
        self.begun = bool(pc.any(pc.equal(results.table["phase"], FINAL)).as_py())
        looks = self.declaration.looks
        declared = self.seeds in looks
        self.alpha = spend(looks, self.seeds, 1 - LEVEL) if declared else 1 - LEVEL
        self.off_schedule = bool(looks) and not declared

    def hear(self, claim: Claim) -> _Case:
        """Measure a claim, unless that would be a peek at unfinished trials."""
        late = tuple(self._late(claim))
        try:
            finding = claim.measure(self.results, 1 - self.alpha)
        except DlxError as e:
            return _Case(claim, Finding(np.empty(0, np.int64), self.seeds, 0, False), (str(e),), late)
        held_up = tuple(self._held_up(finding))
        return _Case(claim, finding, held_up, late)

    def _late(self, claim: Claim) -> Iterable[str]:
        """Why a claim is not confirmatory: when it was stated, and looks."""
        register, known = self.results.register, claim_digest(claim)
        stated = register.stated(known)
        if stated is False or (stated is None and self.begun):
            yield "It was not stated before its trials ran; state it in claims= of a study with fresh seeds."
        looks, searches = register.looks(known), self.declaration.search.repeats if self.declaration.search else 0
        earlier = sorted({n for n, _ in looks if n < self.seeds and n not in self.declaration.looks})
        if earlier:
            declared = ", ".join(map(str, (*earlier, self.seeds)))
            yield (f"It was looked at with {', '.join(map(str, earlier))} seeds before there were {self.seeds}; "
                   f"declare looks=({declared}) before the first run.")
        elif fewer := [n for _, n in looks if n < searches]:
            yield (f"It was looked at with {min(fewer)} searches before there were {searches}; give search= all its "
                   "repeats before the first run.")
        elif self.off_schedule:
            yield (f"{self.seeds} seeds are none of the looks declared, {', '.join(map(str, self.declaration.looks))}; "
                   "give as many seeds as one of them.")

    def _held_up(self, finding: Finding) -> Iterable[str]:
        """Why nothing may be decided of these cells."""
        missing, failed = (int(counts[finding.cells].sum()) for counts in (self.missing, self.failed))
        wanted = int(self.results.grid["finals"].to_numpy()[finding.cells].sum())
        if missing:
            yield f"{missing} of {wanted} final trials are missing; run the study."
        if failed:
            yield f"{failed} of {wanted} final trials failed; correct what they raise and run with --retry-failed."
        if not (missing or failed) and finding.problem:
            yield finding.problem
        if 0 < finding.searches < FEWEST_SEARCHES:
            yield (f"Tuned cells are compared over searches and there {'is' if finding.searches == 1 else 'are'} "
                   f"{finding.searches}; give search= repeats={FEWEST_SEARCHES} or more.")
        keys = self.results.grid["cell"].take(pa.array(finding.cells)).to_pylist()
        yield from dict.fromkeys(self.bounds[key] for key in keys if key in self.bounds)

    def decide(self, case: _Case, corrected: float) -> Verdict:
        """The verdict of a claim that was heard."""
        claim, finding = case.claim, case.finding
        unfinished = bool(self.missing[finding.cells].any() or self.failed[finding.cells].any())
        part = None if unfinished else finding.decisive  # no peeking
        outcome: Outcome = "undecided"
        if corrected <= self.alpha:
            outcome = "supported" if finding.p_for <= finding.p_against else "refuted"
        descriptive = tuple(self._few(finding))
        weak = () if case.held_up or outcome != "undecided" else tuple(self._weak(finding, corrected))
        label: Label = "confirmatory"
        if case.late or claim.label == "exploratory":
            label = "exploratory"
        if descriptive or claim.label == "descriptive":
            label = "descriptive"
        return Verdict(
            name=claim.title, claim=str(claim), outcome=outcome, label=label,
            **{name: _known(getattr(part, name)) if part else None for name in ("effect", "low", "high")},
            what=part.what if part else ", ".join(claim.metrics), margin=part.margin if part else 0.0,
            test=part.test if part else "", p=_known(case.p), p_corrected=_known(corrected),
            smallest_p=None if unfinished else finding.smallest_p, seeds=finding.seeds, searches=finding.searches,
            level=part.level if part else 1 - self.alpha,
            reasons=(*case.held_up, *weak, *case.late, *descriptive, *(() if unfinished else finding.notes)),
        )

    def _few(self, finding: Finding) -> Iterable[str]:
        if finding.seeds_alone and self.seeds < FEWEST_SEEDS:
            yield f"{self.seeds} seed{'' if self.seeds == 1 else 's'} describe and do not decide; give 5 or more."

    def _weak(self, finding: Finding, corrected: float) -> Iterable[str]:
        """Why finished trials leave a claim open."""
        more = "the search more repeats" if finding.searches else "more seeds"
        part, smallest = finding.decisive, finding.smallest_p
        if part is None or math.isnan(finding.p):
            yield f"There is no interval with so few draws, or without any spread between them; give {more}."
        elif smallest is not None and smallest > self.alpha:
            yield f"The smallest p that {part.units} draws can reach is {smallest:.2g}; give {more}."
        elif finding.p <= self.alpha:
            yield (f"p = {finding.p:.2g} is {corrected:.2g} once corrected over the claims of the study; "
                   f"give {more}, or state fewer claims.")
        elif part.low == part.high == part.margin:
            yield f"All draws equal {number(part.margin)}, where the outcome turns; more of them decide nothing."
        elif part.low <= part.margin <= part.high:
            yield f"The interval reaches across {number(part.margin)}; give {more}."
        else:
            yield f"p = {finding.p:.2g} ({part.test}) is above {self.alpha:.2g}; give {more}."


def _unfinished(results: "Results") -> tuple[Integers, Integers]:
    """By cell: final trials that are missing or were stopped, and that failed; those of barren searches are neither."""
    table, grid, size = results.table, results.grid, len(results.grid)
    final = table.filter(pc.equal(table["phase"], FINAL))
    at = pc.index_in(final["cell"], value_set=grid["cell"].combine_chunks()).to_numpy()
    ran, failed = (
        np.bincount(at[np.asarray(pc.is_in(final["status"], value_set=pa.array(kinds)))], minlength=size)
        for kinds in ([COMPLETED, DIVERGED], [FAILED]))
    barren = np.zeros(size, dtype=np.int64)
    np.add.at(barren, [row for row, _ in barren_searches(results)], len(results.declaration.seeds))
    return np.maximum(grid["finals"].to_numpy() - ran - failed - barren, 0), failed


def _known(value: float) -> float | None:
    return None if math.isnan(value) else value
