"""What a trial gets to work with: its seed's random streams, a log, checkpoints, a device."""

import hashlib
import typing
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from dlx import checkpoint

if typing.TYPE_CHECKING:
    import numpy as np
    import torch


def stream(seed: int, purpose: str) -> int:
    """A 63-bit seed for one purpose (``data``, ``init``, ``order``, ``noise``) of one trial's seed."""
    digest = hashlib.blake2b(f"{seed}/{purpose}".encode(), digest_size=8).digest()
    return int.from_bytes(digest, "big") >> 1


@dataclass(frozen=True)
class Place:
    """Where the checkpoints of a trial lie: the study's folder (any pyarrow URL), its key, its parent's key."""

    folder: str
    key: str
    parent: str | None = None
    keep: bool = False


class Context:
    """The surroundings of one running trial: ``seed``, ``device``, generators, ``log``, checkpoints."""

    def __init__(self, seed: int, device: str = "cpu", place: Place | None = None) -> None:
        self.seed = seed
        self.device = device
        self.place = place
        self.history: dict[str, tuple[list[int], list[float]]] = {}
        self.notes: list[str] = []  # for whoever runs the study
        self.on_log: Callable[[int, dict[str, float]], None] | None = None  # called after each log

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

    def note(self, text: str) -> None:
        """Say something, in one line, to whoever runs the study; equal notes of many trials are said once."""
        self.notes.append(text)

    def save(self, state: Mapping[str, Any]) -> None:
        """Write the final state (name → tensor or array) where trials that name this one as ``parent`` find it.

        Nothing is written when no trial of the study starts from this one.
        """
        if self.place is not None and self.place.keep:
            checkpoint.save(self.place.folder, self.place.key, state)

    def parent(self) -> "dict[str, torch.Tensor] | None":
        """The final state of the parent trial, None for a trial without one; raises StoreError when it is gone."""
        if self.place is None or self.place.parent is None:
            return None
        return checkpoint.load(self.place.folder, self.place.parent)


def _is_whole(step: Any) -> bool:
    """Whether a step is an integer that the history can hold."""
    try:
        return not isinstance(step, bool) and int(step) == step and abs(int(step)) < 2**63
    except (TypeError, ValueError, OverflowError):
        return False
