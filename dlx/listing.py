"""The listing: every study with its question, how much of it is stored, and what its largest variant answered."""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from dlx.answers import Answer, answer
from dlx.claims.verdict import counted
from dlx.declaration import Declaration, variants
from dlx.errors import DlxError
from dlx.home import studies
from dlx.loading import find_all
from dlx.stats import benjamini_hochberg
from dlx.store import Store
from dlx.study import FULL, Study


@dataclass(frozen=True)
class Entry:
    """One study: ``stored`` trials of ``wanted`` ones (None: not known here), and its answer, None before it ran.

    name: that of its file; short: the shortest that finds it; title: what the home calls it; study: None where there
    is no file.
    """

    name: str
    title: str
    study: Study | None
    question: str
    stored: int | None
    wanted: int | None
    answer: Answer | None
    problem: str = ""
    short: str = ""

    @property
    def verdicts(self) -> str:
        """How its claims came out, in a few words; which variant says so, when it is not the full study."""
        if self.answer is None or not self.answer.verdicts:
            return ""
        said = counted(self.answer.verdicts)
        return said if self.answer.variant == FULL else f"{said} ({self.answer.variant})"


def entries(home: str | None = None) -> tuple[list[Entry], list[str]]:
    """All studies of the library, then those that only the home knows; and what is wrong with study files."""
    found = find_all()
    listed = [_entry(one.name, one.study, home) for one in found if one.study is not None]
    known = {one.study.name for one in found if one.study is not None}
    listed += [_alone(name, home) for name in studies(home) if name not in known]
    ends = [entry.name.rpartition("/")[2] for entry in listed]
    listed = [replace(entry, short=end if ends.count(end) == 1 else entry.name)
              for entry, end in zip(listed, ends, strict=True)]
    return listed, [one.problem for one in found if one.problem]


def false_discoveries(listed: Sequence[Entry]) -> str:
    """What share of the decided claims may be expected to be wrong (Benjamini and Hochberg 1995); empty for none."""
    verdicts = [v for entry in listed if entry.answer for v in entry.answer.verdicts]
    q = benjamini_hochberg(np.array([math.nan if v.p is None else v.p for v in verdicts]))
    decided = [rate for v, rate in zip(verdicts, q.tolist(), strict=True) if v.outcome != "undecided"]
    if not decided:
        return ""
    return f"{len(decided)} of {len(verdicts)} claims decided, at a false discovery rate of {max(decided):.2g}."


def _entry(name: str, study: Study, home: str | None) -> Entry:
    try:
        plan = study.plan(home)
        return Entry(name, study.name, study, study.question, plan.stored, plan.wanted, answer(Store(study.name, home)))
    except DlxError as e:
        return Entry(name, study.name, study, study.question, None, None, None, str(e))


def _alone(name: str, home: str | None) -> Entry:
    """A study that the home holds without its file."""
    store = Store(name, home)
    declared = next((d for v in variants(store) if (d := Declaration.stored(store, v)) is not None), None)
    question = declared.question if declared else ""
    return Entry(name, name, None, question, len(store.statuses()), None, answer(store),
                 "its file is in no folder studies here")
