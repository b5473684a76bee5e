"""Where MLflow is: a tracking server, or a database in the home; and what its errors say in a few words."""

import contextlib
import fcntl
from collections.abc import Iterator
from pathlib import Path

from dlx.errors import TrackingError
from dlx.store import Store

SQLITE = "sqlite:///"


@contextlib.contextmanager
def migrating(uri: str) -> Iterator[None]:
    """One process at a time makes the tables of a new database, or brings those of an old one up to date."""
    if is_server(uri):
        yield
        return
    with open(f"{uri.removeprefix(SQLITE)}.lock", "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def is_server(uri: str) -> bool:
    """Whether an address is that of a tracking server."""
    return not uri.startswith("sqlite:")


def database(store: Store) -> str:
    """The address of a home's own database; raises TrackingError where it cannot be."""
    if store.local_home is None:
        raise TrackingError(
            f"MLflow has no place in the home {store.home}, which is on no file system of this machine; set "
            "MLFLOW_TRACKING_URI to the address of a tracking server."
        )
    if "?" in str(store.local_home):
        raise TrackingError(
            f"MLflow has no place in the home {store.local_home}, as no SQLite address holds its '?'; rename the "
            "folder, or set MLFLOW_TRACKING_URI."
        )
    return f"{SQLITE}{(store.local_home / 'mlflow.db').absolute()}"


def own_database(store: Store, uri: str) -> Path | None:
    """The file of a home's own database, where that is what the address names."""
    if store.local_home is None or uri != database(store):
        return None
    return Path(uri.removeprefix(SQLITE))


def reason(error: Exception) -> str:
    """An error of MLflow's or of the network in a few words."""
    text = " ".join(str(error).split())
    for sign, words in (
        ("timed out", "it does not answer in time"), ("timeout", "it does not answer in time"),
        ("Connection refused", "the connection is refused"), ("database is locked", "its database is locked"),
        ("Max retries", "it cannot be reached"), ("Connection aborted", "it broke the connection off"),
    ):
        if sign in text:
            return words
    return (text[:160] or type(error).__name__).rstrip(".")
