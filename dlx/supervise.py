"""``python -m dlx.supervise ATTEMPTS run STUDY …``: a driver that is started again when something kills it.

The store makes this safe: a new driver runs what is missing. What the driver itself says by its exit code is an answer,
and so is a stop that it was asked for.
"""

import signal
import subprocess
import sys
import time
from types import FrameType

from dlx.runs import FAILED, MISSING, REFUSED
from dlx.text import count

ANSWERS = (0, REFUSED, MISSING, FAILED)
PAUSE = 2.0  # seconds before the next attempt, twice as long each time


class Supervisor:
    """Runs a command line of dlx until it answers, at most so many times."""

    def __init__(self, attempts: int, words: list[str]) -> None:
        self.attempts, self.words = attempts, words
        self.stopping = False

    def run(self) -> int:
        """The exit code of the last attempt."""
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, self._stop)
        code = 1
        for attempt in range(1, self.attempts + 1):
            code = subprocess.run([sys.executable, "-m", "dlx.cli", *self.words], check=False).returncode
            if code in ANSWERS or self.stopping:
                break
            left = count(self.attempts - attempt, "attempt")
            print(f"dlx: the driver ended with {code}; {left} left.", file=sys.stderr, flush=True)
            if attempt < self.attempts:
                time.sleep(PAUSE * 2 ** (attempt - 1))
        return code if code >= 0 else 128 - code

    def _stop(self, number: int, frame: FrameType | None) -> None:
        """Try no more; the signal itself reaches the driver too, for Ray sends it to all processes of a job."""
        self.stopping = True


if __name__ == "__main__":
    sys.exit(Supervisor(int(sys.argv[1]), sys.argv[2:]).run())
