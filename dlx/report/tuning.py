"""Sections on what mattered and whether the tuning was fair: importance, diagnostics, budgets."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

from dlx.records import FINAL, RECHECK, TUNE
from dlx.report.content import Block, Folded, Items, Paragraph, Section, Table
from dlx.report.content import table as rows_of
from dlx.report.pictures import Album
from dlx.report.words import interval_of_shares, number, share
from dlx.tables import short
from dlx.text import clean

if TYPE_CHECKING:
    import pyarrow as pa

    from dlx.results import Results
    from dlx.stats import Floats

PHASES = (TUNE, RECHECK, FINAL)
MOST_METRICS = 3  # whose variance is split
MOST_SHARES = 12  # rows of such a table
MOST_ROWS = 50  # of a table of budgets


def importance(results: "Results") -> Section | None:
    """Shares of variance by axis and by pair, and which nuisance axes set the best asks apart."""
    from dlx.analysis.importance import axes_importance, nuisance_importance

    blocks: list[Block] = []
    claimed = (getattr(claim, "metric", "") for claim in results.declaration.claims)
    metrics = [m for m in dict.fromkeys((*claimed, *results.metrics[:1])) if m in results.metrics]
    for metric in metrics[:MOST_METRICS]:
        if len(shares := axes_importance(results, metric)) > 1:
            shown = shares[:MOST_SHARES]
            rows = tuple((clean(s.name), share(s.share), interval_of_shares(s.low, s.high)) for s in shown)
            blocks.append(Table(
                ("axes", "share of variance", "95 % interval"), rows,
                f"{clean(metric)}: functional ANOVA of final values, intervals by jackknife",
                tuple(s.share for s in shown)))
    for arm, found in nuisance_importance(results).items():
        ordered = sorted(found.items(), key=lambda pair: -pair[1])[:MOST_SHARES]
        blocks.append(Table(
            ("nuisance axis", "importance"), tuple((clean(name), share(value)) for name, value in ordered),
            f"{clean(arm) or 'All cells'}: what sets the best asks apart (PED-ANOVA)", tuple(v for _, v in ordered)))
    return Section("importance", "Importance", tuple(blocks)) if blocks else None


def diagnostics(results: "Results") -> Section:
    """What may be wrong with the tuning or the runs, each with its fix."""
    from dlx.analysis.diagnostics import diagnose

    found = [clean(d.sentence) for d in diagnose(results)]
    blocks: tuple[Block, ...] = (Items(tuple(found)),) if found else (Paragraph("Nothing was found."),)
    return Section("diagnostics", "Diagnostics", blocks)


def budgets(results: "Results", album: Album) -> Section | None:
    """What each cell cost, and what its searches would have found for less."""
    from dlx import figures
    from dlx.analysis.budgets import spent

    if not len(results.table):
        return None
    table, search = spent(results), results.declaration.search
    blocks: list[Block] = [Paragraph(_compared(table, search.trials * search.repeats if search else 0)),
                           _costs(table, results.axes)]
    if len(table) > MOST_ROWS:
        blocks.append(Paragraph(f"The first {MOST_ROWS} of {len(table):,} cells."))
    if search and not any(isinstance(f, figures.BestAgainstBudget) for f in results.declaration.figures):
        blocks += album.draw((figures.BestAgainstBudget(),), silent=True)
    if search and (against := _against(results, search.trials)) is not None:
        blocks.append(Folded("Expected best of fewer asks, cell by cell", against))
    return Section("budgets", "Budgets", tuple(blocks))


def _compared(table: "pa.Table", asks: int) -> str:
    """Whether cells had the same trials, gradients and seconds."""
    trials = sum(table[phase].to_numpy() for phase in PHASES if phase in table.column_names)
    said = [f"Every tuned cell has the same {asks:,} asks" if asks else "", _range("trials", trials)]
    if table["gradients"].null_count == 0:
        said.append(_range("gradients", table["gradients"].to_numpy()))
    said.append(_range("seconds", table["seconds"].to_numpy()))
    return ". ".join(filter(None, said)) + "."


def _range(what: str, values: "Floats") -> str:
    low, high = values.min().item(), values.max().item()
    if low == high:
        return f"{what.capitalize()} of a cell: {number(low)} everywhere"
    times = f", {high / low:.1f} times as many" if low else ""
    return f"{what.capitalize()} of a cell: from {number(low)} to {number(high)}{times}"


def _costs(table: "pa.Table", axes: Sequence[str]) -> Table:
    """Trials by phase, gradients and seconds of the first cells."""
    counts = [n for n in (*PHASES, "gradients") if any(table[n].to_pylist())]
    shown = [([short(a, axes) for a in axes], axes), (counts, counts), (["seconds"], ["seconds"])]
    found = table.slice(0, MOST_ROWS).to_pylist()
    rows = [[number(row[name]) for _, names in shown for name in names] for row in found]
    return rows_of([clean(n) for heads, _ in shown for n in heads], rows, "Trials by phase, and what they cost")


def _against(results: "Results", asks: int) -> Table | None:
    """The objective to expect of 1, 2, 4, … asks of a search, beside what its choice has on fresh seeds."""
    from dlx.analysis.budgets import best_against_budget

    objective, found = results.declaration.objective, best_against_budget(results)
    if objective is None or not len(found):
        return None
    budgets = sorted({*(2**i for i in range(asks.bit_length()) if 2**i < asks), asks})
    rows = found.slice(0, MOST_ROWS * asks).to_pylist()
    cells = [rows[i : i + asks] for i in range(0, len(rows), asks)]
    values = [[*(number(cell[0][a]) for a in results.axes), *(number(cell[k - 1]["best"]) for k in budgets),
               number(cell[0]["final"])] for cell in cells]
    columns = [*(short(a, results.axes) for a in results.axes), *map(str, budgets), "fresh seeds"]
    said = f"{objective.metric} to expect of so many asks of a search, and that of the searches' choices on fresh seeds"
    return rows_of(list(map(clean, columns)), values, clean(said))
