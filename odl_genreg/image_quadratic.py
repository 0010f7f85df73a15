# SPDX-License-Identifier: MPL-2.0
"""phi(g): how well a generated image explains the data, as a quadratic."""

import math

import torch

from .torch_bridge import LinearMap

__all__ = ("ImageQuadratic",)


class ImageQuadratic:
    """Quadratic ``phi(g) = |A g - y|^2 / (2 sigma^2)`` of an image ``g``.

    In plain sums, as everything here; its Hessian is ``2 M``, here with
    ``M = A^T A / (2 sigma^2)``. Images are tensors ``(batch, *X.shape)``, data
    ``(batch, *Y.shape)`` or, the same for all, ``Y.shape``.
    """

    def __init__(self, forward: LinearMap, noise_std: float):
        """Initialize a new instance for ``A`` and ``sigma``."""
        self.forward, self.noise_std = forward, float(noise_std)

    def __call__(self, g: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
        """Return ``phi(g)``, ``(batch,)``, differentiable once in ``g``."""
        return _Value.apply(g, y, self)

    def images(self, g: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
        """Return the image that goes with ``g``, here itself."""
        return g

    def evaluate(self, g: torch.Tensor, y: torch.Tensor):
        """Return ``phi(g)`` and a function that returns its gradient."""
        residual = self._residual(g, y)
        return (residual**2).sum(1), lambda: 2 * self._transpose(residual)

    def gradient(self, g: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
        """Return the gradient of ``phi``, ``(batch, *X.shape)``."""
        _, gradient = self.evaluate(g, y)
        return gradient()

    def curvature(self, u: torch.Tensor) -> torch.Tensor:
        """Return ``M u``."""
        return self._transpose(self._linear(u))

    def along(self, g: torch.Tensor, columns: torch.Tensor, y: torch.Tensor):
        """Return value, slopes and curvatures of ``phi`` in some directions at ``g``.

        Parameters
        ----------
        g : torch.Tensor
            Images ``(batch, *X.shape)``.
        columns : torch.Tensor
            Directions ``J``, ``(batch, number, *X.shape)``.
        y : torch.Tensor
            Data.

        Returns
        -------
        value, slopes, curvatures : torch.Tensor
            ``phi(g)``, ``J^T phi'(g)`` and ``J^T M J``: ``(batch,)``,
            ``(batch, number)`` and ``(batch, number, number)``.
        """
        residual = self._residual(g, y)
        tangents = self._linear(columns.flatten(0, 1)).unflatten(0, columns.shape[:2])
        slopes = 2 * (tangents @ residual[:, :, None])[:, :, 0]
        return (residual**2).sum(1), slopes, tangents @ tangents.mT

    def _linear(self, g):
        """``B g`` with ``phi(g) = |B g - c|^2``, ``(batch, k)``."""
        return self.forward.product(g).flatten(1) / (math.sqrt(2) * self.noise_std)

    def _transpose(self, r):
        """``B^T r``."""
        images = self.forward.T.product(r.reshape(-1, *self.forward.range.shape))
        return images / (math.sqrt(2) * self.noise_std)

    def _residual(self, g, y):
        """``B g - c``."""
        residual = self.forward.product(g) - y
        return residual.flatten(1) / (math.sqrt(2) * self.noise_std)


class _Value(torch.autograd.Function):
    """One node for ``phi(g)``: what autograd records for each operation takes long."""

    @staticmethod
    def forward(ctx, g, y, phi):
        value, ctx.gradient = phi.evaluate(g, y)
        return value

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx, slope):
        gradient = ctx.gradient()
        return slope.reshape(-1, *[1] * (gradient.ndim - 1)) * gradient, None, None
