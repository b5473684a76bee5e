"""Watching a run from elsewhere, with nothing but the home: another terminal, or another machine."""

import os
import shlex
import socket
import sys
import time
from typing import TextIO

import pyarrow as pa

from dlx.beacon import Sighting, sight
from dlx.home import Home, unreadable
from dlx.live import choose, summary
from dlx.plan import duration
from dlx.store import Store
from dlx.text import clean

SILENCE = 30.0  # seconds without a beat after which a driver is taken for dead, beyond a few periods
MISSED = 3  # beats that may fail to come


def watch(study: str, store: Store, once: bool = False, file: TextIO | None = None, command: str | None = None) -> None:
    """Show how far a study is, until its run ends, or ``once``; raises StoreError when the home cannot be read.

    file: where it is shown (default: standard output); command: what runs the study, to be named where it does not run.
    """
    file = file or sys.stdout
    seen = _look(store)
    if seen is not None and not once:
        seen = _follow(store, seen, file)
    print(clean(_standing(study, store, seen, command or f"dlx run {shlex.quote(study)}")), file=file, flush=True)
    for line in seen.progress.failures if seen is not None else ():
        print(f"  {clean(line)}", file=file, flush=True)


def _look(store: Store) -> Sighting | None:
    try:
        return sight(store.folder)
    except (OSError, pa.ArrowException) as e:
        raise unreadable(Home(store.home), e) from e


def _follow(store: Store, seen: Sighting, file: TextIO) -> Sighting:
    """Show what is seen until its driver ends, or dies."""
    if not alive(seen, since=seen.written, now=time.time()):
        return seen
    view, said, heard = choose(file=file), list[str](), time.monotonic()
    view.start(seen.name, seen.progress)
    try:
        while alive(seen, since=heard, now=time.monotonic()):
            for line in seen.said:
                if line not in said:
                    view.say(line)
                    said.append(line)
            view.update(seen.progress)
            time.sleep(seen.period)
            if (found := _look(store)) is not None and (found.pid, found.beat) != (seen.pid, seen.beat):
                seen, heard = found, time.monotonic()
        view.update(seen.progress)
    finally:
        view.stop()
    return seen


def alive(seen: Sighting, since: float, now: float) -> bool:
    """Whether a driver still runs whose last beat was heard at ``since``, by the clock that says ``now`` (seconds)."""
    if seen.ended or now - since > SILENCE + MISSED * seen.period:
        return False
    return now - since < MISSED * seen.period or seen.host != socket.gethostname() or _exists(seen.pid)


def _exists(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except (PermissionError, OverflowError):
        return True
    return True


def _standing(study: str, store: Store, seen: Sighting | None, command: str) -> str:
    """One line: how far it is, and whether anything runs."""
    if seen is None:
        return f"{study}: nothing runs; {len(store.statuses()):,} trials are stored; to run it: {command}"
    p, driver = seen.progress, f"pid {seen.pid} on {seen.host}"
    if alive(seen, since=seen.written, now=time.time()):
        return f"{study}: runs since {duration(p.seconds)} ({driver}): {summary(p)}"
    p.running, p.packs, p.rate = 0, (), 0.0
    if not seen.ended:
        return f"{study}: nothing runs, its driver ({driver}) died after {duration(p.seconds)}; {summary(p)} are " \
            f"known; this goes on: {command}"
    left = "" if p.stored + p.done >= p.wanted else f"; this goes on: {command}"
    return f"{study}: nothing runs; {summary(p)}{left}"
