"""The device of a worker: its threads, how much of its memory a pack has taken, whether it is full, or done."""

import contextlib
import errno
import gc
import os
import re
import sys
import traceback
import typing
from pathlib import Path

from dlx.allowance import usable_cpus, usable_memory

if typing.TYPE_CHECKING:
    from dlx.pack import Resources

FULL = re.compile("out of memory|bad_alloc|(?:cannot|can't) allocate memory|_ALLOC_FAILED", re.IGNORECASE)


def memory_share(resources: "Resources", device: str) -> float:
    """Peak memory of this process on its device since ``forget_peak``, as a share of what a pack entitles it to.

    Of a GPU a fraction entitles to that fraction of its memory; without a GPU and a reservation, CPUs do to theirs.
    """
    if device.startswith("cuda"):
        import torch

        total = torch.cuda.get_device_properties(device).total_memory * min(1.0, resources.gpus or 1.0)
        return torch.cuda.max_memory_allocated(device) / total
    entitled = resources.memory or usable_memory() * resources.cpus / usable_cpus()
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


def use_threads(cpus: float) -> None:
    """Let torch, loaded or yet to be, use as many threads as so many CPUs."""
    count = max(1, int(cpus))
    os.environ["OMP_NUM_THREADS"] = str(count)
    if (torch := sys.modules.get("torch")) is not None:
        torch.set_num_threads(count)


def out_of_memory(error: BaseException) -> bool:
    """Whether it says that there was not enough memory: Python's, the system's, PyTorch's, or a device library's."""
    if not isinstance(error, RuntimeError):
        return isinstance(error, MemoryError) or (isinstance(error, OSError) and error.errno == errno.ENOMEM)
    said = "".join(traceback.format_exception_only(error))  # not every error can say itself
    return FULL.search(said) is not None


def release(error: BaseException, device: str) -> None:
    """Where memory ran out, let go of what an error, and all that led to it, hold in their frames: a pack's tensors."""
    led = _led_to(error)
    if not any(map(out_of_memory, led)):
        return
    for one in led:
        traceback.clear_frames(one.__traceback__)
    gc.collect()
    if device.startswith("cuda"):
        import torch

        torch.cuda.empty_cache()


def _led_to(error: BaseException) -> list[BaseException]:
    """An error, its causes, what was handled when it was raised, and the errors of a group; each once."""
    found: dict[int, BaseException] = {}
    waiting: list[BaseException | None] = [error]
    while waiting:
        if (one := waiting.pop()) is not None and id(one) not in found:
            found[id(one)] = one
            waiting += [one.__cause__, one.__context__]
            waiting += one.exceptions if isinstance(one, BaseExceptionGroup) else ()
    return list(found.values())


def finish(device: str) -> None:
    """Wait until the device has done what it was given."""
    if device.startswith("cuda"):
        import torch

        torch.cuda.synchronize(device)


def _peak() -> int:
    """The largest resident memory that this process has had since ``forget_peak``, in bytes."""
    with contextlib.suppress(OSError):
        if found := re.search(r"VmHWM:\s*(\d+) kB", Path("/proc/self/status").read_text()):
            return int(found[1]) * 1024
    import resource

    unit = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit
