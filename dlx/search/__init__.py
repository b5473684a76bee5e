"""The one door to Optuna: what a search asks next, and how much each nuisance axis matters to it."""

from dlx.search.asks import RUNNING, Told, ask, check
from dlx.search.importance import importances

__all__ = ["RUNNING", "Told", "ask", "check", "importances"]
