"""The weights of each member of a pack at the measured step where the objective was best."""

import copy
import math
import typing
from collections.abc import Mapping, Sequence
from typing import NamedTuple

from dlx.programs import Programs
from dlx.tuning import Objective

if typing.TYPE_CHECKING:
    import torch

    from dlx.stacking import Stacked


class Kept(NamedTuple):
    """Parameters and buffers by name, as they were after so many updates."""

    state: "dict[str, torch.Tensor]"
    step: int


class Best:
    """What is kept of the members of a pack; it looks on at every measurement, without waiting for the device."""

    def __init__(self, objective: Objective, programs: Programs, now: "Stacked") -> None:
        self._objective, self._programs = objective, programs
        self._kept = programs.first(now)

    def look(self, now: "Stacked", scores: "Mapping[str, Stacked]") -> None:
        """Keep the members' states now where the objective is better than before; scores: as ``Loop.measure`` has."""
        if (measured := self._measured(scores)) is not None:
            self._kept = self._programs.better(self._objective.sign)(self._kept, now, measured)

    def _measured(self, scores: "Mapping[str, Stacked]") -> "Stacked | None":
        """The objective of all members, None where it was not measured."""
        from dlx.stacking import entry

        metric = self._objective.metric
        split, _, name = metric.rpartition("/")
        found = (entry(scores[key], inner) for key, inner in (("", metric), (split, name)) if key in scores)
        return next((one for one in found if one is not None), None)

    def select(self, places: Sequence[int]) -> None:
        """Only these members are left, in this order."""
        from dlx.stacking import select

        self._kept = select(self._kept, places)

    def tensors(self) -> "dict[str, torch.Tensor]":
        """For a snapshot: the members along axis 0, under names that say by which objective they are best."""
        return {f"{self._prefix}{i}": leaf for i, leaf in enumerate(self._kept.leaves)}

    def resumed(self, places: Sequence[int], tensors: "Mapping[str, torch.Tensor]") -> "Best | None":
        """What was kept of these members in a snapshot's tensors; None where they do not fit."""
        from dlx.stacking import restored, select

        leaves = [tensors[name] for name in self.tensors() if name in tensors]
        if (kept := restored(select(self._kept, places), leaves)) is None:
            return None
        then = copy.copy(self)
        then._kept = kept
        return then

    @property
    def _prefix(self) -> str:
        return f"best {self._objective.direction} {self._objective.metric} "

    def states(self, members: int) -> list[Kept | None]:
        """What is kept of each member, None where its objective was never finite; waits for the device."""
        from dlx.stacking import unstack

        found = unstack(self._kept, members)
        return [Kept(one["state"], int(one["step"])) if math.isfinite(one["score"]) else None for one in found]
