"""Views that are drawn anew: at the bottom of a terminal, and in the output of a notebook's cell."""

import html
import io
import sys
import time
from typing import TYPE_CHECKING, Any, TextIO

from dlx.live import Progress, counts
from dlx.plan import duration
from dlx.tables import WIDTH
from dlx.text import clean

if TYPE_CHECKING:
    from rich.console import Console, RenderableType
    from rich.live import Live as RichLive

FRAMES = 4  # a second, on a terminal
REDRAWN = 0.5  # seconds between two pictures in a notebook


class Live:
    """A view that is drawn anew four times a second at the bottom of a terminal."""

    def __init__(self, file: TextIO | None = None, console: "Console | None" = None) -> None:
        from rich.console import Console

        self._console = console or Console(file=file or sys.stderr)
        self._live: RichLive | None = None
        self._name, self._progress, self._began = "", Progress(), 0.0

    def start(self, name: str, progress: Progress) -> None:
        """Open the view."""
        from rich.live import Live as RichLive

        self._name, self._progress, self._began = name, progress, time.monotonic() - progress.seconds
        self._live = RichLive(get_renderable=self._render, console=self._console, refresh_per_second=FRAMES)
        self._live.start()

    def update(self, progress: Progress) -> None:
        """Take note; the next frame shows it."""
        self._progress = progress

    def say(self, line: str) -> None:
        """Print the sentence above the view, where it stays."""
        self._console.print(clean(line), markup=False, highlight=False, soft_wrap=True)

    def stop(self) -> None:
        """Leave the last frame standing."""
        if self._live is not None:
            self._live.stop()
            self._live = None

    def _render(self) -> "RenderableType":
        return picture(self._name, self._progress, time.monotonic() - self._began)


class Notebook:
    """A view in the output of a notebook's cell, drawn anew twice a second, where it stays as it was at the end."""

    def __init__(self) -> None:
        self._display: Any = None
        self._name, self._progress, self._began, self._drawn = "", Progress(), 0.0, 0.0

    def start(self, name: str, progress: Progress) -> None:
        """Open the view below what the cell has shown so far."""
        from IPython.display import display

        self._name, self._progress, self._began = name, progress, time.monotonic() - progress.seconds
        self._display = display(self._bundle(), raw=True, display_id=True)

    def update(self, progress: Progress) -> None:
        """Draw it anew when it is time."""
        self._progress = progress
        if self._display is not None and time.monotonic() - self._drawn >= REDRAWN:
            self._display.update(self._bundle(), raw=True)

    def say(self, line: str) -> None:
        """Show the sentence as an output of its own."""
        from IPython.display import display

        text = clean(line)
        display({"text/plain": text, "text/html": f"<pre>{html.escape(text)}</pre>"}, raw=True)

    def stop(self) -> None:
        """Leave it as it is now."""
        if self._display is not None:
            self._display.update(self._bundle(), raw=True)
            self._display = None

    def _bundle(self) -> dict[str, str]:
        """The view as notebooks take it: text, and the same in colours."""
        from rich.console import Console

        self._drawn = time.monotonic()
        console = Console(file=io.StringIO(), record=True, width=WIDTH, force_jupyter=False, force_terminal=True)
        console.print(picture(self._name, self._progress, self._drawn - self._began))
        coloured = console.export_html(inline_styles=True, clear=False, code_format="<pre>{code}</pre>")
        return {"text/plain": console.export_text(), "text/html": coloured}


def picture(name: str, progress: Progress, seconds: float) -> "RenderableType":
    """The progress of a run so many seconds after its start: bars, counts, the packs that run longest, failures."""
    from rich.console import Group
    from rich.text import Text

    p = progress
    facts = [f"{p.rate:.3g} trials/s", *(f"{n:,} {word}" for n, word in counts(p))]
    left = "" if p.seconds_left is None else f", {duration(p.seconds_left)} left"
    lines: list[RenderableType] = [Text(clean(name), style="bold"), _bars(p), Text("   ".join(facts))]
    lines.append(Text(f"{duration(seconds)}{left}"))
    lines += [Text(clean(f"best {p.best}"))] if p.best else []
    lines += [Text(clean(line), style="red", overflow="ellipsis", no_wrap=True) for line in p.failures]
    lines += [Text(clean(p.message), style="yellow")] if p.message else []
    return Group(*lines)


def _bars(progress: Progress) -> "RenderableType":
    from rich.progress_bar import ProgressBar
    from rich.table import Table
    from rich.text import Text

    p = progress
    rows = [("cells", p.cells_done, p.cells, ""), ("trials", p.stored + p.done, p.wanted, "")]
    rows += [(f"pack of {r.trials:,}", r.step, r.steps or 0, r.latest) for r in p.packs]
    grid = Table.grid(padding=(0, 2), expand=False)
    for word, done, total, latest in rows:
        bar = ProgressBar(total=max(total, 1), completed=done, width=30) if total or not latest else Text("")
        of = f"/{total:,}" if total or word in ("cells", "trials") else ""
        grid.add_row(Text(word, style="dim"), bar, Text(f"{done:,}{of}"), Text(clean(latest)))
    return grid
