"""Optimizers: pure functions of gradients, state, parameters and hyperparameters; wrappers, schedules and norms."""

from dlx.optim.adagrad import Adagrad
from dlx.optim.adam import Adam
from dlx.optim.adamw import AdamW
from dlx.optim.averaging import EMA, SWA
from dlx.optim.axis_descent import AxisDescent
from dlx.optim.base import Optimizer, Wrapper, evaluated
from dlx.optim.clip import Clip
from dlx.optim.decay import DecoupledDecay
from dlx.optim.lion import Lion
from dlx.optim.muon import Muon
from dlx.optim.norms import Columns, Frobenius, MaxNorm, Norm, Rows, Spectral
from dlx.optim.rmsprop import RMSprop
from dlx.optim.sam import ASAM, SAM
from dlx.optim.schedules import WSD, Constant, Cosine, Schedule, StepDecay, WarmUp
from dlx.optim.sgd import SGD
from dlx.optim.shampoo import Shampoo
from dlx.optim.sign_descent import SignDescent
from dlx.optim.soap import SOAP
from dlx.optim.spectral_penalty import SpectralPenalty
from dlx.optim.steepest import SteepestDescent

__all__ = [
    "ASAM", "EMA", "SAM", "SGD", "SOAP", "SWA", "WSD", "Adagrad", "Adam", "AdamW", "AxisDescent", "Clip", "Columns",
    "Constant", "Cosine", "DecoupledDecay", "Frobenius", "Lion", "MaxNorm", "Muon", "Norm", "Optimizer", "RMSprop",
    "Rows", "Schedule", "Shampoo", "SignDescent", "Spectral", "SpectralPenalty", "SteepestDescent", "StepDecay",
    "WarmUp", "Wrapper", "evaluated",
]
