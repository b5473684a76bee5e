"""What a trial gets to work with: its seed's random streams, a log, checkpoints, a device."""

import hashlib
import math
import os
import typing
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from dlx import checkpoint
from dlx.files import reaching
from dlx.pruning import Prune
from dlx.records import ITEMS
from dlx.snapshot import Snapshot, Snapshots
from dlx.tuning import Objective

if typing.TYPE_CHECKING:
    import numpy as np
    import torch

    from dlx.parallel import Group
    from dlx.partials import Partials


def stream(seed: int, purpose: str) -> int:
    """A 63-bit seed for one purpose (``data``, ``init``, ``order``, ``noise``) of one trial's seed."""
    digest = hashlib.blake2b(f"{seed}/{purpose}".encode(), digest_size=8).digest()
    return int.from_bytes(digest, "big") >> 1


@dataclass(frozen=True)
class Place:
    """Where the checkpoints of a trial lie: the study's folder (any pyarrow URL), its key, its parent's key.

    keep: children start from its final state; every: seconds between snapshots; resume: packs whose snapshots may hold
    it; keep_final, keep_best: which weights are kept for whoever looks at the results, see ``Study.keep``.
    """

    folder: str
    key: str
    parent: str | None = None
    keep: bool = False
    every: float = math.inf
    resume: tuple[str, ...] = ()
    keep_final: bool = False
    keep_best: Objective | None = None


