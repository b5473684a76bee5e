import pytest
from ray.air.execution import FixedResourceManager
from ray.air.execution._internal.actor_manager import RayActorManager
from ray.air.execution._internal.tracked_actor import TrackedActor
from ray.air.execution._internal.tracked_actor_task import TrackedActorTask
from ray.exceptions import NodeDiedError, OutOfMemoryError, RayActorError

from dlx.executors.tune_failures import kills_are_deaths, reason


class Manager(RayActorManager):
    """Ray Tune's own, without a Ray in which actors are to be cleaned up."""

    def _cleanup_actor(self, tracked_actor):
        pass


def fail(error):
    """What Ray Tune hears of a task that failed so."""
    heard = []
    actor = TrackedActor(1, on_error=lambda actor, e: heard.append(e))
    Manager(FixedResourceManager({"CPU": 1}))._actor_task_failed(
        tracked_actor_task=TrackedActorTask(actor), exception=error)
    return heard


@pytest.mark.parametrize(("error", "said"), [
    (OutOfMemoryError("2 worker(s) were killed due to the node running low on memory."), "ran out of memory"),
    (NodeDiedError("The node has died."), "the machine it ran on was lost"),
])
def test_a_worker_killed_by_ray_has_died(error, said):
    with kills_are_deaths():
        (heard,) = fail(error)
    assert isinstance(heard, RayActorError) and said in reason(str(heard))


def test_ray_tune_would_end_the_run_otherwise():
    with pytest.raises(RuntimeError, match="unexpected exception"):
        fail(OutOfMemoryError("low on memory"))


def test_a_dead_worker_is_passed_on_as_it_is():
    dead = RayActorError(error_msg="gone")
    with kills_are_deaths():
        assert fail(dead) == [dead]
