"""Claims: what a study expects, stated before it runs; each gets a verdict from the final trials."""

from dlx.claims.base import Claim, check_all
from dlx.claims.compare import Equivalent, Higher, Lower, Ordering
from dlx.claims.correlated import Correlated
from dlx.claims.peak import Peak
from dlx.claims.sooner import Sooner
from dlx.claims.threshold import Above, Below
from dlx.claims.trend import Trend
from dlx.claims.verdict import Verdict

__all__ = [
    "Above", "Below", "Claim", "Correlated", "Equivalent", "Higher", "Lower", "Ordering", "Peak", "Sooner", "Trend",
    "Verdict", "check_all",
]
