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
from dlx.data.noisy_curve import NoisyCurve
from dlx.data.parity import Parity
from dlx.data.picture import Picture
from dlx.data.quadratic_signs import QuadraticSigns
from dlx.data.series import Series
from dlx.data.sparse_linear import SparseLinear
from dlx.data.teacher_student import TeacherStudent
from dlx.data.tiny_shakespeare import TinyShakespeare
from dlx.data.volume import Volume

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
    "NoisyCurve",
    "Parity",
    "Permuted",
    "Picture",
    "QuadraticSigns",
    "Series",
    "Shift",
    "SparseLinear",
    "Split",
    "Streams",
    "Subset",
    "TeacherStudent",
    "TinyShakespeare",
    "Volume",
]
