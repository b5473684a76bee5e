"""What a worker has: CPUs and threads, how much of its memory a pack has taken, and whether it is done."""

import os
import sys

from dlx.pack import Resources


def memory_share(resources: Resources, device: str) -> float:
    """Peak memory of this process on its device, as a share of what the resources of a pack entitle it to.

    Of a GPU a fraction entitles to that fraction of its memory; without a GPU and a reservation, CPUs do to theirs.
    """
    if device.startswith("cuda"):
        import torch

        total = torch.cuda.get_device_properties(device).total_memory * min(1.0, resources.gpus or 1.0)
        return torch.cuda.max_memory_allocated(device) / total
    whole = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    entitled = resources.memory or whole * resources.cpus / usable_cpus()
    return _peak() / entitled if entitled else 1.0


def usable_cpus() -> int:
    """CPUs that the affinity of this process allows."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def use_threads(cpus: float) -> None:
    """Let torch, loaded or yet to be, use as many threads as so many CPUs."""
    count = max(1, int(cpus))
    os.environ["OMP_NUM_THREADS"] = str(count)
    if (torch := sys.modules.get("torch")) is not None:
        torch.set_num_threads(count)


def finish(device: str) -> None:
    """Wait until the device has done what it was given."""
    if device.startswith("cuda"):
        import torch

        torch.cuda.synchronize(device)


def _peak() -> int:
    """The largest resident memory that this process has had, in bytes."""
    import resource

    unit = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit
