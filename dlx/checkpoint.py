"""States of trials, as safetensors (no pickle) on any file system that pyarrow reaches.

A trial's final state lies under its key, the state at its best measured step under ``best(key)``.
"""

import json
import typing
from collections.abc import Mapping
from typing import Any

from pyarrow import fs

from dlx.errors import StoreError
from dlx.files import make, put, reach

if typing.TYPE_CHECKING:
    import torch

LONGEST_HEADER = 1 << 28  # bytes


def best(key: str) -> str:
    """Under which name the state of a trial at its best measured step lies."""
    return f"{key}.best"


def place(name: str) -> str:
    """Where, below a study's folder, the state with this name lies."""
    return f"checkpoints/{name}.safetensors"


def _locate(folder: str, name: str) -> tuple[fs.FileSystem, str]:
    filesystem, root = reach(folder)
    return filesystem, f"{root}/{place(name)}"


def exists(folder: str, name: str) -> bool:
    """Whether a state lies under this name (a final one: the trial's key) in the study's folder (a URL)."""
    filesystem, path = _locate(folder, name)
    return filesystem.get_file_info(path).type == fs.FileType.File


def names(folder: str) -> set[str]:
    """Names of all states in the study's folder."""
    filesystem, path = _locate(folder, "")
    found = filesystem.get_file_info(fs.FileSelector(path.rpartition("/")[0], allow_not_found=True))
    files = (f.base_name for f in found if f.type == fs.FileType.File and f.extension == "safetensors")
    return {file.removesuffix(".safetensors") for file in files}


def save(folder: str, name: str, state: Mapping[str, Any], step: int | None = None) -> None:
    """Write a state (name → tensor or array), and after how many updates it was so, at once or not at all."""
    import torch
    from safetensors.torch import save as to_bytes

    filesystem, path = _locate(folder, name)
    tensors = {name: torch.as_tensor(value).detach().cpu().contiguous() for name, value in state.items()}
    make(filesystem, path.rpartition("/")[0])
    put(filesystem, path, to_bytes(tensors, metadata=None if step is None else {"step": str(step)}))


def load(folder: str, name: str, cure: str = "delete it to have it made anew") -> "dict[str, torch.Tensor]":
    """The state that ``save`` wrote; raises StoreError when it is absent or damaged, with the ``cure`` for damage."""
    from safetensors import SafetensorError
    from safetensors.torch import load as from_bytes

    what = f"The checkpoint {_locate(folder, name)[1]}"
    try:
        return dict(from_bytes(read(folder, name)))
    except FileNotFoundError as e:
        raise StoreError(f"{what} is gone; run the study again to make it anew.") from e
    except SafetensorError as e:
        raise StoreError(f"{what} is damaged ({e}); {cure}.") from e


def read(folder: str, name: str) -> bytes:
    """The file of a state; raises FileNotFoundError."""
    filesystem, path = _locate(folder, name)
    with filesystem.open_input_stream(path) as source:
        return bytes(source.read())


def about(folder: str, name: str) -> Mapping[str, str] | None:
    """What stands in the head of a state's file, such as its ``step``; None when there is no such file."""
    filesystem, path = _locate(folder, name)
    try:
        return header(filesystem, path)
    except FileNotFoundError:
        return None


def header(files: fs.FileSystem, path: str) -> Mapping[str, str]:
    """The metadata of a safetensors file, without its tensors; raises ValueError when it is none."""
    with files.open_input_file(path) as source:
        length = int.from_bytes(source.read(8), "little")
        if length > LONGEST_HEADER:
            raise ValueError("its header is longer than any")
        metadata: Any = json.loads(source.read(length)).get("__metadata__", {})
    return typing.cast(Mapping[str, str], metadata)
