# SPDX-License-Identifier: MPL-2.0
"""ADMM for a composite problem with a linearized generator."""

import dataclasses
import math

import odl
import torch

from ..torch_bridge import LinearMap
from .composite_problem import CompositeProblem, LinearTerm
from .normal_equations import (
    DenseEquations,
    IterativeEquations,
    Quadratic,
    RangeEquations,
)

__all__ = ("Linearization", "ModelStep", "Splitting")

# Over-relaxation, of at most 2.
RELAXATION = 1.7

# In the range the bounds of the splitting are narrower by this part, so that images
# can be inside for sure.
MARGIN = 1e-4


@dataclasses.dataclass
class Linearization:
    """``G(z + d) ~ G(z) + J d`` for each row of a batch.

    Parameters
    ----------
    z : torch.Tensor
        Latents as rows, ``(batch, d)``.
    image : torch.Tensor
        ``G(z)``, ``(batch, *X.shape)``.
    columns : torch.Tensor
        Columns of ``J``, ``(batch, d, X.size)``.
    """

    z: torch.Tensor
    image: torch.Tensor
    columns: torch.Tensor


@dataclasses.dataclass
class ModelStep:
    """Where the iterations on the model ended, for each row of a batch.

    Parameters
    ----------
    image, deviation : torch.Tensor
        ``G + e`` and ``e - J d``, ``(batch, *X.shape)``.
    shrunk : torch.Tensor
        The deviation after the proximal of its term: a sparse one is sparse. The
        deviation itself where no term is of the deviation alone.
    d : torch.Tensor
        Step of the latent, as rows.
    """

    image: torch.Tensor
    deviation: torch.Tensor
    shrunk: torch.Tensor
    d: torch.Tensor


class Splitting:
    r"""Alternating directions for the convex model of a problem, row by row.

        ``min_{e, d, k} |A (G + e) - y|^2 / (2 sigma^2) + rho |z + d|^2``
        ``              + sum_i g_i(k_i),    k_i = L_i (G + e)  or  L_i (e - J d)``

    with ``e`` the step from ``G = G(z)`` to the image, in the range ``e = J d``.

    Notes
    -----
    ADMM [BPC2011] for ``sigma^2`` times the problem, over-relaxed, with the penalty

    .. math::
        \beta_i = \mathrm{tr}(A^T A) / \mathrm{tr}(L_i^T L_i)

    for ``k_i``. It does not depend on the data, so that one inverse serves a whole
    batch, and rows do not depend on each other. Bounds are one more term. What is kept
    from one linearization to the next are the ``k_i`` and the dual variables.

    References
    ----------
    [BPC2011] Boyd S, Parikh N, Chu E, Peleato B, and Eckstein J. *Distributed
    optimization and statistical learning via the alternating direction method of
    multipliers*. Found Trends Mach Learn, 2011.
    """

    def __init__(self, problem: CompositeProblem, x, deviation, dense_size: int):
        """Initialize a new instance.

        Parameters
        ----------
        problem : CompositeProblem
            The batch of problems.
        x, deviation : torch.Tensor
            Images and their deviations to start from.
        dense_size : int
            Images of at most this size are solved for by a dense inverse.
        """
        self.terms = [*problem.terms, *_bound_terms(problem)]
        gain = _gain(problem.forward, x)
        self.penalties = [gain / _gain(term.linear_map, x) for term in self.terms]
        quadratic = Quadratic(problem.forward, self.terms, self.penalties)
        self._curve = quadratic.image if problem.in_range else quadratic.deviation
        dense = problem.forward.domain.size <= dense_size
        equations = DenseEquations if dense else IterativeEquations
        equations = RangeEquations if problem.in_range else equations
        self._equations = equations(quadratic, x)
        self._split = [t.linear_map(self._pick(t, x, deviation)) for t in self.terms]
        self._dual = [torch.zeros_like(k) for k in self._split]

    @staticmethod
    def _pick(term, x, deviation):
        return deviation if term.of_deviation else x

    def reset(self, rows, x, deviation):
        """Start some rows anew."""
        if not len(rows):
            return
        for term, k, q in zip(self.terms, self._split, self._dual, strict=True):
            k[rows] = term.linear_map(self._pick(term, x, deviation))
            q[rows] = 0

    def run(self, problem, rows, at, x, damping, niter: int) -> ModelStep:
        """Iterate ``niter`` times on some rows.

        Parameters
        ----------
        problem : CompositeProblem
            The problems of these rows.
        rows : torch.Tensor
            Their indices.
        at : Linearization
            Where the generator is linearized, for these rows.
        x : torch.Tensor
            Present images of these rows.
        damping : torch.Tensor
            Weights of ``|d|^2 / 2`` relative to the curvature of the model.

        Returns
        -------
        step : ModelStep
            The last iterate.
        """
        scale, J, shape = problem.noise_std**2, at.columns, at.image.shape
        ks, qs = [k[rows] for k in self._split], [q[rows] for q in self._dual]
        pairs = list(zip(self.terms, self.penalties, strict=True))
        constant = problem.forward.T(problem.data - problem.forward(at.image))
        for term, beta in pairs:
            if not term.of_deviation:
                pulled = term.linear_map.T(term.linear_map(at.image))
                constant = constant - beta * pulled
        prior, curved = 2 * problem.rho * scale, self._curve(J)
        s = -prior[:, None] * at.z
        ridge = prior + damping * (curved * J).sum(2).mean(1)
        self._equations.linearize(J, curved, ridge, (x - at.image).flatten(1))
        for _ in range(niter):
            r, h = constant, torch.zeros_like(constant)
            for (term, beta), k, q in zip(pairs, ks, qs, strict=True):
                pulled = beta * term.linear_map.T(k - q)
                if term.of_deviation:
                    h = h + pulled
                else:
                    r = r + pulled
            e, d = self._equations.solve(r.flatten(1), h.flatten(1), s)
            image = at.image + e.reshape(shape)
            deviation = (e - (d[:, None] @ J)[:, 0]).reshape(shape)
            for i, (term, beta) in enumerate(pairs):
                v = term.linear_map(self._pick(term, image, deviation))
                v = RELAXATION * v + (1 - RELAXATION) * ks[i] + qs[i]
                ks[i] = term.proximal(scale / beta, v)
                qs[i] = v - ks[i]
        for stored, new in zip([*self._split, *self._dual], [*ks, *qs], strict=True):
            stored[rows] = new
        shrunk = deviation
        for term, k in zip(self.terms, ks, strict=True):
            alone = isinstance(term.linear_map.operator, odl.IdentityOperator)
            shrunk = k if alone and term.of_deviation else shrunk
        return ModelStep(image, deviation, shrunk, d)


def _bound_terms(problem):
    """Return the bounds as a term of the image, if there are any."""
    lower, upper = problem.bounds
    if not (math.isfinite(lower) or math.isfinite(upper)):
        return []
    if problem.in_range:
        margin = MARGIN * (upper - lower if math.isfinite(upper - lower) else 1.0)
        lower, upper = lower + margin, upper - margin
    X = problem.forward.domain
    box = odl.functionals.IndicatorBox(X, lower, upper)
    return [LinearTerm(box, LinearMap(odl.IdentityOperator(X)))]


def _gain(linear_map, like):
    """``tr(L^T L) / X.size`` by a few random images, 1 for a map that is 0."""
    source = torch.Generator().manual_seed(0)
    shape = (4, *linear_map.domain.shape)
    probes = torch.randn(shape, generator=source, dtype=like.dtype).to(like.device)
    return float((linear_map(probes) ** 2).sum() / (probes**2).sum()) or 1.0
