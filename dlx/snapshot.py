"""States half-way, from which a pack whose worker died goes on: safetensors (no pickle), two kept for each pack."""

import contextlib
import json
import math
import time
import typing
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from pyarrow import fs

from dlx.canonical import digest
from dlx.checkpoint import header
from dlx.device import out_of_memory
from dlx.files import OBJECT_STORES, make, put, reach, reaching, reason, unreached

if typing.TYPE_CHECKING:
    import torch

FORMAT = "1"
KEPT = 2
UNWRITTEN = "Checkpoints could not be written"
History = dict[str, tuple[list[int], list[float]]]  # metric → steps and values


@dataclass(frozen=True)
class Snapshot:
    """Members after a number of steps: tensors with the members, in the order of ``keys``, along axis 0.

    history: by key, also of members that have left the pack.
    """

    step: int
    keys: tuple[str, ...]
    tensors: "dict[str, torch.Tensor]"
    history: dict[str, History] = field(default_factory=dict)

    def of(self, keys: Sequence[str]) -> "Snapshot":
        """Of these members alone, in this order."""
        import torch

        still = tuple(key for key in keys if key in self.keys)
        histories = {key: self.history[key] for key in keys}
        if still == self.keys:
            return Snapshot(self.step, still, self.tensors, histories)
        rows = torch.tensor([self.keys.index(key) for key in still], dtype=torch.int64)
        return Snapshot(self.step, still, {name: t[rows] for name, t in self.tensors.items()}, histories)


class Snapshots:
    """Those of one pack under a study's folder (any pyarrow URL).

    every: seconds between two; resume: packs whose snapshots may hold these members, the first choice first. Raises
    HomeError where the folder cannot be reached.
    """

    def __init__(
        self, folder: str, keys: Sequence[str], every: float = math.inf, resume: Sequence[str] = ()
    ) -> None:
        self.keys, self._every, self._resume = tuple(keys), every, tuple(resume)
        with reaching(folder):
            self._files, root = reach(folder)
        self._root = f"{root}/checkpoints/packs"
        self._last, self._failures = time.monotonic(), 0
        self.notes: list[str] = []  # what could not be used, and why

    @property
    def due(self) -> bool:
        """Whether it is time for the next."""
        return time.monotonic() - self._last >= self._every * 2**self._failures  # an attempt that fails takes a while

    def save(self, snapshot: Snapshot) -> None:
        """Write one at once or not at all, and remove all but the last two of this pack; failing that, go without."""
        try:
            self._write(snapshot)
        except OSError as e:
            self._failures += 1
            if not any(note.startswith(UNWRITTEN) for note in self.notes):
                self.notes.append(f"{UNWRITTEN} ({reason(e)}); what is killed goes on from an earlier one, or anew.")
        else:
            self._failures = 0
        self._last = time.monotonic()

    def _write(self, snapshot: Snapshot) -> None:
        from safetensors.torch import save as to_bytes

        folder = f"{self._root}/{identify(self.keys)}"
        head = {"format": FORMAT, "step": str(snapshot.step), "keys": json.dumps(snapshot.keys),
                "history": json.dumps(snapshot.history)}
        path = f"{folder}/{snapshot.step:012}.safetensors"
        make(self._files, folder)
        put(self._files, path, to_bytes({name: t.cpu().contiguous() for name, t in snapshot.tensors.items()},
                                        metadata=head))
        for old in _listed(self._files, folder)[:-KEPT]:
            self._files.delete_file(old)

    def find(self) -> Snapshot | None:
        """The newest that holds all members and can be read; raises HomeError where none can be looked for."""
        for pack in dict.fromkeys((identify(self.keys), *self._resume)):
            with reaching(self._root):
                paths = _listed(self._files, f"{self._root}/{pack}")
            for path in reversed(paths):
                if (found := self._read(path)) is not None and set(self.keys) <= set(found.history):
                    return found.of(self.keys)
        return None

    def _read(self, path: str) -> Snapshot | None:
        from safetensors.torch import load as from_bytes

        try:
            head = header(self._files, path)
            if head["format"] != FORMAT:
                self.notes.append(
                    f"The checkpoint {path} has format {head['format']} and this dlx reads {FORMAT}; "
                    "its trials start anew."
                )
                return None
            with self._files.open_input_stream(path) as source:
                tensors = dict(from_bytes(source.read()))
            return Snapshot(int(head["step"]), tuple(json.loads(head["keys"])), tensors, _history(head))
        except FileNotFoundError:
            return None
        except Exception as e:  # a damaged file may raise anything, and costs the time since the one before
            if out_of_memory(e):
                raise
            if isinstance(e, OSError) and self._files.type_name in OBJECT_STORES:
                raise unreached(path, e) from e
            self.notes.append(f"The checkpoint {path} is damaged ({e}) and passed over.")
            return None

    def remove(self) -> None:
        """Remove those of this pack, which has ended; what is left is removed when the study is run again."""
        with contextlib.suppress(OSError):
            self._files.delete_dir(f"{self._root}/{identify(self.keys)}")


def identify(keys: Sequence[str]) -> str:
    """The name of a pack: the same members have the same, in any order."""
    return digest("".join(sorted(keys)).encode()).hex()


def held(folder: str) -> dict[str, str]:
    """Key of a trial → the pack whose snapshots hold it, under a study's folder (a URL)."""
    files, root = reach(folder)
    found: dict[str, str] = {}
    for path in _listed(files, f"{root}/checkpoints/packs"):
        with contextlib.suppress(Exception):  # a damaged one is reported by the worker that would have gone on from it
            for key in json.loads(header(files, path)["history"]):
                found.setdefault(key, path.split("/")[-2])
    return found


def discard(folder: str, packs: Iterable[str]) -> None:
    """Remove the snapshots of these packs, whose members have all ended."""
    files, root = reach(folder)
    for pack in packs:
        with contextlib.suppress(FileNotFoundError):
            files.delete_dir(f"{root}/checkpoints/packs/{pack}")


def _listed(files: fs.FileSystem, folder: str) -> list[str]:
    """The finished files below a folder, the oldest step of each pack first."""
    selector = fs.FileSelector(folder, recursive=True, allow_not_found=True)
    return sorted(f.path for f in files.get_file_info(selector) if f.path.endswith(".safetensors"))


def _history(head: Mapping[str, str]) -> dict[str, History]:
    return {
        key: {metric: (list(steps), list(values)) for metric, (steps, values) in history.items()}
        for key, history in json.loads(head["history"]).items()
    }
