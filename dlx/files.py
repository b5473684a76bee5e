"""Files on any file system that pyarrow reaches: an object store that is silent is given up in time."""

from collections.abc import Iterator
from contextlib import contextmanager

from pyarrow import fs

from dlx.errors import HomeError, StoreError

OBJECT_STORES = ("s3", "gcs", "abfs")  # one PUT is atomic there, a rename is not, and there are no folders
UNFINISHED = ".writing"
S3 = {
    "connect_timeout": 5.0,  # seconds for a connection, and without an answer
    "request_timeout": 20.0,
    "allow_delayed_open": True,  # a small file is one request
}
ATTEMPTS = 6  # for each request; where nobody listens they take 7 to 25 s, so that a store may be started again


def reach(address: str) -> tuple[fs.FileSystem, str]:
    """The file system of an address, and the path there; raises OSError, ValueError or pyarrow's errors."""
    files, path = fs.FileSystem.from_uri(address)
    if files.type_name == "s3":
        make, (options,) = files.__reduce__()
        own = {name: value for name, value in S3.items() if name in options}
        files = make({**options, **own, "retry_strategy": fs.AwsStandardS3RetryStrategy(max_attempts=ATTEMPTS)})
    return files, path


@contextmanager
def reaching(folder: str) -> Iterator[None]:
    """Raise HomeError for an OSError of the file system in the block, other than that there is no such file."""
    try:
        yield
    except (FileNotFoundError, StoreError):
        raise
    except OSError as e:
        raise unreached(folder, e) from e


def unreached(place: str, error: OSError) -> HomeError:
    """The sentence for a part of the home that a trial could not read or write."""
    return HomeError(f"{place} cannot be read or written where the trial runs ({reason(error)}).")


def make(files: fs.FileSystem, folder: str) -> None:
    """Make a folder; an object store has none."""
    if files.type_name not in OBJECT_STORES:
        files.create_dir(folder, recursive=True)


def put(files: fs.FileSystem, path: str, content: object) -> None:
    """Write a file at once or not at all; content: bytes or a buffer."""
    direct = files.type_name in OBJECT_STORES
    folder, _, name = path.rpartition("/")
    target = path if direct else f"{folder}/.{name}{UNFINISHED}"
    with files.open_output_stream(target) as out:
        out.write(content)
    if not direct:
        files.move(target, path)


def reason(error: BaseException) -> str:
    """What an error says, on one line and short."""
    text = (error.strerror if isinstance(error, OSError) else None) or str(error) or type(error).__name__
    text = " ".join(text.split())
    return text if len(text) <= 200 else text[:197] + "..."
