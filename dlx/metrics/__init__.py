"""Metrics: what is measured of a model on each split while it trains."""

from dlx.metrics.base import LossMetric, Metric, Only, OutputMetric, WeightMetric, When
from dlx.metrics.classification import Accuracy as accuracy
from dlx.metrics.classification import Error as error
from dlx.metrics.mean_loss import MeanLoss as loss

only = Only

__all__ = ["LossMetric", "Metric", "OutputMetric", "WeightMetric", "When", "accuracy", "error", "loss", "only"]
