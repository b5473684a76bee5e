"""Metrics: what is measured of a model while it trains, and what compares models afterwards."""

from dlx.metrics.base import (
    ItemMetric,
    LossMetric,
    Metric,
    NetworkMetric,
    Only,
    OutputMetric,
    WeightMetric,
    When,
    bare,
    full_names,
    item_names,
)
from dlx.metrics.calibration import NLL as nll
from dlx.metrics.calibration import Brier as brier
from dlx.metrics.calibration import CalibrationError as ece
from dlx.metrics.calibration import Perplexity as perplexity
from dlx.metrics.classification import Accuracy as accuracy
from dlx.metrics.classification import Error as error
from dlx.metrics.classification import Margin as margin
from dlx.metrics.conformal import (
    adaptive_scores,
    calibration_draws,
    conformal_threshold,
    covered_within,
    raps_constants,
    temperature,
)
from dlx.metrics.connectivity import barrier, line
from dlx.metrics.crossing import Crossing as crossing
from dlx.metrics.crossing import crossings
from dlx.metrics.curvature import HessianTrace as hessian_trace
from dlx.metrics.curvature import SAMSharpness as sam_sharpness
from dlx.metrics.curvature import Sharpness as sharpness
from dlx.metrics.fourier import FourierSparsity as fourier_sparsity
from dlx.metrics.gradient_noise import GradientNoise as gradient_noise
from dlx.metrics.jacobian import JacobianNorm as jacobian_norm
from dlx.metrics.matching import match
from dlx.metrics.mean_loss import MeanLoss as loss
from dlx.metrics.psnr import PSNR as psnr
from dlx.metrics.representations import cka, procrustes
from dlx.metrics.weights import EffectiveRank as effective_rank
from dlx.metrics.weights import SingularValue as singular_value
from dlx.metrics.weights import SpectralNorm as spectral_norm
from dlx.metrics.weights import StableRank as stable_rank
from dlx.metrics.weights import WeightNorm as weight_norm
from dlx.metrics.when import At, Every, LogSpaced

only = Only

__all__ = [
    "At", "Every", "ItemMetric", "LogSpaced", "LossMetric", "Metric", "NetworkMetric", "OutputMetric",
    "WeightMetric", "When", "accuracy", "adaptive_scores", "bare", "barrier", "brier", "calibration_draws", "cka",
    "conformal_threshold", "covered_within", "crossing", "crossings", "ece", "effective_rank", "error",
    "fourier_sparsity", "full_names", "gradient_noise", "hessian_trace", "item_names", "jacobian_norm", "line",
    "loss", "margin", "match", "nll", "only", "perplexity", "procrustes", "psnr", "raps_constants", "sam_sharpness",
    "sharpness", "singular_value", "spectral_norm", "stable_rank", "temperature", "weight_norm",
]
