# SPDX-License-Identifier: MPL-2.0
"""Quadratic models of a batch of functions, and their damped minimizers."""

import dataclasses
from collections.abc import Callable

import torch

from .conjugate_gradient import conjugate_gradient

__all__ = ("QuadraticModel",)

# Of the steps that are solved for by conjugate gradients.
CG_TOL, CG_MAXITER = 0.03, 100


@dataclasses.dataclass
class QuadraticModel:
    """Quadratic model ``f(z + d) ~ f(z) + <g, d> + <d, H d> / 2`` of each run.

    Parameters
    ----------
    value : torch.Tensor
        ``f(z)``, ``(batch,)``.
    gradient : torch.Tensor
        ``g``, ``(batch, n)``.
    hessian : torch.Tensor or callable
        ``H``, positive semidefinite: matrices ``(batch, n, n)``, or a function
        ``d -> H d`` of ``(batch, n)``.
    """

    value: torch.Tensor
    gradient: torch.Tensor
    hessian: torch.Tensor | Callable

    def curve(self, d: torch.Tensor) -> torch.Tensor:
        """Return ``H d``."""
        if callable(self.hessian):
            return self.hessian(d)
        return (self.hessian @ d[:, :, None])[:, :, 0]

    def curvature(self) -> torch.Tensor:
        """Return ``<g, H g> / <g, g>``, ``(batch,)``."""
        g = self.gradient
        tiny = torch.finfo(g.dtype).tiny
        return (g * self.curve(g)).sum(1) / (g * g).sum(1).clamp_min(tiny)

    def step(self, damping: torch.Tensor) -> torch.Tensor:
        """Solve ``(H + damping I) d = -g``, with matrices in float64."""
        if callable(self.hessian):
            shift = damping[:, None].to(self.gradient.dtype)
            return conjugate_gradient(
                lambda d: self.hessian(d) + shift * d,
                -self.gradient,
                tol=CG_TOL,
                maxiter=CG_MAXITER,
            )
        damped = self.hessian.to(torch.float64, copy=True)
        damped.diagonal(dim1=1, dim2=2).add_(damping.double()[:, None])
        factor, _ = torch.linalg.cholesky_ex(damped)
        right = -self.gradient.double()[:, :, None]
        return torch.cholesky_solve(right, factor)[:, :, 0].to(self.gradient.dtype)
