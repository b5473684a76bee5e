"""``python -m dlx.supervise ATTEMPTS run STUDY …``: a driver that is started again when something kills it.

The store makes this safe: a new driver runs what is missing. What the driver itself says by its exit code is an answer,
and so is a stop that it was asked for. Once whoever started this is dead, as when the head of a cluster is lost, nobody
could stop a driver any more, and so it ends.
"""

import os
import signal
import subprocess
import sys
import time
from contextlib import suppress
from types import FrameType

from dlx.runs import FAILED, MISSING, REFUSED
from dlx.text import count

ANSWERS = (0, REFUSED, MISSING, FAILED)
PAUSE = 2.0  # seconds before the next attempt, twice as long each time
LOOK = 1.0  # seconds between two looks at who started this
GRACE = 60.0  # seconds that a driver then has to store what runs


class Supervisor:
    """Runs a command line of dlx until it answers, at most so many times."""

    def __init__(self, attempts: int, words: list[str]) -> None:
        self.attempts, self.words = attempts, words
        self.parent, self.stopping = os.getppid(), False

    def run(self) -> int:
        """The exit code of the last attempt."""
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, self._stop)
        code = 1
        for attempt in range(1, self.attempts + 1):
            code = self._drive()
            if code in ANSWERS or self._over:
                break
            left = count(self.attempts - attempt, "attempt")
            print(f"dlx: the driver ended with {code}; {left} left.", file=sys.stderr, flush=True)
            if attempt < self.attempts:
                self._pause(PAUSE * 2 ** (attempt - 1))
            if self._over:
                break
        return code if code >= 0 else 128 - code

    def _drive(self) -> int:
        """One attempt; returns its exit code."""
        driver = subprocess.Popen([sys.executable, "-m", "dlx.cli", *self.words])
        while not self._orphaned:
            with suppress(subprocess.TimeoutExpired):
                return driver.wait(timeout=LOOK)
        driver.terminate()
        try:
            return driver.wait(timeout=GRACE)
        except subprocess.TimeoutExpired:
            driver.kill()
            return driver.wait()

    def _pause(self, seconds: float) -> None:
        until = time.monotonic() + seconds
        while time.monotonic() < until and not self._over:
            time.sleep(LOOK)

    @property
    def _over(self) -> bool:
        """Whether no driver is to be started any more."""
        return self.stopping or self._orphaned

    @property
    def _orphaned(self) -> bool:
        """Whether the process that started this is dead."""
        return os.getppid() != self.parent

    def _stop(self, number: int, frame: FrameType | None) -> None:
        """Try no more; the signal itself reaches the driver too, for Ray sends it to all processes of a job."""
        self.stopping = True


if __name__ == "__main__":
    sys.exit(Supervisor(int(sys.argv[1]), sys.argv[2:]).run())
