"""When a run stops before it is done: seconds, trials, GPU-hours."""

from dataclasses import dataclass, fields

from dlx.errors import DeclarationError


@dataclass(frozen=True)
class Budget:
    """When to stop beginning new packs: seconds since the start, trials begun, GPU-hours used; None: no limit."""

    max_seconds: float | None = None
    max_trials: int | None = None
    max_gpu_hours: float | None = None

    def check(self) -> None:
        """Raise DeclarationError for a limit that is not positive."""
        for f in fields(self):
            if (value := getattr(self, f.name)) is not None and not value > 0:
                raise DeclarationError(f"{f.name} is {value}; it must be more than 0.")

    def spent(self, seconds: float, trials: int, gpu_hours: float) -> str | None:
        """The limit that this use reaches, None when there is none."""
        used = {"max_seconds": seconds, "max_trials": trials, "max_gpu_hours": gpu_hours}
        for name, value in used.items():
            if (limit := getattr(self, name)) is not None and value >= limit:
                return f"{name}={limit:g}"
        return None
