"""Final values by item of a test set that trials share, so that its items, or windows, count as a sample too."""

from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import pyarrow as pa

from dlx.claims.draws import Draws, Worst
from dlx.errors import DeclarationError, DlxError
from dlx.stats import Floats, Integers
from dlx.text import count

if TYPE_CHECKING:
    from dlx.results import Results

ItemTest = Literal["t", "exact", "trimmed", "items", "blocks"]
BY_ITEM = {"items": "item bootstrap", "blocks": "block bootstrap"}
ROUNDING = 0.01  # of a metric in bfloat16, relative to its size and to the spread of its items


class ItemDraws(Draws):
    """As ``Draws``, each with a value for every item; of what diverged every item has the worst value.

    Raises DlxError where final trials of these cells recorded no items, other ones than each other, or items of which
    the metric is not the mean.
    """

    def __init__(self, results: "Results", metric: str, worst: Worst, rows: Integers) -> None:
        keys = results.grid["cell"].take(pa.array(rows)).to_pylist()
        self._items = results.items(metric, {"cell": keys})
        super().__init__(results, metric, worst, rows)

    def _of_trials(self) -> Floats:
        """Values (trials, items)."""
        place = {trial: i for i, trial in enumerate(zip(*(c.tolist() for c in self._items[:3]), strict=True))}
        trials = zip(self._cell.tolist(), self._unit.tolist(), self._seed.tolist(), strict=True)
        at = np.array([place.get(trial, -1) for trial in trials])
        if lost := int(((at < 0) & ~self._diverged).sum()):
            raise DlxError(
                f"{lost} of {len(at)} final trials recorded no items of {self.metric}; run the study in a new home."
            )
        values = np.where(self._diverged[:, None], self.worst, self._items.value[at])
        apart = np.abs(values.mean(axis=1) - self._value)
        if wrong := int((apart > ROUNDING * (np.abs(self._value) + values.std(axis=1))).sum()):
            raise DlxError(
                f"{self.metric} is not the mean of its items in {wrong} of {len(at)} final trials; return their mean, "
                "or leave test= out."
            )
        return values

    @property
    def notes(self) -> tuple[str, ...]:
        """What was counted as the worst, and of how many items there are values."""
        return (*super().notes, f"{count(self._items.value.shape[1], 'item')} of the test set are a sample as well.")


def check_block(test: str, block: Any) -> None:
    """Raise DeclarationError for a block that is no whole number of windows, or is not asked for."""
    if block is None:
        return
    if test != "blocks":
        raise DeclarationError(f"block is {block!r}, and test is {test!r}; blocks are for test='blocks'.")
    if isinstance(block, bool) or not isinstance(block, int) or block < 1:
        raise DeclarationError(f"block is {block!r}; give a number of neighbouring windows, 1 or more.")
