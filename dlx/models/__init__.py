"""Models to train."""

from dlx.models.base import Model
from dlx.models.linear import Linear
from dlx.models.mlp import MLP

__all__ = ["MLP", "Linear", "Model"]
