# SPDX-License-Identifier: MPL-2.0
"""Problems with a linear generator, and their solutions by linear algebra in numpy.

The minimizers of range and soft are closed forms. Sparse and TV are convex problems
that ADMM solves to a duality gap that is computed, not estimated.
"""

import numpy as np
import odl
import torch

import odl_genreg as ogr
from odl_genreg.torch_bridge import weight
from solver_pairs import Problem

SHAPE, LATENTS, DATA, NOISE_STD = (7, 9), 3, 80, 0.2
LAM = {"range": 2.0, "soft": 150.0, "sparse": 30.0, "tv": 8.0}
MU = {"range": 1.0, "soft": 0.3, "sparse": 0.3, "tv": 0.3}


class Dense(odl.Operator):
    """``x -> matrix @ x.ravel()`` with the adjoint of the weighted spaces."""

    def __init__(self, matrix, domain, range):
        super().__init__(domain, range, linear=True)
        self.matrix = matrix

    def _call(self, x):
        flat = self.matrix @ x.asarray().ravel()
        return self.range.element(flat.reshape(self.range.shape))

    @property
    def adjoint(self):
        ratio = weight(self.range) / weight(self.domain)
        return Dense(ratio * self.matrix.T, self.range, self.domain)


def linear_generator(matrix, latent_space, image_space):
    network = torch.nn.Linear(*matrix.shape[::-1], bias=False, dtype=torch.float64)
    with torch.no_grad():
        network.weight.copy_(torch.from_numpy(matrix))
    return ogr.Generator(network, latent_space, image_space)


class LinearProblem:
    """A problem as ODL sees it (`problem`) and as numpy solves it (`solution`)."""

    def __init__(self, regularizer, seed=0):
        rng = np.random.default_rng(seed)
        X = odl.uniform_discr([0, 0], [1, 2], SHAPE)
        Y, Z = odl.rn(DATA, weighting=0.3), odl.rn(LATENTS)
        self.regularizer = regularizer
        self.lam, self.mu = LAM[regularizer], MU[regularizer]
        self.w = X.cell_volume
        U, _, Vt = np.linalg.svd(rng.standard_normal((DATA, X.size)), False)
        self.M = U * np.linspace(0.5, 1.0, X.size) @ Vt
        self.W = rng.standard_normal((X.size, LATENTS))
        truth = self.W @ rng.standard_normal(LATENTS)
        truth[[10, 11, 19, 20]] += 2
        self.y = self.M @ truth + NOISE_STD * rng.standard_normal(DATA)
        self.gradient = _gradient(SHAPE, X.cell_sides)
        A, G = Dense(self.M, X, Y), linear_generator(self.W, Z, X)
        R = {
            "range": lambda: ogr.range_constraint(G, num_starts=1),
            "soft": lambda: ogr.soft_constraint(G, self.mu, num_starts=1),
            "sparse": lambda: ogr.sparse_deviation(G, self.mu, num_starts=1),
            "tv": lambda: ogr.tv_deviation(G, self.mu, num_starts=1),
        }[regularizer]()
        self.problem = Problem(
            D=ogr.squared_l2(A, self.y, noise_std=NOISE_STD),
            R=R,
            lam=self.lam,
            norm_A=np.linalg.norm(self.M, 2) * np.sqrt(weight(Y) / self.w),
            norm_G=np.linalg.norm(self.W, 2) * np.sqrt(self.w),
            z=Z.one(),
        )

    # --- In numpy --- #

    def deviation(self, k):
        """The vectors ``k_g`` of ``F(u) = w sum_g |k_g|`` as a linear map of ``u``."""
        if self.regularizer == "sparse":
            return k[None]
        return np.tensordot(self.gradient, k, axes=1)

    def solution(self):
        """Return the minimizer in ``X``."""
        M, W, y, lam, mu, w = self.M, self.W, self.y, self.lam, self.mu, self.w
        s2, d = NOISE_STD**2, LATENTS
        if self.regularizer == "range":
            MW = M @ W
            H = MW.T @ MW / s2 + 2 * lam * mu * np.eye(d)
            return W @ np.linalg.solve(H, MW.T @ y / s2)
        if self.regularizer == "soft":
            z_of_x = np.linalg.solve(w * W.T @ W + mu * np.eye(d), w * W.T)
            H = M.T @ M / s2 + 2 * lam * w * (np.eye(len(W)) - W @ z_of_x)
            return np.linalg.solve(H, M.T @ y / s2)
        N = M @ np.hstack([np.eye(len(W)), W])
        H = N.T @ N / s2
        H[-d:, -d:] += 2 * lam * mu * np.eye(d)
        K = self.deviation(np.eye(len(W), len(W) + d))
        v = group_lasso(H, N.T @ y / s2, K, np.zeros(K.shape[:2]), lam * w)
        return v[:-d] + W @ v[-d:]

    def solution_with_tv(self, beta):
        """Return the minimizer of ``D(x) + lam R(x) + beta TV(x)``, R soft."""
        M, W, lam, mu, w = self.M, self.W, self.lam, self.mu, self.w
        s2, n, d = NOISE_STD**2, len(self.W), LATENTS
        leave = np.hstack([np.eye(n), -W])
        H = 2 * lam * w * leave.T @ leave
        H[:n, :n] += M.T @ M / s2
        H[n:, n:] += 2 * lam * mu * np.eye(d)
        b = np.concatenate([M.T @ self.y / s2, np.zeros(d)])
        K = np.tensordot(self.gradient, np.eye(n, n + d), axes=1)
        return group_lasso(H, b, K, np.zeros(K.shape[:2]), beta * w)[:n]

    def objective(self, x):
        """Return ``D(x) + lam R(x)``; in range of the nearest image in the range."""
        W, lam, mu, w = self.W, self.lam, self.mu, self.w
        eye = np.eye(LATENTS)
        if self.regularizer == "range":
            z = np.linalg.lstsq(W, x)[0]
            x, R = W @ z, mu * z @ z
        elif self.regularizer == "soft":
            z = np.linalg.solve(w * W.T @ W + mu * eye, w * W.T @ x)
            R = w * np.sum((x - W @ z) ** 2) + mu * z @ z
        else:
            K, c = -self.deviation(W), -self.deviation(x)
            z = group_lasso(2 * mu * eye, np.zeros(LATENTS), K, c, w)
            lengths = np.linalg.norm(self.deviation(x - W @ z), axis=0)
            R = w * lengths.sum() + mu * z @ z
        return np.sum((self.M @ x - self.y) ** 2) / (2 * NOISE_STD**2) + lam * R


