"""What is told of a study as a whole: the descriptions of its experiment and its summary run, verdicts, report."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

import pyarrow as pa

from dlx.provenance import Provenance
from dlx.records import now
from dlx.text import markdown, number
from dlx.tracking import views
from dlx.tracking.client import LONGEST_TAG, Experiment, Run, Sent, name_of
from dlx.tracking.rows import pipes

if TYPE_CHECKING:
    from dlx.claims import Verdict

NOTE = "mlflow.note.content"
LONGEST_NOTE = 16_000  # characters of an experiment's description
VERDICT = "verdict."  # begins the names of tags


class Report(Protocol):
    """A report whose files lie in one folder, which holds nothing else."""

    @property
    def html(self) -> Path:
        """The page that needs no other file."""


@dataclass(frozen=True)
class Summary:
    """What a study's run leaves in MLflow beside its trials.

    ``cells``: one row a cell, shown as it is; ``results``: the Parquet file of all results.
    """

    question: str
    cells: pa.Table | None = None
    results: Path | None = None
    verdicts: "Sequence[Verdict]" = ()
    report: Report | None = None


def describe(experiment: str, question: str, verdicts: "Sequence[Verdict]" = (), report: str = "") -> str:
    """The description of an experiment in Markdown; report: the address of its page."""
    pages = [("Report", report)] if report else []
    pages += [("cells", views.link(experiment)), ("mean curves", views.link(experiment, views.CURVES)),
              ("final trials by cell", views.link(experiment, views.FINALS)),
              ("all trials", views.link(experiment, views.TRIALS)),
              ("failed, diverged, stopped", views.link(experiment, views.TROUBLE))]
    links = " · ".join(f"[{name}]({address})" for name, address in pages)
    first = markdown(question)
    if verdicts:
        from dlx.claims.verdict import counted  # with scipy, for which no trial has to wait

        first += f" **{counted(verdicts)}**"
    return "\n\n".join(filter(None, (first, _listed(verdicts), f"{links} (as in the menu *Views*)")))


def write(experiment: Experiment, summary: Summary, provenance: Provenance, beat: Callable[[], None]) -> str:
    """Write the summary run, always the same one, so that its address stays, and the description that leads to it.

    Returns the experiment's description.
    """
    old = list(experiment.runs("summary"))
    run = old[0] if old else Sent(experiment.send(_run()), {}, True, 0)
    for other in old[1:]:
        experiment.delete(other.id)
    said = {name_of(f"dlx.{VERDICT}{v.name}"): f"{v.outcome}, {v.label}" for v in summary.verdicts}
    for stale in {f"dlx.{name}" for name in run.tags if name.startswith(VERDICT)} - said.keys():
        experiment.untag(run.id, stale)
    table = "" if summary.cells is None else pipes(summary.cells)
    text = "\n\n".join(filter(None, (markdown(summary.question), _listed(summary.verdicts), table)))
    experiment.tag(run.id, {NOTE: _cut(text, LONGEST_TAG), **said, **_origin(provenance)})
    experiment.attach_text(run.id, "summary.md", text)
    if provenance.diff:
        experiment.attach_text(run.id, "provenance/changes.diff", provenance.diff)
    page = ""
    if summary.report is not None:
        beat()
        experiment.attach_folder(run.id, summary.report.html.parent)
        page = views.artifact(experiment.id, run.id, summary.report.html.name)
    if summary.results is not None:
        beat()
        experiment.attach_file(run.id, summary.results)
    return _cut(describe(experiment.id, summary.question, summary.verdicts, page), LONGEST_NOTE)


def _listed(verdicts: "Sequence[Verdict]") -> str:
    """Verdicts in Markdown, one a line: outcome, claim, effect with its interval, label, first reason."""
    lines = []
    for v in verdicts:
        interval = f" [{number(v.low)}, {number(v.high)}]" if v.low is not None and v.high is not None else ""
        effect = [] if v.effect is None else [f"{v.what}: {number(v.effect)}{interval}"]
        said = [markdown(text) for text in (v.claim, *effect, v.label, *v.reasons[:1])]
        lines.append(f"- **{v.outcome}** " + " · ".join(said))
    return "\n".join(lines)


def _cut(text: str, longest: int) -> str:
    """A text, cut at the end of a line where it is longer."""
    return text if len(text) <= longest else text[:longest].rpartition("\n")[0]


def _run() -> Run:
    time = round(now() * 1000)
    return Run(name="summary", tags={"kind": "summary"}, status="FINISHED", started=time, ended=time)


def _origin(p: Provenance) -> dict[str, str]:
    """Provenance as tags; ``mlflow.source.git.commit`` is the one MLflow knows."""
    tags = {"dlx.command": p.command, "dlx.host": p.host, "dlx.version": p.dlx, "dlx.dirty": str(p.dirty).lower()}
    if p.commit:
        tags |= {"mlflow.source.git.commit": p.commit, "dlx.commit": p.commit}
    if p.branch:
        tags["dlx.branch"] = p.branch
    tags |= {f"dlx.versions.{name}": value for name, value in p.versions.items()}
    return tags | {f"dlx.hardware.{name}": value for name, value in p.hardware.items()}
