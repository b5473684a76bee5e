"""Public data as files: looked up in the data folder, else downloaded from where they are published.

A download is checked by its size and, where it is known, its SHA-256; it is written beside and renamed, by one process
at a time. A file that is already there is never changed nor deleted: what is wrong with it is said.
"""

import contextlib
import errno
import hashlib
import http.client
import math
import os
import sys
import tempfile
import time
import typing
import urllib.error
import urllib.request
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from dlx.data.cache import folder
from dlx.errors import DlxError

if typing.TYPE_CHECKING:
    import pyarrow as pa

CHUNK = 1 << 20  # bytes
PATIENCE = 30  # seconds without an answer
PAUSE = 60  # seconds without another try, so that a pack of a thousand members does not wait a thousand times
NO_LOCKS = (errno.ENOLCK, errno.ENOSYS, errno.EOPNOTSUPP, errno.EBADF)  # some network file systems lock no folder


class DataError(DlxError, OSError):
    """A data file is absent, damaged or not what it should be."""


@dataclass(frozen=True)
class PublicFile:
    """A file as its makers publish it.

    path: where it lies in the data folder; address: where it is downloaded from; size: of the published file, in bytes;
    sha256: of the published file in hexadecimal, and every file there must have it; None: it is not known.
    """

    path: str
    address: str
    size: int
    sha256: str | None = None

    def locate(self) -> Path:
        """The file on this machine, downloaded when it is absent; raises DataError when that fails or it is damaged."""
        path = folder() / self.path
        if not path.exists():
            self._fetch(path)
        elif self.sha256 is not None:
            self._compare(path, sha256_of(path), f"delete it, and it is downloaded again from {self.address}")
        return path

    def _fetch(self, path: Path) -> None:
        """Download into the folder, unless another process has done so meanwhile."""
        failed, error = _failed.get(self, (-math.inf, DataError()))
        if time.monotonic() < failed + PAUSE:
            raise error
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            with _alone(path.parent):
                if not path.exists():
                    self._download(path)
        except DataError as e:
            _failed[self] = time.monotonic(), e
            raise
        except OSError as e:
            raise DataError(
                f"{self.path} is not in {folder()}, where it cannot be written ({e.strerror}); put the file of "
                f"{self.address} there, or set DLX_DATA_DIR to a folder that has it."
            ) from e

    def _download(self, path: Path) -> None:
        """Receive beside, check, rename."""
        descriptor, beside = tempfile.mkstemp(dir=path.parent, prefix=path.name, suffix=".writing")
        try:
            with os.fdopen(descriptor, "wb") as out:
                received = self._receive(out)
            if received != self.size:
                raise DataError(
                    f"{self.address} sent {received} bytes of {self.path} where {self.size} were expected, so it was "
                    f"not kept; run again, or put the file into {folder()} yourself."
                )
            if self.sha256 is not None:
                self._compare(Path(beside), sha256_of(Path(beside)), f"{self.address} sent it, and it was not kept")
            os.chmod(beside, 0o644)
            os.replace(beside, path)
        except BaseException:
            os.unlink(beside)
            raise

    def _receive(self, out: IO[bytes]) -> int:
        """Write what the address sends; the number of bytes."""
        received = 0
        try:
            with urllib.request.urlopen(self.address, timeout=PATIENCE) as answer:
                for chunk in _shown(iter(lambda: answer.read(CHUNK), b""), self.path, self.size):
                    received += out.write(chunk)
        except (OSError, http.client.HTTPException) as e:
            reason = e.reason if isinstance(e, urllib.error.URLError) else e
            raise DataError(
                f"{self.path} is not in {folder()} and cannot be downloaded from {self.address} ({reason}); "
                f"put it there yourself, or set DLX_DATA_DIR to a folder that has it."
            ) from e
        return received

    def _compare(self, path: Path, found: str, fix: str) -> None:
        if found != self.sha256:
            size = path.stat().st_size
            raise DataError(
                f"{folder() / self.path} is not the published file: its SHA-256 is {found} ({size} bytes) where "
                f"{self.sha256} ({self.size} bytes) was expected; {fix}."
            )


_failed: dict[PublicFile, tuple[float, DataError]] = {}  # when a download failed in this process, and how


def sha256_of(path: Path) -> str:
    """SHA-256 of a file's content, in hexadecimal."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def read_parquet(path: Path, columns: Sequence[str], rows: int) -> "pa.Table":
    """Columns of a Parquet file; raises DataError unless it reads whole and has so many rows."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        with pq.ParquetFile(path) as file:
            found, missing = file.metadata.num_rows, [c for c in columns if c not in file.schema_arrow.names]
            table = file.read([c for c in columns if c not in missing])
    except (OSError, pa.ArrowException) as e:
        reason = str(e).splitlines()[0]
        raise DataError(
            f"{path} is truncated or no Parquet file ({path.stat().st_size} bytes: {reason}); delete it, and it is "
            f"downloaded again."
        ) from e
    if missing or found != rows:
        raise DataError(
            f"{path} has {found} rows{f' and no column {missing[0]}' if missing else ''} where {rows} rows of "
            f"{', '.join(columns)} were expected; delete it, and it is downloaded again."
        )
    return table


@contextlib.contextmanager
def _alone(place: Path) -> Iterator[None]:
    """Hold the lock of a folder, so that of several processes one downloads and the others wait."""
    import fcntl

    descriptor = os.open(place, os.O_RDONLY)
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX)
        except OSError as e:
            if e.errno not in NO_LOCKS:
                raise
        yield
    finally:
        os.close(descriptor)


def _shown(chunks: Iterator[bytes], name: str, size: int) -> Iterator[bytes]:
    """The chunks of a download, with a progress bar where someone sits at a terminal."""
    if not sys.stderr.isatty():
        yield from chunks
        return
    from rich.console import Console
    from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TransferSpeedColumn

    columns = TextColumn("{task.description}"), BarColumn(), DownloadColumn(), TransferSpeedColumn()
    with Progress(*columns, console=Console(stderr=True)) as progress:
        task = progress.add_task(name, total=size)
        for chunk in chunks:
            progress.advance(task, len(chunk))
            yield chunk
