"""Places that are wished for, so that an autoscaler starts machines: reservations, given back as soon as had."""

import contextlib
import math
import time
from collections.abc import Sequence
from typing import Any

from dlx.pack import Resources

PERIOD = 2.0  # seconds between two looks at what was wished for; a place that is had is kept free for so long at most


def beside(machines: Sequence[str]) -> dict[str, str]:
    """What Ray takes for all machines but these (ids)."""
    return {"ray.io/node-id": f"!in({','.join(machines)})"} if machines else {}


def bundle(asked: Resources) -> dict[str, float]:
    """One worker's resources in Ray's words."""
    amounts = {"CPU": asked.cpus, "GPU": asked.gpus, "memory": asked.memory}
    return {name: float(amount) for name, amount in amounts.items() if amount}


class Wishes:
    """Reservations that end with this driver, however it ends, so that nobody pays for machines that none wants."""

    def __init__(self) -> None:
        self._groups: dict[Resources, list[Any]] = {}
        self._looked: dict[Resources, float] = {}

    def wish(self, asked: Resources, places: int, elsewhere: Sequence[str] = ()) -> None:
        """Want so many more places, on machines other than these (ids), until told otherwise."""
        if places == len(self._groups.get(asked, ())) == 0:
            return
        if places and time.monotonic() - self._looked.get(asked, -math.inf) < PERIOD:
            return
        from ray.util import placement_group, placement_group_table, remove_placement_group

        self._looked[asked] = time.monotonic()
        groups, states = self._groups.setdefault(asked, []), placement_group_table()
        had = [group for group in groups if states.get(group.id.hex(), {}).get("state") != "PENDING"]
        for group in {*had, *groups[places:]}:
            groups.remove(group)
            remove_placement_group(group)
        if had:  # whoever wished for it opens a worker there
            return
        where: dict[str, Any] = {"bundle_label_selector": [beside(elsewhere)]} if elsewhere else {}
        groups += [placement_group([bundle(asked)], **where) for _ in range(places - len(groups))]

    def forget(self) -> None:
        """Want nothing any more; what a cluster that is gone was told went with it."""
        from ray.exceptions import RayError

        with contextlib.suppress(RayError, RuntimeError, ConnectionError):
            for asked in self._groups:
                self.wish(asked, 0)
