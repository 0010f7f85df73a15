# SPDX-License-Identifier: MPL-2.0
"""Solvers that ODL does not have; they know functionals, never a regularizer."""

from .composite_problem import CompositeProblem, LinearTerm
from .continuation import envelope_continuation
from .gauss_newton import gauss_newton
from .initial_scaling import InitialScaling
from .lbfgs import lbfgs
from .line_search import BacktrackingLineSearch
from .minima import Minima
from .multi_start import minimize
from .palm import palm
from .primal_dual import primal_dual
from .prox_linear import prox_linear
from .quadratic_model import QuadraticModel
from .smoothness import is_smooth
from .spectral_gradient import spectral_gradient
from .terms import Term
from .wolfe_line_search import WolfeLineSearch

__all__ = (
    "BacktrackingLineSearch",
    "CompositeProblem",
    "InitialScaling",
    "LinearTerm",
    "Minima",
    "QuadraticModel",
    "Term",
    "WolfeLineSearch",
    "envelope_continuation",
    "gauss_newton",
    "is_smooth",
    "lbfgs",
    "minimize",
    "palm",
    "primal_dual",
    "prox_linear",
    "spectral_gradient",
)
