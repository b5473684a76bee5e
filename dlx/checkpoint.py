"""Final states of trials, as safetensors (no pickle) on any file system that pyarrow reaches."""

import typing
from collections.abc import Mapping
from typing import Any

from pyarrow import fs

from dlx.errors import StoreError

if typing.TYPE_CHECKING:
    import torch


def _locate(folder: str, key: str) -> tuple[fs.FileSystem, str]:
    filesystem, root = fs.FileSystem.from_uri(folder)
    return filesystem, f"{root}/checkpoints/{key}.safetensors"


def exists(folder: str, key: str) -> bool:
    """Whether the trial with this key left its final state under the study's folder (a URL)."""
    filesystem, path = _locate(folder, key)
    return filesystem.get_file_info(path).type == fs.FileType.File


def save(folder: str, key: str, state: Mapping[str, Any]) -> None:
    """Write a state (name → tensor or array) at once or not at all."""
    import torch
    from safetensors.torch import save as to_bytes

    filesystem, path = _locate(folder, key)
    tensors = {name: torch.as_tensor(value).detach().cpu().contiguous() for name, value in state.items()}
    filesystem.create_dir(path.rpartition("/")[0], recursive=True)
    with filesystem.open_output_stream(path + ".writing") as out:
        out.write(to_bytes(tensors))
    filesystem.move(path + ".writing", path)


def load(folder: str, key: str) -> "dict[str, torch.Tensor]":
    """The state that ``save`` wrote; raises StoreError when it is absent or damaged."""
    from safetensors import SafetensorError
    from safetensors.torch import load as from_bytes

    filesystem, path = _locate(folder, key)
    try:
        with filesystem.open_input_stream(path) as source:
            return dict(from_bytes(source.read()))
    except FileNotFoundError as e:
        raise StoreError(f"The checkpoint {path} is gone; run the study again to make it anew.") from e
    except SafetensorError as e:
        raise StoreError(f"The checkpoint {path} is damaged ({e}); delete it to have it made anew.") from e
