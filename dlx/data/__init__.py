"""Data to train on: what a trial reads, drawn from its seed's streams."""

from dlx.data.augment import Augmentation, Crop, Cutout, Flip, Noise
from dlx.data.base import Data, Dimensions, Split, Streams
from dlx.data.cifar10 import CIFAR10
from dlx.data.corruption import LabelNoise, Permuted, Shift, Subset
from dlx.data.digits import Digits
from dlx.data.etth1 import ETTh1
from dlx.data.fashion_mnist import FashionMNIST
from dlx.data.files import DataError
from dlx.data.gaussian_mixture import GaussianMixture
from dlx.data.group_words import GroupWords
from dlx.data.mnist1d import MNIST1D
from dlx.data.modular_arithmetic import ModularArithmetic
from dlx.data.parity import Parity
from dlx.data.picture import Picture
from dlx.data.teacher_student import TeacherStudent
from dlx.data.tiny_shakespeare import TinyShakespeare

__all__ = [
    "CIFAR10",
    "MNIST1D",
    "Augmentation",
    "Crop",
    "Cutout",
    "Data",
    "DataError",
    "Digits",
    "Dimensions",
    "ETTh1",
    "FashionMNIST",
    "Flip",
    "GaussianMixture",
    "GroupWords",
    "LabelNoise",
    "ModularArithmetic",
    "Noise",
    "Parity",
    "Permuted",
    "Picture",
    "Shift",
    "Split",
    "Streams",
    "Subset",
    "TeacherStudent",
    "TinyShakespeare",
]
