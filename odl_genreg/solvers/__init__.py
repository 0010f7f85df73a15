# SPDX-License-Identifier: MPL-2.0
"""Solvers that ODL does not have; they know functionals, never a regularizer."""

from .lbfgs import lbfgs
from .line_search import BacktrackingLineSearch
from .minima import Minima
from .multi_start import minimize
from .primal_dual import Term, primal_dual
from .smoothness import is_smooth
from .spectral_gradient import spectral_gradient

__all__ = (
    "BacktrackingLineSearch",
    "Minima",
    "Term",
    "is_smooth",
    "lbfgs",
    "minimize",
    "primal_dual",
    "spectral_gradient",
)
