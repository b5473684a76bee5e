"""Images in Parquet files of the Hugging Face hub: a column of encoded pictures and one of classes."""

import io
import typing
from dataclasses import dataclass
from pathlib import Path

from dlx.data.base import Split
from dlx.data.cache import cached
from dlx.data.files import DataError, PublicFile, read_parquet, sha256_of

if typing.TYPE_CHECKING:
    import numpy as np

BEGINS = {"PNG": b"\x89PNG", "JPEG": b"\xff\xd8\xff"}  # encoded pictures


@dataclass(frozen=True)
class ImageFile:
    """One file of pictures.

    file: the file; column: of the pictures, each ``{bytes, path}``, beside a column ``label``; rows: their number, with
    equally many of each of ten classes; shape: (channels, height, width); sha256: of the decoded pictures as
    ``fingerprint`` has it, None: not known; code: how pictures are encoded, ``PNG`` (lossless) or ``JPEG``; otherwise:
    what to do when they are encoded otherwise.
    """

    file: PublicFile
    column: str
    rows: int
    shape: tuple[int, int, int]
    sha256: str | None = None
    code: str = "PNG"
    otherwise: str = "delete it, and the published one is downloaded"

    def arrays(self) -> "dict[str, np.ndarray]":
        """``images`` (rows, channels, height, width) uint8 and ``labels`` (rows,) int64; raises DataError."""
        path = self.file.locate()
        name = f"{Path(self.file.path).parent}-{self.code}-{sha256_of(path)[:16]}"  # another file, other arrays
        return cached(name, lambda: self._decoded(path))

    def split(self, mean: tuple[float, ...], deviation: tuple[float, ...]) -> Split:
        """All rows, in float32: values in [0, 1], less the mean of each channel, over its standard deviation."""
        import torch

        arrays = self.arrays()
        shift, scale = (255 * torch.tensor(v).view(-1, 1, 1) for v in (mean, deviation))
        inputs = torch.from_numpy(arrays["images"]).float().sub_(shift).div_(scale)
        return Split(inputs, torch.from_numpy(arrays["labels"]), torch.arange(self.rows))

    def _decoded(self, path: Path) -> "dict[str, np.ndarray]":
        import numpy as np

        table = read_parquet(path, [self.column, "label"], self.rows)
        try:
            coded = table.column(self.column).combine_chunks().field("bytes").to_pylist()
            images = np.stack([self._picture(one) for one in coded])
            labels = table.column("label").to_numpy().astype(np.int64)
            counts = np.bincount(labels, minlength=10).tolist()
        except DataError as e:
            raise DataError(f"{path} {e}") from e
        except (KeyError, TypeError, ValueError, OSError) as e:
            raise DataError(f"{path} holds something that is no picture with a class ({e}); delete it.") from e
        if counts != [self.rows // 10] * 10:
            raise DataError(f"{path} has {counts} pictures of the ten classes, and not equally many; delete it.")
        if self.sha256 is not None and (found := fingerprint(images, labels)) != self.sha256:
            raise DataError(
                f"{path} holds other pictures than the published ones: their SHA-256 is {found} where {self.sha256} "
                f"was expected; delete it, and it is downloaded again."
            )
        return {"images": images, "labels": labels}

    def _picture(self, coded: bytes | None) -> "np.ndarray":
        """(channels, height, width) uint8 of one encoded picture."""
        import numpy as np
        from PIL import Image

        if coded is None or not coded.startswith(BEGINS[self.code]):
            raise DataError(f"holds pictures that are no {self.code}; {self.otherwise}.")
        picture = Image.open(io.BytesIO(coded), formats=[self.code])
        channels = len(picture.getbands())
        if (channels, picture.height, picture.width) != self.shape:
            raise DataError(f"holds a picture of {channels}×{picture.height}×{picture.width}, not of {self.shape}.")
        return np.asarray(picture).reshape(picture.height, picture.width, channels).transpose(2, 0, 1)


def fingerprint(images: "np.ndarray", labels: "np.ndarray") -> str:
    """SHA-256 in hexadecimal of pictures (rows, channels, height, width) uint8 and then of labels (rows,) as int64."""
    import hashlib

    import numpy as np

    digest = hashlib.sha256(np.ascontiguousarray(images).data)
    digest.update(labels.astype("<i8").data)
    return digest.hexdigest()
