"""A catalogue of studies as Markdown: each with its question, verdicts, cost and first figure, from what is stored."""

import shutil
from collections.abc import Iterator, Sequence
from pathlib import Path

import pyarrow.compute as pc

from dlx.answers import Answer
from dlx.chosen import Chosen
from dlx.claims import Verdict
from dlx.declaration import Declaration
from dlx.errors import DlxError
from dlx.figures import name_of
from dlx.files import reason
from dlx.listing import Entry, false_discoveries
from dlx.plan import duration
from dlx.report.files import folder_in
from dlx.report.markdown import escape, rows
from dlx.results import Results
from dlx.store import Store
from dlx.study import CUSTOM, FULL
from dlx.text import count

PICTURES = "pictures"  # the folder beside the file


def write(entries: Sequence[Entry], home: str | None = None, out: Path | None = None) -> None:
    """Write the catalogue to a file, with figures in a folder beside it, or print it without them.

    Raises DlxError when the file cannot be written.
    """
    if out is None:
        print(text(entries, home, {}), end="")
        return
    try:
        out.parent.mkdir(parents=True, exist_ok=True)
        pictures = {e.name: copied for e in entries if (copied := _copy(e, home, out.parent / PICTURES))}
        out.write_text(text(entries, home, pictures))
    except OSError as e:
        raise DlxError(f"The catalogue cannot be written to {out} ({reason(e)}); name another file.") from e


def text(entries: Sequence[Entry], home: str | None, pictures: dict[str, str]) -> str:
    """The catalogue; pictures: study → address of its figure."""
    told = [e for e in entries if e.answer is not None]
    table = rows(("study", "question", "verdicts"), [(e.name, e.question, e.verdicts) for e in entries])
    parts = ["# Studies", "Made by `dlx list --markdown` from the trials that are stored.", table]
    if rate := false_discoveries(entries):
        parts.append(escape(rate))
    for entry in told:
        parts += _section(entry, home, pictures.get(entry.name))
    return "\n\n".join(parts) + "\n"


def _section(entry: Entry, home: str | None, picture: str | None) -> Iterator[str]:
    assert entry.answer is not None
    yield f"## {escape(entry.name)}"
    yield escape(entry.question)
    if picture:
        yield f"![{escape(entry.question)}]({picture})"
    if entry.answer.verdicts:
        yield "\n".join(map(_line, entry.answer.verdicts))
    if said := _cost(entry, entry.answer, home):
        yield said


def _line(verdict: Verdict) -> str:
    """A verdict as an item of a list, with the reason where it does not stand for itself."""
    label = "" if verdict.label == "confirmatory" else f" ({verdict.label})"
    why = f" — {verdict.reasons[0]}" if verdict.reasons and (label or verdict.outcome == "undecided") else ""
    return f"- **{verdict.outcome}**{label} {escape(f'{verdict.name}: {verdict.estimate}, {verdict.size}{why}')}"


def _cost(entry: Entry, answer: Answer, home: str | None) -> str:
    """The command, with how many trials it ran and what they cost."""
    store = Store(entry.title, home)
    declared = Declaration.stored(store, answer.variant)
    if declared is None:
        return ""
    results = Results.of(declared, home)
    ran = store.trials(set(results.table["key"].to_pylist()), ["seconds", "members"])
    if not len(ran):
        return ""
    preset = None if answer.variant in (FULL, CUSTOM) else answer.variant
    command = Chosen(entry.short, preset, ("…",) if answer.variant == CUSTOM else ()).command("run")
    missing = f", {results.missing:,} final trials are missing" if results.missing else ""
    return (f"`{command}`: {count(len(ran), 'trial')} in packs of up to "
            f"{pc.max(ran['members']).as_py():,}, {duration(pc.sum(ran['seconds']).as_py())} of computing{missing}.")


def _copy(entry: Entry, home: str | None, folder: Path) -> str | None:
    """Put the first figure of the study's report into a folder; its address from beside that."""
    if entry.answer is None or (place := Store(entry.title, home).local_folder) is None:
        return None
    drawn = folder_in(place, entry.answer.variant) / "figures"
    for name in _figures(entry, entry.answer.variant):
        if (file := drawn / f"{name}.png").is_file():
            folder.mkdir(exist_ok=True)
            shutil.copyfile(file, folder / f"{entry.title}.png")
            return f"{PICTURES}/{entry.title}.png".replace(" ", "%20")
    return None


def _figures(entry: Entry, variant: str) -> list[str]:
    """Names of the figures that the study declares, in their order."""
    if entry.study is None:
        return []
    study = entry.study.preset(variant) if variant in entry.study.presets else entry.study
    return [name_of(figure) for figure in study.figures]
