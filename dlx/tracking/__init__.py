"""MLflow, a view of the store: ``sender`` tells it, ``mirror`` knows what it lacks, ``client`` is the door."""

from dlx.tracking.mirror import Summary
from dlx.tracking.sender import Tracking

__all__ = ["Summary", "Tracking"]
