"""Statistics of repeated trials: estimates with intervals, tests and corrections, as pure functions of NumPy arrays."""

from dlx.stats.bootstrap import block_bootstrap, block_length, item_bootstrap
from dlx.stats.corrections import benjamini_hochberg, holm, spend
from dlx.stats.equivalence import Equivalence, tost, tost_welch
from dlx.stats.estimate import Estimate
from dlx.stats.grouped import LEVEL, Floats, Integers, Means, clustered, means
from dlx.stats.location import one_sample, sign_flip, trimmed, welch
from dlx.stats.peak import max_t, peak_t
from dlx.stats.survival import log_rank, log_rank_exact, median_time
from dlx.stats.trend import PowerLaw, correlations, fit_power_law, isotone, slopes

__all__ = [
    "LEVEL",
    "Equivalence",
    "Estimate",
    "Floats",
    "Integers",
    "Means",
    "PowerLaw",
    "benjamini_hochberg",
    "block_bootstrap",
    "block_length",
    "clustered",
    "correlations",
    "fit_power_law",
    "holm",
    "isotone",
    "item_bootstrap",
    "log_rank",
    "log_rank_exact",
    "max_t",
    "means",
    "median_time",
    "one_sample",
    "peak_t",
    "sign_flip",
    "slopes",
    "spend",
    "tost",
    "tost_welch",
    "trimmed",
    "welch",
]
