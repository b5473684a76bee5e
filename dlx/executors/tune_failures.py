"""What becomes of a pack that no worker ends: why one died, in words, and the rows of what cannot even be begun."""

import contextlib
import re
from collections.abc import Iterator
from typing import Any

import cloudpickle

from dlx.pack import Feed, Pack
from dlx.records import FAILED, Outcome, Records, now, to_records, versions
from dlx.trial import values


def reason(said: str) -> str:
    """One clause from what Ray says of a worker's end."""
    if "OutOfMemoryError" in said or "running low on memory" in said:
        return "its machine ran out of memory and Ray killed the worker"
    if re.search(r"node (?:has )?died|node was (?:terminated|removed|preempted)", said):
        return "the machine it ran on was lost"
    if "INTENDED_USER_EXIT" in said or "exit()" in said:
        return "the worker process ended itself"
    if "unexpectedly" in said or "SYSTEM_ERROR" in said:
        return "the worker process died: killed (as the system does when memory is short), or crashed"
    return f"the worker process failed: {_last_line(said)}"


def _last_line(text: str) -> str:
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    return lines[-1].rstrip(".") if lines else "no reason is known"


def parcel(pack: Pack, feed: Feed) -> bytes | None:
    """A pack as it is sent to a worker; None when it cannot be pickled, and then a trial that is alone has failed."""
    try:
        return bytes(cloudpickle.dumps(pack))
    except Exception as e:
        said = f"It cannot be sent to a worker ({type(e).__name__}: {e}); make in run() what cannot be pickled."
        if len(pack.members) > 1 or isinstance(e, MemoryError):
            feed.lost(pack, said)
        else:
            feed.done(pack, failed(pack, said, now(), 0.0))
        return None


def failed(pack: Pack, said: str, started: float, seconds: float) -> Records:
    """The rows of a pack whose trials all failed by the same error.

    started: seconds since the epoch.
    """
    device = "cuda" if pack.resources.gpus else "cpu"
    return to_records([
        Outcome(key=member.key, seed=member.seed, values=values(member.trial), status=FAILED, seconds=seconds,
                started=started, error=said, device=device, source=pack.source)
        for member in pack.members], versions())


@contextlib.contextmanager
def kills_are_deaths() -> Iterator[None]:
    """Ray Tune 2.60 ends the whole run when Ray kills a worker for memory; here it takes this for a dead worker."""
    from ray.air.execution._internal.actor_manager import RayActorManager
    from ray.exceptions import RayActorError, RayError, RayTaskError

    kind: Any = RayActorManager
    before = kind._actor_task_failed

    def failed(manager: Any, tracked_actor_task: Any, exception: Exception) -> None:
        if isinstance(exception, RayError) and not isinstance(exception, RayActorError | RayTaskError):
            exception = RayActorError(error_msg=f"{type(exception).__name__}: {exception}")
        before(manager, tracked_actor_task, exception)

    kind._actor_task_failed = failed
    try:
        yield
    finally:
        kind._actor_task_failed = before
