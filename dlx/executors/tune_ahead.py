"""What the workers that Ray starts in advance load for small trainings, while the driver gets ready.

They load a copy of this module, from a folder that holds nothing else: they may know another dlx than the driver, whose
folders they learn with their first task.
"""

import contextlib
import gc
import os
import shutil
from collections.abc import Iterator
from pathlib import Path

COPY = "dlx_ahead"  # the name of the copy
PRELOAD = "RAY_preload_python_modules"


def surroundings(folder: Path) -> dict[str, str]:
    """Environment variables, with those that the user has, of a Ray whose workers load this, for one CPU each.

    folder: for the copy, yet to be made.
    """
    folder.mkdir()
    shutil.copy(__file__, folder / f"{COPY}.py")
    more = {PRELOAD: (COPY, ","), "PYTHONPATH": (str(folder), os.pathsep)}
    joined = {name: sign.join(filter(None, (own, os.environ.get(name)))) for name, (own, sign) in more.items()}
    return {"OMP_NUM_THREADS": os.environ.get("OMP_NUM_THREADS", "1"), **joined}


@contextlib.contextmanager
def uncollected() -> Iterator[None]:
    """Garbage is not looked for meanwhile, which takes a fifth of the time that loading large packages does."""
    collects = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if collects:
            gc.enable()


def load() -> None:
    """Load Ray Tune and torch, among which garbage is never looked for."""
    with uncollected():
        import ray.tune  # noqa: F401
        import torch  # noqa: F401

        gc.freeze()


if __name__ == COPY:
    load()
