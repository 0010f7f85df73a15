# SPDX-License-Identifier: MPL-2.0
"""Linear systems in the step of an image and of its latent."""

import torch

from ..torch_bridge import gram_matrix
from .conjugate_gradient import conjugate_gradient

__all__ = ("DenseEquations", "IterativeEquations", "Quadratic", "RangeEquations")


class Quadratic:
    """The quadratic forms ``P = A^T A + sum_i beta_i L_i^T L_i`` and ``B``.

    ``P`` is the sum over the terms of the image, ``B`` that over those of the
    deviation.

    Parameters
    ----------
    forward : LinearMap
        The map ``A``.
    terms : sequence of LinearTerm
        Their linear maps are the ``L_i``.
    penalties : sequence of float
        The ``beta_i``.
    """

    def __init__(self, forward, terms, penalties):
        pairs = list(zip(terms, penalties, strict=True))
        self.domain = forward.domain
        self._of_image = [(forward, 1.0)]
        self._of_image += [(t.linear_map, b) for t, b in pairs if not t.of_deviation]
        self._of_deviation = [(t.linear_map, b) for t, b in pairs if t.of_deviation]

    def image(self, x):
        """Return ``P x`` of rows ``(..., X.size)``."""
        return self._apply(self._of_image, x)

    def deviation(self, u):
        """Return ``B u`` of rows ``(..., X.size)``."""
        return self._apply(self._of_deviation, u)

    def matrix(self):
        """Return ``P + B`` as a matrix."""
        parts = [*self._of_image, *self._of_deviation]
        return sum(
            beta * gram_matrix(linear_map.operator, transposed=True)
            for linear_map, beta in parts
        )

    def _apply(self, parts, x):
        shaped, total = x.unflatten(-1, self.domain.shape), torch.zeros_like(x)
        for linear_map, beta in parts:
            total = total + beta * linear_map.T(linear_map(shaped)).reshape(x.shape)
        return total


class DenseEquations:
    """The minimum of the model by one inverse for the whole batch.

        ``(P + B) e - B J d = r + h``
        ``J^T B (J d - e) + ridge d = s - J^T h``

    ``P + B`` is inverted once, as a matrix; the Schur complement in ``d`` is a small
    matrix of each row.
    """

    def __init__(self, quadratic: Quadratic, like: torch.Tensor):
        """Initialize a new instance for tensors like ``like``."""
        H = quadratic.matrix().double()
        H.diagonal().add_(1e-9 * H.diagonal().mean())
        self._inverse = torch.cholesky_inverse(torch.linalg.cholesky(H)).to(like.dtype)

    def linearize(self, J, BJ, ridge, start):
        """Set the Jacobian, the ridge, and a guess of ``e``.

        ``J`` and ``B J`` by their columns, ``(batch, d, X.size)``; ``(batch,)``;
        ``(batch, X.size)``.
        """
        self._J, self._W = J, BJ @ self._inverse
        self._small = _inverse(BJ @ J.mT - self._W @ BJ.mT, ridge)

    def solve(self, r, h, s):
        """Return ``e`` and ``d`` as rows."""
        right = s - _rows(h, self._J.mT) + _rows(r + h, self._W.mT)
        d = _rows(right, self._small)
        return (r + h) @ self._inverse + _rows(d, self._W), d


class IterativeEquations:
    """The same by conjugate gradients, each time from the last solution.

    The unknowns are scaled by the diagonal blocks.
    """

    maxiter, tol = 3, 0.1

    def __init__(self, quadratic: Quadratic, like: torch.Tensor):
        """Initialize a new instance for tensors like ``like``."""
        self._quadratic = quadratic
        probe = _probe(quadratic.domain.size, like)
        curved = quadratic.image(probe) + quadratic.deviation(probe)
        self._scale = float((probe * probe).sum() / (probe * curved).sum()) ** 0.5

    def linearize(self, J, BJ, ridge, start):
        """As for `DenseEquations`."""
        self._J, self._ridge = J, ridge
        small = _damped(BJ @ J.mT, ridge)
        factor, _ = torch.linalg.cholesky_ex(small)
        eye = torch.eye(len(small[0]), dtype=small.dtype, device=small.device)
        eye = eye.expand_as(small)
        whitening = torch.linalg.solve_triangular(factor, eye, upper=False)
        self._whitening = whitening.to(J.dtype)
        self._last = torch.cat([start / self._scale, torch.zeros_like(J[:, :, 0])], 1)

    def solve(self, r, h, s):
        """Return ``e`` and ``d`` as rows."""
        right = self._scaled(r + h, s - _rows(h, self._J.mT))
        change = conjugate_gradient(
            self._product,
            right - self._product(self._last),
            tol=self.tol,
            maxiter=self.maxiter,
        )
        self._last = self._last + change
        return self._split(self._last)

    def _split(self, unknowns):
        d = self._J.shape[1]
        e, latent = unknowns[:, :-d], unknowns[:, -d:]
        return self._scale * e, _rows(latent, self._whitening)

    def _scaled(self, in_e, in_d):
        in_d = _rows(in_d, self._whitening.mT)
        return torch.cat([self._scale * in_e, in_d], dim=1)

    def _product(self, unknowns):
        e, d = self._split(unknowns)
        pull = self._quadratic.deviation(e - _rows(d, self._J))
        in_d = self._ridge[:, None] * d - _rows(pull, self._J.mT)
        return self._scaled(self._quadratic.image(e) + pull, in_d)


class RangeEquations:
    """The same for ``e = J d``: ``(J^T P J + ridge) d = s + J^T r``."""

    def __init__(self, quadratic: Quadratic, like: torch.Tensor):
        """Initialize a new instance."""

    def linearize(self, J, PJ, ridge, start):
        """As for `DenseEquations`, with ``P J``."""
        self._J = J
        self._small = _inverse(PJ @ J.mT, ridge)

    def solve(self, r, h, s):
        """Return ``e`` and ``d`` as rows."""
        d = _rows(s + _rows(r, self._J.mT), self._small)
        return _rows(d, self._J), d


def _rows(x, matrices):
    """Products of the rows of ``x`` with a matrix each."""
    return (x[:, None] @ matrices)[:, 0]


def _damped(small, ridge):
    """Matrices plus their ridge, in float64, positive definite beyond rounding."""
    rounding = torch.finfo(small.dtype).eps
    small = small.double()
    diagonal = small.diagonal(dim1=1, dim2=2)
    diagonal += (ridge + rounding * diagonal.mean(1))[:, None]
    return small


def _inverse(small, ridge):
    factor, _ = torch.linalg.cholesky_ex(_damped(small, ridge))
    return torch.cholesky_inverse(factor).to(small.dtype)


def _probe(size, like):
    source = torch.Generator().manual_seed(0)
    return torch.randn(4, size, generator=source, dtype=like.dtype).to(like.device)
