# SPDX-License-Identifier: MPL-2.0
"""Solvers that ODL does not have; they know functionals, never a regularizer."""

from .lbfgs import lbfgs
from .line_search import BacktrackingLineSearch
from .minima import Minima
from .multi_start import minimize
from .smoothness import is_smooth
from .spectral_gradient import spectral_gradient

__all__ = (
    "BacktrackingLineSearch",
    "Minima",
    "is_smooth",
    "lbfgs",
    "minimize",
    "spectral_gradient",
)