class Context:
    """The surroundings of one running trial: ``seed``, ``device``, generators, ``log``, checkpoints."""

    def __init__(self, seed: int, device: str = "cpu", place: Place | None = None) -> None:
        self.seed = seed
        self.device = device
        self.place = place
        self.history: dict[str, tuple[list[int], list[float]]] = {}
        self.notes: list[str] = []  # for whoever runs the study
        self.cohort: str | None = None  # with whom it is judged early, by ``prune``
        self.prune: Prune | None = None
        self.rate: float | None = None  # steps of members in a second, of the pack that it trained in
        self.on_log: Callable[[int, dict[str, float]], None] | None = None  # called after each log
        self.partials: Partials | None = None  # of the pack that it runs in
        self.group: Group | None = None  # the processes that train it together
        self._snapshots: Snapshots | None = None

    def rng(self, purpose: str) -> "np.random.Generator":
        """A NumPy generator for one purpose; equal purposes give equal streams."""
        import numpy as np

        return np.random.default_rng(stream(self.seed, purpose))

    def generator(self, purpose: str) -> "torch.Generator":
        """A torch generator (on the CPU) for one purpose; equal purposes give equal streams."""
        import torch

        return torch.Generator().manual_seed(stream(self.seed, purpose))

    def log(self, step: int, metrics: Mapping[str, Any] | None = None, /, **more: Any) -> None:
        """Record metrics at an integer step; ``metrics`` takes names with a slash, as in ``{"val/loss": 0.3}``."""
        if not _is_whole(step):
            raise TypeError(f"ctx.log: step is {step!r}; it must be an integer below 2⁶³.")
        now = {str(name): float(value) for name, value in {**(metrics or {}), **more}.items()}
        for name, value in now.items():
            steps, logged = self.history.setdefault(name, ([], []))
            steps.append(int(step))
            logged.append(value)
        if self.on_log is not None:
            self.on_log(int(step), now)
        if self.partials is not None:
            self.partials.logged(int(step))

    def items(self, metric: str, values: "Sequence[float] | np.ndarray", item: Sequence[int] | None = None) -> None:
        """Record a metric of each item of a test set that all seeds share; the trial returns the mean as ``metric``.

        values: (items,), two or more, neighbours next to each other where they are windows of a series; item: which
        ones they are, 0, 1, … when left out. Claims with ``test="items"`` or ``"blocks"`` take them. Where a value is
        not finite nothing is recorded, for such a trial has diverged. Raises ValueError for other than one number each.
        """
        import numpy as np

        found = np.asarray(values, dtype=float)
        steps = list(range(len(found))) if item is None else [int(i) for i in item]
        if found.ndim != 1 or len(found) < 2 or not len(set(steps)) == len(steps) == len(found):
            raise ValueError(f"ctx.items: {metric} has values of shape {found.shape} for {len(set(steps))} different "
                             "items; give one number for each of two or more.")
        if np.isfinite(found).all():
            self.history[f"{metric}{ITEMS}"] = steps, found.tolist()

    def note(self, text: str) -> None:
        """Say something, in one line, to whoever runs the study; equal notes of many trials are said once."""
        self.notes.append(text)

    def save(self, state: Mapping[str, Any], step: int | None = None) -> None:
        """Write the final state (name → tensor or array) where trials that name this one as ``parent`` find it.

        step: after how many updates. Nothing is written when no trial of the study starts from this one, unless the
        study keeps weights (``Study(keep="final")``). Raises HomeError where it cannot be.
        """
        if self.place is not None and self.place.keep:
            with reaching(self.place.folder):
                checkpoint.save(self.place.folder, self.place.key, state, step)
        elif self.place is not None and self.place.keep_final:
            self._keep(self.place, self.place.key, state, step)

    def save_best(self, state: Mapping[str, Any], step: int) -> None:
        """Write the state after this many updates, where the objective was best, if ``Study(keep="best")`` says so."""
        if self.place is not None and self.place.keep_best is not None:
            self._keep(self.place, checkpoint.best(self.place.key), state, step)

    def _keep(self, place: Place, name: str, state: Mapping[str, Any], step: int | None) -> None:
        """Write weights that no trial needs; failing that, go without."""
        try:
            checkpoint.save(place.folder, name, state, step)
        except OSError as e:
            why = os.strerror(e.errno) if e.errno else type(e).__name__
            self.note(f"Weights cannot be written ({why}); the trials count without them.")

    def checkpoint(self, step: int, state: "Callable[[], Mapping[str, torch.Tensor]]") -> None:
        """Write a state half-way when it is time for it (``Study(checkpoint_every=…)``); ``state`` is called then only.

        ``resume()`` gives it back, and the history up to it, when this trial's worker died and it is run again.
        """
        if (snapshots := self._own_snapshots()) is not None and snapshots.due:
            tensors = {name: value.unsqueeze(0) for name, value in state().items()}
            snapshots.save(Snapshot(step, snapshots.keys, tensors, {snapshots.keys[0]: self.history}))

    def resume(self) -> "tuple[int, dict[str, torch.Tensor]] | None":
        """Step and state of the last ``checkpoint()``, None when there is none; the history is what it was then."""
        if (snapshots := self._own_snapshots()) is None or (found := snapshots.find()) is None:
            return None
        self.history = found.history[snapshots.keys[0]]
        return found.step, {name: value[0] for name, value in found.tensors.items()}

    def ended(self) -> None:
        """Called by the worker at the end of a trial that ran alone: its states half-way are of no more use."""
        if self._snapshots is not None:
            self._snapshots.remove()
            self.notes += self._snapshots.notes

    def _own_snapshots(self) -> Snapshots | None:
        if self._snapshots is None and self.place is not None:
            self._snapshots = Snapshots(self.place.folder, [self.place.key], self.place.every, self.place.resume)
        return self._snapshots

    def parent(self) -> "dict[str, torch.Tensor] | None":
        """The final state of the parent trial, None for a trial without one; raises StoreError when it is gone."""
        if self.place is None or self.place.parent is None:
            return None
        with reaching(self.place.folder):
            return checkpoint.load(self.place.folder, self.place.parent)


def _is_whole(step: Any) -> bool:
    """Whether a step is an integer that the history can hold."""
    try:
        return not isinstance(step, bool) and int(step) == step and abs(int(step)) < 2**63
    except (TypeError, ValueError, OverflowError):
        return False
