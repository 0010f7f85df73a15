# SPDX-License-Identifier: MPL-2.0
"""Gradient and proximal of a generative regularizer, from its inner problem."""

import torch
from odl import Operator

from .deviation import envelope
from .projection import InnerProblem
from .torch_bridge import as_element, as_tensor, batch_proximal

__all__ = ("InnerGradient", "InnerProximal")


class InnerGradient(Operator):
    """Gradient of a generative regularizer, ``x -> grad F(x - G(z*(x)))``."""

    def __init__(self, inner: InnerProblem, deviation):
        """Initialize a new instance for the functional ``F`` on ``X`` or ``X x Z``."""
        X = inner.generator.range
        super().__init__(X, X)
        self.inner, self.deviation = inner, deviation

    def _call(self, x):
        F, z = self.deviation, self.inner.project(self.deviation, x).z
        u = x - self.inner.generator(z)
        if F.domain == self.domain:
            return F.gradient(u)
        return F.gradient(F.domain.element([u, z]))[0]


class InnerProximal(Operator):
    """Proximal of a generative regularizer, ``v -> G(z) + prox_{s F}(v - G(z))``.

    Here ``z`` minimizes ``env_{s F}(v - G(z)) + mu R_Z(z)``.
    """

    def __init__(self, inner: InnerProblem, deviation, sigma: float):
        """Initialize a new instance for ``F`` on ``X`` with the step ``sigma``."""
        X = inner.generator.range
        super().__init__(X, X)
        self.inner, self.deviation, self.sigma = inner, deviation, float(sigma)

    def _call(self, v):
        distance = envelope(self.deviation, self.sigma)
        minima = self.inner.search(lambda u, z: distance(u), v)
        with torch.no_grad():
            g = self.inner.generator.batch(minima.points[minima.best][None])
        proximal = batch_proximal(self.deviation)
        x = g + proximal(self.sigma, as_tensor(v)[None] - g)
        return as_element(self.range, x[0])
