"""Before anything starts on a cluster: what every node has of dlx, the home and the data, and what is wrong where."""

import importlib.metadata
import platform
import secrets
import time
from collections.abc import Callable, Sequence
from typing import Any

from dlx.errors import ExecutorError
from dlx.home import Home, unwritable

PATIENCE = 90.0  # seconds for all nodes together; a first worker starts within some ten
PACKAGES = ("dlx", "torch", "ray")
Look = Callable[[str, str, dict[str, str]], list[str]]


def check(folder: str, patience: float = PATIENCE) -> None:
    """Raise ExecutorError, with a line a problem and node, unless every node with CPUs or GPUs can run packs.

    folder: of the study in the home (URL). patience: seconds after which a node that says nothing is a problem.
    """
    token = secrets.token_hex(8)
    home = Home(folder)
    marker = home.path("checkpoints", f".preflight-{token}")
    try:
        home.make(home.path("checkpoints"))
        home.put(marker, token.encode())
    except OSError as e:
        raise unwritable(home, e) from e
    try:
        problems = _ask(folder, token, patience)
    finally:
        home.remove(marker)
    if problems:
        raise ExecutorError("The cluster is not ready:\n" + "\n".join(problems))


def versions() -> dict[str, str]:
    """Versions that all nodes must share; Python's without its last part, torch's without the device it is for."""
    found = {p: importlib.metadata.version(p).partition("+")[0] for p in PACKAGES}
    return {"Python": ".".join(platform.python_version_tuple()[:2]), **found}


def _ask(folder: str, token: str, patience: float) -> list[str]:
    """What is wrong, a sentence each with its node first."""
    import ray
    from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy as On

    task = ray.remote(num_cpus=0, max_retries=0)(look())
    end, left, found = time.monotonic() + patience, _nodes(), list[tuple[Any, str]]()
    while left:
        asked = {
            task.options(scheduling_strategy=On(n["NodeID"], soft=False)).remote(folder, token, versions()): n
            for n in left
        }
        ended, silent = ray.wait(list(asked), num_returns=len(asked), timeout=max(0.0, end - time.monotonic()))
        answers = [(asked[ref], _answer(ref)) for ref in ended]
        found += [(n, said) for n, sentences in answers for said in sentences or ()]
        found += [(asked[ref], f"it does not answer within {patience:g} s; restart Ray there.") for ref in silent]
        for ref in silent:
            ray.cancel(ref, force=True)
        there = {n["NodeID"] for n in _nodes()} if time.monotonic() < end else set()
        if left := [n for n, said in answers if said is None and n["NodeID"] in there]:
            time.sleep(1.0)
    return sorted(f"{n['NodeManagerHostname']} ({n['NodeManagerAddress']}): {said}" for n, said in found)


def _nodes() -> list[dict[str, Any]]:
    """The nodes that can run packs."""
    import ray

    return [n for n in ray.nodes() if n["Alive"] and {"CPU", "GPU"} & n["Resources"].keys()]


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
            own = f"{mark}-{os.urandom(4).hex()}"
            with filesystem.open_output_stream(own) as sink:
                sink.write(token.encode())
            filesystem.delete_file(own)
        except Exception as e:
            problems.append(f"{folder} cannot be written ({type(e).__name__}: {e}); allow that there.")
        return problems

    return at
