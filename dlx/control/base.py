"""What any environment offers: starts, and episodes of many policies at once."""

import importlib
import typing
from collections.abc import Callable
from typing import Any, Protocol, runtime_checkable

from dlx.errors import DlxError
from dlx.shelf import Shelf

if typing.TYPE_CHECKING:
    import numpy as np

Act = Callable[["np.ndarray"], "np.ndarray"]
"""A policy at work: observations (candidates, episodes, inputs), one step after another, to logits (…, outputs)."""


@runtime_checkable
class Environment(Protocol, metaclass=Shelf):
    """A task; ``inputs``: numbers in an observation; ``outputs``: logits that choose an action."""

    @property
    def inputs(self) -> int:
        """Numbers in an observation."""

    @property
    def outputs(self) -> int:
        """Logits that choose an action."""

    def starts(self, rng: "np.random.Generator", episodes: int) -> "np.ndarray":
        """Where episodes begin, (episodes, …)."""

    def play(self, starts: "np.ndarray", act: Act) -> "np.ndarray":
        """Returns (candidates, episodes) of whole episodes from starts (candidates, episodes, …)."""

    def scale(self, rng: "np.random.Generator", frames: int) -> "np.ndarray":
        """What the last ``frames`` observations, side by side, are multiplied by: (frames · inputs, k)."""


Environment.exemplify("control.CartPole()")


def package(module: str, environment: str) -> Any:
    """A module of a package that an environment needs; raises DlxError where it is absent."""
    try:
        return importlib.import_module(module)
    except ImportError:
        name = module.partition(".")[0]
        raise DlxError(f"{environment} needs the package {name}; run: pip install gymnasium minigrid") from None
