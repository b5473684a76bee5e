"""What follows a run: verdicts of its claims, the report with its figures, MLflow brought up to date."""

import contextlib
import tempfile
from pathlib import Path

from dlx import answers, report
from dlx.canonical import digest
from dlx.declaration import claim_digest, variant_file
from dlx.errors import DlxError
from dlx.live import View
from dlx.register import Look
from dlx.results import Results
from dlx.store import Store
from dlx.study import Study
from dlx.tracking import Summary, Tracking
from dlx.verdicts import Verdicts

PATIENCE = 600.0  # seconds that a run waits at its end for an MLflow that keeps answering


def conclude(study: Study, store: Store, tracking: Tracking | None, view: View, ran: bool) -> Results:
    """The results, with all that is made of them; nothing here can lose a trial. ran: whether any trial was begun."""
    results = Results.of(study, store.home)
    verdicts = _judged(results)
    mark = digest(tracking.uri.encode()).hex() if tracking is not None else ""
    untold = tracking is not None and (store.mirrored != mark or tracking.absent)
    with contextlib.ExitStack() as stack:
        folder = store.local_folder or Path(stack.enter_context(tempfile.TemporaryDirectory()))
        written = None
        if len(results.table) and (untold or ((study.claims or study.figures) and ran)):
            written = _report(results, report.folder_in(folder, study.variant), view)
        if tracking is None or not untold:
            return results
        table = folder / variant_file("results", study.variant, "parquet")
        results.write(table)
        tracking.start()
        summary = Summary(study.question, results.cells(), table, verdicts, written)
        try:
            missed = tracking.close(summary, PATIENCE)
        except KeyboardInterrupt:
            missed = "MLflow was not waited for; the next run sends what it lacks."
        if missed is None:
            store.mirror(mark)
        else:
            view.say(missed)
    return results


def _judged(results: Results) -> Verdicts:
    """Verdicts, left in the home for listings; those that rest on all their trials are looks."""
    verdicts, said = results.verdicts(), results.declaration
    if said.claims and len(results.table):
        answers.keep(results.store, said, verdicts)
        looked = [claim_digest(c) for c, v in zip(said.claims, verdicts, strict=True) if v.p is not None]
        results.register.look(looked, Look(len(said.seeds), said.search.repeats if said.search else 0))
    return verdicts


def _report(results: Results, folder: Path, view: View) -> report.Report | None:
    try:
        written = report.write(results, folder)
    except (Exception, SystemExit) as e:
        said = str(e) if isinstance(e, DlxError) else f"The report could not be written: {type(e).__name__}: {e}"
        view.say(said)
        return None
    for problem in written.problems:
        view.say(problem)
    return written
