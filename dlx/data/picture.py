"""A picture as data for coordinate networks: where a point lies, and its colour (Tancik 2020, arXiv:2006.10739)."""

import typing
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, Literal

from dlx.data.base import Dimensions, Split, Streams, check_at_least, shuffled
from dlx.errors import DeclarationError, DlxError
from dlx.trial import field

if typing.TYPE_CHECKING:
    import numpy as np

Name = Literal["camera", "astronaut", "coffee", "retina"]
LUMINANCE = (0.2125, 0.7154, 0.0721)  # of red, green and blue, as scikit-image's rgb2gray
CHANNELS: Mapping[str, int] = {"camera": 1, "astronaut": 3, "coffee": 3, "retina": 3}


@dataclass(frozen=True)
class Picture:
    """Points of one of scikit-image's pictures: coordinates in [−1, 1]² and their colour in [0, 1].

    name: camera (grey), astronaut, coffee or retina; size: points a side, of the square in the picture's middle, scaled
    down with anti-aliasing. Every other point of every other row is trained on, a quarter of all; the seed draws which
    half of the others validates, and which tests. grey: whether colours are made one luminance, so that different
    pictures may train in one pack. Needs the package scikit-image.
    """

    name: Name = "camera"
    size: int = 64
    grey: bool = field(False, absent=False)

    @property
    def varies(self) -> tuple[str, ...]:
        """What may differ between members of a pack: the picture, where all have one channel."""
        return ("name",) if self.grey else ()

    def check(self) -> None:
        """Raise DeclarationError where a value is out of its range."""
        check_at_least(2, size=self.size)
        if self.size > 400:
            raise DeclarationError(f"size is {self.size}; the smallest of the pictures has 400 points a side.")

    def dimensions(self) -> Dimensions:
        """2 coordinates (down, right); 1 output of a grey picture, 3 of a coloured one."""
        return Dimensions(2, 1 if self.grey else CHANNELS[self.name], (2,))

    def samples(self) -> int:
        """Number of points to train on."""
        return ((self.size + 1) // 2) ** 2

    def load(self, streams: Streams) -> Mapping[str, Split]:
        """Splits ``train``, ``val`` and ``test`` of one table in float64; stream used: ``data``.

        Raises DlxError where scikit-image is absent.
        """
        points, held_out = _table(self.name, self.size, self.grey)
        val, test = shuffled(held_out, streams.rng("data")).rows.tensor_split(2)
        return {"train": points, "val": points._replace(rows=val), "test": points._replace(rows=test)}


@lru_cache(maxsize=8)
def _table(name: Name, size: int, grey: bool) -> tuple[Split, Split]:
    """The points that are trained on and those that are not."""
    import torch

    coordinates = (torch.arange(size, dtype=torch.float64) + 0.5) / size * 2 - 1
    inputs = torch.cartesian_prod(coordinates, coordinates)
    colours = torch.from_numpy(_colours(name, size)).flatten(0, 1)
    if grey and CHANNELS[name] > 1:
        colours = colours @ torch.tensor(LUMINANCE, dtype=torch.float64).unsqueeze(1)
    even = torch.arange(size) % 2 == 0
    known = (even.unsqueeze(1) & even).flatten()
    on, off = (Split(inputs, colours, chosen.nonzero().squeeze(1)) for chosen in (known, ~known))
    return on, off


def _colours(name: Name, size: int) -> "np.ndarray":
    """(size, size, channels) float64 in [0, 1]."""
    try:
        from skimage import data, transform
    except ImportError as e:
        raise DlxError(f"Picture({name!r}) needs the package scikit-image; run: pip install scikit-image") from e
    whole = getattr(data, name)()
    height, width = whole.shape[:2]
    side = min(height, width)
    top, left = (height - side) // 2, (width - side) // 2
    square = whole[top : top + side, left : left + side]
    resize: Any = transform.resize
    return resize(square, (size, size), anti_aliasing=True).reshape(size, size, CHANNELS[name]).astype("float64")
