"""A beacon: what a run shows of itself in the home while it lasts, for whoever watches from elsewhere."""

import dataclasses
import json
import os
import socket
import threading
import time
from collections import deque
from collections.abc import Mapping
from contextlib import suppress
from typing import Any

from dlx.files import UNFINISHED
from dlx.home import Home
from dlx.live import Progress, Running

FILE = "live.json"
PERIOD, AFAR = 1.0, 5.0  # seconds between two writings: on this machine's file systems, elsewhere
LAST = 5  # sentences that are kept
PATIENCE = 10.0  # seconds for the last writing


class Beacon:
    """A view that is a file in a study's folder (a URL), written anew every second from a thread of its own."""

    def __init__(self, folder: str) -> None:
        self._home = Home(folder)
        self._period = PERIOD if self._home.local else AFAR
        self._progress, self._name, self._beats, self._began = Progress(), "", 0, 0.0
        self._said: deque[str] = deque(maxlen=LAST)
        self._stop = threading.Event()
        self._thread: threading.Thread | None = None

    def start(self, name: str, progress: Progress) -> None:
        """Begin to write."""
        self._name, self._progress, self._began = name, progress, time.monotonic() - progress.seconds
        self._stop.clear()
        self._thread = threading.Thread(target=self._work, name="dlx-beacon", daemon=True)
        self._thread.start()

    def update(self, progress: Progress) -> None:
        """Take note; the next writing has it."""
        self._progress = progress

    def say(self, line: str) -> None:
        """Keep the sentence; the next writing has it."""
        self._said.append(line)

    def stop(self) -> None:
        """Write that the run has ended."""
        if self._thread is not None:
            self._stop.set()
            self._thread.join(PATIENCE)
            self._thread = None

    def _work(self) -> None:
        while True:
            ended = self._stop.is_set()
            with suppress(Exception):  # a home that is full or away is the store's to report
                self._write(json.dumps(self._content(ended)).encode())
            if ended:
                return
            self._stop.wait(self._period)

    def _content(self, ended: bool) -> dict[str, Any]:
        self._beats += 1
        progress = {**dataclasses.asdict(self._progress), "seconds": time.monotonic() - self._began}
        return {"name": self._name, "host": socket.gethostname(), "pid": os.getpid(), "beat": self._beats,
                "written": time.time(), "period": self._period, "ended": ended, "said": list(self._said),
                "progress": progress}

    def _write(self, content: bytes) -> None:
        """Replace the file at once; it need not survive a power cut, so nothing waits for a disk."""
        path = self._home.path(FILE)
        if not self._home.local:
            self._home.put(path, content)
            return
        beside = self._home.path(f".{FILE}{UNFINISHED}")
        with open(beside, "wb") as file:
            file.write(content)
        os.replace(beside, path)


@dataclasses.dataclass(frozen=True)
class Sighting:
    """What a beacon said last, at ``written`` (seconds since the epoch, its clock); the next is due in ``period``."""

    name: str
    host: str
    pid: int
    beat: int
    written: float
    period: float
    ended: bool
    said: tuple[str, ...]
    progress: Progress


def sight(folder: str) -> Sighting | None:
    """What the beacon in a study's folder (a URL) said last; None without one, or where it cannot be understood.

    Raises OSError when the home cannot be read.
    """
    home = Home(folder)
    try:
        found = json.loads(home.read(home.path(FILE)))
        progress = _known(Progress, found["progress"])
        progress["packs"] = tuple(Running(**_known(Running, pack)) for pack in progress.get("packs", ()))
        progress["failures"] = tuple(map(str, progress.get("failures", ())))
        return Sighting(**{**_known(Sighting, found), "said": tuple(map(str, found["said"])),
                           "progress": Progress(**progress)})
    except (FileNotFoundError, ValueError, TypeError, KeyError):
        return None


def _known(kind: Any, found: Mapping[str, Any]) -> dict[str, Any]:
    """The fields that this dlx knows; a newer one may write more."""
    return {f.name: found[f.name] for f in dataclasses.fields(kind) if f.name in found}
