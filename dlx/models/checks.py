"""What the declarations of models have in common: ranges of fields, and which samples a model can read."""

import math
import typing
from collections.abc import Collection

from dlx.errors import DeclarationError

if typing.TYPE_CHECKING:
    from dlx.data import Dimensions

ACTIVATIONS = {  # name → class in torch.nn, or the one of ``layers``
    "relu": "ReLU", "gelu": "GELU", "tanh": "Tanh", "sigmoid": "Sigmoid", "quadratic": "Quadratic",
}


def check_counts(**fields: int) -> None:
    """Raise DeclarationError for a field below 1."""
    for name, value in fields.items():
        if value < 1:
            raise DeclarationError(f"{name} is {value}; it must be at least 1.")


def check_positive(**fields: float) -> None:
    """Raise DeclarationError for a field that is not positive or not finite."""
    for name, value in fields.items():
        if not 0.0 < value < math.inf:
            raise DeclarationError(f"{name} is {value}; it must be positive and finite.")


def check_choice(name: str, value: str, options: Collection[str]) -> None:
    """Raise DeclarationError for a value that is none of the options."""
    if value not in options:
        raise DeclarationError(f"{name} is {value!r}; it must be one of {', '.join(options)}.")


def check_dropout(dropout: float | None) -> None:
    """Raise DeclarationError for a rate outside [0, 1); None stands for no dropout."""
    if dropout is not None and not 0.0 <= dropout < 1.0:
        raise DeclarationError(f"dropout is {dropout}; it is a rate and must lie in [0, 1), or be None.")


def picture(of: "Dimensions", model: str) -> tuple[int, int, int]:
    """Channels, height and width of a sample; raises DeclarationError where samples are no pictures."""
    if of.tokens or len(of.shape) != 3:
        raise DeclarationError(f"model is {model}, which reads (channels, height, width); {_given(of)}.")
    channels, height, width = of.shape
    return channels, height, width


def series(of: "Dimensions", model: str) -> tuple[int, int]:
    """Length and channels of a sample, one channel where it is a plain vector; raises DeclarationError for others."""
    if of.tokens or len(of.shape) not in (1, 2):
        raise DeclarationError(f"model is {model}, which reads (length,) or (length, channels); {_given(of)}.")
    return of.shape[0], (*of.shape, 1)[1]


def continuation(of: "Dimensions", model: str) -> tuple[int, int, int]:
    """Length and channels of a sample, and how many positions of all channels follow; DeclarationError for others."""
    length, channels = series(of, model)
    if of.outputs % channels:
        raise DeclarationError(
            f"model is {model}, which reads series and continues all their channels; these have {channels} channels, "
            f"but {of.outputs} outputs, so choose another model."
        )
    return length, channels, of.outputs // channels


def sequence(of: "Dimensions", model: str) -> tuple[int, int]:
    """Length of a sample and channels, or symbols, at each position; raises DeclarationError for others."""
    if of.tokens and len(of.shape) == 1:
        return of.shape[0], of.inputs
    return series(of, model)


def vector(of: "Dimensions", model: str) -> int:
    """Numbers in a sample; raises DeclarationError where samples are tokens."""
    if of.tokens:
        raise DeclarationError(f"model is {model}, which reads numbers; {_given(of)}.")
    return of.inputs


def _given(of: "Dimensions") -> str:
    kind = "tokens" if of.tokens else "numbers"
    return f"these data have samples of {kind} of shape {of.shape}, so choose another model"
