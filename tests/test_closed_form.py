# SPDX-License-Identifier: MPL-2.0
"""A linear generator ``G(z) = B z + b``: everything by linear algebra in numpy.

``w``, ``w_Z`` are the weights of ``X`` and ``Z``, 0.06 and 2 or both 1.
"""

import numpy as np
import pytest

import odl_genreg as ogr
from generators import (
    array,
    forward_operator,
    linear_parts,
    make_generator,
    random_element,
)
from odl_genreg.torch_bridge import weight

LAM, MU, NOISE = 2.0, 0.3, 0.2

each_impl = pytest.mark.parametrize("impl", ["numpy", "pytorch"])
each_weighting = pytest.mark.parametrize("weighting", [None, 1.0])


class Problem:
    """Spaces, parts and closed forms of one linear problem."""

    def __init__(self, impl="numpy", weighting=None, size=10):
        self.G = make_generator("linear", impl, weighting)
        self.B, self.b = linear_parts(self.G)
        self.w, self.w_Z = weight(self.G.range), weight(self.G.domain)
        A = forward_operator(self.G.range, size)
        self.A, self.y = A.matrix, array(random_element(A.range, 5))
        self.D = ogr.squared_l2(A, A.range.element(self.y), NOISE)

    def latent(self, x, mu, factor=1.0):
        """Minimizer of ``||x - G(z)||_X^2 + factor mu ||z||_Z^2``."""
        hessian = self.w * self.B.T @ self.B + factor * mu * self.w_Z * np.eye(3)
        return np.linalg.solve(hessian, self.w * self.B.T @ (x - self.b))

    def soft_value(self, x, mu):
        z = self.latent(x, mu)
        deviation = x - self.b - self.B @ z
        return self.w * (deviation**2).sum() + mu * self.w_Z * (z**2).sum()

    def range_solution(self, lam):
        """Minimizer ``z`` of ``D(G(z)) + lam ||z||_Z^2``."""
        AB, r = self.A @ self.B, self.y - self.A @ self.b
        hessian = AB.T @ AB / NOISE**2 + 2 * lam * self.w_Z * np.eye(3)
        return np.linalg.solve(hessian, AB.T @ r / NOISE**2)

    def soft_solution(self, lam, mu):
        """Minimizer ``(x, z)`` of ``D(x) + lam (||x - G(z)||_X^2 + mu ||z||_Z^2)``."""
        w, I = 2 * lam * self.w, np.eye(63)
        hessian = np.block(
            [
                [self.A.T @ self.A / NOISE**2 + w * I, -w * self.B],
                [
                    -w * self.B.T,
                    w * self.B.T @ self.B + 2 * lam * mu * self.w_Z * np.eye(3),
                ],
            ]
        )
        right = self.A.T @ self.y / NOISE**2 + w * self.b, -w * self.B.T @ self.b
        solution = np.linalg.solve(hessian, np.concatenate(right))
        return solution[:63], solution[63:]

    def misfit(self, x):
        return ((self.A @ x - self.y) ** 2).sum() / (2 * NOISE**2)


@each_impl
@each_weighting
def test_soft_value_latent_and_gradient(impl, weighting):
    P = Problem(impl, weighting)
    R = ogr.soft_constraint(P.G, MU, tol=1e-9)
    x = random_element(P.G.range)
    z = P.latent(array(x), MU)
    assert R(x) == pytest.approx(P.soft_value(array(x), MU), rel=1e-10)
    assert array(R.latent(x)) == pytest.approx(z, abs=1e-7)
    gradient = 2 * (array(x) - P.b - P.B @ z)
    assert array(R.gradient(x)) == pytest.approx(gradient, abs=1e-6)


@each_impl
@each_weighting
def test_soft_proximal(impl, weighting):
    """``(v + 2 s G(z)) / (1 + 2 s)`` with mu scaled by ``1 + 2 s``."""
    P, s = Problem(impl, weighting), 0.8
    R = ogr.soft_constraint(P.G, MU, tol=1e-9)
    v = random_element(P.G.range, 3)
    z = P.latent(array(v), MU, factor=1 + 2 * s)
    expected = (array(v) + 2 * s * (P.b + P.B @ z)) / (1 + 2 * s)
    assert array(R.proximal(s)(v)) == pytest.approx(expected, abs=1e-6)


