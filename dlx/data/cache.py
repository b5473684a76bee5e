"""Arrays that take long to make, kept on this machine in ``$DLX_DATA_DIR`` or ``~/.cache/dlx``."""

import contextlib
import os
import tempfile
import typing
import zipfile
from collections.abc import Callable
from pathlib import Path

if typing.TYPE_CHECKING:
    import numpy as np


def folder() -> Path:
    """The folder of the cache."""
    return Path(os.environ.get("DLX_DATA_DIR") or Path.home() / ".cache" / "dlx")


def cached(name: str, make: "Callable[[], dict[str, np.ndarray]]") -> "dict[str, np.ndarray]":
    """The arrays under this name: from disk, else made and kept; a folder that cannot be written is no error."""
    import numpy as np

    path = folder() / f"{name}.npz"
    absent_or_damaged = OSError, ValueError, EOFError, zipfile.BadZipFile
    with contextlib.suppress(*absent_or_damaged), np.load(path, allow_pickle=False) as stored:
        return dict(stored)
    arrays = make()
    with contextlib.suppress(OSError):
        _write(path, arrays)
    return arrays


def _write(path: Path, arrays: "dict[str, np.ndarray]") -> None:
    """Write beside and rename, so that other processes see all or nothing."""
    import numpy as np

    path.parent.mkdir(parents=True, exist_ok=True)
    descriptor, beside = tempfile.mkstemp(dir=path.parent, suffix=".writing")
    try:
        with os.fdopen(descriptor, "wb") as out:
            np.savez(out, **arrays)  # type: ignore[arg-type]
        os.replace(beside, path)
    except BaseException:
        os.unlink(beside)
        raise
