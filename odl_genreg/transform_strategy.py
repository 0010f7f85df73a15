# SPDX-License-Identifier: MPL-2.0
"""The stage of a reconstruction that a fast transform of ``A^T A`` makes cheap."""

from collections.abc import Callable

import torch
from odl.functionals import L2NormSquared

from .solution import Solution
from .solvers import Term, is_smooth, lbfgs
from .solvers.continuation import SHARPNESS
from .torch_bridge import LinearMap, batch_value, normal_spectrum, torch_dtype, weight
from .variational_problem import VariationalProblem

__all__ = ("is_transformable", "solve_by_transform")


def is_transformable(problem: VariationalProblem) -> bool:
    """Tell whether `solve_by_transform` can solve a problem."""
    return (
        problem.is_quadratic
        and isinstance(problem.regularizer.deviation, L2NormSquared)
        and problem.lam > 0
        and is_smooth(problem.prior)
        and normal_spectrum(problem.data_fidelity.operator) is not None
    )


def solve_by_transform(
    problem: VariationalProblem,
    start: Solution,
    data: tuple[torch.Tensor, ...],
    tol: float,
    maxiter: int,
    report: Callable,
) -> Solution:
    """Minimize the soft problem with other terms by L-BFGS in one batch.

        ``min_{u, z} D(x) + lam ||x - G(z)||_X^2 + lam mu R_Z(z) + sum_i g_i(L_i x)``

    in the coordinates ``x(u, z)`` of `_Coordinates`. Nonsmooth ``g_i`` are replaced by
    their envelopes, sharper and sharper, as `solvers.envelope_continuation` has it.
    Bounds are one of the ``g_i``; images are cut off at them in the end, which for
    tight ones may leave them a percent above the minimum.
    """
    rows = start.best
    y = data[0][rows]
    coordinates = _Coordinates(problem)
    parameters = [y, coordinates.from_data(y)]
    terms, shape = problem.terms, start.images.shape[1:]
    bounds = None if problem.box is None else problem.bounds[0]
    if problem.box is not None:
        terms = [*terms, Term(problem.box, lambda x, z: x)]
    latents = start.blocks[-1].shape[1:]

    def split(points):
        u, z = points.split([shape.numel(), latents.numel()], dim=1)
        return u.unflatten(1, shape), z.unflatten(1, latents)

    def images(points):
        u, z = split(points)
        x = coordinates.image(u, problem.generator.batch(z), parameters[1])
        return x if bounds is None else x.clamp(*bounds)

    def objective(points, y, c, of_term, bounds=None):
        u, z = split(points)
        g = problem.generator.batch(z)
        x = coordinates.image(u, g, c)
        x = x if bounds is None else x.clamp(*bounds)
        total = coordinates.smooth(x, g, z, y)
        return total + sum(of_term(term, term.map(x, z)) for term in terms)

    def exact(points):
        with torch.no_grad():
            return objective(points, *parameters, lambda t, k: t.value(k), bounds)

    z = start.blocks[-1][rows]
    points = torch.cat([z.new_zeros(len(z), shape.numel()), z.flatten(1)], 1)
    with torch.no_grad():
        x = images(points)
        # Bounds tell nothing: take what is between all curvatures.
        other = coordinates.typical_curvature
        sigmas = {id(t): t.stiffness(t.map(x, z)) or other for t in terms}
    best, values = points, exact(points)
    trace = [values]
    for epsilon in SHARPNESS if terms else SHARPNESS[:1]:

        def envelope(term, k, epsilon=epsilon):
            return term.envelope(epsilon / sigmas[id(term)], k)

        minima = lbfgs(
            lambda p, y, c, envelope=envelope: objective(p, y, c, envelope),
            points,
            parameters=parameters,
            num_problems=len(y),
            tol=tol,
            maxiter=maxiter,
            callback=lambda p, v: report(lambda: images(p), v),
        )
        points, now = minima.points, exact(minima.points)
        better = now < values
        best = torch.where(better[:, None], points, best)
        values = torch.where(better, now, values)
        trace.append(values)
        if minima.interrupted:
            break
    with torch.no_grad():
        x, z = images(best), split(best)[1]
    return Solution(
        [x, z],
        x,
        values,
        trace,
        minima.converged,
        "transform in (x, z)",
        start.count,
        minima.interrupted,
    )


class _Coordinates:
    """Coordinates in which data and deviation weigh the same.

        ``x(u, z) = H^{-1} (A^T y / (2 sigma^2) + s G(z)) + H^{-1/2} u``

    With ``H = A^T A / (2 sigma^2) + s I`` and ``s = lam w_X``, it is for each ``z``

        ``|A x - y|^2 / (2 sigma^2) + s |x - G(z)|^2 = |u|^2 + const``,

    so that what the data tell and what they do not have the same curvature.
    """

    def __init__(self, problem):
        D, X = problem.data_fidelity, problem.generator.range
        self._phi, self.stiffness = D.quadratic, problem.lam * weight(X)
        self._prior = batch_value(problem.prior)
        self._others = [
            (batch_value(g), LinearMap(L)) for g, L in problem.smooth_others
        ]
        self._spectrum = normal_spectrum(D.operator)
        self._variance = D.noise_std**2
        t = self._spectrum.eigenvalues.double() / (2 * self._variance)
        inverse = 1 / (t + self.stiffness)
        #: The geometric mean of the extreme eigenvalues of ``H``.
        self.typical_curvature = float((inverse.min() * inverse.max()) ** -0.5)
        self._inverse, self._root = (
            numbers.to(torch_dtype(X)) for numbers in (inverse, inverse.sqrt())
        )

    def from_data(self, y):
        """Return ``H^{-1} A^T y / (2 sigma^2)``."""
        back_projection = self._phi.forward.T.product(y) / (2 * self._variance)
        return self._spectrum.apply(lambda _: self._inverse, back_projection)

    def image(self, u, g, from_data):
        """Return ``x`` for ``g = G(z)``, differentiable."""
        U, share = self._spectrum, self.stiffness * self._inverse
        return from_data + U.backward(share * U.forward(g) + self._root * U.forward(u))

    def smooth(self, x, g, z, y):
        """Return the smooth terms of the objective, ``(batch,)``."""
        deviation = ((x - g) ** 2).flatten(1).sum(1)
        total = self._phi(x, y) + self.stiffness * deviation + self._prior(z)
        for value, linear_map in self._others:
            total = total + value(linear_map(x))
        return total
