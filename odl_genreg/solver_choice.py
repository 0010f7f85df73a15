# SPDX-License-Identifier: MPL-2.0
"""Which solvers can solve a problem, the fastest first."""

from .convex_terms import has_proximal, is_composite
from .latent_objective import MAX_COLUMNS
from .solvers import is_smooth
from .solvers.prox_linear import DENSE_SIZE
from .transform_strategy import is_transformable

__all__ = ("choose_solver",)

# They differentiate the generator along each latent: dear where there are many.
BY_JACOBIAN = {"gauss_newton", "prox_linear"}

WANTS = {
    "gauss_newton": "a quadratic data fidelity, the range or the soft constraint, a "
    "Gaussian latent prior, no other terms and no bounds",
    "lbfgs": "gradients of deviation, other terms and latent prior, and no bounds",
    "spectral_gradient": "a problem in the latent alone and a latent prior without a "
    "gradient",
    "transform": "a quadratic data fidelity whose A^T A is diagonal after a transform, "
    "and the soft constraint",
    "prox_linear": "a quadratic data fidelity, a Gaussian latent prior, and proximals "
    "of deviation and other terms",
    "palm": "no nonsmooth other terms, and no bounds beside a nonsmooth deviation",
    "continuation": "a latent prior that is smooth or a box",
}


def choose_solver(problem, solver: str) -> str:
    """Return the solver of the last stage: the one asked for, or the fastest.

    Raises
    ------
    ValueError
        If there is no such solver, or if it cannot solve the problem.
    """
    latent_prior = is_smooth(problem.prior)
    fits = {
        "gauss_newton": problem.is_latent and problem.has_least_squares,
        "lbfgs": (problem.is_latent or problem.is_smooth) and latent_prior,
        "spectral_gradient": problem.is_latent and not latent_prior,
        "transform": is_transformable(problem),
        "prox_linear": is_composite(problem),
        "continuation": problem.bounds is not None,
        "primal_dual": True,
        "palm": _is_separable(problem),
    }
    if solver == "auto":
        G = problem.generator
        dear = BY_JACOBIAN if G.domain.size > MAX_COLUMNS else set()
        if not dear and G.range.size <= DENSE_SIZE:
            dear = {"transform"}  # `prox_linear` ends nearer to the minimum
        possible = [name for name, fit in fits.items() if fit]
        return next((name for name in possible if name not in dear), possible[0])
    if solver not in fits:
        raise ValueError(
            f"`solver` must be one of {('auto', *fits)}, got {solver!r}; leave it out "
            "for 'auto'."
        )
    if not fits[solver]:
        others = [repr(name) for name, possible in fits.items() if possible]
        raise ValueError(
            f"`solver` must be {', '.join(others)} or 'auto' for this problem, got "
            f"{solver!r}, which wants {WANTS[solver]}; leave it out."
        )
    return solver


def _is_separable(problem):
    """Whether all but a smooth coupling is a proximal of one variable alone."""
    F = problem.regularizer.deviation
    if len(problem.smooth_others) < len(problem.other_terms):
        return False
    if problem.in_range or not is_smooth(F):
        on_image = problem.in_range or F.domain == problem.generator.range
        return problem.box is None and on_image and has_proximal(F)
    return True
