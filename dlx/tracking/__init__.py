"""MLflow, a view of the store: ``sender`` tells it, ``mirror`` knows what it lacks, ``client`` is the door."""

from dlx.tracking.growing import Growing
from dlx.tracking.sender import Tracking
from dlx.tracking.summary import Summary
from dlx.tracking.views import Layout

__all__ = ["Growing", "Layout", "Summary", "Tracking"]
