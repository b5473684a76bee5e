"""Placeholder."""

from torch import nn


def stateless(module: nn.Module) -> nn.Module:
    """The module."""
    return module
