"""Metrics: what is measured of a model on each split while it trains."""

from dlx.metrics.base import Metric
from dlx.metrics.classification import Accuracy as accuracy
from dlx.metrics.classification import Error as error
from dlx.metrics.mean_loss import MeanLoss as loss

__all__ = ["Metric", "accuracy", "error", "loss"]
