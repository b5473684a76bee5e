"""CIFAR-10: small colour pictures of ten kinds of things (Krizhevsky 2009)."""

import typing
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache

from dlx.data.base import Dimensions, Split, Streams, check_validation, divided, kept, shuffled
from dlx.data.files import PublicFile
from dlx.data.images import ImageFile

SHAPE, CLASSES, TRAINING = (3, 32, 32), 10, 50_000
MEAN, DEVIATION = (0.4914, 0.4822, 0.4465), (0.2470, 0.2435, 0.2616)  # of the original training pictures, in [0, 1]
HUB = "https://huggingface.co/datasets/uoft-cs/cifar10/resolve/main/plain_text/"
SIZES = {"train": 119_705_255, "test": 23_940_850}  # bytes; together the download_size of the hub's page, 143,646,105


@dataclass(frozen=True)
class CIFAR10:
    """50,000 + 10,000 colour pictures of 32×32 in 10 classes; the trial's seed draws which of the 50,000 validate.

    validation: share of the 50,000 held out to validate; 0: none, there is no ``val`` split.
    recompressed: the files in the data folder hold JPEG copies instead of the original PNG pictures: accuracies come
        out a little lower than published ones, and so this is said in the declaration and enters the key.

    Files: ``cifar10`` in the data folder, the Parquet files of the hub's uoft-cs/cifar10. No SHA-256 of them is known
    here: a download must have the published size, and any file the right number of pictures of each class.
    """

    validation: float = 0.1
    recompressed: bool = False

    def check(self) -> None:
        """Raise DeclarationError where a value is out of its range."""
        check_validation(self.validation, TRAINING)

    def dimensions(self) -> Dimensions:
        """3,072 numbers as (3, 32, 32), 10 classes."""
        return Dimensions(3_072, CLASSES, SHAPE)

    def samples(self) -> int:
        """Number of training samples, 50,000 less those that validate."""
        return kept(TRAINING, self.validation)

    def load(self, streams: Streams) -> Mapping[str, Split]:
        """Splits ``train``, ``val`` (unless ``validation`` is 0) and ``test``; inputs (table, 3, 32, 32) in float32.

        Inputs are less the mean of each channel over the original training pictures, over its standard deviation.
        Stream used: ``data``.
        """
        pool, test = _split("train", TRAINING, self.recompressed), _split("test", 10_000, self.recompressed)
        return divided(shuffled(pool, streams.rng("data")), self.validation, test)


@lru_cache(maxsize=2)
def _split(part: typing.Literal["train", "test"], rows: int, recompressed: bool) -> Split:
    name = f"{part}-00000-of-00001.parquet"
    file = PublicFile(f"cifar10/{name}", HUB + name, SIZES[part])
    code, otherwise = ("JPEG", ORIGINAL) if recompressed else ("PNG", COPIES)
    return ImageFile(file, "img", rows, SHAPE, code=code, otherwise=otherwise).split(MEAN, DEVIATION)


ORIGINAL = "if they are the original PNG pictures, declare recompressed=False"
COPIES = "if they are re-compressed copies, declare recompressed=True, or delete it, and the originals are downloaded"
