"""What a worker has: CPUs and threads, how much of its memory a pack has taken, whether it is full, or done."""

import contextlib
import gc
import os
import re
import sys
import traceback
import typing
from pathlib import Path

if typing.TYPE_CHECKING:
    from dlx.pack import Resources


def memory_share(resources: "Resources", device: str) -> float:
    """Peak memory of this process on its device since ``forget_peak``, as a share of what a pack entitles it to.

    Of a GPU a fraction entitles to that fraction of its memory; without a GPU and a reservation, CPUs do to theirs.
    """
    if device.startswith("cuda"):
        import torch

        total = torch.cuda.get_device_properties(device).total_memory * min(1.0, resources.gpus or 1.0)
        return torch.cuda.max_memory_allocated(device) / total
    whole = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    entitled = resources.memory or whole * resources.cpus / usable_cpus()
    return _peak() / entitled if entitled else 1.0


def forget_peak(device: str) -> None:
    """From now on peak memory is that of what comes, where the device or the kernel lets it be forgotten."""
    if device.startswith("cuda"):
        import torch

        if torch.cuda.is_initialized():
            torch.cuda.reset_peak_memory_stats(device)
        return
    with contextlib.suppress(OSError):
        Path("/proc/self/clear_refs").write_text("5")  # man 5 proc_pid_clear_refs


def usable_cpus() -> int:
    """CPUs that the affinity of this process allows."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def use_threads(cpus: float) -> None:
    """Let torch, loaded or yet to be, use as many threads as so many CPUs."""
    count = max(1, int(cpus))
    os.environ["OMP_NUM_THREADS"] = str(count)
    if (torch := sys.modules.get("torch")) is not None:
        torch.set_num_threads(count)


def out_of_memory(error: BaseException) -> bool:
    """Whether it says that there was not enough memory: Python's, PyTorch's, or that of a library of the device's."""
    if not isinstance(error, RuntimeError):
        return isinstance(error, MemoryError)
    said = "".join(traceback.format_exception_only(error))  # not every error can say itself
    return re.search("out of memory|can't allocate memory|STATUS_ALLOC_FAILED", said) is not None


def release(error: BaseException, device: str) -> None:
    """Let go of what an error and its causes hold in their frames, the tensors of a whole pack say."""
    links: list[BaseException] = []
    link: BaseException | None = error
    while link is not None and link not in links:  # ``raise e from e``
        traceback.clear_frames(link.__traceback__)
        links.append(link)
        link = link.__cause__ or link.__context__
    if any(map(out_of_memory, links)):
        gc.collect()
        if device.startswith("cuda"):
            import torch

            torch.cuda.empty_cache()


def finish(device: str) -> None:
    """Wait until the device has done what it was given."""
    if device.startswith("cuda"):
        import torch

        torch.cuda.synchronize(device)


def _peak() -> int:
    """The largest resident memory that this process has had since ``forget_peak``, in bytes."""
    import resource

    unit = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit
