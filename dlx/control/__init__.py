"""Control: environments that run many episodes side by side, policies of few numbers, and a search for these numbers.

Sizes in docstrings: a *candidate* is one policy, of so many *parameters*; each plays so many *episodes*.
"""

from dlx.control.base import Environment
from dlx.control.cartpole import CartPole
from dlx.control.cross_entropy import CrossEntropyMethod
from dlx.control.crossing import Crossing
from dlx.control.policy import Policy

__all__ = ["CartPole", "CrossEntropyMethod", "Crossing", "Environment", "Policy"]
