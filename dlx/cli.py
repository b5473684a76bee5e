"""The command line: list, plan, run, show, export, ui. Engines are imported by the commands that need them."""

import os
import shlex
import sys
from collections.abc import Mapping
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from dlx.chosen import Chosen
from dlx.errors import DlxError
from dlx.executors.local import leave, stray_threads
from dlx.tables import clean

if TYPE_CHECKING:
    from dlx.results import Results
    from dlx.study import Study

REFUSED, MISSING, FAILED = 2, 3, 4  # exit codes; 0: every wanted trial is stored and none failed

app = typer.Typer(
    help="Run studies: grids of trials, each cell tuned fairly and repeated over seeds.",
    no_args_is_help=True, add_completion=False, pretty_exceptions_enable=False, rich_markup_mode=None,
)

Name = Annotated[str, typer.Argument(metavar="STUDY", help="Name or path of a study file; dlx list shows them.")]
Preset = Annotated[str | None, typer.Option(help="A preset of the study, such as quick.")]
Sets = Annotated[list[str] | None, typer.Option(
    "--set", metavar="PATH=VALUE", help="Another value by path, such as template.model.width=32,64; repeatable.")]
Home = Annotated[str | None, typer.Option(help="Where results are kept: a path or URL; default $DLX_HOME or dlx-home.")]


class Engine(StrEnum):
    """What carries a study out."""

    RAY = "ray"
    LOCAL = "local"


class Format(StrEnum):
    """What a table is written as."""

    CSV = "csv"
    PARQUET = "parquet"


@app.command("list")
def list_(home: Home = None) -> None:
    """List every study with its question, and how many of its trials are stored."""
    from rich.table import Table
    from rich.text import Text

    from dlx.home import studies
    from dlx.loading import find_all

    table = Table(box=None, pad_edge=False)
    for column, wraps in (("study", False), ("stored/wanted", False), ("question", True)):
        table.add_column(column, no_wrap=not wraps, justify="right" if column.startswith("stored") else "left")
    found = find_all()
    rows = [(one.name, *_stand(one.study, home)) for one in found if one.study is not None]
    known = {one.study.name for one in found if one.study is not None}
    rows += [(name, *_alone(name, home)) for name in studies(home) if name not in known]
    for row in rows:
        table.add_row(*(Text(clean(cell)) for cell in row))
    if rows:
        _show(table)
    else:
        print("There are no studies here; put study files into a folder named studies.")
    for one in found:
        if one.problem:
            _warn(one.problem)


def _stand(study: "Study", home: str | None) -> tuple[str, str]:
    """Stored and wanted trials of a study, and its question."""
    try:
        plan = study.plan(home)
    except DlxError as e:
        return "?", f"{study.question} ({e})"
    return f"{plan.stored:,}/{plan.wanted:,}", study.question


def _alone(name: str, home: str | None) -> tuple[str, str]:
    """The same of a study that the home holds without its file."""
    from dlx.store import Store

    store = Store(name, home)
    question = (store.declaration() or {}).get("question", "")
    return f"{len(store.statuses()):,}/?", f"{question} (its file is not here)"


@app.command()
def plan(study: Name, preset: Preset = None, sets: Sets = None, home: Home = None) -> None:
    """Say what a run would do; start nothing."""
    found = Chosen(study, preset, tuple(sets or ()), home).study().plan(home)
    print(found)
    _warn(*found.damaged)


@app.command()
def run(
    study: Name, preset: Preset = None, sets: Sets = None, home: Home = None,
    executor: Annotated[Engine, typer.Option(help="Ray Tune, or this process alone.")] = Engine.RAY,
    address: Annotated[str | None, typer.Option(help="Of a running Ray cluster; auto: this machine's.")] = None,
    max_seconds: Annotated[float | None, typer.Option(help="Begin nothing after this time.")] = None,
    max_trials: Annotated[int | None, typer.Option(help="Begin no more trials than this.")] = None,
    max_gpu_hours: Annotated[float | None, typer.Option(help="Begin nothing beyond this use.")] = None,
    retry_failed: Annotated[bool, typer.Option("--retry-failed", help="Run stored failures again.")] = False,
    wait: Annotated[bool, typer.Option("--wait", help="Wait for another run of this study to end.")] = False,
    quiet: Annotated[bool, typer.Option("--quiet", help="Say only what went wrong.")] = False,
    tracking_uri: Annotated[
        str | None, typer.Option(help="MLflow, or off; default $MLFLOW_TRACKING_URI, or the home.")] = None,
) -> None:
    """Run what is missing; Ctrl-C once finishes what is running, twice stops now.

    Exit code 0: all is stored. 2: refused. 3: something is missing. 4: trials failed.
    """
    from dlx import live

    chosen = Chosen(study, preset, tuple(sets or ()), home)
    again = {"executor": None if executor is Engine.RAY else executor.value, "address": address,
             "tracking_uri": tracking_uri}
    try:
        results = chosen.study().run(
            home=home, executor=executor.value, address=address, max_seconds=max_seconds, max_trials=max_trials,
            max_gpu_hours=max_gpu_hours, retry_failed=retry_failed, wait=wait, view=live.choose(quiet),
            tracking_uri=tracking_uri,
        )
    except KeyboardInterrupt:
        _warn(f"stopped; what had finished is stored, and this goes on from there: {chosen.command('run', again)}")
        raise typer.Exit(MISSING) from None
    if not quiet:
        _say_results(chosen, results)
        _say_next(chosen, results, again)
    if results.missing:
        raise typer.Exit(MISSING)
    if len(results.failed()):
        raise typer.Exit(FAILED)


