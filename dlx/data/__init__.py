"""Data to train on: what a trial reads, drawn from its seed's streams."""

from dlx.data.base import Data, Split, Streams
from dlx.data.mnist1d import MNIST1D

__all__ = ["MNIST1D", "Data", "Split", "Streams"]
