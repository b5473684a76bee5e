"""Jobs of Ray: drivers that run on a cluster, detached from whoever sent them; told through its dashboard's address."""

import asyncio
import contextlib
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
            from ray.job_submission import JobSubmissionClient

            self._client = JobSubmissionClient(address)

    def submit(self, study: str, words: Sequence[str], folder: Path, leave: Sequence[str],
               environment: Mapping[str, str]) -> str:
        """Ship a folder and run a command in it on the head; returns the job's id.

        leave: what of the folder is not shipped, beside secrets and caches, by gitignore's rules; environment: of the
        command, no secrets, for Ray shows it.
        """
        import shlex

        left = [*SECRETS, *NEEDLESS, *leave]
        variables = {"RAY_JOB_STOP_WAIT_TIME_S": str(GRACE), **environment}
        with self._answering():
            return str(self._client.submit_job(
                entrypoint=shlex.join(words), metadata={STUDY: study},
                runtime_env={"working_dir": str(folder), "excludes": left, "env_vars": variables},
            ))

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
        """What a job prints, piece by piece, until it ends."""
        pieces = self._client.tail_job_logs(job.id)
        with self._answering(), asyncio.Runner() as runner:
            while (piece := runner.run(_next(pieces))) is not None:
                yield piece

    @contextlib.contextmanager
    def _answering(self) -> Iterator[None]:
        try:
            yield
        except (OSError, RuntimeError, ValueError) as e:
            said = (str(e).strip().splitlines() or [type(e).__name__])[0]
            raise ExecutorError(f"No cluster at {self.address} takes jobs ({said}); see that its head is up, and that "
                                "address and token are right.") from e


async def _next(pieces: Any) -> str | None:
    return await anext(pieces, None)
