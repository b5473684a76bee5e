"""Analysis: which axes matter, what is wrong with the tuning, what it cost and what less of it would have found."""

from dlx.analysis.budgets import best_against_budget, spent
from dlx.analysis.diagnostics import Diagnosis, at_bound, diagnose
from dlx.analysis.importance import Share, axes_importance, nuisance_importance

__all__ = [
    "Diagnosis", "Share", "at_bound", "axes_importance", "best_against_budget", "diagnose", "nuisance_importance",
    "spent",
]
