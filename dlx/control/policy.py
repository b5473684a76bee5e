"""Policies: small nets that see the last few observations."""

import itertools
import typing
from collections.abc import Sequence
from dataclasses import dataclass

from dlx.control.base import Act
from dlx.errors import DeclarationError

if typing.TYPE_CHECKING:
    import numpy as np


@dataclass(frozen=True)
class Policy:
    """A net on the last observations, with tanh between its affine maps.

    frames: how many observations it sees, the present one among them; depth: hidden layers, 0 is linear; width: units
    in each of them.
    """

    frames: int = 1
    depth: int = 0
    width: int = 4

    def check(self) -> None:
        """Raise DeclarationError where a value is out of its range."""
        for name, value, least in (("frames", self.frames, 1), ("depth", self.depth, 0), ("width", self.width, 1)):
            if value < least:
                raise DeclarationError(f"{name} is {value}; it must be at least {least}.")

    def sizes(self, inputs: int, outputs: int) -> list[tuple[int, int]]:
        """What each affine map reads and gives."""
        return list(itertools.pairwise([inputs, *[self.width] * self.depth, outputs]))

    def acting(self, weights: "np.ndarray", scale: "np.ndarray", outputs: int) -> Act:
        """Candidates at work, all seeds' in one row: weights (seeds, candidates, parameters).

        Frames side by side are multiplied by scale (seeds, frames · inputs, k).
        """
        import numpy as np

        sizes = self.sizes(scale.shape[-1], outputs)
        parts = np.split(weights, np.cumsum([parameters([size]) for size in sizes])[:-1], axis=2)
        maps = [part.reshape(*part.shape[:2], i + 1, o) for part, (i, o) in zip(parts, sizes, strict=True)]
        maps[0] = np.concatenate([scale[:, None] @ maps[0][..., :-1, :], maps[0][..., -1:, :]], axis=2)
        nets = [m.reshape(-1, *m.shape[2:]) for m in maps]

        def act(values: np.ndarray) -> np.ndarray:
            for i, net in enumerate(nets):
                values = np.matmul(np.tanh(values) if i else values, net[:, :-1]) + net[:, -1:]
            return values

        return remembering(act, self.frames)


def parameters(sizes: Sequence[tuple[int, int]]) -> int:
    """Numbers in affine maps of these sizes."""
    return sum((inputs + 1) * outputs for inputs, outputs in sizes)


def remembering(act: Act, frames: int) -> Act:
    """``act`` on the last frames side by side, the present one first; before the first one lie copies of it."""
    import numpy as np

    past: list[np.ndarray] = []

    def of_frames(seen: np.ndarray) -> np.ndarray:
        past[:] = [seen, *(past or [seen] * frames)][:frames]
        return act(np.concatenate(past, axis=-1))

    return of_frames
