"""Runs on a cluster, detached: a study is submitted as a job that starts its driver anew when something kills it."""

import os
from pathlib import Path

from dlx.chosen import Chosen
from dlx.errors import DeclarationError
from dlx.executors.jobs import Job, Jobs
from dlx.text import clean, holds_password


def submit(chosen: Chosen, address: str, attempts: int, tracking_uri: str | None = None) -> str:
    """Ship this folder and run a study of it on a cluster; returns the job's id.

    address: of the cluster's dashboard; attempts: how often its driver is started at most; tracking_uri: of MLflow
    (default ``$MLFLOW_TRACKING_URI``), or ``off``. Raises DeclarationError for what could not go on there, and
    ExecutorError when the cluster does not answer.
    """
    if attempts < 1:
        raise DeclarationError(f"attempts is {attempts}; the driver must be started at least once.")
    study = chosen.study()
    study.space.check()
    home, environment = _home(chosen), {}
    uri = tracking_uri or os.environ.get("MLFLOW_TRACKING_URI")
    if uri is not None and uri != "off":
        environment["MLFLOW_TRACKING_URI"] = _without_secrets(uri, "MLFLOW_TRACKING_URI")
    words = ["python", "-m", "dlx.supervise", str(attempts), "run", _shipped(chosen.name),
             "--address", "auto", "--wait", "--home", home, *(["--preset", chosen.preset] if chosen.preset else [])]
    for text in chosen.sets:
        words += ["--set", text]
    if uri == "off":
        words += ["--tracking-uri", "off"]
    jobs, here = Jobs(address), Path.cwd()
    if running := [job for job in jobs.of(study.name) if not job.over]:
        raise DeclarationError(
            f"{study.name} runs there already, as {running[0].id}; watch it by dlx watch, or end it by dlx stop.")
    leave = [Path(home).relative_to(here).as_posix()] if Path(home).is_relative_to(here) else []
    return jobs.submit(study.name, words, here, leave, environment)


def stop(chosen: Chosen, address: str) -> list[Job]:
    """Ask the jobs of a study that are not over to end; returns them."""
    jobs = Jobs(address)
    going = [job for job in jobs.of(chosen.study_name()) if not job.over]
    for job in going:
        jobs.stop(job)
    return going


def follow(chosen: Chosen, address: str, once: bool) -> Job | None:
    """Print what the latest job of a study prints, until it ends, or nothing of it when ``once``.

    Returns the job as it is then, None where there is none.
    """
    jobs, name = Jobs(address), chosen.study_name()
    found = jobs.of(name)
    if found and not once:
        for piece in jobs.log(found[0]):
            print("".join(c if c == "\n" else clean(c) for c in piece), end="", flush=True)
        found = jobs.of(name)
    return found[0] if found else None


def _home(chosen: Chosen) -> str:
    """Where the results will lie; raises DeclarationError for a place that only this machine has."""
    given = chosen.home or os.environ.get("DLX_HOME")
    if given is None or ("://" not in given and not os.path.isabs(given)):
        raise DeclarationError(
            f"home is {given or 'dlx-home'!r}, a folder of this machine; give --home a place that all machines of the "
            "cluster see: an absolute path, or an address such as s3://BUCKET/folder."
        )
    return _without_secrets(given, "home") if "://" in given else given


def _without_secrets(address: str, name: str) -> str:
    """The address; raises DeclarationError where it holds a password, which Ray would show to whoever asks."""
    if holds_password(address):
        raise DeclarationError(f"{name} holds a password, which a job would show; set it in the environment of the "
                               "cluster's machines.")
    return address


def _shipped(name: str) -> str:
    """The study as it is called in the folder that is shipped."""
    if not os.path.isfile(name):
        return name
    path = Path(name).resolve()
    if not path.is_relative_to(Path.cwd()):
        raise DeclarationError(f"{name} lies outside this folder, which is what is shipped; submit it from the folder "
                               "of its project.")
    return path.relative_to(Path.cwd()).as_posix()
