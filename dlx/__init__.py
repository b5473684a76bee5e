"""dlx: a distributed experiment scheduler for scientific sweeps in deep learning."""

import importlib
import typing

from dlx.trial import trial  # now, because importing the module of this name later would put it in its place

if typing.TYPE_CHECKING:
    from dlx import analysis, claims, control, data, figures, losses, metrics, models, noise, optim
    from dlx.canonical import File
    from dlx.context import Context
    from dlx.errors import DeclarationError, DlxError, ExecutorError, HeldError, StoreError, TrackingError
    from dlx.ladder import Ladder
    from dlx.loading import load
    from dlx.markers import choice, derived, grid, loguniform, randint, uniform
    from dlx.pack import Resources
    from dlx.pbt import PBT, Range
    from dlx.pruning import Halving, Median
    from dlx.results import Results
    from dlx.study import Study
    from dlx.training import Training
    from dlx.trial import Trial, field
    from dlx.tuning import CMA, GP, QMC, TPE, Random, maximize, minimize

_HOMES = {
    "canonical": ("File",),
    "context": ("Context",),
    "errors": ("DeclarationError", "DlxError", "ExecutorError", "HeldError", "StoreError", "TrackingError"),
    "ladder": ("Ladder",),
    "loading": ("load",),
    "markers": ("choice", "derived", "grid", "loguniform", "randint", "uniform"),
    "pack": ("Resources",),
    "pbt": ("PBT", "Range"),
    "pruning": ("Halving", "Median"),
    "results": ("Results",),
    "study": ("Study",),
    "training": ("Training",),
    "trial": ("Trial", "field"),
    "tuning": ("CMA", "GP", "QMC", "TPE", "Random", "maximize", "minimize"),
}
_SHELVES = ("analysis", "claims", "control", "data", "figures", "losses", "metrics", "models", "noise", "optim")
_HOME_OF = {name: home for home, names in _HOMES.items() for name in names}

__all__ = sorted([*_HOME_OF, *_SHELVES, "trial"])


def __getattr__(name: str) -> typing.Any:
    """Public names are imported when they are first used, so that a listing or a report loads no torch."""
    if name in _HOME_OF:
        return getattr(importlib.import_module(f"dlx.{_HOME_OF[name]}"), name)
    if name in _SHELVES:
        return importlib.import_module(f"dlx.{name}")
    raise AttributeError(f"module 'dlx' has no attribute {name!r}")


def __dir__() -> list[str]:
    return __all__
