"""Crossings: a gap in a wall is found on the way to a goal (Chevalier-Boisvert et al. 2023, arXiv:2306.13831)."""

import typing
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, NamedTuple

from dlx.control.base import Act, package
from dlx.errors import DeclarationError

if typing.TYPE_CHECKING:
    import numpy as np

LAYOUTS, SIZE, DIRECTIONS = 32, 9, 4
LEFT, RIGHT, FORWARD = ACTIONS = range(3)
MOST = 64  # steps of an episode
EMPTY, REACHED = 1, 8  # MiniGrid's numbers of an empty cell and of the goal
GOAL = 0  # the pose in a corner of the walls, where nobody is, stands for all at the goal


@dataclass(frozen=True)
class Crossing:
    """MiniGrid-SimpleCrossingS9N1, 32 layouts: the agent turns left, turns right or goes forward, by the largest logit.

    view: cells a side, odd, of the square before the agent; of each cell it sees whether it can be entered, and
    whether it is the goal, for a wall hides what is behind it. The return is 1 − 0.9 · steps / 64 at the goal, else 0.
    MiniGrid is stepped once from each of the 196 poses of a layout, and looked up from then on. Needs the packages
    gymnasium and minigrid.
    """

    view: int = 7

    def check(self) -> None:
        """Raise DeclarationError where a value is out of its range."""
        if self.view < 3 or self.view % 2 == 0:
            raise DeclarationError(f"view is {self.view}; give an odd number of cells, 3 at least.")

    @property
    def inputs(self) -> int:
        """Two numbers for each cell in view."""
        return 2 * self.view**2

    @property
    def outputs(self) -> int:
        """3 logits."""
        return len(ACTIONS)

    def starts(self, rng: "np.random.Generator", episodes: int) -> "np.ndarray":
        """Layouts (episodes, 1)."""
        return rng.integers(LAYOUTS, size=(episodes, 1))

    def play(self, starts: "np.ndarray", act: Act) -> "np.ndarray":
        """Returns (candidates, episodes) in layouts (candidates, episodes, 1); raises DlxError without minigrid."""
        import numpy as np

        table, layout = tabulated(self.view), starts[..., 0]
        pose, returns = np.full(layout.shape, table.first), np.zeros(layout.shape)
        for step in range(1, MOST + 1):
            pose = table.after[layout, pose, act(table.seen[layout, pose]).argmax(axis=-1)]
            returns[(pose == GOAL) & (returns == 0)] = 1 - 0.9 * step / MOST
        return returns

    def scale(self, rng: "np.random.Generator", frames: int) -> "np.ndarray":
        """1: all numbers are 0 or 1."""
        import numpy as np

        return np.eye(frames * self.inputs)


class Table(NamedTuple):
    """What follows and what is seen in each pose, 4 · (9 x + y) + direction.

    first: pose; after: (layouts, poses, actions) poses; seen: (layouts, poses, inputs).
    """

    first: int
    after: "np.ndarray"
    seen: "np.ndarray"


@lru_cache(maxsize=4)
def tabulated(view: int) -> Table:
    """MiniGrid, stepped once in each pose of each layout."""
    import numpy as np

    package("minigrid", "Crossing")
    env = package("gymnasium", "Crossing").make(
        "MiniGrid-SimpleCrossingS9N1-v0", agent_view_size=view, max_steps=MOST, disable_env_checker=True
    ).unwrapped
    poses = DIRECTIONS * SIZE**2
    after = np.zeros((LAYOUTS, poses, len(ACTIONS)), np.int64)
    seen = np.zeros((LAYOUTS, poses, 2 * view**2))
    for layout in range(LAYOUTS):
        env.reset(seed=layout)
        first = _pose(env)
        for pose in range(poses):
            if _put(env, pose):
                observed = env.step(LEFT)[0]
                turned = _pose(env)
                after[layout, pose, LEFT], after[layout, turned, RIGHT] = turned, pose
                seen[layout, turned] = _seen(observed["image"])
                _put(env, pose)
                done = env.step(FORWARD)[2]
                after[layout, pose, FORWARD] = GOAL if done else _pose(env)
    return Table(first, after, seen)


def _pose(env: Any) -> int:
    x, y = env.agent_pos
    return int(DIRECTIONS * (SIZE * x + y) + env.agent_dir)


def _put(env: Any, pose: int) -> bool:
    """Put the agent into a pose, at its first step; False where a wall or the goal is."""
    cell, direction = divmod(pose, DIRECTIONS)
    if env.grid.get(*divmod(cell, SIZE)) is not None:
        return False
    env.agent_pos, env.agent_dir, env.step_count = divmod(cell, SIZE), direction, 0
    return True


def _seen(image: "np.ndarray") -> "np.ndarray":
    """Numbers (inputs,) of a view (cells, cells, 3)."""
    import numpy as np

    kinds = image[..., 0]
    return np.concatenate([np.isin(kinds, (EMPTY, REACHED)), kinds == REACHED], axis=None).astype(float)
