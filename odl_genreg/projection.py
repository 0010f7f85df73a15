# SPDX-License-Identifier: MPL-2.0
"""z*(x): the inner problem of a generative regularizer."""

import dataclasses

import torch
from odl.functionals import IndicatorZero, L2NormSquared, ZeroFunctional
from odl.functionals.functional import FunctionalComp

from .deviation import envelope
from .solvers.minima import Minima
from .solvers.multi_start import minimize
from .solvers.smoothness import is_smooth
from .torch_bridge import (
    LinearMap,
    as_element,
    as_tensor,
    batch_value,
    torch_dtype,
)

__all__ = ("InnerProblem", "InnerSolution", "sample_latents")


@dataclasses.dataclass
class InnerSolution:
    """Solution of ``min_z F(x - G(z)) + mu R_Z(z)`` at one image.

    Parameters
    ----------
    z : `LinearSpaceElement`
        The best latent found.
    value : float
        Its objective.
    gradient_norm : float
        Norm of its gradient relative to the largest of the starts.
    converged : bool
        Whether that norm is at most the tolerance.
    starts : tuple of float
        Objective that each start ended with: their spread tells how much depends on
        the start.
    niter : int
        Iterations of the longest run.
    """

    z: object
    value: float
    gradient_norm: float
    converged: bool
    starts: tuple[float, ...]
    niter: int


def sample_latents(latent_space, count: int, seed: int) -> torch.Tensor:
    """Return latents ``z ~ N(0, I)``, ``(count, *Z.shape)``, the same for one seed."""
    source = torch.Generator().manual_seed(seed)
    shape = (count, *latent_space.shape)
    samples = torch.randn(shape, generator=source, dtype=torch.float64)
    return samples.to(torch_dtype(latent_space)).to(latent_space.device)


