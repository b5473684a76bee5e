"""In this process, one pack after another: for debugging, for tests and for trials too short to send away."""

from dlx.errors import ExecutorError
from dlx.pack import Feed
from dlx.worker import run_pack


class Local:
    """A plain loop over the packs of a feed; ``device``: where they run, None: a GPU for packs that ask for one."""

    def __init__(self, device: str | None = None) -> None:
        self.device = device
        self.slots = 1

    def run(self, feed: Feed) -> None:
        """Return when the feed is finished; raises ExecutorError for a feed that has no pack and is not finished."""
        while not feed.finished:
            pack = feed.take()
            if pack is not None:
                feed.done(pack, run_pack(pack, self.device or ("cuda" if pack.resources.gpus else "cpu")))
            elif not feed.finished:
                raise ExecutorError("Nothing runs and nothing waits, but the study is not finished; report this.")
            feed.tick()
