"""Figures: results as pictures in one house style, light, safe for colour-blind eyes, with units and n in the caption.

A figure of a study is any function of its results that returns a ``matplotlib.figure.Figure``. Those on this shelf are
frozen dataclasses of literals, so that a stored declaration draws them again on another machine. Matplotlib is
imported where something is drawn.
"""

from dlx.figures.budget import BestAgainstBudget
from dlx.figures.curves import Curves, Points
from dlx.figures.dots import Dots
from dlx.figures.files import draw, name_of, save
from dlx.figures.forest import Forest
from dlx.figures.learning import LearningCurves
from dlx.figures.parallel import Parallel
from dlx.figures.phase import PhaseDiagram
from dlx.figures.scaling import Scaling
from dlx.figures.scatter import Scatter
from dlx.figures.shares import Importance

__all__ = [
    "BestAgainstBudget", "Curves", "Dots", "Forest", "Importance", "LearningCurves", "Parallel", "PhaseDiagram",
    "Points", "Scaling", "Scatter", "draw", "name_of", "save",
]
