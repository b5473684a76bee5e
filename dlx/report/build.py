"""A report's page, built from results: which sections there are, and in what order."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import pyarrow.compute as pc

from dlx import records
from dlx.plan import duration
from dlx.report import evidence, origins, tuning
from dlx.report.content import Page, Section
from dlx.report.pictures import Album
from dlx.report.words import command as command_line
from dlx.study import FULL
from dlx.text import clean, count

if TYPE_CHECKING:
    from dlx.claims import Verdict
    from dlx.results import Results


def build(results: "Results", folder: Path, command: str = "") -> Page:
    """The page of a study; draws its figures into ``figures`` of a folder.

    command: that runs the study again; ``dlx run`` with its name when left out.
    """
    said = results.declaration
    found = results.verdicts()
    return Page(
        title=clean(said.name), question=clean(said.question), outline=_outline(results, found),
        notices=_notices(results), sections=_sections(results, found, Album(results, folder), command or _run(results)),
        made=f"Written by dlx {records.versions().get('dlx', '')} from stored trials alone.",
    )


def _sections(results: "Results", found: Sequence["Verdict"], album: Album, command: str) -> tuple[Section, ...]:
    sections = [
        evidence.verdicts(results, found, album), evidence.pictures(results, album), evidence.published(results),
        evidence.notes(results), evidence.cells(results), tuning.importance(results), tuning.diagnostics(results),
        tuning.budgets(results, album), origins.failures(results), origins.reproduce(results, command),
        origins.protocol(results), origins.methods(results, [v.test for v in found]),
    ]
    return tuple(section for section in sections if section is not None)


def _outline(results: "Results", found: Sequence["Verdict"]) -> tuple[str, ...]:
    """What was done, in a line."""
    each = results.table.group_by("key").aggregate([("seconds", "max")])
    facts = [evidence.outcomes(found)] if found else []
    facts += [count(len(results.grid), "cell"), count(len(results.declaration.seeds), "seed")]
    if results.declaration.search:
        facts.append(count(results.declaration.search.repeats, "search", "searches") + " a tuned cell")
    computing = duration(pc.sum(each["seconds_max"]).as_py() or 0.0)
    return (*facts, f"{count(len(results.table), 'trial')} stored", f"{computing} of computing")


def _notices(results: "Results") -> tuple[str, ...]:
    """What a reader must know before anything else."""
    said = results.declaration
    notices = []
    if said.variant in said.presets:
        notices.append(
            f"This is the preset {clean(said.variant)}, a smaller version; the answer to the question is the full "
            f"study's: {command_line('dlx', 'run', said.name)}")
    elif said.variant != FULL:
        notices.append("This study was run with values other than those it declares; the answer to its question is "
                       f"the full study's: {command_line('dlx', 'run', said.name)}")
    if results.missing:
        notices.append(f"{count(results.missing, 'final trial')} of this study {_are(results.missing)} missing, and "
                       f"what stands here is preliminary; run what is missing: {_run(results)}")
    return tuple(notices)


def _are(n: int) -> str:
    return "is" if n == 1 else "are"


def _run(results: "Results") -> str:
    said, last = results.declaration, origins.last_command(results)
    if last.startswith("dlx run "):
        return clean(last)
    return command_line("dlx", "run", said.name, *(["--preset", said.variant] if said.variant in said.presets else []))
