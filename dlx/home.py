"""A home: a folder on any file system that pyarrow reaches, where a file appears at once or not at all."""

import errno
import json
import os
import secrets
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO
from urllib.parse import quote, urlsplit

import pyarrow as pa
from pyarrow import fs

from dlx import files
from dlx.errors import StoreError
from dlx.files import OBJECT_STORES, UNFINISHED, reason
from dlx.text import holds_password

FORMAT = 1


class Home:
    """A folder by its path or address; absent: ``$DLX_HOME``, else ``dlx-home``; raises StoreError for a wrong one."""

    def __init__(self, address: str | None = None) -> None:
        address = address or os.environ.get("DLX_HOME") or "dlx-home"
        if "://" in address and holds_password(address):
            raise StoreError("The home's address holds a password, which commands and reports would show; leave it out "
                             "and set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or what your store reads, instead.")
        self.url = address if "://" in address else Path(address).expanduser().absolute().as_uri()
        try:
            self.fs, self.root = files.reach(self.url)
            if self.fs.type_name in OBJECT_STORES and not self.root.strip("/"):
                raise ValueError("it names no bucket")
        except (pa.ArrowException, OSError, ValueError) as e:
            raise StoreError(
                f"The home {self.url} cannot be reached ({reason(e)}); give a folder or an address such as "
                "s3://bucket/folder in DLX_HOME, with the credentials that it needs."
            ) from e
        self.root = self.root.rstrip("/")
        self.local = isinstance(self.fs, fs.LocalFileSystem)

    def url_of(self, *names: str) -> str:
        """The address of what lies in this home under these names."""
        where = urlsplit(self.url)
        path = "/".join([where.path.rstrip("/"), *map(quote, names)])
        return f"{where.scheme}://{where.netloc}{path}" + (f"?{where.query}" if where.query else "")

    def path(self, *names: str) -> str:
        """The path, on this home's file system, of what lies under these names."""
        return "/".join([self.root, *names])

    def make(self, path: str) -> None:
        """Make a folder; an object store has none."""
        files.make(self.fs, path)

    def names(self, folder: str, kind: fs.FileType = fs.FileType.File) -> list[str]:
        """Sorted names of the files (or folders) in a folder; none when it does not exist."""
        found = self.fs.get_file_info(fs.FileSelector(folder, allow_not_found=True))
        return sorted(info.base_name for info in found if info.type == kind)

    def read(self, path: str) -> bytes:
        """The content of a file; raises FileNotFoundError."""
        with self.fs.open_input_stream(path) as source:
            return bytes(source.read())

    def put(self, path: str, content: bytes) -> None:
        """Write a file at once or not at all."""
        with self.writing(path) as sink:
            sink.write(content)

    def remove(self, path: str) -> None:
        """Delete a file that may be gone already."""
        with suppress(FileNotFoundError):
            if self.local:
                os.unlink(path)
            else:
                self.fs.delete_file(path)

    @contextmanager
    def writing(self, path: str) -> Iterator[IO[bytes] | pa.NativeFile]:
        """A sink whose content becomes the file when the block ends, and nothing when it raises."""
        if not self.local:
            sink = pa.BufferOutputStream()
            yield sink
            files.put(self.fs, path, sink.getvalue())
            return
        folder, _, name = path.rpartition("/")
        beside = f"{folder}/.{name}.{secrets.token_hex(4)}{UNFINISHED}"
        try:
            with open(beside, "wb") as file:
                yield file
                file.flush()
                os.fsync(file.fileno())
            os.replace(beside, path)
        except BaseException:
            with suppress(OSError):
                os.unlink(beside)
            raise
        _sync_folder(folder)


def _sync_folder(folder: str) -> None:
    """Make the names in a local folder durable, where the file system can."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    except OSError as e:
        if e.errno not in (errno.EINVAL, errno.EOPNOTSUPP):
            raise
    finally:
        os.close(descriptor)


def unwritable(home: Home, error: OSError) -> StoreError:
    """The sentence for a home that could not be written."""
    where = home.root if home.local else home.url
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        return StoreError(
            f"The home {where} is full; free some space, or name another folder in DLX_HOME, and give the same command "
            "again: what was stored before is intact."
        )
    if error.errno in (errno.ENOTDIR, errno.EEXIST):
        return StoreError(f"The home {where} is, or lies below, a file; name a folder in DLX_HOME.")
    return StoreError(
        f"The home {where} cannot be written ({reason(error)}); allow that, or name another folder in DLX_HOME: what "
        "was stored before is intact."
    )


def unreadable(home: Home, error: Exception) -> StoreError:
    """The sentence for a home that could not be read."""
    return StoreError(
        f"The home {home.url} cannot be read ({reason(error)}); check the address, your rights "
        "and the network."
    )


def check_format(home: Home) -> None:
    """Raises StoreError when the home is a file, or was written by a newer dlx."""
    try:
        content = home.read(home.path("dlx.json"))
    except FileNotFoundError:
        _check_bucket(home)
        return
    except NotADirectoryError as e:
        raise unwritable(home, e) from e
    except (OSError, pa.ArrowException) as e:
        raise unreadable(home, e) from e
    try:
        found = json.loads(content)["format"]
    except (ValueError, KeyError, TypeError) as e:
        raise StoreError(f'{home.path("dlx.json")} is damaged; write {{"format": {FORMAT}}} into it.') from e
    if not isinstance(found, int) or found > FORMAT:
        raise StoreError(
            f"The home {home.url} was written by a newer dlx (format {found}, this one knows {FORMAT}); upgrade dlx, "
            "or name another folder in DLX_HOME."
        )


def _check_bucket(home: Home) -> None:
    """Raises StoreError when the home is on an object store, in a bucket that is not there."""
    bucket = home.root.partition("/")[0]
    if home.fs.type_name not in OBJECT_STORES:
        return
    try:
        missing = home.fs.get_file_info(bucket).type == fs.FileType.NotFound
    except OSError as e:
        raise unreadable(home, e) from e
    if missing:
        raise StoreError(f"The home {home.url} lies in a bucket {bucket!r} that does not exist; make it, or "
                         "correct the address.")


def studies(home: str | None = None) -> list[str]:
    """Names of the studies that a home holds; raises StoreError when it cannot be read."""
    found = Home(home)
    check_format(found)
    try:
        return [n for n in found.names(found.path("studies"), fs.FileType.Directory) if not n.startswith(".")]
    except OSError as e:
        raise unreadable(found, e) from e
