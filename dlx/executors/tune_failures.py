"""Why a worker died, in words."""

import re


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
