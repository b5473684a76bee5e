"""Why a worker died, in words; and that a worker which Ray kills for memory has died like any other."""

import contextlib
import re
from collections.abc import Iterator
from typing import Any


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
