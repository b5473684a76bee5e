"""What dlx raises: every message is one sentence that names the thing, its place and the fix."""


class DlxError(Exception):
    """Anything that dlx itself refuses or reports."""


class DeclarationError(DlxError, ValueError):
    """A study, a template or an override says something that cannot be run."""


class StoreError(DlxError, OSError):
    """The home cannot be read or written."""


class HomeError(StoreError):
    """The home cannot be reached from where a trial runs, which is no result of the trial."""


class HeldError(DlxError):
    """Another driver works on this study in this home."""


class TrackingError(DlxError):
    """The MLflow address is missing or unusable."""


class ExecutorError(DlxError):
    """The executor cannot provide what the study asks for."""