@each_impl
@each_weighting
def test_range_value_and_proximal(impl, weighting):
    P, s = Problem(impl, weighting), 0.8
    R = ogr.range_constraint(P.G)
    z = random_element(P.G.domain)
    assert R(P.G(z)) == pytest.approx(P.w_Z * (array(z) ** 2).sum(), rel=1e-3)
    v = random_element(P.G.range, 3)
    best = P.latent(array(v), 2 * s)
    assert array(R.proximal(s)(v)) == pytest.approx(P.b + P.B @ best, abs=1e-4)


@each_impl
@each_weighting
def test_minimizer_in_the_range(impl, weighting):
    P = Problem(impl, weighting)
    z = P.range_solution(LAM)
    result = ogr.reconstruct(P.D, ogr.range_constraint(P.G), lam=LAM)
    assert array(result.z) == pytest.approx(z, abs=1e-3)
    x = P.b + P.B @ z
    assert array(result.x) == pytest.approx(x, abs=1e-3)
    expected = P.misfit(x) + LAM * P.w_Z * (z**2).sum()
    assert result.objective == pytest.approx(expected, rel=1e-6)
    assert result.distance_to_range == pytest.approx(0, abs=1e-12)


@each_impl
@each_weighting
@pytest.mark.parametrize("size", [10, 70])
def test_minimizer_of_the_soft_problem(impl, weighting, size):
    P = Problem(impl, weighting, size)
    x, z = P.soft_solution(LAM, MU)
    result = ogr.reconstruct(P.D, ogr.soft_constraint(P.G, MU), lam=LAM)
    assert array(result.x) == pytest.approx(x, abs=1e-3)
    assert array(result.z) == pytest.approx(z, abs=1e-3)
    expected = P.misfit(x) + LAM * P.soft_value(x, MU)
    assert result.objective == pytest.approx(expected, rel=1e-6)
    deviation = x - P.b - P.B @ z
    assert array(result.deviation) == pytest.approx(deviation, abs=1e-3)
    distance = np.sqrt(P.w) * np.linalg.norm(deviation)
    assert result.distance_to_range == pytest.approx(distance, rel=1e-3)
    residual = ((P.A @ x - P.y) ** 2).sum()
    assert result.residual == pytest.approx(residual, rel=1e-2)
    assert result.expected_residual == pytest.approx(size * NOISE**2)


@each_weighting
def test_minimizer_by_primal_dual(weighting):
    P = Problem(weighting=weighting, size=70)
    x, _ = P.soft_solution(LAM, MU)
    R = ogr.soft_constraint(P.G, MU)
    result = ogr.reconstruct(
        P.D, R, lam=LAM, solver="primal_dual", tol=1e-7, maxiter=5000
    )
    assert "primal_dual" in result.solver
    assert np.linalg.norm(array(result.x) - x) <= 1e-3 * np.linalg.norm(x)
    expected = P.misfit(x) + LAM * P.soft_value(x, MU)
    assert result.objective == pytest.approx(expected, rel=1e-4)


@each_weighting
def test_minimizer_in_the_range_by_primal_dual(weighting):
    P = Problem(weighting=weighting)
    z = P.range_solution(LAM)
    result = ogr.reconstruct(
        P.D, ogr.range_constraint(P.G), lam=LAM, solver="primal_dual"
    )
    assert np.linalg.norm(array(result.z) - z) <= 1e-3 * np.linalg.norm(z)


def test_float32():
    P = Problem()
    G = make_generator("linear")
    X, Z = G.range.astype("float32"), G.domain.astype("float32")
    G = ogr.Generator(G.module.float(), Z, X)
    A = forward_operator(X)
    D = ogr.squared_l2(A, A.range.element(P.y), NOISE)
    x, _ = P.soft_solution(LAM, MU)
    result = ogr.reconstruct(D, ogr.soft_constraint(G, MU), lam=LAM)
    assert np.linalg.norm(array(result.x) - x) <= 1e-3 * np.linalg.norm(x)


@pytest.mark.parametrize("lam", [1e-4, 1e4])
def test_extreme_weights(lam):
    P = Problem()
    x, _ = P.soft_solution(lam, MU)
    result = ogr.reconstruct(P.D, ogr.soft_constraint(P.G, MU), lam=lam, tol=1e-7)
    assert np.linalg.norm(array(result.x) - x) <= 1e-3 * np.linalg.norm(x)
