"""Data to train on: what a trial reads, drawn from its seed's streams."""

from dlx.data.augment import Augmentation
from dlx.data.base import Data, Dimensions, Split, Streams
from dlx.data.mnist1d import MNIST1D

__all__ = ["MNIST1D", "Augmentation", "Data", "Dimensions", "Split", "Streams"]
