"""CPUs and memory are those of real control groups, where this user may make one."""

import contextlib
import os
import subprocess
import sys
from pathlib import Path

import pytest

from dlx.allowance import usable_cpus, usable_memory

ROOT = Path("/sys/fs/cgroup")
MEMORY = {ROOT / "memory": {"memory.limit_in_bytes": str(3 << 30)}, ROOT: {"memory.max": str(3 << 30)}}
CPU = {ROOT / "cpu": {"cpu.cfs_period_us": "50000", "cpu.cfs_quota_us": "75000"}, ROOT: {"cpu.max": "75000 50000"}}


@contextlib.contextmanager
def job(kinds):
    """A control group with these limits, of the first version that can be had, and one inside it."""
    for root, limits in kinds.items():
        group = root / f"dlx-{os.getpid()}"
        with contextlib.suppress(OSError):
            group.mkdir()
            try:
                if all((group / name).exists() for name in limits):
                    for name, limit in limits.items():
                        (group / name).write_text(limit)
                    (group / "step").mkdir()
                    try:
                        yield group / "step"
                    finally:
                        (group / "step").rmdir()
                    return
            finally:
                group.rmdir()
    pytest.skip("this user can make no control group with a limit")


def seen(group, name):
    """What a process of that group finds."""
    code = (f"import os; open({str(group / 'cgroup.procs')!r}, 'w').write(str(os.getpid()))\n"
            f"from dlx import allowance; print(allowance.{name}())")
    return int(subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout)


def test_memory_is_what_a_control_group_allows():
    with job(MEMORY) as group:
        assert seen(group, "usable_memory") == 3 << 30 < usable_memory()


def test_cpus_are_what_the_quota_of_a_control_group_allows():
    with job(CPU) as group:
        assert seen(group, "usable_cpus") == 1 <= usable_cpus()


def test_cpus_are_what_the_affinity_allows():
    code = "import os; os.sched_setaffinity(0, {0}); from dlx import allowance; print(allowance.usable_cpus())"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout == "1\n"
