"""Kept weights as MLflow is told of them: tags that say where they lie, and on a server the files themselves."""

import tempfile
from pathlib import Path

from dlx import checkpoint
from dlx.records import FINAL
from dlx.store import Store
from dlx.tracking.client import Experiment, Run

LARGEST = 64 << 20  # bytes of a file that MLflow gets; larger ones are in the home alone


class Weights:
    """Those of a study's trials; ``keep``: as the study has it.

    upload: whether the runs of final trials get the files, which who looks at them may not find in the home.
    """

    def __init__(self, store: Store, keep: str, upload: bool) -> None:
        self._store, self._keep, self._upload = store, keep, upload
        self._failed: Exception | None = None  # of the last upload
        self.problem: Exception | None = None  # why MLflow gets no more files

    def _name(self, key: str) -> str:
        return checkpoint.best(key) if self._keep == "best" else key

    def tags(self, key: str) -> dict[str, str]:
        """Path under the home, and after how many updates the weights were so; nothing where there are none."""
        if self._keep == "none":
            return {}
        name = self._name(key)
        try:
            if (about := checkpoint.about(self._store.folder, name)) is None:
                return {}
        except (OSError, ValueError):  # ``load_model`` says that it is damaged
            return {}
        tags = {"weights": f"studies/{self._store.study}/{checkpoint.place(name)}"}
        return {**tags, "weights_step": about["step"]} if "step" in about else tags

    def attach(self, experiment: Experiment, run_id: str, run: Run) -> None:
        """Put the file of a final trial among the artifacts of its run, as ``weights/<key>.safetensors``; never raises.

        To be followed by ``sent()`` when MLflow has taken the rest of the run.
        """
        self._failed = None
        if not self._upload or "weights" not in run.tags or run.tags.get("phase") != FINAL:
            return
        try:
            name = self._name(run.tags["key"])
            content = checkpoint.read(self._store.folder, name)
            if len(content) <= LARGEST:
                with tempfile.TemporaryDirectory() as folder:
                    file = Path(folder, Path(checkpoint.place(name)).name)
                    file.write_bytes(content)
                    experiment.attach_file(run_id, file, "weights")
        except Exception as e:
            self._failed = e

    def sent(self) -> None:
        """MLflow took the run: where it did not take the file, it does not get another."""
        if self._failed is not None:
            self.problem, self._upload = self._failed, False
