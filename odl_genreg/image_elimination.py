# SPDX-License-Identifier: MPL-2.0
"""phi(g): what a generated image costs once the best image beside it is known."""

import torch

from .image_quadratic import ImageQuadratic
from .solvers.conjugate_gradient import conjugate_gradient
from .torch_bridge import gram_matrix, normal_spectrum, torch_dtype

__all__ = (
    "MAX_DENSE",
    "EliminatedByConjugateGradient",
    "EliminatedByTransform",
    "EliminatedInData",
    "EliminatedInImage",
    "eliminated",
    "is_direct",
)


#: Largest size of the matrix that is factored, that on X or that on Y.
MAX_DENSE = 4096


class EliminatedInData(ImageQuadratic):
    """``phi(g) = min_x |A x - y|^2 / (2 sigma^2) + s |x - g|^2`` by a matrix on ``Y``.

        ``phi(g) = r^T C^{-1} r``,  ``x = g + A^T C^{-1} r / s``,  ``r = y - A g``,
        ``C = 2 sigma^2 I + A A^T / s``

    ``C`` is built and factored once, in float64; it is positive definite, or an error,
    which comes of an adjoint that is none.
    """

    def __init__(self, forward, noise_std, stiffness: float):
        """Initialize a new instance for ``A``, ``sigma`` and ``s``."""
        super().__init__(forward, noise_std)
        self.stiffness, dtype = float(stiffness), torch_dtype(forward.range)
        C = gram_matrix(forward.operator).double() / self.stiffness
        C.diagonal().add_(2 * self.noise_std**2)
        self._factor = _cholesky(C).to(dtype)

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

        ``x - g = H^{-1} A^T (y - A g) / (2 sigma^2)``,
        ``H = A^T A / (2 sigma^2) + s I``,  ``phi'(g) = 2 s (g - x)``,
        ``M = s (I - s H^{-1})``

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
        inverse = torch.cholesky_inverse(_cholesky(H))
        self._inverse = inverse.to(torch_dtype(self.forward.domain))

    def _solve(self, v):
        """``H^{-1} v``."""
        return (v.flatten(1) @ self._inverse).reshape(v.shape)

    def evaluate(self, g, y):
        """Return ``phi(g)`` and a function for its gradient ``2 s (g - x)``."""
        u = self._deviation(g, y)
        residual = (self.forward.product(g + u) - y).flatten(1)
        misfit = (residual**2).sum(1) / (2 * self.noise_std**2)
        value = misfit + self.stiffness * (u**2).flatten(1).sum(1)
        return value, lambda: -2 * self.stiffness * u

    def images(self, g, y):
        """Return ``x``."""
        return g + self._deviation(g, y)

    def _deviation(self, g, y):
        """``x - g``, without the rounding of a difference."""
        residual = y - self.forward.product(g)
        return self._solve(self.forward.T.product(residual) / (2 * self.noise_std**2))

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


class EliminatedByTransform(EliminatedInImage):
    """The same ``phi`` where a fast transform diagonalizes ``A^T A``.

        ``H^{-1} = U^H diag(1 / (t / (2 sigma^2) + s)) U``,  ``A^T A = U^H diag(t) U``

    A division in Fourier space for the masked Fourier transform of MRI, and for a
    periodic convolution; see `torch_bridge.normal_spectrum`.
    """

    def _prepare(self):
        spectrum = normal_spectrum(self.forward.operator)
        t = spectrum.eigenvalues.double() / (2 * self.noise_std**2)
        inverse = (1 / (t + self.stiffness)).to(torch_dtype(self.forward.domain))
        self._solve = lambda v: spectrum.apply(lambda _: inverse, v)


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
    """Return ``phi`` with ``s |x - g|^2`` in the form that suits the operator."""
    operator = misfit.forward.operator
    if normal_spectrum(operator) is not None:
        form = EliminatedByTransform
    elif not is_direct(operator):
        form = EliminatedByConjugateGradient
    elif operator.range.size <= operator.domain.size:
        form = EliminatedInData
    else:
        form = EliminatedInImage
    return form(misfit.forward, misfit.noise_std, stiffness)


def is_direct(operator) -> bool:
    """Tell whether `eliminated` solves its systems by a transform or a matrix."""
    small = min(operator.domain.size, operator.range.size) <= MAX_DENSE
    return small or normal_spectrum(operator) is not None


def _cholesky(matrix):
    """Return the lower factor of a matrix that is positive definite in theory."""
    factor, failed = torch.linalg.cholesky_ex(matrix)
    if failed:
        raise ValueError(
            "`operator` must have an exact adjoint for the soft constraint at this "
            "noise level, got one with which A^* A has negative eigenvalues; use "
            "another, such as `ray_transform(X, backend='matrix')`."
        )
    return factor
