"""Jobs of Ray: drivers that run on a cluster, detached from whoever sent them; told through its dashboard's address."""

import asyncio
import contextlib
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from dlx.errors import ExecutorError
from dlx.provenance import SECRET_FILES

STUDY = "dlx.study"  # names the study in a job's metadata
SECRETS = (  # what is never shipped, by gitignore's rules
    *SECRET_FILES, "id_ecdsa*", ".ssh", ".aws", ".azure", ".gcloud", ".kube", ".pgpass", ".my.cnf", "*credentials*",
    "*secret*", "auth_token",
)
NEEDLESS = (".git", ".venv", "venv", "node_modules", "__pycache__", "dlx-home", "mlruns", "mlartifacts", "*.ckpt")
GRACE = 300  # seconds that a stopped driver has to store what runs, before Ray kills it
ANSWER = 60.0  # seconds for one answer of a dashboard
AGENT = 60.0  # seconds that the agent of a head may take to come up
NO_AGENT = "No available agent"  # what a dashboard says meanwhile
SILENCE = 5.0  # seconds without a word of a job after which it is looked whether the job is over


@dataclass(frozen=True)
class Job:
    """One submission of a study: its id, and ``pending``, ``running``, ``stopped``, ``succeeded`` or ``failed``."""

    id: str
    status: str
    message: str
    begun: int

    @property
    def over(self) -> bool:
        """Whether it will do no more."""
        return self.status in ("stopped", "succeeded", "failed")


class Jobs:
    """The jobs of a cluster, by its dashboard's address, ``http://HEAD:8265``; raises ExecutorError when it is silent.

    Where the cluster wants a token, Ray reads it from ``RAY_AUTH_TOKEN`` or ``~/.ray/auth_token``.
    """

    def __init__(self, address: str) -> None:
        if not address.startswith(("http://", "https://")):
            raise ExecutorError(f"address is {address!r}; jobs are told to a dashboard, such as http://HEAD:8265.")
        self.address = address
        with self._answering():
            self._client = _client(address)

    def submit(self, study: str, words: Sequence[str], folder: Path, leave: Sequence[str],
               environment: Mapping[str, str]) -> str:
        """Ship a folder and run a command in it on the head; returns the job's id.

        leave: what of the folder is not shipped, beside secrets and caches, by gitignore's rules; environment: of the
        command, no secrets, for Ray shows it.
        """
        import shlex

        left = [*SECRETS, *NEEDLESS, *leave]
        variables = {"RAY_JOB_STOP_WAIT_TIME_S": str(GRACE), **environment}
        job = {"entrypoint": shlex.join(words), "metadata": {STUDY: study},
               "runtime_env": {"working_dir": str(folder), "excludes": left, "env_vars": variables}}
        until = time.monotonic() + AGENT
        with self._answering():
            while True:
                try:
                    return str(self._client.submit_job(**job))
                except RuntimeError as e:
                    if NO_AGENT not in str(e) or time.monotonic() > until:
                        raise

    def of(self, study: str) -> list[Job]:
        """The jobs of a study, the latest first."""
        with self._answering():
            found = [job for job in self._client.list_jobs() if (job.metadata or {}).get(STUDY) == study]
        jobs = [Job(str(job.submission_id), job.status.value.lower(), job.message or "", job.start_time or 0)
                for job in found]
        return sorted(jobs, key=lambda job: job.begun, reverse=True)

    def stop(self, job: Job) -> None:
        """Ask a job to end: its driver stores what runs, and is killed after ``GRACE`` seconds."""
        with self._answering():
            self._client.stop_job(job.id)

    def log(self, job: Job) -> Iterator[str]:
        """What a job prints, piece by piece, until it is over, also where the stream of it breaks or stands still."""
        shown, over = 0, False
        with asyncio.Runner() as runner:
            while not over:
                over, read = self._over(job), 0
                for piece in self._stream(job, runner):
                    if fresh := piece[max(shown - read, 0):]:
                        yield fresh
                    read += len(piece)
                    shown = max(shown, read)
                if not over:
                    time.sleep(1.0)

    def _stream(self, job: Job, runner: asyncio.Runner) -> Iterator[str]:
        """What a job prints, from its beginning, until the stream ends or breaks, or is silent though it is over."""
        pieces, over = self._client.tail_job_logs(job.id), False
        coming = runner.get_loop().create_task(_next(pieces))
        while not over or coming.done():
            runner.run(asyncio.wait({coming}, timeout=SILENCE))
            if not coming.done():
                over = self._over(job)
            elif (piece := coming.result()) is not None:
                yield piece
                coming = runner.get_loop().create_task(_next(pieces))
            else:
                return

    def _over(self, job: Job) -> bool:
        """Whether a job does no more; one that the cluster does not know does nothing."""
        try:
            with self._answering():
                return not any(one.submission_id == job.id and not one.status.is_terminal()
                               for one in self._client.list_jobs())
        except ExecutorError as e:
            raise ExecutorError(f"The cluster at {self.address} does not answer any more; see dlx watch --home whether "
                                "the study still runs, and if its head was lost, start one and submit the study again: "
                                "it goes on from what is stored.") from e

    @contextlib.contextmanager
    def _answering(self) -> Iterator[None]:
        from ray.exceptions import RayError

        try:
            yield
        except (OSError, RuntimeError, ValueError, RayError) as e:
            raise ExecutorError(self._silence(str(e).strip() or type(e).__name__)) from e

    def _silence(self, said: str) -> str:
        """What to do about a cluster that said this."""
        if NO_AGENT in said:
            return (f"The head at {self.address} takes no jobs, since its agent does not answer; if another Ray on "
                    "that machine holds the agent's port, start the head with --dashboard-agent-listen-port=0.")
        return (f"No cluster at {self.address} takes jobs ({said.splitlines()[0].rstrip('.')}); see that its head is "
                "up, and that address and token are right.")


def _client(address: str) -> Any:
    """Ray's client of a dashboard, which waits for no answer forever."""
    from ray.job_submission import JobSubmissionClient

    class Client(JobSubmissionClient):
        def _do_request(self, *words: Any, **options: Any) -> Any:
            return super()._do_request(*words, **options, timeout=ANSWER)

    return Client(address)


async def _next(pieces: Any) -> str | None:
    """The next piece; None at the end, also where the stream breaks, which Ray and aiohttp say in many ways."""
    try:
        return await anext(pieces, None)
    except Exception:
        return None
