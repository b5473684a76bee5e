"""Fashion-MNIST: grey pictures of clothes in ten classes (Xiao, Rasul and Vollgraf 2017, arXiv:1708.07747)."""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache

from dlx.data.base import Dimensions, Split, Streams, check_validation, divided, kept, shuffled
from dlx.data.files import PublicFile
from dlx.data.images import ImageFile

SHAPE, CLASSES, TRAINING = (1, 28, 28), 10, 60_000
MEAN, DEVIATION = (0.2860,), (0.3530,)  # of the training pictures, values in [0, 1]
HUB = "https://huggingface.co/datasets/zalando-datasets/fashion_mnist/resolve/main/fashion_mnist/"


def _file(part: str, size: int, rows: int, sha256: str) -> ImageFile:
    name = f"{part}-00000-of-00001.parquet"
    return ImageFile(PublicFile(f"fashion_mnist/{name}", HUB + name, size), "image", rows, SHAPE, sha256)


TRAIN = _file("train", 30_931_277, TRAINING, "1f243a60b4b748a44c48b9a6f6907be2a08bee3e4e226f0e86fbde8e147b745a")
TEST = _file("test", 5_175_617, 10_000, "9a494dc49efeb996f4076c469b31cd058152067b1594ba6ab85dd739fce3775e")


@dataclass(frozen=True)
class FashionMNIST:
    """60,000 + 10,000 grey pictures of 28×28 in 10 classes; the trial's seed draws which of the 60,000 validate.

    validation: share of the 60,000 held out to validate; 0: none, there is no ``val`` split. Files: ``fashion_mnist``
    in the data folder, the Parquet files of the hub's zalando-datasets/fashion_mnist; their pictures are compared with
    the published ones by SHA-256.
    """

    validation: float = 0.1

    def check(self) -> None:
        """Raise DeclarationError where a value is out of its range."""
        check_validation(self.validation, TRAINING)

    def dimensions(self) -> Dimensions:
        """784 numbers as (1, 28, 28), 10 classes."""
        return Dimensions(784, CLASSES, SHAPE)

    def samples(self) -> int:
        """Number of training samples, 60,000 less those that validate."""
        return kept(TRAINING, self.validation)

    def load(self, streams: Streams) -> Mapping[str, Split]:
        """Splits ``train``, ``val`` (unless ``validation`` is 0) and ``test``; inputs (table, 1, 28, 28) in float32.

        Inputs are less the training pictures' mean, over their standard deviation. Stream used: ``data``.
        """
        return divided(shuffled(_split(TRAIN), streams.rng("data")), self.validation, _split(TEST))


@lru_cache(maxsize=2)
def _split(file: ImageFile) -> Split:
    return file.split(MEAN, DEVIATION)
