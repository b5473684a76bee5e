"""Conformal prediction of labels: scores, thresholds and what is tuned before calibrating, in NumPy.

A set holds the labels whose score is at most the threshold of calibration scores of the truth.
"""

import math
import typing

if typing.TYPE_CHECKING:
    import numpy as np

TEMPERATURES = tuple(10 ** (i / 20) for i in range(-10, 31))
PENALTIES = (0.0, 0.001, 0.01, 0.1, 0.2, 0.5)  # those of Angelopoulos et al. 2021, and 0, which is APS


def adaptive_scores(
    probabilities: "np.ndarray", u: "np.ndarray", penalty: float = 0.0, free: int = 0
) -> "np.ndarray":
    """Scores (samples, labels) of APS (Romano, Sesia and Candès 2020, arXiv:2006.02544): the sum of probabilities down
    to the label, less the share u of its own.

    With a penalty for each label beyond the first ``free`` ones those of RAPS (Angelopoulos et al. 2021,
    arXiv:2009.14193). probabilities: (samples, labels); u: uniform in [0, 1], (samples,).
    """
    import numpy as np

    order = np.argsort(-probabilities, axis=1, kind="stable")
    ranked = np.take_along_axis(probabilities, order, axis=1)
    beyond = np.maximum(np.arange(1, ranked.shape[1] + 1) - free, 0)
    scores = np.empty_like(ranked)
    np.put_along_axis(scores, order, ranked.cumsum(axis=1) - u[:, None] * ranked + penalty * beyond, axis=1)
    return scores


def conformal_threshold(scores: "np.ndarray", alpha: float) -> "np.ndarray":
    """The ⌈(n + 1)(1 − α)⌉-th smallest of scores (..., n), ∞ where there are fewer."""
    import numpy as np

    place = math.ceil((scores.shape[-1] + 1) * (1 - alpha) - 1e-9) - 1
    if place == scores.shape[-1]:
        return np.full(scores.shape[:-1], np.inf)
    return np.partition(scores, place, axis=-1)[..., place]


def temperature(logits: "np.ndarray", labels: "np.ndarray") -> float:
    """The temperature between 0.3 and 32 that logits (samples, labels) are divided by for the least NLL (Guo et al.
    2017, arXiv:1706.04599); labels: (samples,)."""
    import numpy as np
    from scipy.special import log_softmax

    def nll(t: float) -> float:
        return -float(log_softmax(logits / t, axis=1)[np.arange(len(labels)), labels].mean())

    return min(TEMPERATURES, key=nll)


def raps_constants(
    probabilities: "np.ndarray", labels: "np.ndarray", u: "np.ndarray", alpha: float
) -> tuple[float, int]:
    """Penalty and number of free labels of RAPS, chosen on samples that are used for nothing else.

    The free ones are the 1 − α quantile of the truth's rank, the penalty is that with the smallest sets (Angelopoulos
    et al. 2021, appendix E). probabilities: (samples, labels); labels, u: (samples,).
    """
    import numpy as np

    at = np.arange(len(labels)), labels
    free = int(conformal_threshold((probabilities >= probabilities[at][:, None]).sum(axis=1), alpha))

    def size(penalty: float) -> float:
        scores = adaptive_scores(probabilities, u, penalty, free)
        return float((scores <= conformal_threshold(scores[at], alpha)).sum())

    return min(PENALTIES, key=size), free


def calibration_draws(
    truth: "np.ndarray", samples: int, draws: int, alpha: float, rng: "np.random.Generator"
) -> "tuple[np.ndarray, np.ndarray]":
    """Thresholds (draws,) by so many samples drawn from a pool, and which others each leaves to test, (draws, pool).

    truth: scores of the truth, (pool,). How many of those that test are covered: see ``covered_within``.
    """
    import numpy as np

    drawn = np.stack([rng.permutation(len(truth))[:samples] for _ in range(draws)])
    test = np.ones((draws, len(truth)), dtype=bool)
    np.put_along_axis(test, drawn, False, axis=1)
    return conformal_threshold(truth[drawn], alpha), test


def covered_within(tests: int, samples: int, alpha: float, level: float = 0.95) -> tuple[int, int]:
    """How many of those that test are covered by a share ``level`` of calibration draws, at least and at most.

    Beta-binomial with n + 1 − l and l = ⌊(n + 1) α⌋ (Vovk 2012, arXiv:1209.2673), n being the number of samples.
    """
    from scipy.stats import betabinom

    left_out = math.floor((samples + 1) * alpha + 1e-9)
    least, most = betabinom.interval(level, tests, samples + 1 - left_out, left_out)
    return int(least), int(most)
