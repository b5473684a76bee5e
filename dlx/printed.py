"""What the command line prints of results, and the commands to type next."""

import os
import shlex
import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from dlx.chosen import Chosen
from dlx.text import clean

if TYPE_CHECKING:
    from rich.console import RenderableType

    from dlx.executors.jobs import Job
    from dlx.listing import Entry
    from dlx.results import Results


def warn(*sentences: str) -> None:
    """Print sentences to standard error."""
    for sentence in sentences:
        print(f"dlx: {clean(sentence)}", file=sys.stderr)


def show_table(what: Any, table: Any = None) -> None:
    """Print a table as wide as the terminal, 80 columns elsewhere."""
    from rich.console import Console

    from dlx.tables import plain

    console = Console()
    shown = table(what, console.width) if table else what
    if console.is_terminal:
        console.print(shown)
    else:
        print(plain(shown, console.width))


def say_list(entries: Sequence["Entry"]) -> None:
    """Print studies as a table, each by the shortest name that finds it, and how many verdicts may be wrong."""
    from dlx.listing import false_discoveries

    if entries:
        show_table(_listed(entries))
    else:
        print("There are no studies here; put study files into a folder named studies.")
    if rate := false_discoveries(entries):
        print(f"\n{rate}")


def _listed(entries: Sequence["Entry"]) -> "RenderableType":
    from rich.table import Table
    from rich.text import Text

    table = Table(box=None, pad_edge=False)
    for column, wraps in (("study", False), ("stored/wanted", False), ("verdicts", True), ("question", True)):
        table.add_column(column, no_wrap=not wraps, justify="right" if column.startswith("stored") else "left")
    for e in entries:
        stored = "?" if e.stored is None else f"{e.stored:,}"
        wanted = "" if e.stored is None else "/?" if e.wanted is None else f"/{e.wanted:,}"
        question = f"{e.question} ({e.problem})" if e.problem else e.question
        table.add_row(*(Text(clean(text)) for text in (e.short, stored + wanted, e.verdicts, question)))
    return table


def say_results(chosen: Chosen, results: "Results") -> None:
    """Print cells, verdicts, why trials failed, and where everything lies."""
    from dlx.tables import cells_table, reasons

    show_table(results, cells_table)
    print()
    if verdicts := results.verdicts():
        print(f"{verdicts}\n")
    if found := reasons(results):
        total = sum(n for n, _ in found)
        print(f"{total:,} {'trial' if total == 1 else 'trials'} failed:")
        for n, reason in found:
            print(f"  {n:,} × {reason}")
        print(f"  tracebacks: {chosen.command('export', {'to': 'csv'})}\n")
    print(f"results  {clean(_place(results))}")
    for kind, pattern in (("figure", "figures/*.png"), ("report", "*.html")):
        for file in _reported(results, pattern):
            print(f"{kind}   {clean(file)}")


def verdicts_of(chosen: Chosen, results: "Results") -> Iterator[str]:
    """Lines: verdicts, how many trials failed, and where the report lies."""
    if verdicts := results.verdicts():
        yield from str(verdicts).splitlines()
    if failed := len(results.failed()):
        yield f"{failed:,} trials failed; see {chosen.command('show')}"
    for file in _reported(results, "*.html"):
        yield f"report   {clean(file)}"


def say_job(chosen: Chosen, job: "Job | None") -> None:
    """Print how a job on a cluster stands."""
    if job is None:
        print(f"No job of {clean(chosen.name)} is there.")
    else:
        print(f"{job.id}: {job.status}" + (f", {clean(job.message)}" if job.message else ""))


def say_next(chosen: Chosen, results: "Results", again: Mapping[str, Any]) -> None:
    """The commands to type next."""
    if results.missing:
        print(f"next     {chosen.command('run', again)}   ({results.missing:,} final trials are missing)")
    elif len(results.failed()):
        print(f"next     {chosen.command('run', {**again, 'retry_failed': True})}")
    if not results.missing:
        print(f"next     {chosen.command('show')}")
        print(f"next     {chosen.command('report')}")
        _say_where_mlflow_is(chosen, again["tracking_uri"] or os.environ.get("MLFLOW_TRACKING_URI"))


def _say_where_mlflow_is(chosen: Chosen, uri: str | None) -> None:
    """The command that serves the home's MLflow, or the address of another."""
    from dlx.tracking.client import safe_address

    if uri is None:
        print(f"next     {shlex.join(['dlx', 'ui', *(['--home', chosen.home] if chosen.home else [])])}")
    elif uri != "off":
        print(f"MLflow   {clean(safe_address(uri))}")


def _place(results: "Results") -> str:
    """Where the results lie: a path when they are on this machine."""
    folder = results.store.local_folder
    return results.store.folder if folder is None else str(folder)


def _reported(results: "Results", pattern: str) -> list[Path]:
    """Files of the report on this machine."""
    from dlx.report import folder_in

    folder = results.store.local_folder
    return [] if folder is None else sorted(folder_in(folder, results.declaration.variant).glob(pattern))
