# SPDX-License-Identifier: MPL-2.0
"""A reconstruction as least squares plus convex terms, for `prox_linear`."""

import math

import odl
import torch
from odl.functionals.functional import FunctionalComp, FunctionalLeftScalarMult

from .solvers import CompositeProblem, LinearTerm
from .torch_bridge import LinearMap
from .variational_problem import VariationalProblem

__all__ = ("composite_problem", "has_proximal", "is_composite")


def is_composite(problem: VariationalProblem) -> bool:
    """Tell whether a problem is one of least squares plus terms with a proximal.

    That is a `squared_l2` of a linear operator, a Gaussian latent prior, and a
    deviation on ``X`` and other terms that have proximals.
    """
    F = problem.regularizer.deviation
    functionals = [functional for functional, _ in problem.other_terms]
    if not problem.in_range:
        functionals.append(F)
    return (
        problem.has_least_squares
        and F.domain == problem.generator.range
        and all(has_proximal(_split(functional)[0]) for functional in functionals)
    )


def composite_problem(problem: VariationalProblem, y: torch.Tensor) -> CompositeProblem:
    """Return the problems of data ``(batch, *Y.shape)`` for `prox_linear`."""
    D, F = problem.data_fidelity, problem.regularizer.deviation
    terms = [_term(g, L) for g, L in problem.other_terms]
    if not problem.in_range:
        identity = odl.IdentityOperator(problem.generator.range)
        terms.append(_term(problem.lam * F, identity, of_deviation=True))
    box = problem.box
    limits = (-math.inf, math.inf) if box is None else (box.lower, box.upper)
    return CompositeProblem(
        problem.generator,
        LinearMap(D.operator),
        y,
        y.new_full((len(y),), D.noise_std),
        terms,
        problem.latent_objective.square_weight,
        bounds=limits,
        in_range=problem.in_range,
    )


def _term(functional, operator, of_deviation=False):
    """``g(L x)`` with what can be split off ``g``."""
    g, L = _split(functional)
    linear_map = LinearMap(operator if L is None else L @ operator)
    return LinearTerm(g, linear_map, of_deviation)


def _split(functional):
    """Return ``g, L`` of a composition ``g(L x)`` with linear ``L``, else None."""
    scalar, inner = 1.0, functional
    while isinstance(inner, FunctionalLeftScalarMult):
        scalar, inner = scalar * float(inner.scalar), inner.functional
    if isinstance(inner, FunctionalComp) and inner.right.is_linear:
        return scalar * inner.left, inner.right
    return functional, None


def has_proximal(functional) -> bool:
    """Tell whether a functional has a proximal."""
    try:
        _ = functional.proximal
    except NotImplementedError:
        return False
    return True
