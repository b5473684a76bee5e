"""The worker's side of a shift: a process that runs packs one after another, each as one ``step()``."""

import gc
import time
from collections.abc import Sequence
from typing import Any

import cloudpickle
import ray
from ray import tune

from dlx.device import use_threads
from dlx.errors import HomeError
from dlx.executors.tune_ahead import uncollected
from dlx.executors.tune_partials import post
from dlx.executors.tune_train import train_together
from dlx.executors.tune_wishes import beside, bundle
from dlx.pack import Resources
from dlx.partials import EVERY, LEAST_OFTEN
from dlx.training import Training
from dlx.worker import run_pack

SHORTEST, LONGEST = 0.01, 0.25  # seconds between two questions for a pack; LONGEST per hundred workers


def placement(config: dict[str, Any]) -> tune.PlacementGroupFactory:
    """What a worker occupies, of its configuration: ``cpus``, ``gpus``, ``memory``, on no machine of ``elsewhere``."""
    asked = Resources(config["cpus"], config["gpus"], config["memory"])
    where: dict[str, Any] = {"bundle_label_selector": [beside(config["elsewhere"])]} if config["elsewhere"] else {}
    return tune.PlacementGroupFactory([bundle(asked)], **where)


def prepare(config: dict[str, Any]) -> str:
    """Let torch use as many threads as the CPUs asked for; returns the device of the worker."""
    use_threads(config["cpus"])
    return "cuda" if config["gpus"] else "cpu"


class Shift(tune.Trainable):
    """Runs what it is given; its first result holds its own address, its others the records of a pack or nothing."""

    @classmethod
    def default_resource_request(cls, config: dict[str, Any]) -> tune.PlacementGroupFactory:
        """The placement of the packs that this shift is for."""
        return placement(config)

    def setup(self, config: dict[str, Any]) -> None:
        """Get ready for packs."""
        self._device = prepare(config)
        self._box, crowd = config["box"], max(1.0, config["workers"] / 100)
        self._longest = LONGEST * crowd
        self._every = min(EVERY * crowd, LEAST_OFTEN)
        self._pause, self._frozen = 0.0, False
        self._parcel: bytes | None = None
        self._elsewhere: Sequence[str] = ()

    @ray.method(num_returns=0)
    def give(self, parcel: bytes, elsewhere: Sequence[str]) -> None:
        """Take the pickled pack that the next step runs; several workers, on no machine of ``elsewhere``."""
        self._parcel, self._elsewhere = parcel, elsewhere

    def step(self) -> dict[str, Any]:
        """Run the pack at hand, or wait a little for one."""
        if self._parcel is None:
            return self._wait()
        parcel, self._parcel, self._pause = self._parcel, None, SHORTEST
        try:
            pack = self._loaded(parcel)
        except Exception as e:
            return {"lost": f"the worker cannot load it ({type(e).__name__}: {e})"}
        if pack.resources.workers > 1:
            return train_together(pack, parcel, self._box, self._every, self._elsewhere)
        try:
            return {"records": run_pack(pack, self._device, on_partial=post(self._box, pack), every=self._every)}
        except HomeError as e:
            return {"astray": str(e)}

    def _loaded(self, parcel: bytes) -> Any:
        """A pack; what the first training imports, torch above all, stays, and garbage is never looked for in it."""
        if self._frozen:
            return cloudpickle.loads(parcel)
        with uncollected():
            pack = cloudpickle.loads(parcel)
            if isinstance(pack.members[0].trial, Training):
                import dlx.vectorise  # noqa: F401 - and with it torch

                gc.freeze()
                self._frozen = True
            return pack

    def _wait(self) -> dict[str, Any]:
        if not self._pause:
            self._pause = SHORTEST
            context = ray.get_runtime_context()
            return {"worker": context.current_actor, "machine": context.get_node_id()}
        time.sleep(self._pause)
        self._pause = min(2 * self._pause, self._longest)
        return {"idle": True}
