"""What every node of a cluster has of dlx, the home and the data, and what is wrong where, before any is used."""

import importlib.metadata
import math
import platform
import secrets
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from dlx.errors import ExecutorError
from dlx.home import Home, unwritable

PATIENCE = 90.0  # seconds; a first worker starts within some ten
JOINING = 1.0  # seconds after which a node is asked again that has joined so lately that tasks cannot be placed there
LATER = 60.0  # seconds after which a node is asked again that could not run packs
PACKAGES = ("dlx", "torch", "ray")
Look = Callable[[str, str, dict[str, str]], list[str]]


@dataclass
class Asked:
    """A node, when it is asked next and until when it may be silent, and what is wrong with it, None: not known yet."""

    listed: Mapping[str, Any]  # as Ray lists it
    due: float
    until: float
    wrong: Sequence[str] | None = None

    @property
    def fit(self) -> bool | None:
        """Whether it can run packs, None: not known yet."""
        return None if self.wrong is None else not self.wrong

    def sentences(self) -> list[str]:
        """What is wrong, a sentence each with the node first."""
        place = f"{self.listed['NodeManagerHostname']} ({self.listed['NodeManagerAddress']})"
        return [f"{place}: {said}" for said in self.wrong or ()]


class Preflight:
    """Asks every node with CPUs or GPUs, as soon as it is seen, whether it can run packs; one that cannot, again later.

    folder: of the study in the home (URL). patience: seconds after which a node that says nothing is a problem.
    """

    def __init__(self, folder: str, patience: float = PATIENCE) -> None:
        self.folder, self.patience, self._home = folder, patience, Home(folder)
        self._token, self._marked = secrets.token_hex(8), False
        self._nodes: dict[str, Asked] = {}  # that are there, by id
        self._answers: dict[Any, str] = {}  # that are waited for, and whose they are

    def check(self) -> None:
        """Raise ExecutorError, with a line a problem and node, unless every node can run packs."""
        try:
            self._home.make(self._home.path("checkpoints"))
            self.look()
            while any(node.wrong is None for node in self._nodes.values()):
                self.look(wait=1.0)
        except OSError as e:
            raise unwritable(self._home, e) from e
        finally:
            self.close()
        if problems := sorted(said for node in self._nodes.values() for said in node.sentences()):
            raise ExecutorError("The cluster is not ready:\n" + "\n".join(problems))

    def look(self, wait: float = 0.0) -> list[str]:
        """Ask the nodes that are due, and hear what is answered within so many seconds; returns what is newly wrong.

        Raises OSError where the home cannot be written.
        """
        import ray

        now, there = time.monotonic(), _nodes()
        known = {name: self._nodes.get(name) or self._new(node, now) for name, node in there.items()}
        self._nodes = known
        if due := [name for name in known.keys() - {*self._answers.values()} if known[name].due <= now]:
            self._ask(due)
        news, waiting = list[str](), list(self._answers)
        for ref in ray.wait(waiting, num_returns=len(waiting), timeout=wait)[0] if waiting else ():
            news += self._hear(self._answers.pop(ref), _answer(ref))
        for ref, name in [*self._answers.items()]:
            if name not in known or known[name].until <= now:
                ray.cancel(ref, force=True)
                del self._answers[ref]
                news += self._hear(name, None)
        if not self._answers:
            self.close()
            time.sleep(wait if any(node.wrong is None for node in known.values()) else 0.0)
        return news

    def fit(self, name: str) -> bool | None:
        """Whether a node can run packs, by its id; None: that is not known yet."""
        return node.fit if (node := self._nodes.get(name)) is not None else None

    def doubt(self, name: str) -> None:
        """Ask a node again before it is used further."""
        if (node := self._nodes.get(name)) is not None and node.fit:
            node.wrong, node.due, node.until = None, time.monotonic(), time.monotonic() + self.patience

    def close(self) -> None:
        """Remove what lies in the home for the nodes to find."""
        if self._marked:
            self._marked = False
            self._home.remove(self._marker)

    @property
    def _marker(self) -> str:
        return self._home.path("checkpoints", f".preflight-{self._token}")

    def _mark(self) -> None:
        if not self._marked:
            self._home.put(self._marker, self._token.encode())
            self._marked = True

    def _new(self, listed: Mapping[str, Any], now: float) -> Asked:
        if {"CPU", "GPU"} & listed["Resources"].keys():
            return Asked(listed, due=now, until=now + self.patience)
        return Asked(listed, due=math.inf, until=math.inf, wrong=[])

    def _ask(self, names: Sequence[str]) -> None:
        import ray
        from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy as On

        self._mark()
        task, wanted = ray.remote(num_cpus=0, max_retries=0)(look()), versions()
        for name in names:
            asked = task.options(scheduling_strategy=On(name, soft=False))
            self._answers[asked.remote(self.folder, self._token, wanted)] = name

    def _hear(self, name: str, said: Sequence[str] | None) -> list[str]:
        """Keep what a node says; returns it in words where it is new."""
        if (node := self._nodes.get(name)) is None:
            return []
        now = time.monotonic()
        if said is None and now < node.until:
            node.due = now + JOINING
            return []
        before, node.wrong = node.wrong, [self._silence()] if said is None else said
        node.due, node.until = (now + LATER, now + LATER + self.patience) if node.wrong else (math.inf, math.inf)
        return node.sentences() if node.wrong != before else []

    def _silence(self) -> str:
        return f"it does not answer within {self.patience:g} s; restart Ray there."


