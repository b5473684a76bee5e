"""Optimizers: pure functions of gradients, state, parameters and hyperparameters."""

from dlx.optim.adam import Adam
from dlx.optim.adamw import AdamW
from dlx.optim.base import Optimizer, Wrapper, evaluated
from dlx.optim.muon import Muon
from dlx.optim.schedules import Constant, Schedule
from dlx.optim.sgd import SGD

__all__ = ["SGD", "Adam", "AdamW", "Constant", "Muon", "Optimizer", "Schedule", "Wrapper", "evaluated"]
