"""The command line: list, plan, run, submit, watch, stop, audit, show, report, export, ui.

Engines are imported by the commands that need them.
"""

import sys
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any

import typer

from dlx import runs
from dlx.chosen import Chosen
from dlx.errors import DeclarationError, DlxError
from dlx.executors.local import leave, stray_threads
from dlx.printed import say_job, say_list, say_results, show_table, warn
from dlx.runs import FAILED, MISSING, REFUSED
from dlx.text import clean

app = typer.Typer(
    help="Run studies: grids of trials, each cell tuned fairly and repeated over seeds.",
    no_args_is_help=True, add_completion=False, pretty_exceptions_enable=False, rich_markup_mode=None,
)

Name = Annotated[str, typer.Argument(metavar="STUDY", help="Name or path of a study file; dlx list shows them.")]
Preset = Annotated[str | None, typer.Option(help="A preset of the study, such as quick.")]
Sets = Annotated[list[str] | None, typer.Option(
    "--set", metavar="PATH=VALUE", help="Another value by path, such as template.model.width=32,64; repeatable.")]
Home = Annotated[str | None, typer.Option(help="Where results are kept: a path or URL; default $DLX_HOME or dlx-home.")]
Dashboard = Annotated[str, typer.Option("--address", help="Of the cluster's dashboard: http://HEAD:8265.")]


class Engine(StrEnum):
    """What carries a study out."""

    RAY = "ray"
    LOCAL = "local"


class Format(StrEnum):
    """What a table is written as."""

    CSV = "csv"
    PARQUET = "parquet"


@app.command("list")
def list_(
    home: Home = None,
    markdown: Annotated[bool, typer.Option("--markdown", help="Questions, verdicts and figures as Markdown.")] = False,
    out: Annotated[Path | None, typer.Option(help="A Markdown file, with its figures in a folder beside it.")] = None,
) -> None:
    """List every study with its question, how many of its trials are stored, and how its claims came out."""
    from dlx import listing

    found, problems = listing.entries(home)
    if markdown or out is not None:
        from dlx import catalogue

        catalogue.write(found, home, out)
    else:
        say_list(found)
    warn(*problems)


@app.command()
def plan(study: Name, preset: Preset = None, sets: Sets = None, home: Home = None) -> None:
    """Say what a run would do; start nothing."""
    found = Chosen(study, preset, tuple(sets or ()), home).study().plan(home)
    print(found)
    warn(*found.damaged)


@app.command()
def run(
    study: Annotated[str | None, typer.Argument(metavar="STUDY", help="Name or path of a study file.")] = None,
    every: Annotated[bool, typer.Option("--all", help="Every study here that has the preset.")] = False,
    preset: Preset = None, sets: Sets = None, home: Home = None,
    executor: Annotated[Engine, typer.Option(help="Ray Tune, or this process alone.")] = Engine.RAY,
    address: Annotated[str | None, typer.Option(help="Of a running Ray cluster; auto: this machine's.")] = None,
    max_seconds: Annotated[float | None, typer.Option(help="Begin nothing of a study after this time.")] = None,
    max_trials: Annotated[int | None, typer.Option(help="Begin no more trials of a study than this.")] = None,
    max_gpu_hours: Annotated[float | None, typer.Option(help="Begin nothing of a study beyond this use.")] = None,
    retry_failed: Annotated[bool, typer.Option("--retry-failed", help="Run stored failures again.")] = False,
    wait: Annotated[bool, typer.Option("--wait", help="Wait for another run of this study to end.")] = False,
    quiet: Annotated[bool, typer.Option("--quiet", help="Say only what went wrong.")] = False,
    tracking_uri: Annotated[
        str | None, typer.Option(help="MLflow, or off; default $MLFLOW_TRACKING_URI, or the home.")] = None,
) -> None:
    """Run what is missing; Ctrl-C once finishes what is running, twice stops now.

    Exit code 0: all is stored. 2: refused. 3: something is missing. 4: trials failed.
    """
    if (study is None) != every or (every and sets):
        raise DeclarationError("Name one study, or write --all, which takes --preset and no --set.")
    asked = runs.Asked(executor.value, address, max_seconds, max_trials, max_gpu_hours, retry_failed, wait,
                       tracking_uri, quiet)
    try:
        code = (runs.run_all(preset, home, asked) if study is None
                else runs.run_one(Chosen(study, preset, tuple(sets or ()), home), asked))
    except KeyboardInterrupt:
        code = MISSING
    if code:
        raise typer.Exit(code)


@app.command()
def show(study: Name, preset: Preset = None, sets: Sets = None, home: Home = None) -> None:
    """Show what is stored: a table of cells, verdicts, what failed and why, where everything lies."""
    chosen = Chosen(study, preset, tuple(sets or ()), home)
    results = chosen.results()
    print(f"{clean(results.declaration.name)}: {clean(results.declaration.question)}\n")
    say_results(chosen, results)
    warn(*results.store.damaged)
    if results.missing:
        print(f"next     {chosen.command('run')}")


