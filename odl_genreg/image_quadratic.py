# SPDX-License-Identifier: MPL-2.0
"""phi(g): what a generated image costs once the best image beside it is known."""

import math

import torch

from .solvers.conjugate_gradient import conjugate_gradient
from .torch_bridge import LinearMap, gram_matrix, torch_dtype

__all__ = (
    "EliminatedByConjugateGradient",
    "EliminatedInData",
    "EliminatedInImage",
    "ImageQuadratic",
    "eliminated",
)


#: Largest size of the matrix that is factored, that on X or that on Y.
MAX_DENSE = 4096


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


class EliminatedInData(ImageQuadratic):
    """``phi(g) = min_x |A x - y|^2 / (2 sigma^2) + s |x - g|^2`` by a matrix on ``Y``.

        ``phi(g) = r^T C^{-1} r``,  ``x = g + A^T C^{-1} r / s``,  ``r = y - A g``,
        ``C = 2 sigma^2 I + A A^T / s``

    ``C`` is built and factored once, in float64.
    """

    def __init__(self, forward, noise_std, stiffness: float):
        """Initialize a new instance for ``A``, ``sigma`` and ``s``."""
        super().__init__(forward, noise_std)
        self.stiffness, dtype = float(stiffness), torch_dtype(forward.range)
        C = gram_matrix(forward.operator).double() / self.stiffness
        C.diagonal().add_(2 * self.noise_std**2)
        self._factor = torch.linalg.cholesky(C).to(dtype)

    def images(self, g, y):
        """Return ``x``."""
        return g - self._transpose(self._residual(g, y)) / self.stiffness

    def _linear(self, g):
        product = self.forward.product(g).flatten(1)
        return self._solve(self._factor, product, upper=False)

    def _transpose(self, r):
        solved = self._solve(self._factor.T, r, upper=True)
        return self.forward.T.product(solved.reshape(-1, *self.forward.range.shape))

    def _residual(self, g, y):
        residual = (self.forward.product(g) - y).flatten(1)
        return self._solve(self._factor, residual, upper=False)

    @staticmethod
    def _solve(factor, rows, upper):
        return torch.linalg.solve_triangular(factor, rows.T, upper=upper).T


class EliminatedInImage(ImageQuadratic):
    """The same ``phi`` by a matrix on ``X``.

        ``x = H^{-1} (A^T y / (2 sigma^2) + s g)``,  ``H = A^T A / (2 sigma^2) + s I``,
        ``phi'(g) = 2 s (g - x)``,  ``M = s (I - s H^{-1})``

    ``H`` is built and inverted once, in float64.
    """

    def __init__(self, forward, noise_std, stiffness: float):
        """Initialize a new instance for ``A``, ``sigma`` and ``s``."""
        super().__init__(forward, noise_std)
        self.stiffness = float(stiffness)
        self._prepare()

    def _prepare(self):
        H = gram_matrix(self.forward.operator, transposed=True).double()
        H /= 2 * self.noise_std**2
        H.diagonal().add_(self.stiffness)
        inverse = torch.cholesky_inverse(torch.linalg.cholesky(H))
        self._inverse = inverse.to(torch_dtype(self.forward.domain))

    def _solve(self, v):
        """``H^{-1} v``."""
        return (v.flatten(1) @ self._inverse).reshape(v.shape)

    def evaluate(self, g, y):
        """Return ``phi(g)`` and a function for its gradient ``2 s (g - x)``."""
        x = self.images(g, y)
        residual = (self.forward.product(x) - y).flatten(1)
        misfit = (residual**2).sum(1) / (2 * self.noise_std**2)
        value = misfit + self.stiffness * ((g - x) ** 2).flatten(1).sum(1)
        return value, lambda: 2 * self.stiffness * (g - x)

    def images(self, g, y):
        """Return ``x``."""
        back_projection = self.forward.T.product(y) / (2 * self.noise_std**2)
        return self._solve(back_projection + self.stiffness * g)

    def curvature(self, u):
        """Return ``s (u - s H^{-1} u)``."""
        return self.stiffness * (u - self.stiffness * self._solve(u))

    def along(self, g, columns, y):
        """Return value, slopes and curvatures, see `ImageQuadratic.along`."""
        value, gradient = self.evaluate(g, y)
        curved = self.curvature(columns.flatten(0, 1)).unflatten(0, columns.shape[:2])
        flat = columns.flatten(2)
        slopes = (flat @ gradient().flatten(1)[:, :, None])[:, :, 0]
        return value, slopes, flat @ curved.flatten(2).mT


class EliminatedByConjugateGradient(EliminatedInImage):
    """The same ``phi`` by conjugate gradients on ``X``, for large spaces.

    Without a preconditioner: the smallest eigenvalue of ``H / s`` is 1, and for ray
    transforms neither its diagonal nor a convolution for ``A^T A`` saves iterations.
    """

    #: Relative residual of the solutions, and the maximal number of iterations.
    tol, maxiter = 1e-6, 1000

    def _prepare(self):
        pass

    def _solve(self, v):
        def H(u):
            return ImageQuadratic.curvature(self, u) + self.stiffness * u

        return conjugate_gradient(H, v, tol=self.tol, maxiter=self.maxiter)


def eliminated(misfit: ImageQuadratic, stiffness: float) -> ImageQuadratic:
    """Return ``phi`` with ``s |x - g|^2`` in the form that suits the sizes."""
    forward = misfit.forward
    n, m = forward.domain.size, forward.range.size
    form = EliminatedInData if m <= n else EliminatedInImage
    if min(m, n) > MAX_DENSE:
        form = EliminatedByConjugateGradient
    return form(forward, misfit.noise_std, stiffness)