@app.command()
def show(study: Name, preset: Preset = None, sets: Sets = None, home: Home = None) -> None:
    """Show what is stored: a table of cells, what failed and why, where everything lies."""
    chosen = Chosen(study, preset, tuple(sets or ()), home)
    declared = chosen.study()
    results = declared.results(home)
    print(f"{clean(declared.name)}: {clean(declared.question)}\n")
    _say_results(chosen, results)
    _warn(*results.store.damaged)
    if results.missing:
        print(f"next     {chosen.command('run')}")


@app.command()
def export(
    study: Name, to: Annotated[Format, typer.Option(help="What to write.")],
    out: Annotated[Path | None, typer.Option(help="File; default: the study's name in this folder.")] = None,
    history: Annotated[bool, typer.Option("--history", help="The logged curves instead of a row a trial.")] = False,
    preset: Preset = None, sets: Sets = None, home: Home = None,
) -> None:
    """Write the stored trials, or their curves, as one table."""
    from dlx import exports

    results = Chosen(study, preset, tuple(sets or ()), home).study().results(home)
    table = results.history() if history else results.table
    file = out or Path(f"{results.study.name}{'-history' if history else ''}.{to.value}")
    exports.write(table, file, to.value)
    print(f"{len(table):,} rows in {clean(file)}")
    _warn(*results.store.damaged)


@app.command()
def ui(
    home: Home = None, host: Annotated[str, typer.Option(help="Address to listen on.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(help="Port to listen on.")] = 5000,
) -> None:
    """Serve the MLflow pages of a home until Ctrl-C."""
    from dlx.tracking import ui

    ui.ui(home, host, port)


# ---------------------------------------------------------------- what is said of results


def _say_results(chosen: Chosen, results: "Results") -> None:
    from dlx.tables import cells_table, reasons

    _show(results, cells_table)
    print()
    if found := reasons(results):
        total = sum(n for n, _ in found)
        print(f"{total:,} {'trial' if total == 1 else 'trials'} failed:")
        for n, reason in found:
            print(f"  {n:,} × {reason}")
        print(f"  tracebacks: {chosen.command('export', {'to': 'csv'})}\n")
    print(f"results  {clean(_place(results))}")
    for figure in _figures(results):
        print(f"figure   {clean(figure)}")


def _say_next(chosen: Chosen, results: "Results", again: Mapping[str, Any]) -> None:
    """The commands to type next."""
    if results.missing:
        print(f"next     {chosen.command('run', again)}   ({results.missing:,} final trials are missing)")
    elif len(results.failed()):
        print(f"next     {chosen.command('run', {**again, 'retry_failed': True})}")
    if not results.missing:
        print(f"next     {chosen.command('show')}")
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
    store = results.store
    return store.folder if store.local_home is None else str(store.local_home / "studies" / results.study.name)


def _figures(results: "Results") -> list[Path]:
    if results.store.local_home is None:
        return []
    return sorted(Path(_place(results), "figures").glob("*.png"))


def _show(what: Any, table: Any = None) -> None:
    """Print a table as wide as the terminal, 80 columns elsewhere."""
    from rich.console import Console

    from dlx.tables import plain

    console = Console()
    shown = table(what, console.width) if table else what
    if console.is_terminal:
        console.print(shown)
    else:
        print(plain(shown, console.width))


def _warn(*sentences: str) -> None:
    for sentence in sentences:
        print(f"dlx: {clean(sentence)}", file=sys.stderr)


def main() -> None:
    """The command ``dlx``: what dlx refuses is one line on standard error and exit code 2."""
    for stream in (sys.stdout, sys.stderr):
        stream.reconfigure(errors="backslashreplace")  # type: ignore[union-attr]
    code: Any = 0
    try:
        app()
    except DlxError as e:
        _warn(str(e))
        code = REFUSED
    except SystemExit as e:
        code = e.code
    if left := stray_threads():
        _warn(f"not waiting for {', '.join(left)}, which a trial started and did not end.")
        leave(code)
    sys.exit(code)


if __name__ == "__main__":
    main()
