"""Ray Train: one trial that several workers train together, on behalf of the shift that was given it.

A shift that gives packs to several workers occupies nothing itself: ``TorchTrainer`` takes the places of all workers
at once or waits, holding none, so that two trials never wait for each other's. What becomes of the trial comes back as
of any other pack: the records of the first worker; or that one died, and the driver has it go on from its snapshot.
"""

import os
import time
import typing
from collections.abc import Sequence
from typing import Any

import cloudpickle

from dlx.errors import HomeError
from dlx.executors.tune_failures import failed, reason
from dlx.executors.tune_partials import post
from dlx.executors.tune_scratch import Scratch
from dlx.executors.tune_wishes import beside, bundle
from dlx.pack import Pack, Resources
from dlx.parallel import Group, Severed, follow
from dlx.records import FAILED, Records
from dlx.worker import run_pack, said

LAUNCHER = Resources(cpus=0, memory=1)  # a byte, for Ray Tune places nothing that asks for nothing
PATIENCE = 86_400  # seconds for which the others wait while the first worker measures; who dies is missed at once
SWITCHES = {  # of Ray Train, unless the user has set them
    "RAY_CHDIR_TO_TRIAL_DIR": "0",
    "RAY_TRAIN_HEALTH_CHECK_INTERVAL_S": "0.5",  # after which the end of a trial is noticed, or of a worker
}


class Raised(Exception):
    """What a worker's trial ended by: the records of the first worker, or what another one raised."""

    def __init__(self, said: str, records: Records | None = None) -> None:
        super().__init__(said, records)
        self.said, self.records = said, records


def train_together(
    pack: Pack, parcel: bytes, box: str, every: float, elsewhere: Sequence[str] = ()
) -> dict[str, Any]:
    """The result of a shift's step: ``records`` of a pack (pickled: parcel), or why it was ``lost`` or went ``astray``.

    elsewhere: ids of machines on which no worker is to be.
    """
    from ray.train import TrainingFailedError

    started, begun = time.time(), time.perf_counter()
    try:
        return {"records": _fit(pack, {"parcel": parcel, "box": box, "every": every}, elsewhere)}
    except TrainingFailedError as e:
        failures = list(getattr(e, "worker_failures", {0: e}).values())
    except Exception as e:
        failures = [e]
    if away := [failure for failure in failures if isinstance(failure, HomeError)]:
        return {"astray": str(away[0])}
    if deaths := [failure for failure in failures if not isinstance(failure, Raised)]:
        known = [str(failure) for failure in deaths if not isinstance(failure, Severed)]
        return {"lost": reason(known[0]) if known else f"its workers lost one another ({deaths[0]})"}
    records = next((failure.records for failure in failures if failure.records is not None), None)
    seconds = time.perf_counter() - begun
    return {"records": records or failed(pack, failures[0].said, started, seconds)}


def _fit(pack: Pack, config: dict[str, Any], elsewhere: Sequence[str]) -> Records:
    """Have all workers train a pack's trial; raises TrainingFailedError where one of them did not end well."""
    from ray.train import FailureConfig, RunConfig, ScalingConfig
    from ray.train.torch import TorchConfig, TorchTrainer

    asked = pack.resources
    for name, value in SWITCHES.items():
        os.environ.setdefault(name, value)
    with Scratch() as folder:
        run: Any = TorchTrainer(
            typing.cast(Any, work), train_loop_config=config, torch_config=TorchConfig(timeout_s=PATIENCE),
            scaling_config=typing.cast(Any, ScalingConfig)(  # its annotations are those of the version before
                num_workers=asked.workers, use_gpu=asked.gpus > 0,
                resources_per_worker=bundle(asked),
                label_selector=beside(elsewhere) or None,
            ),
            run_config=RunConfig(storage_path=str(folder), failure_config=FailureConfig(max_failures=0)),
        ).fit()
        return typing.cast(Records, run.return_value)


def work(config: dict[str, Any]) -> Records | None:
    """What each worker runs: the first one returns the trial's records; raises Raised where it failed."""
    import torch

    group, pack = Group(), cloudpickle.loads(config["parcel"])
    torch.set_num_threads(max(1, int(pack.resources.cpus)))
    device = "cuda" if pack.resources.gpus else "cpu"
    if group.leads:
        records = run_pack(pack, device, on_partial=post(config["box"], pack), every=config["every"], group=group)
        if FAILED in records.trials.column("status").to_pylist():
            raise Raised("", records)  # returning would leave the others waiting for it
        return records
    try:
        follow(pack, device, group)
    except HomeError:
        raise
    except (Exception, SystemExit) as e:
        raise Raised(said(e)) from None
    return None