def versions() -> dict[str, str]:
    """Versions that all nodes must share; Python's without its last part, torch's without the device it is for."""
    found = {p: importlib.metadata.version(p).partition("+")[0] for p in PACKAGES}
    return {"Python": ".".join(platform.python_version_tuple()[:2]), **found}


def _nodes() -> dict[str, dict[str, Any]]:
    """The nodes that are alive, by id."""
    import ray

    return {n["NodeID"]: n for n in ray.nodes() if n["Alive"]}


def _answer(ref: Any) -> Sequence[str] | None:
    """What a node says; nothing when it has left, None where it is not known yet, having just joined."""
    import ray

    try:
        return list(ray.get(ref))
    except ray.exceptions.TaskUnschedulableError:
        return None
    except ray.exceptions.NodeDiedError:
        return ()
    except ray.exceptions.RayError as e:
        said = str(e).strip().splitlines() or [type(e).__name__]
        return (f"a task fails there ({said[-1][:200]}); look at Ray's logs of that node.",)


def look() -> Look:
    """The function that a node runs: pickled by value, and without dlx, which may be missing there."""

    def at(folder: str, token: str, wanted: dict[str, str]) -> list[str]:
        import importlib
        import importlib.metadata
        import os
        import platform
        import socket

        problems, has = [], {"Python": ".".join(platform.python_version_tuple()[:2])}
        for package in wanted.keys() - has.keys():
            try:
                has[package] = importlib.metadata.version(package).partition("+")[0]
            except importlib.metadata.PackageNotFoundError:
                has[package] = "missing"
        problems += [f"{name} is {has[name]}, the driver's is {version}; install {name} {version} there."
                     for name, version in wanted.items() if has[name] != version]
        data = os.environ.get("DLX_DATA_DIR")
        if data and not (os.path.isdir(data) and os.access(data, os.R_OK | os.X_OK)):
            problems.append(f"DLX_DATA_DIR is {data}, which cannot be read; mount or make it there.")
        try:
            from pyarrow import fs

            filesystem, root = fs.FileSystem.from_uri(folder)
            mark = f"{root}/checkpoints/.preflight-{token}"
            if filesystem.get_file_info(mark).type != fs.FileType.File:
                problems.append(f"{folder} is not the driver's; mount the same shared folder there, or use s3://.")
                return problems
            own = f"{mark}-{socket.gethostname()}-{os.getppid()}"  # of this node, so that it says the same again
            with filesystem.open_output_stream(own) as sink:
                sink.write(token.encode())
            filesystem.delete_file(own)
        except Exception as e:
            problems.append(f"{folder} cannot be written ({type(e).__name__}: {e}); allow that there.")
        return problems

    return at
