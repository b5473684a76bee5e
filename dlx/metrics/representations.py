"""How alike two representations of the same samples are, whatever rotation lies between them."""

import typing

from dlx.errors import DeclarationError

if typing.TYPE_CHECKING:
    import torch


def cka(x: "torch.Tensor", y: "torch.Tensor", unbiased: bool = False) -> "torch.Tensor":
    """Linear centred kernel alignment HSIC(x, y) / √(HSIC(x, x) HSIC(y, y)), 0-d (Kornblith 2019, arXiv:1905.00414).

    x (samples, features), y (samples, other features): equal samples in equal rows. In [0, 1], 1 for equal up to
    rotation and scale. unbiased: by the estimator of HSIC that is 0 in the mean for independent ones, as few samples
    make the other large (Nguyen et al. 2021, arXiv:2010.15327, equation 3); it needs at least 4 samples.
    Raises DeclarationError where samples differ in number or are too few.
    """
    x, y = _centred(x, y, 4 if unbiased else 2)
    hsic = _hsic_unbiased if unbiased else _hsic
    return hsic(x, y) / (hsic(x, x) * hsic(y, y)).sqrt()


def procrustes(x: "torch.Tensor", y: "torch.Tensor") -> "torch.Tensor":
    """Distance min ‖xR − y‖² over rotations R, 0-d in [0, 2] (Ding et al. 2021, arXiv:2108.01661).

    Both are first centred and scaled to norm 1.
    x (samples, features), y (samples, other features): equal samples in equal rows; the narrower gets columns of 0.
    Raises DeclarationError where samples differ in number or are too few.
    """
    import torch

    x, y = _centred(x, y, 2)
    return 2.0 - 2.0 * torch.linalg.svdvals((x / x.norm()).T @ (y / y.norm())).sum()


def _centred(x: "torch.Tensor", y: "torch.Tensor", least: int) -> "tuple[torch.Tensor, torch.Tensor]":
    """Both less their means over the samples."""
    if x.ndim != 2 or y.ndim != 2 or len(x) != len(y) or len(x) < least:
        raise DeclarationError(
            f"The representations are {tuple(x.shape)} and {tuple(y.shape)}; "
            f"both must be (samples, features) over the same samples, at least {least} of them."
        )
    return x - x.mean(dim=0), y - y.mean(dim=0)


def _hsic(x: "torch.Tensor", y: "torch.Tensor") -> "torch.Tensor":
    """tr(KL) of the kernels K = xxᵀ and L = yyᵀ of centred x and y, but for a factor that cancels."""
    return (x.T @ y).square().sum()


def _hsic_unbiased(x: "torch.Tensor", y: "torch.Tensor") -> "torch.Tensor":
    """The estimator of Song et al. 2012, from K and L without their diagonals, but for a factor that cancels."""
    n = len(x)
    own_x, own_y = x.square().sum(dim=1), y.square().sum(dim=1)  # the diagonals; rows of K and L add up to 0
    trace = (x.T @ y).square().sum() - own_x @ own_y
    return trace + own_x.sum() * own_y.sum() / ((n - 1) * (n - 2)) - 2.0 * (own_x @ own_y) / (n - 2)
