"""How two runs of one trial compare: in every bit, but for rounding, parted by chaos, or not at all."""

import dataclasses
import math
from collections.abc import Mapping, Sequence
from typing import Literal, TypeAlias

Curves: TypeAlias = dict[str, dict[int, float]]  # metric → step → value

ROUNDING = 100.0  # units in the last place by which sums may differ before steps have amplified that; measured: 2
LEAST = {"float64": 2.0**-52, "float32": 2.0**-23, "bfloat16": 2.0**-8, "tf32": 2.0**-10}  # spacing of numbers at 1
LARGEST = 0.05  # relative difference that counts as rounding in any precision
JUMPY = ("error", "accuracy")  # shares of samples, which jump when one sample changes sides
JUMP = 1.01e-3  # by how much, while all else agrees: one sample of 1,000
BEGINNING = 3  # measured steps at which curves must agree
EARLY = 50  # steps within which rounding parts no curves
FEWEST = 3  # final trials that give a standard deviation over seeds
APART = 1.96 * math.sqrt(2)  # standard deviations between two draws of a normal, exceeded in 5 % of pairs


@dataclasses.dataclass(frozen=True)
class Pair:
    """A metric as stored and again; ``spread``: its standard deviation over seeds of the cell, None: unknown."""

    metric: str
    stored: float
    again: float
    spread: float | None = None

    @property
    def difference(self) -> float:
        """Again − stored; 0 where both are the same, NaN and infinities included."""
        return 0.0 if same(self.stored, self.again) else self.again - self.stored

    @property
    def relative(self) -> float:
        """Size of the difference as a share of the larger value; infinite where one of them is not finite."""
        return distance(self.stored, self.again)


def same(a: float, b: float) -> bool:
    """Whether two numbers are one, NaN being one with itself."""
    return a == b or (math.isnan(a) and math.isnan(b))


def distance(a: float, b: float) -> float:
    """|a − b| / max(|a|, |b|); infinite where exactly one is finite, or they are infinities of either sign."""
    if same(a, b):
        return 0.0
    if not (math.isfinite(a) and math.isfinite(b)):
        return math.inf
    return abs(a - b) / max(abs(a), abs(b))


def tolerance(dtype: str) -> float:
    """The relative difference that rounding makes before steps amplify it: 10⁻⁵ in float32, 2·10⁻¹⁴ in float64."""
    return min(ROUNDING * LEAST.get(dtype, LEAST["float64"]), LARGEST)


def pairs(stored: Mapping[str, float], again: Mapping[str, float], spreads: Mapping[str, float]) -> tuple[Pair, ...]:
    """The metrics that both runs returned; what is measured may have changed since, without a change of the key."""
    return tuple(Pair(m, stored[m], again[m], spreads.get(m)) for m in stored if m in again)


def agreement(stored: Curves, again: Curves, tolerance: float) -> tuple[int | None, int | None]:
    """The last common step up to which all curves agree (0: not at the first), and the last common step at all.

    None where no step is common.
    """
    steps = common(stored, again)
    together = 0
    for step in steps:
        if not all(_agree(m, stored[m][step], again[m][step], tolerance) for m in stored
                   if step in stored[m] and step in again.get(m, {})):
            break
        together = step
    return (together, steps[-1]) if steps else (None, None)


def common(stored: Curves, again: Curves) -> list[int]:
    """Steps at which both runs measured some metric, in order."""
    return sorted({step for m in stored for step in stored[m] if step in again.get(m, {})})


def _agree(metric: str, a: float, b: float, tolerance: float) -> bool:
    if metric.rpartition("/")[2] in JUMPY and abs(a - b) <= JUMP:
        return True
    return distance(a, b) <= tolerance


def judge(
    found: Sequence[Pair], stored: Curves, again: Curves, together: int | None, tolerance: float
) -> Literal["different", "unknown", "parted", "close", "equal"]:
    """What two runs say of each other; ``together``: as ``agreement`` gives it."""
    if not found:
        return "unknown"
    steps = common(stored, again)
    whole = not steps or together == steps[-1]
    if all(same(p.stored, p.again) for p in found) and all(
        same(stored[m][s], again[m][s]) for m in stored for s in stored[m] if s in again.get(m, {})
    ):
        return "equal"
    if whole:
        return "close" if all(_agree(p.metric, p.stored, p.again, tolerance) for p in found) else "different"
    agreeing = [step for step in steps if together is not None and step <= together]
    if len(agreeing) >= BEGINNING:
        near = all(p.spread is not None and abs(p.difference) <= APART * p.spread for p in found)
        return "parted" if near else "different"
    return "unknown" if steps[len(agreeing)] > EARLY else "different"
