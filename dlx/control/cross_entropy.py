"""The cross-entropy method: a Gaussian of policies moves to the best ones that were drawn from it."""

import typing
from collections.abc import Sequence
from dataclasses import dataclass

from dlx.control.base import Environment
from dlx.control.policy import Policy, parameters
from dlx.errors import DeclarationError

if typing.TYPE_CHECKING:
    import numpy as np

    from dlx.context import Context

SHARE = 8  # parameters for which ``candidates`` are drawn; and one candidate in so many is among the best


@dataclass(frozen=True)
class CrossEntropyMethod:
    """Rubinstein 1999; Szita and Lőrincz 2006: mean and standard deviations of the best eighth make the next Gaussian.

    candidates: in a generation, for every 8 parameters begun, so that the search grows with the dimension: else a
    policy that is searched too little looks like one that cannot; generations: from a standard normal; episodes: from
    which each candidate's mean return is taken, the same for all of a generation; finals: episodes by which the best of
    the last best eighth is chosen.
    """

    candidates: int = 64
    generations: int = 8
    episodes: int = 2
    finals: int = 16

    def check(self) -> None:
        """Raise DeclarationError where a value is out of its range."""
        for name, least in (("candidates", SHARE), ("generations", 1), ("episodes", 1), ("finals", 1)):
            if (value := getattr(self, name)) < least:
                raise DeclarationError(f"{name} is {value}; it must be at least {least}.")

    def search(
        self, environment: Environment, policy: Policy, contexts: "Sequence[Context]", tests: int
    ) -> "tuple[np.ndarray, int]":
        """Mean returns over so many test episodes (seeds,) of what is found with each context's streams, and the number
        of parameters; logs the mean return of each generation's best as ``best/return``."""
        import numpy as np

        play = _Play(environment, policy, contexts)
        size = play.parameters
        count = self.candidates * -(-size // SHARE)
        mean, spread = np.zeros((len(contexts), 1, size)), np.ones((len(contexts), 1, size))
        for generation in range(self.generations):
            drawn = np.stack([ctx.rng(f"candidates {generation}").normal(size=(count, size)) for ctx in contexts])
            tried = mean + spread * drawn
            returns = play(tried, f"episodes {generation}", self.episodes)
            order = np.argsort(-returns, axis=1, kind="stable")[:, : count // SHARE]
            best = np.take_along_axis(tried, order[..., None], axis=1)
            mean, spread = best.mean(axis=1, keepdims=True), best.std(axis=1, keepdims=True)
            reached = np.take_along_axis(returns, order, axis=1).mean(axis=1)
            for ctx, value in zip(contexts, reached, strict=True):
                ctx.log(generation + 1, {"best/return": value})
        choice = play(best, "finals", self.finals).argmax(axis=1)
        return play(np.take_along_axis(best, choice[:, None, None], axis=1), "test", tests)[:, 0], size


class _Play:
    """Plays candidates of all seeds at once, each seed from starts of its own."""

    def __init__(self, environment: Environment, policy: Policy, contexts: "Sequence[Context]") -> None:
        import numpy as np

        self.environment, self.policy, self.contexts = environment, policy, contexts
        self.scale = np.stack([environment.scale(ctx.rng("scale"), policy.frames) for ctx in contexts])
        self.parameters = parameters(policy.sizes(self.scale.shape[-1], environment.outputs))

    def __call__(self, weights: "np.ndarray", purpose: str, episodes: int) -> "np.ndarray":
        """Mean returns (seeds, candidates) of weights (seeds, candidates, parameters)."""
        import numpy as np

        starts = np.stack([self.environment.starts(ctx.rng(purpose), episodes) for ctx in self.contexts])
        act = self.policy.acting(weights, self.scale, self.environment.outputs)
        returns = self.environment.play(np.repeat(starts, weights.shape[1], axis=0), act)
        return returns.mean(axis=-1).reshape(weights.shape[:2])
