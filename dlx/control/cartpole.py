"""CartPole: a pole is kept upright on a cart (Barto, Sutton and Anderson 1983), by Gymnasium's CartPole-v1."""

import typing
from dataclasses import dataclass
from typing import Literal

from dlx.control.base import Act, package
from dlx.control.policy import remembering

if typing.TYPE_CHECKING:
    import numpy as np

Sensors = Literal["full", "angle and rate", "positions", "angle"]
SENSED: dict[Sensors, tuple[int, ...]] = {  # of x (m), ẋ (m/s), θ (rad), θ̇ (rad/s)
    "full": (0, 1, 2, 3), "angle and rate": (2, 3), "positions": (0, 2), "angle": (2,),
}
MOST = 500  # steps of an episode, and so the highest return
SOLVED = 475.0  # the return at which Gymnasium registers it as solved
START = 0.05  # of each number, at most
CALM = 8  # steps in which no pole can fall


@dataclass(frozen=True)
class CartPole:
    """CartPole-v1: the cart is pushed left, or right where the logit is positive; the return is the number of steps.

    sensors: which of the four numbers a policy sees, all, the pole's angle and its rate, the two positions without
    velocities, or the angle alone. Needs the package gymnasium.
    """

    sensors: Sensors = "full"

    @property
    def inputs(self) -> int:
        """Numbers that are sensed."""
        return len(SENSED[self.sensors])

    @property
    def outputs(self) -> int:
        """1 logit."""
        return 1

    def starts(self, rng: "np.random.Generator", episodes: int) -> "np.ndarray":
        """First states (episodes, 4), uniform in ±0.05."""
        return rng.uniform(-START, START, (episodes, 4))

    def play(self, starts: "np.ndarray", act: Act) -> "np.ndarray":
        """Returns (candidates, episodes) from states (candidates, episodes, 4); raises DlxError without gymnasium."""
        import numpy as np

        module = package("gymnasium.envs.classic_control.cartpole", "CartPole")
        env = module.CartPoleVectorEnv(num_envs=starts[..., 0].size, max_episode_steps=MOST)
        env.reset(seed=0)
        env.state = starts.reshape(-1, 4).T.copy()
        seen, returns = env.state.T.astype(np.float32), np.zeros(env.num_envs)
        alive = np.ones(env.num_envs, dtype=bool)
        while alive.any():
            logits = act(seen[:, SENSED[self.sensors]].reshape(*starts.shape[:-1], self.inputs))
            seen, _, fell, late, _ = env.step((logits.reshape(-1) > 0).astype(np.int64))
            returns += alive
            alive &= ~(fell | late)
        return returns.reshape(starts.shape[:-1])

    def scale(self, rng: "np.random.Generator", frames: int) -> "np.ndarray":
        """Makes frames white as they are under random pushes: (frames · inputs, k), k of them being independent.

        Successive frames are almost equal, so that without it hardly a candidate looks at their difference.
        """
        import numpy as np

        seen: list[np.ndarray] = []

        def act(values: np.ndarray) -> np.ndarray:
            seen.append(values)
            return rng.normal(size=(*values.shape[:-1], 1))

        self.play(self.starts(rng, 256)[None], remembering(act, frames))
        calm = np.concatenate(seen[min(frames, CALM) - 1 : CALM], axis=1)[0]
        variances, ways = np.linalg.eigh(np.cov(calm.T).reshape(frames * self.inputs, -1))
        kept = variances > 1e-8 * variances[-1]  # of float32 numbers that depend on others 1e-14 is left
        return ways[:, kept] / np.sqrt(variances[kept])
