# SPDX-License-Identifier: MPL-2.0
"""A primal-dual method for convex problems of many images, with their gaps."""

import copy
import math
from collections.abc import Callable
from typing import NamedTuple

import torch

from ..torch_bridge import batch_products, torch_device, torch_dtype

__all__ = ("PrimalDualBatch", "SparsifyingMap")

# Over-relaxation, and how far the ratio of the step sizes follows the iterates when it
# does so for the k-th time: all the way to the power STEP_CHANGE * STEP_DAMPING^k.
# Chosen on digits at 3 to 30 angles for the least number of iterations.
RELAXATION, STEP_CHANGE, STEP_DAMPING = 1.9, 0.8, 0.95


class SparsifyingMap(NamedTuple):
    """Linear map ``K`` whose values are few or short for the images that we want."""

    #: ``x -> K x``, ``(batch, X.size)`` to ``(batch, d X.size)``: ``d`` numbers for
    #: each cell, whose length is what counts, the first of all cells first.
    forward: Callable
    #: ``p -> K^T p`` in plain sums.
    transpose: Callable
    #: At least ``||K||``, of its order of magnitude.
    norm: float


class PrimalDualBatch:
    r"""Saddle points of sparsity problems with one linear operator.

        ``min_x max_{q, p} <A x, q> - f^*(q) + <K x, p>``

    with ``lower <= x <= upper`` and ``|p_i|_2 <= alpha`` for each image ``b``, all in
    plain sums. The method is that of [CP2011], over-relaxed [Con2013]:

    .. math::
        x^+ &= P_{[l, u]}(x - \tau (A^T q + K^T p)) \\
        q^+ &= \text{prox}_{s^2 \sigma f^*}(q + s^2 \sigma A (2 x^+ - x)) \\
        p^+ &= P_{|\cdot| \le \alpha}(p + \sigma K (2 x^+ - x)) \\
        (x, q, p) &\leftarrow (x, q, p) + \rho (x^+ - x, q^+ - q, p^+ - p)

    ``s A`` and ``K`` have one norm; ``tau sigma ||(s A, K)||^2 = 1``. Each image
    has its own ratio ``tau / sigma``, whose root moves towards the ratio of the ways
    that ``x`` and ``(q / s, p)`` have gone, less and less: so the method converges.

    Variables are float64: in float32 they do not move where a step is short, and the
    gap stalls. ``A`` is applied in the dtype of its spaces.

    References
    ----------
    [CP2011] Chambolle A, and Pock T. *A first-order primal-dual algorithm for convex
    problems with applications to imaging.* J Math Imaging Vis, 2011.

    [Con2013] Condat L. *A primal-dual splitting method for convex optimization
    involving Lipschitzian, proximable and linear composite terms*. J Optim Theory
    Appl, 2013.
    """

    def __init__(
        self, operator, data, term, sparse: SparsifyingMap, alpha: float, bounds
    ):
        """Initialize a new instance, with all variables 0.

        Parameters
        ----------
        operator : `Operator`
            Linear operator ``A : X -> Y``.
        data : torch.Tensor
            Data ``(batch, Y.size)`` that tell the size of the images.
        term : SquaredTerm or AnyTerm
            The functionals ``f_b``.
        sparse : SparsifyingMap
            The map ``K``.
        alpha : positive float
            Weight of the sum of the lengths of ``K x``.
        bounds : pair of float
            ``(lower, upper)``, finite or not.
        """
        X = operator.domain
        self.term, self.alpha, self.bounds = term, alpha, bounds
        self._dtype = torch_dtype(X)
        self._forward, self._transpose = _in_float64(operator)
        self._sparse = sparse
        start = _random_images(X, 4)
        A_norm = _norm(lambda x: self._transpose(self._forward(x)), start, niter=10)
        self._scale = sparse.norm / A_norm if A_norm > 0 else 1.0
        # The power method comes from below; 2 % make up for it.
        self._norm = 1.02 * _norm(self._normal, start, niter=50)
        guess = self._scaled_back_projection(data.double())
        self._size = guess.abs().amax(1)
        ratio = 0.1 * guess.square().mean(1, keepdim=True).sqrt() / alpha
        self._ratio = torch.where(ratio > 0, ratio, 1.0)
        self._relaxed = (
            torch.zeros_like(guess),
            guess.new_zeros(data.shape),
            torch.zeros_like(sparse.forward(guess)),
        )
        self._point = self._last = self._relaxed
        self._change = STEP_CHANGE

    def __getitem__(self, chosen):
        """Return the part of the batch that is chosen by a mask."""
        part = copy.copy(self)
        part.term = self.term[chosen]
        part._size, part._ratio = self._size[chosen], self._ratio[chosen]
        for name in ("_point", "_relaxed", "_last"):
            setattr(part, name, tuple(v[chosen] for v in getattr(self, name)))
        return part

    @property
    def x(self):
        """Images ``(batch, X.size)`` within the bounds, in the dtype of ``X``."""
        return self._point[0].to(self._dtype)

    def iterate(self, niter: int):
        """Do some iterations, then adapt the ratios of the step sizes."""
        tau, sigma = self._ratio / self._norm, 1 / (self._ratio * self._norm)
        sigma_q = self._scale**2 * sigma
        for _ in range(niter):
            x, q, p = self._relaxed
            x_new = x - tau * (self._transpose(q) + self._sparse.transpose(p))
            x_new = x_new.clamp(*self.bounds)
            ahead = 2 * x_new - x
            q_new = self.term.dual_proximal(sigma_q, q + sigma_q * self._forward(ahead))
            p_new = self._ball(p + sigma * self._sparse.forward(ahead))
            self._point = x_new, q_new, p_new
            self._relaxed = tuple(
                torch.lerp(old, new, RELAXATION)
                for old, new in zip(self._relaxed, self._point, strict=True)
            )
        way_x, way_q, way_p = (
            (new - old).square().sum(1, keepdim=True)
            for new, old in zip(self._relaxed, self._last, strict=True)
        )
        change = (way_x / (way_q / self._scale**2 + way_p)).sqrt() / self._ratio
        moved = change.isfinite() & (change > 0)
        self._ratio = self._ratio * torch.where(moved, change**self._change, 1.0)
        self._change *= STEP_DAMPING
        self._last = self._relaxed

    def gap_and_objective(self):
        """Return bounds of ``objective - minimum``, and the objective, in float64."""
        x, q, p = self.x.double(), self.term.dual_point(self._point[1]), self._point[2]
        z = -(self._transpose(q) + self._sparse.transpose(p))
        size = 2 * torch.maximum(x.abs().amax(1), self._size)
        low, high = (
            sign * size if math.isinf(bound) else torch.full_like(size, bound)
            for sign, bound in zip((-1, 1), self.bounds, strict=True)
        )
        box = torch.maximum(low[:, None] * z, high[:, None] * z).sum(1)
        lengths = self._lengths(self._sparse.forward(x)).sum((1, 2))
        objective = self.term.value(self._forward(x)) + self.alpha * lengths
        return objective + self.term.conjugate(q) + box, objective

    def _normal(self, x):
        """Apply ``s^2 A^T A + K^T K``."""
        data_part = self._scale**2 * self._transpose(self._forward(x))
        return data_part + self._sparse.transpose(self._sparse.forward(x))

    def _vectors(self, p):
        """Reshape to ``(batch, dimension, X.size)``."""
        return p.unflatten(1, (-1, self._point[0].shape[1]))

    def _lengths(self, p):
        return self._vectors(p).square().sum(1, keepdim=True).sqrt()

    def _ball(self, p):
        """Project onto ``|p_i|_2 <= alpha``."""
        factors = self.alpha / self._lengths(p).clamp_min(self.alpha)
        return (self._vectors(p) * factors).flatten(1)

    def _scaled_back_projection(self, y):
        """Return the multiple of ``A^T y`` that fits the data ``y`` best."""
        x = self._transpose(y)
        energy = self._forward(x).square().sum(1, keepdim=True)
        factors = x.square().sum(1, keepdim=True) / energy
        return x * torch.where(energy > 0, factors, 1.0)


def _random_images(X, count):
    generator = torch.Generator().manual_seed(0)
    images = torch.randn(count, X.size, generator=generator, dtype=torch.float64)
    return images.to(torch_device(X))


def _in_float64(operator):
    """Return ``x -> A x`` and ``y -> A^T y`` from and to float64."""
    x_dtype, y_dtype = torch_dtype(operator.domain), torch_dtype(operator.range)
    forward, transpose = batch_products(operator)
    return (
        lambda x: forward(x.to(x_dtype)).double(),
        lambda y: transpose(y.to(y_dtype)).double(),
    )


def _norm(normal, x, niter):
    """Estimate ``||A||`` by the power method on ``A^T A`` from some starts at once."""
    for _ in range(niter):
        x = x / x.norm(dim=1, keepdim=True).clamp_min(torch.finfo(x.dtype).tiny)
        x = normal(x)
    return float(x.norm(dim=1).max()) ** 0.5
