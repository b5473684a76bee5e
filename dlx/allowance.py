"""What this process may use of its machine: the CPUs and the memory that affinity and control groups leave it.

A container, or a job of Slurm's, is a control group; those around it allow no less. See ``man 7 cgroups``.
"""

import contextlib
import os
from collections.abc import Iterator
from pathlib import Path


def usable_cpus() -> int:
    """CPUs that the affinity of this process allows, and the quotas of its control groups; at least 1."""
    cpus = float(len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1)
    for group in _groups("cpu"):
        with contextlib.suppress(OSError, ValueError):  # "max" is no quota
            quota, period = map(int, (group / "cpu.max").read_text().split())
            cpus = min(cpus, quota / period)
        with contextlib.suppress(OSError):
            if (quota := int((group / "cpu.cfs_quota_us").read_text())) > 0:
                cpus = min(cpus, quota / int((group / "cpu.cfs_period_us").read_text()))
    return max(1, int(cpus))


def usable_memory() -> int:
    """Bytes that the machine has, or that the control groups of this process allow."""
    allowed = [os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")]
    for group in _groups("memory"):
        for name in ("memory.max", "memory.limit_in_bytes"):
            with contextlib.suppress(OSError, ValueError):
                allowed.append(int((group / name).read_text()))
    return min(allowed)


def _groups(controller: str) -> Iterator[Path]:
    """The control groups of this process, each with those around it; in a container its own lies at the root."""
    with contextlib.suppress(OSError):
        for line in Path("/proc/self/cgroup").read_text().splitlines():
            _, controllers, own = line.split(":", 2)
            if not controllers or controller in controllers.split(","):  # version 2 or 1
                root = Path("/sys/fs/cgroup", controller if controllers else "")
                yield from (root / group.relative_to("/") for group in (Path(own), *Path(own).parents))