def group_lasso(H, b, K, c, weight, tol=1e-8, maxiter=100_000):
    """Minimize ``v^T H v / 2 - b^T v + weight sum_g |(K v - c)_g|`` by ADMM.

    ``K`` is ``(parts, groups, n)``, ``c`` is ``(parts, groups)``. The duality gap,
    exact for a positive definite ``H``, is at most ``tol`` relative to the objective.
    """
    shape, K, c = c.shape, K.reshape(-1, len(b)), c.ravel()
    rho = np.linalg.norm(H, 2) / np.linalg.norm(K, 2) ** 2
    inverse, dual_inverse = np.linalg.inv(H + rho * K.T @ K), np.linalg.inv(H)
    k, p = np.zeros(len(c)), np.zeros(len(c))
    for iteration in range(1, maxiter):
        v = inverse @ (b + K.T @ (rho * (k + c) - p))
        q = (K @ v - c + p / rho).reshape(shape)
        length, k_old = np.linalg.norm(q, axis=0), k
        k = (q * (1 - np.minimum(1, weight / (rho * length + 1e-300)))).ravel()
        p = p + rho * (K @ v - c - k)
        if iteration % 50:
            continue
        # p = rho (q - k) has groups of length at most `weight`: dual feasible.
        r = b - K.T @ p
        lengths = np.linalg.norm((K @ v - c).reshape(shape), axis=0)
        primal = v @ H @ v / 2 - b @ v + weight * lengths.sum()
        gap = primal + r @ dual_inverse @ r / 2 + p @ c
        if gap <= tol * (abs(primal) + abs(b @ v)):
            return v
        far = np.linalg.norm(K @ v - c - k)
        moved = np.linalg.norm(rho * K.T @ (k - k_old)) / np.linalg.norm(K, 2)
        if not 0.1 < far * rho / (moved + 1e-300) < 10:
            rho *= 2.0 if far * rho > moved else 0.5
            inverse = np.linalg.inv(H + rho * K.T @ K)
    raise AssertionError(f"ADMM stopped at the relative gap {gap / abs(primal):.1e}")


def _gradient(shape, sides):
    """Forward differences with a last one of 0, ``(axes, pixels, pixels)``."""
    parts = []
    for axis, side in enumerate(sides):
        step = np.diff(np.eye(shape[axis]), axis=0, append=np.eye(shape[axis])[-1:])
        eyes = [np.eye(n) for n in shape]
        eyes[axis] = step / side
        parts.append(np.kron(eyes[0], eyes[1]))
    return np.array(parts)
