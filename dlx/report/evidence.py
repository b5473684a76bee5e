"""Sections that answer the question: verdicts, figures, cells, and published values beside measured ones."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from dlx.claims.verdict import counted, p_value
from dlx.errors import DlxError
from dlx.report.content import Block, Judged, Paragraph, Section, Table, table
from dlx.report.pictures import Album
from dlx.report.words import command, number, several, share
from dlx.tables import COUNTS, interval, short
from dlx.text import clean, count
from dlx.text import number as three

if TYPE_CHECKING:
    from dlx.claims import Verdict
    from dlx.results import Results

MOST_ROWS = 500  # of the table of cells
MOST_METRICS = 12  # of that table's columns


def verdicts(results: "Results", found: Sequence["Verdict"], album: Album) -> Section:
    """Each claim with its verdict, and the forest plot of all."""
    from dlx import figures

    if not found:
        return Section("verdicts", "Verdicts", (Paragraph(
            "This study states no claims, so nothing is tested here; state them before a run, as claims=[…]."),))
    blocks: list[Block] = [judged(v, c.because) for v, c in zip(found, results.declaration.claims, strict=True)]
    if not any(isinstance(f, figures.Forest) for f in results.declaration.figures):
        blocks += album.draw((figures.Forest(),))
    return Section("verdicts", "Verdicts", tuple(blocks))


def outcomes(found: Sequence["Verdict"]) -> str:
    """How many claims came out how."""
    return f"{count(len(found), 'claim')}: {counted(found)}"


def judged(verdict: "Verdict", because: str = "") -> Judged:
    """A verdict in words; because: why its metric is not the one that was tuned for."""
    name = "" if verdict.name == verdict.claim else clean(verdict.name)
    facts = [("effect", _effect(verdict)), ("of", verdict.what), ("evidence", "; ".join(_evidence(verdict))),
             ("because", because)]
    return Judged(name, clean(verdict.claim), verdict.outcome, verdict.label,
                  tuple((term, clean(text)) for term, text in facts if text), tuple(map(clean, verdict.reasons)))


def _effect(verdict: "Verdict") -> str:
    if verdict.effect is None:
        return "cannot be estimated"
    interval = ""
    if verdict.low is not None and verdict.high is not None:
        interval = f" [{three(verdict.low)}, {three(verdict.high)}], {share(verdict.level)} interval"
    return f"{three(verdict.effect)}{interval}; the outcome turns at {three(verdict.margin)}"


def _evidence(verdict: "Verdict") -> Iterator[str]:
    if verdict.p is not None:
        yield f"p {p_value(verdict.p)}"
    if verdict.p_corrected is not None:
        yield f"p {p_value(verdict.p_corrected)} after Holm's correction"
    if verdict.smallest_p is not None:
        yield f"the smallest p possible here is {verdict.smallest_p:.2g}"
    yield f"test: {verdict.test}"
    yield verdict.size


def pictures(results: "Results", album: Album) -> Section | None:
    """The figures that the study declares."""
    if not results.declaration.figures:
        return None
    return Section("figures", "Figures", tuple(album.draw(results.declaration.figures)))


def notes(results: "Results") -> Section | None:
    """What the study says to its reader, a paragraph each."""
    said = [" ".join(text.split()) for text in results.declaration.notes.split("\n\n")]
    blocks = tuple(Paragraph(clean(text)) for text in said if text)
    return Section("notes", "Notes of the study", blocks) if blocks else None


# ---------------------------------------------------------------- tables


def cells(results: "Results") -> Section:
    """Means with intervals, cell by cell."""
    found = results.cells()
    rows = found.slice(0, MOST_ROWS).to_pylist()
    metrics = results.metrics[:MOST_METRICS]
    blocks: list[Block] = [table(*columns(results, rows, metrics), caption=means_are(results))]
    if len(found) > MOST_ROWS:
        blocks.append(Paragraph(
            f"The first {MOST_ROWS} of {len(found):,} cells; all trials are written by: "
            f"{command('dlx', 'export', results.declaration.name, '--to', 'csv')}"))
    if left := results.metrics[MOST_METRICS:]:
        blocks.append(Paragraph(f"Also stored: {several(left, 40)}."))
    return Section("results", "Results", tuple(blocks))


def columns(
    results: "Results", rows: Sequence[Mapping[str, Any]], metrics: Sequence[str]
) -> tuple[list[str], list[list[str]]]:
    """Names and rows of a table of cells: axes, tuned values, metrics, and what went wrong."""
    there = rows[0].keys() if rows else ()
    tuned = [n.removeprefix("param.") for n in there if n.startswith("param.") and n in results.table.column_names]
    known = [*results.axes, *tuned]
    named = [(short(a, known), [number(r[a]) for r in rows]) for a in results.axes]
    named += [(short(n, known), [number(r[f"param.{n}"]) for r in rows]) for n in tuned]
    named.append(("n", [number(r["n"]) for r in rows]))
    named += [(m, [mean(r, m) for r in rows]) for m in metrics]
    named += [(c, [number(r[c]) if r[c] else "" for r in rows]) for c in COUNTS if any(r[c] for r in rows)]
    if any(r["note"] for r in rows):
        named.append(("note", [r["note"] or "" for r in rows]))
    return [clean(name) for name, _ in named], [list(row) for row in zip(*(v for _, v in named), strict=True)]


def mean(row: Mapping[str, Any], metric: str, scale: float = 1.0) -> str:
    """A cell's mean and half-width, with its own n where some values are not finite."""
    value, half, n = row[f"{metric}.mean"], row[f"{metric}.half_width"], row[f"{metric}.n"]
    if value is None:
        return ""
    said = interval(value * scale, half and half * scale).replace("-", "−")
    return said + (f" (n={n})" if n < row["n"] else "")


def means_are(results: "Results") -> str:
    """What the numbers of the table are."""
    search = results.declaration.search
    over = f"{search.repeats} searches" if search and search.repeats > 1 else "n final trials"
    tuned = " Tuned values are those of a cell's best search." if search else ""
    return f"Mean ± half-width of the 95 % t interval over {over}.{tuned}"


# ---------------------------------------------------------------- published values


def published(results: "Results") -> Section | None:
    """What figures compare with, beside what was measured."""
    blocks = [block for figure in results.declaration.figures for block in _compared(results, figure)]
    return Section("published", "Published and measured", tuple(blocks)) if blocks else None


def _compared(results: "Results", figure: Callable[..., Any]) -> Iterator[Table]:
    from dlx.figures import Curves, Dots

    if not isinstance(figure, Curves | Dots):
        return
    try:
        found = figure.compared(results)
    except DlxError:
        return  # nothing of it is stored
    if found is None or not found.rows:
        return
    rows = []
    for texts, said, row in found.rows:
        value, half = row[f"{found.metric}.mean"], (row[f"{found.metric}.half_width"] or 0.0) * found.scale
        gap = None if value is None else value * found.scale - said
        inside = "" if gap is None or not half else "yes" if abs(gap) <= half else "no"
        rows.append([*texts, number(said), mean(row, found.metric, found.scale), "" if gap is None else number(gap),
                     inside])
    yield table([*map(clean, found.columns), "published", "measured", "difference", "in the interval"], rows,
                f"{clean(found.label)}: {clean(found.metric)}{'' if found.scale == 1 else f', times {found.scale:g}'}")
