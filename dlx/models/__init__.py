"""Models to train."""

from dlx.models.base import Model
from dlx.models.convolutional import CNN1d, CNN2d, ResNet
from dlx.models.coordinates import CoordinateNet
from dlx.models.diagonal import DiagonalLinear
from dlx.models.features import GaussianKernelNet, RandomFeatures
from dlx.models.forecasting import DLinear, Patched
from dlx.models.linear import Linear
from dlx.models.mlp import MLP
from dlx.models.module import Module
from dlx.models.recurrent import GRU, LSTM
from dlx.models.transformer import Transformer, ViT

__all__ = [
    "GRU", "LSTM", "MLP", "CNN1d", "CNN2d", "CoordinateNet", "DLinear", "DiagonalLinear", "GaussianKernelNet", "Linear",
    "Model", "Module", "Patched", "RandomFeatures", "ResNet", "Transformer", "ViT",
]
