# SPDX-License-Identifier: MPL-2.0
"""The limit: plain torch with the same network and the same matrix, no ODL in it."""

import warnings

import numpy as np
import scipy.linalg
import torch

__all__ = ("BareLoop", "evaluate")


def evaluate(function, *blocks):
    """One forward pass and one `torch.autograd.grad`: value and gradients."""
    for block in blocks:
        block.requires_grad_()
    value = function(*blocks)
    return value.item(), torch.autograd.grad(value, blocks)


class _Rows(torch.autograd.Function):
    """``x -> S x`` for one image, with the stored transpose in the backward pass."""

    @staticmethod
    def forward(ctx, x, matrix, transpose):
        ctx.transpose = transpose
        return torch.mv(matrix, x)

    @staticmethod
    def backward(ctx, gradient):
        return torch.mv(ctx.transpose, gradient), None, None


class BareLoop:
    """Objectives in plain torch, of one latent ``(1, d)`` and one image ``(n, m)``."""

    def __init__(self, D, R, lam: float):
        """Take the parts of ``D + lam R`` for a `squared_l2` and a stored matrix."""
        self.network = R.generator.module
        backend = D.operator.get_impl(D.operator.use_cache)
        self.rows = backend.matrix, backend.transpose
        self.matrix, self.transpose = map(_csr, self.rows)
        self.y = torch.from_numpy(D.data.asarray().copy()).reshape(-1)
        self.noise_std = D.noise_std
        self.w = R.domain.weighting.const
        self.lam, self.mu = lam, R.mu

    def _project(self, x):
        return _Rows.apply(x.reshape(-1), self.matrix, self.transpose)

    def misfit(self, x):
        """``D(x)``."""
        residual = self._project(x) - self.y
        return (residual**2).sum() / (2 * self.noise_std**2)

    def range(self, z):
        """``D(G(z)) + lam mu ||z||^2``."""
        return self.misfit(self.network(z)) + self.lam * self.mu * (z**2).sum()

    def soft(self, x, z):
        """``D(x) + lam (||x - G(z)||_X^2 + mu ||z||^2)``."""
        return self.misfit(x) + self.lam * self.distance(x, z)

    def distance(self, x, z):
        """``||x - G(z)||_X^2 + mu ||z||^2``; a sum over a batch of latents."""
        deviation = x.reshape(1, -1) - self.network(z).flatten(1)
        return self.w * (deviation**2).sum() + self.mu * (z**2).sum()

    def sparse(self, x, z):
        """``D(x) + lam (||x - G(z)||_1 + mu ||z||^2)``."""
        deviation = x.reshape(-1) - self.network(z).reshape(-1)
        regularizer = self.w * deviation.abs().sum() + self.mu * (z**2).sum()
        return self.misfit(x) + self.lam * regularizer

    def prepare_elimination(self):
        """Write ``min_x D(x) + lam ||x - G(z)||_X^2`` as ``|B G(z) - c|^2 + k``.

        By the smaller of two matrices, ``2 sigma^2 I + A A^T / s`` and
        ``A^T A / (2 sigma^2) + s I``, with ``s = lam w_X``.
        """
        S, y = self.rows[0].astype("float64"), self.y.double().numpy()
        s, variance = self.lam * self.w, 2 * self.noise_std**2
        self.in_data = S.shape[0] <= S.shape[1]
        if self.in_data:
            C = (S @ S.T).toarray() / s
            C[np.diag_indices_from(C)] += variance
            B = scipy.linalg.solve_triangular(
                np.linalg.cholesky(C), np.eye(len(C)), lower=True
            )
            c, k = B @ y, 0.0
        else:
            H = (S.T @ S).toarray() / variance
            H[np.diag_indices_from(H)] += s
            b = S.T @ y / variance
            eigenvalues, V = np.linalg.eigh(H)
            e = np.sqrt(s * np.maximum(1 - s / eigenvalues, 0))
            B = e[:, None] * V.T
            kept = e > 1e-6 * e.max()
            c = np.divide(s * (V.T @ b), eigenvalues * e, out=0 * e, where=kept)
            k = y @ y / variance - b @ np.linalg.solve(H, b) - c @ c
        self.B, self.c = (torch.from_numpy(part).float() for part in (B, c))
        self.k = float(k)

    def eliminated(self, z):
        """``min_x`` of `soft`, as ``|B G(z) - c|^2 + k + lam mu ||z||^2``."""
        x = self.network(z).reshape(-1)
        x = self._project(x) if self.in_data else x
        value = ((torch.mv(self.B, x) - self.c) ** 2).sum() + self.k
        return value + self.lam * self.mu * (z**2).sum()


def _csr(matrix):
    """Return a CSR tensor that shares the memory of a scipy matrix."""
    rows = (matrix.indptr, matrix.indices, matrix.data)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # CSR tensors are in beta
        return torch.sparse_csr_tensor(
            *map(torch.from_numpy, rows), size=matrix.shape, check_invariants=False
        )