class InnerProblem:
    """The problem ``min_z distance(x - G(z)) + prior(z)`` from fixed starts."""

    def __init__(
        self,
        generator,
        prior,
        *,
        num_starts,
        seed,
        tol,
        maxiter,
        smoothing,
        warm_start,
    ):
        """Initialize a new instance.

        Parameters
        ----------
        generator : `Generator`
            Operator ``G : Z -> X``.
        prior : `Functional`
            Functional ``mu R_Z`` on ``Z``.
        num_starts, seed, tol, maxiter, smoothing, warm_start :
            As for `GenerativeRegularizer`.
        """
        for name, number in (("tol", tol), ("smoothing", smoothing)):
            if not number > 0:
                raise ValueError(
                    f"`{name}` must be positive, got {number}; leave it out for the "
                    "default."
                )
        for name, number in (("num_starts", num_starts), ("maxiter", maxiter)):
            if not number >= 1:
                raise ValueError(
                    f"`{name}` must be at least 1, got {number}; leave it out for the "
                    "default."
                )
        self.generator, self.prior = generator, prior
        self.num_starts, self.seed = int(num_starts), int(seed)
        self.tol, self.maxiter = float(tol), int(maxiter)
        self.smoothing, self.warm_start = float(smoothing), bool(warm_start)
        self._last = self._latent = None

    def starts(self, x) -> torch.Tensor:
        """Return the starts: the code of ``x``, 0, and samples of N(0, I).

        With a warm start only the last solution, from the second call on.
        """
        if self.warm_start and self._latent is not None:
            return self._latent
        Z, G = self.generator.domain, self.generator
        starts = sample_latents(Z, self.num_starts, self.seed)
        zero = torch.zeros_like(starts[:1])
        if G.encoder is None:
            return torch.cat([zero, starts])[: self.num_starts]
        return torch.cat([G.encode(as_tensor(x)[None]), zero, starts])[
            : self.num_starts
        ]

    def search(self, distance, x, starts=None) -> Minima:
        """Minimize ``distance(x - G(z), z) + prior(z)``, ``distance`` smooth.

        Parameters
        ----------
        distance : callable
            Differentiable torch function of ``(batch, *X.shape)`` and
            ``(batch, *Z.shape)`` with values ``(batch,)``.
        x : `LinearSpaceElement`
            Element of ``X``.
        starts : torch.Tensor, optional
            Starts ``(batch, *Z.shape)``. Default: those of `starts`.
        """
        return self._minimize(distance, self.prior, x, starts)

    def project(self, deviation, x) -> InnerSolution:
        """Solve the problem for a functional ``F`` on ``X`` or ``X x Z``.

        The last solution is kept: value and gradient at one image cost one solve.
        """
        key, image = (deviation, self.generator.versions()), as_tensor(x)
        last = self._last
        if last is None or last[0] != key or not torch.equal(last[1], image):
            last = self._last = (key, image.clone(), self._project(deviation, x))
        return dataclasses.replace(last[2], z=last[2].z.copy())

    def _project(self, deviation, x):
        if isinstance(deviation, IndicatorZero):
            return self._membership(x)
        F = batch_value(deviation)
        if is_smooth(deviation):
            on_product = deviation.domain != self.generator.range
            distance = F if on_product else lambda u, z: F(u)
            minima = self.search(distance, x)
            return self._solution(minima, minima.values)
        minima = self._continuation(deviation, x)
        with torch.no_grad():
            u = as_tensor(x) - self.generator.batch(minima.points)
            values = F(u) + batch_value(self.prior)(minima.points)
        return self._solution(minima, values)

    def _membership(self, x):
        """``prior(z*)`` where ``||x - G(z*)|| <= tol (1 + ||x||)``, else infinite."""
        G, Z = self.generator, self.generator.domain
        prior = ZeroFunctional(Z) if is_smooth(self.prior) else self.prior
        squared = batch_value(L2NormSquared(G.range))
        minima = self._minimize(lambda u, z: squared(u), prior, x, tol=1e-2 * self.tol)
        with torch.no_grad():
            distances = squared(as_tensor(x) - G.batch(minima.points)).sqrt()
            inside = distances <= self.tol * (1 + x.norm())
            values = batch_value(self.prior)(minima.points)
        solution = self._solution(minima, torch.where(inside, values, torch.inf))
        if not bool(inside.any()):
            solution.z = as_element(Z, minima.points[minima.best])
        return solution

    def _continuation(self, deviation, x):
        """Search with envelopes of decreasing steps, from least squares.

        Of ``F(u) = g(L u)`` with linear ``L`` it is ``g`` that is smoothed.
        """
        squared = batch_value(L2NormSquared(self.generator.range))
        minima = self.search(lambda u, z: squared(u), x)
        g, L = deviation, torch.clone
        if isinstance(deviation, FunctionalComp) and deviation.right.is_linear:
            g, L = deviation.left, LinearMap(deviation.right)
        with torch.no_grad():
            u = L(as_tensor(x) - self.generator.batch(minima.points))
            value, square = batch_value(g)(u), batch_value(L2NormSquared(g.domain))(u)
            counts = value > 1e-6 * square.sqrt()
            scale = float(torch.where(counts, square / value, 0.0).max())
        for factor in (10, 1) if scale > 0 else ():
            distance = envelope(g, factor * self.smoothing * scale)
            minima = self.search(lambda u, z, e=distance: e(L(u)), x, minima.points)
        return minima

    def _minimize(self, distance, prior, x, starts=None, tol=None):
        image, G = as_tensor(x), self.generator
        minima = minimize(
            lambda z: distance(image - G.batch(z), z),
            prior,
            self.starts(x) if starts is None else starts,
            tol=self.tol if tol is None else tol,
            maxiter=self.maxiter,
        )
        self._latent = minima.points[minima.best][None]
        return minima

    def _solution(self, minima, values):
        best = int(values.nan_to_num(nan=torch.inf).argmin())
        return InnerSolution(
            z=as_element(self.generator.domain, minima.points[best].clone()),
            value=float(values[best]),
            gradient_norm=float(minima.gradient_norms[best]),
            converged=bool(minima.converged[best]),
            starts=tuple(values.tolist()),
            niter=minima.niter,
        )
