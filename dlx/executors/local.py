"""In this process, one pack after another: for debugging, for tests and for trials too short to send away."""

import contextlib
import os
import sys
import threading
import time
from collections.abc import Iterator
from typing import Any

from dlx.device import use_threads
from dlx.errors import ExecutorError, HomeError
from dlx.pack import Feed, Pack
from dlx.partials import Partial
from dlx.records import Records
from dlx.worker import run_pack

PATIENCE = 2.0  # seconds that threads which trials started get to end


class Local:
    """A plain loop over the packs of a feed; ``device``: where they run, None: a GPU for packs that ask for one.

    A trial that asks for several workers is trained by this process alone, which gives the same numbers.
    """

    def __init__(self, device: str | None = None) -> None:
        self.device = device
        self.slots = 1

    def run(self, feed: Feed) -> None:
        """Return when the feed is finished; raises ExecutorError for a feed that has no pack and is not finished."""
        while not feed.finished:
            pack = feed.take()
            if pack is not None:
                feed.tick()  # which shows that it runs
                try:
                    feed.done(pack, self._run(feed, pack))
                except HomeError as e:
                    feed.astray(pack, str(e))
            elif not feed.finished:
                raise ExecutorError("Nothing runs and nothing waits, but the study is not finished; report this.")
            feed.tick()

    def _run(self, feed: Feed, pack: Pack) -> Records:
        def on_partial(partial: Partial) -> None:
            feed.partial(pack, partial)
            feed.tick()

        with _threads(pack.resources.cpus * pack.resources.workers):
            device = self.device or ("cuda" if pack.resources.gpus else "cpu")
            return run_pack(pack, device, on_partial=on_partial)


@contextlib.contextmanager
def _threads(cpus: float) -> Iterator[None]:
    """``use_threads``, and afterwards as many as before."""
    before, torch = os.environ.get("OMP_NUM_THREADS"), sys.modules.get("torch")
    usual = torch.get_num_threads() if torch else 0
    use_threads(cpus)
    try:
        yield
    finally:
        os.environ.pop("OMP_NUM_THREADS") if before is None else os.environ.update(OMP_NUM_THREADS=before)
        if torch:
            torch.set_num_threads(usual)


def stray_threads() -> list[str]:
    """Names of the threads that would keep this process from ending, after they were given some time."""
    deadline = time.monotonic() + PATIENCE
    for thread in _strays():
        thread.join(max(0.0, deadline - time.monotonic()))
    return sorted(thread.name for thread in _strays())


def _strays() -> list[threading.Thread]:
    return [t for t in threading.enumerate() if t is not threading.main_thread() and not t.daemon]


def leave(code: Any) -> None:
    """End this process without waiting for its threads; ``code``: as ``sys.exit`` takes it."""
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code if isinstance(code, int) else 0 if code is None else 1)
