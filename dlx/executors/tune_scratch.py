"""Temporary folders of a run: removed at its end, and those of killed runs by the next one."""

import contextlib
import fcntl
import os
import shutil
import tempfile
import time
from pathlib import Path
from types import TracebackType

PREFIX = "dlx-"
PLACE = Path("/tmp" if os.path.isdir("/tmp") else tempfile.gettempdir())  # paths of sockets must be short
HOLD = "held"  # a file that is locked for as long as the driver lives
YOUNG = 60.0  # seconds in which a folder may not be held yet


class Scratch:
    """A temporary folder that this process holds; what killed processes left is removed on the way."""

    def __init__(self) -> None:
        sweep()
        self.folder = Path(tempfile.mkdtemp(prefix=PREFIX, dir=PLACE))
        self._hold = (self.folder / HOLD).open("w")
        fcntl.flock(self._hold, fcntl.LOCK_EX)

    def __enter__(self) -> Path:
        return self.folder

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.remove()

    def remove(self) -> None:
        """Remove the folder and let go of it."""
        shutil.rmtree(self.folder, ignore_errors=True)
        self._hold.close()


def sweep() -> None:
    """Remove the folders that nobody holds any more."""
    for hold in PLACE.glob(f"{PREFIX}*/{HOLD}"):
        with contextlib.suppress(OSError):
            if time.time() - hold.stat().st_mtime < YOUNG:
                continue
            with hold.open("r+") as file:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                shutil.rmtree(hold.parent, ignore_errors=True)
