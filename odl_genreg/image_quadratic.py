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
        return (self._residual(g, y) ** 2).sum(1)

    def images(self, g: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
        """Return the image that goes with ``g``, here itself."""
        return g

    def gradient(self, g: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
        """Return the gradient of ``phi``, ``(batch, *X.shape)``."""
        residual = self.forward(g) - y
        return self.forward.T(residual) / self.noise_std**2

    def curvature(self, u: torch.Tensor) -> torch.Tensor:
        """Return ``M u``."""
        return self.forward.T(self.forward(u)) / (2 * self.noise_std**2)

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
        return self.forward(g).flatten(1) / (math.sqrt(2) * self.noise_std)

    def _residual(self, g, y):
        """``B g - c``."""
        residual = self.forward(g) - y
        return residual.flatten(1) / (math.sqrt(2) * self.noise_std)


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
        solved = self._solve(self._factor.T, self._residual(g, y), upper=True)
        solved = solved.reshape(-1, *self.forward.range.shape)
        return g - self.forward.T(solved) / self.stiffness

    def gradient(self, g, y):
        """Return ``2 s (g - x)``."""
        return 2 * self.stiffness * (g - self.images(g, y))

    def curvature(self, u):
        """Return ``A^T C^{-1} A u``."""
        solved = self._solve(self._factor.T, self._linear(u), upper=True)
        return self.forward.T(solved.reshape(-1, *self.forward.range.shape))

    def _linear(self, g):
        return self._solve(self._factor, self.forward(g).flatten(1), upper=False)

    def _residual(self, g, y):
        residual = (self.forward(g) - y).flatten(1)
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

    def __call__(self, g, y):
        """Return ``phi(g)``; by the envelope theorem ``x`` counts as a constant."""
        x = self.images(g.detach(), y)
        residual = (self.forward(x) - y).flatten(1)
        misfit = (residual**2).sum(1) / (2 * self.noise_std**2)
        return misfit + self.stiffness * ((x - g) ** 2).flatten(1).sum(1)

    def images(self, g, y):
        """Return ``x``."""
        back_projection = self.forward.T(y) / (2 * self.noise_std**2)
        return self._solve(back_projection + self.stiffness * g)

    def gradient(self, g, y):
        """Return ``2 s (g - x)``."""
        return 2 * self.stiffness * (g - self.images(g, y))

    def curvature(self, u):
        """Return ``s (u - s H^{-1} u)``."""
        return self.stiffness * (u - self.stiffness * self._solve(u))

    def along(self, g, columns, y):
        """Return value, slopes and curvatures, see `ImageQuadratic.along`."""
        gradient = self.gradient(g, y).flatten(1)[:, :, None]
        curved = self.curvature(columns.flatten(0, 1)).unflatten(0, columns.shape[:2])
        flat = columns.flatten(2)
        return self(g, y), (flat @ gradient)[:, :, 0], flat @ curved.flatten(2).mT


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


def eliminated(forward: LinearMap, noise_std: float, stiffness: float):
    """Return ``phi`` in the form that suits the sizes of ``X`` and ``Y``."""
    n, m = forward.domain.size, forward.range.size
    form = EliminatedInData if m <= n else EliminatedInImage
    if min(m, n) > MAX_DENSE:
        form = EliminatedByConjugateGradient
    return form(forward, noise_std, stiffness)