@app.command()
def report(
    study: Name,
    out: Annotated[Path | None, typer.Option(help="Folder; default: that of the study in the home.")] = None,
    preset: Preset = None, sets: Sets = None, home: Home = None,
) -> None:
    """Write the answer as one HTML file and a Markdown twin: verdicts, figures, tables, how to reproduce it."""
    from dlx import report

    chosen = Chosen(study, preset, tuple(sets or ()), home)
    results = chosen.results()
    written = report.write(results, out, chosen.command("run"))
    print(f"report   {clean(written.html)}\n         {clean(written.markdown)}")
    warn(*written.problems)
    warn(*results.store.damaged)


@app.command()
def watch(
    study: Name, once: Annotated[bool, typer.Option("--once", help="Say how it stands, and end.")] = False,
    address: Annotated[str | None, typer.Option(help="Of a dashboard: show what its job prints instead.")] = None,
    preset: Preset = None, sets: Sets = None, home: Home = None,
) -> None:
    """Show how far a run is, from another terminal or machine, with nothing but the home."""
    from dlx.store import Store
    from dlx.watch import watch as follow

    chosen = Chosen(study, preset, tuple(sets or ()), home)
    if address is not None:
        from dlx import submission

        say_job(chosen, submission.follow(chosen, address, once))
        return
    name = chosen.study_name()
    follow(name, Store(name, home), once, command=chosen.command("run"))


@app.command()
def submit(
    study: Name, address: Dashboard, preset: Preset = None, sets: Sets = None, home: Home = None,
    attempts: Annotated[int, typer.Option(help="How often the driver is started when something kills it.")] = 5,
    tracking_uri: Annotated[str | None, typer.Option(help="MLflow, or off; default $MLFLOW_TRACKING_URI.")] = None,
) -> None:
    """Run a study on a cluster, detached: this folder is shipped, without what .gitignore names and without secrets."""
    from dlx import submission

    chosen = Chosen(study, preset, tuple(sets or ()), home)
    print(f"job      {submission.submit(chosen, address, attempts, tracking_uri)}")
    for verb, options in (("watch", {}), ("watch", {"address": address}), ("stop", {"address": address})):
        print(f"next     {chosen.command(verb, options)}")


@app.command()
def stop(study: Name, address: Dashboard) -> None:
    """End the job of a study on a cluster; what runs is finished and stored, if that takes at most five minutes."""
    from dlx import submission

    chosen = Chosen(study)
    if not (ended := submission.stop(chosen, address)):
        say_job(chosen, None)
    for job in ended:
        print(f"{job.id} was asked to stop.")


@app.command()
def audit(
    study: Name, trials: Annotated[int, typer.Option(help="How many stored trials to run again.")] = 10,
    seed: Annotated[int, typer.Option(help="Which ones are chosen.")] = 0,
    preset: Preset = None, sets: Sets = None, home: Home = None,
) -> None:
    """Run a few stored trials again, each alone, and compare the numbers; the home stays as it is.

    Exit code 0: all agree. 3: there is nothing to audit. 4: some differ.
    """
    from dlx.audit import audit as again
    from dlx.audit import table

    found = again(Chosen(study, preset, tuple(sets or ()), home).study(), home, trials, seed)
    show_table(table(found))
    if not found.passed:
        raise typer.Exit(FAILED if found.trials else MISSING)


@app.command()
def export(
    study: Name, to: Annotated[Format, typer.Option(help="What to write.")],
    out: Annotated[Path | None, typer.Option(help="File; default: the study's name in this folder.")] = None,
    history: Annotated[bool, typer.Option("--history", help="The logged curves instead of a row a trial.")] = False,
    preset: Preset = None, sets: Sets = None, home: Home = None,
) -> None:
    """Write the stored trials, or their curves, as one table."""
    from dlx import exports

    results = Chosen(study, preset, tuple(sets or ()), home).results()
    table = results.history() if history else results.table
    file = out or Path(f"{results.declaration.name}{'-history' if history else ''}.{to.value}")
    exports.write(table, file, to.value)
    print(f"{len(table):,} rows in {clean(file)}")
    warn(*results.store.damaged)


@app.command()
def ui(
    home: Home = None, host: Annotated[str, typer.Option(help="Address to listen on.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(help="Port to listen on.")] = 5000,
) -> None:
    """Serve the MLflow pages of a home until Ctrl-C."""
    from dlx.tracking import ui

    ui.ui(home, host, port)


def main() -> None:
    """The command ``dlx``: what dlx refuses is one line on standard error and exit code 2."""
    for stream in (sys.stdout, sys.stderr):
        stream.reconfigure(errors="backslashreplace")  # type: ignore[union-attr]
    code: Any = 0
    try:
        app()
    except DlxError as e:
        warn(str(e))
        code = REFUSED
    except SystemExit as e:
        code = e.code
    if left := stray_threads():
        warn(f"not waiting for {', '.join(left)}, which a trial started and did not end.")
        leave(code)
    sys.exit(code)


if __name__ == "__main__":
    main()
