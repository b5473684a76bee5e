"""Optimizers: pure functions of gradients, state, parameters and hyperparameters."""

from dlx.optim.adam import Adam
from dlx.optim.adamw import AdamW
from dlx.optim.base import Optimizer
from dlx.optim.muon import Muon
from dlx.optim.sgd import SGD

__all__ = ["SGD", "Adam", "AdamW", "Muon", "Optimizer"]
