# SPDX-License-Identifier: MPL-2.0
"""Levenberg-Marquardt, and the quadratics of the image that it minimizes."""

import numpy as np
import odl
import pytest
import scipy.optimize
import torch

import odl_genreg as ogr
from generators import (
    array,
    forward_operator,
    linear_parts,
    make_generator,
    random_element,
)
from odl_genreg import latent_objective
from odl_genreg.image_elimination import (
    EliminatedByConjugateGradient,
    EliminatedInData,
    EliminatedInImage,
)
from odl_genreg.image_quadratic import ImageQuadratic
from odl_genreg.solvers import QuadraticModel, gauss_newton
from odl_genreg.solvers.conjugate_gradient import conjugate_gradient
from odl_genreg.torch_bridge import LinearMap, as_tensor, gram_matrix, weight

NOISE, STIFFNESS, LAM, MU = 0.4, 0.3, 0.7, 0.3
FORMS = (EliminatedInData, EliminatedInImage, EliminatedByConjugateGradient)


def rosenbrock(z):
    return (residual(z) ** 2).sum(1)


def residual(z):
    return torch.stack([10 * (z[:, 1] - z[:, 0] ** 2), 1 - z[:, 0]], 1)


def rosenbrock_model(z):
    J = z.new_zeros(len(z), 2, 2)
    J[:, 0, 0], J[:, 0, 1], J[:, 1, 0] = -20 * z[:, 0], 10, -1
    gradient = 2 * (J.mT @ residual(z)[:, :, None])[:, :, 0]
    return QuadraticModel(rosenbrock(z), gradient, 2 * J.mT @ J)


# --- The solver --- #


@pytest.mark.parametrize("matrix_free", [False, True])
def test_rosenbrock_in_a_batch(matrix_free):
    def model(z):
        full = rosenbrock_model(z)
        if matrix_free:
            H = full.hessian
            full.hessian = lambda d: (H @ d[:, :, None])[:, :, 0]
        return full

    starts = torch.tensor([[-1.2, 1.0], [3.0, -2.0], [0.5, 0.5]]).double()
    before = starts.clone()
    minima = gauss_newton(rosenbrock, model, starts, tol=1e-10)
    assert torch.equal(starts, before)
    assert minima.converged.all()
    torch.testing.assert_close(
        minima.points, torch.ones_like(starts), atol=1e-6, rtol=0
    )
    assert minima.niter < 60
    values = torch.stack(minima.trace)
    assert bool((values[1:] <= values[:-1]).all())
    assert minima.history[-1] == minima.values.min()


def test_problems_of_a_batch_do_not_see_each_other():
    """Two problems of two starts each; the second has far larger gradients."""
    starts = torch.tensor([[-1.2, 1.0], [0.5, 0.5], [30.0, -20.0], [40.0, 9.0]])
    starts = starts.double()
    options = {"tol": 1e-3, "maxiter": 200}
    together = gauss_newton(
        rosenbrock, rosenbrock_model, starts, num_problems=2, **options
    )
    for rows in (slice(0, 2), slice(2, 4)):
        alone = gauss_newton(rosenbrock, rosenbrock_model, starts[rows], **options)
        assert alone.converged.all()
        assert torch.equal(alone.points, together.points[rows])
        assert torch.equal(alone.gradient_norms, together.gradient_norms[rows])


def exponentials():
    """Fit ``exp(-z_0 t) + exp(-z_1 t)`` to data that it cannot fit."""
    t = torch.linspace(0, 3, 20).double()
    y = torch.cos(2 * t)

    def residual(z):
        return torch.exp(-z[:, :, None] * t).sum(1) - y

    def objective(z):
        return (residual(z) ** 2).sum(1)

    def model(z):
        J = (-t * torch.exp(-z[:, :, None] * t)).mT
        r = residual(z)
        gradient = 2 * (J.mT @ r[:, :, None])[:, :, 0]
        return QuadraticModel((r**2).sum(1), gradient, 2 * J.mT @ J)

    return objective, model


def test_updates_save_models():
    objective, model = exponentials()
    models = {}
    start = torch.tensor([[0.1, 2.0]]).double()
    for refresh in (1, 4):
        calls = []

        def counted(z, calls=calls):
            calls.append(len(z))
            return model(z)

        minima = gauss_newton(objective, counted, start, refresh=refresh, tol=1e-9)
        assert minima.converged.all()
        models[refresh] = len(calls)
        expected = scipy.optimize.minimize(
            lambda z: objective(torch.from_numpy(z)[None]).item(), start[0], tol=1e-12
        )
        assert minima.values.item() == pytest.approx(expected.fun, rel=1e-8)
    assert models[4] < models[1]


def test_parameters_belong_to_their_rows():
    """``(z - y_b)^2 + z^2`` has its minimum at ``y_b / 2``."""

    def model(z, y):
        hessian = 4 * torch.ones(len(z), 1, 1).to(z)
        return QuadraticModel(objective(z, y), 4 * z - 2 * y, hessian)

    def objective(z, y):
        return ((z - y) ** 2 + z**2).sum(1)

    y = torch.tensor([[2.0], [0.0], [-6.0]]).double()
    minima = gauss_newton(
        objective, model, torch.zeros(3, 1).double(), parameters=[y], tol=1e-9
    )
    torch.testing.assert_close(minima.points, y / 2)
    torch.testing.assert_close(minima.values, (y**2 / 2)[:, 0])


def test_values_that_are_not_finite_are_rejected():
    """``log`` is not defined where the first full step would lead."""

    def objective(z):
        return (z.log() ** 2).sum(1)

    def model(z):
        r, J = z.log(), 1 / z
        return QuadraticModel(objective(z), 2 * J * r, 2 * (J**2)[:, :, None])

    starts = torch.tensor([[4.0], [-1.0]]).double()
    minima = gauss_newton(objective, model, starts, tol=1e-8)
    assert minima.points[0].item() == pytest.approx(1.0, abs=1e-6)
    assert minima.points[1].item() == -1.0
    assert minima.converged.tolist() == [True, False]
    assert minima.best == 0


def test_stagnation_in_float32_ends_the_solve():
    calls = []

    def objective(z):
        calls.append(len(z))
        return rosenbrock(z) + 1000

    def model(z):
        full = rosenbrock_model(z)
        return QuadraticModel(full.value + 1000, full.gradient, full.hessian)

    start = torch.tensor([[-1.2, 1.0]])
    minima = gauss_newton(objective, model, start, tol=1e-30, maxiter=10_000)
    assert minima.niter < 100
    assert len(calls) < 300
    assert minima.values.item() == pytest.approx(1000, rel=1e-4)


def test_callback_once_an_iteration():
    seen = []
    starts = torch.tensor([[-1.2, 1.0], [3.0, -2.0]]).double()
    minima = gauss_newton(
        rosenbrock,
        rosenbrock_model,
        starts,
        maxiter=5,
        callback=lambda z, values: seen.append((z.clone(), values.clone())),
    )
    assert len(seen) == minima.niter == 5
    for z, values in seen:
        torch.testing.assert_close(rosenbrock(z), values)


def test_interrupt_returns_the_best_so_far():
    def interrupt(z, values):
        raise KeyboardInterrupt

    start = torch.tensor([[-1.2, 1.0]]).double()
    minima = gauss_newton(rosenbrock, rosenbrock_model, start, callback=interrupt)
    assert minima.interrupted
    assert minima.values.item() < rosenbrock(start).item()
    torch.testing.assert_close(rosenbrock(minima.points), minima.values)


def test_conjugate_gradients_against_a_direct_solve():
    source = torch.Generator().manual_seed(0)
    M = torch.randn(3, 8, 8, generator=source, dtype=torch.float64)
    H, v = M @ M.mT + torch.eye(8), torch.randn(3, 8, generator=source).double()
    v[1] = 0
    u = conjugate_gradient(lambda u: (H @ u[:, :, None])[:, :, 0], v, tol=1e-12)
    torch.testing.assert_close(u, torch.linalg.solve(H, v[:, :, None])[:, :, 0])


# --- The quadratics --- #


def quadratic_problem(weighting=None, size=10):
    X = make_generator("linear", weighting=weighting).range
    A = forward_operator(X, size)
    y = as_tensor(random_element(A.range, 5))[None]
    source = torch.Generator().manual_seed(1)
    g = torch.randn(2, *X.shape, generator=source, dtype=torch.float64)
    return LinearMap(A), y, g


def brute_force(forward, y, g):
    """The minimizer over ``x`` by normal equations in plain sums."""
    n = forward.domain.size
    eye = torch.eye(n, dtype=torch.float64).reshape(n, *forward.domain.shape)
    A = forward(eye).flatten(1).T
    H = A.T @ A / (2 * NOISE**2) + STIFFNESS * torch.eye(n)
    right = y.flatten(1) @ A / (2 * NOISE**2) + STIFFNESS * g.flatten(1)
    x = torch.linalg.solve(H, right.T).T
    misfit = ((x @ A.T - y.flatten(1)) ** 2).sum(1) / (2 * NOISE**2)
    M = STIFFNESS * (torch.eye(n) - STIFFNESS * torch.linalg.inv(H))
    return x, misfit + STIFFNESS * ((x - g.flatten(1)) ** 2).sum(1), M


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("size", [10, 80])
@pytest.mark.parametrize("weighting", [None, 1.0])
def test_elimination_against_normal_equations(form, size, weighting):
    forward, y, g = quadratic_problem(weighting, size)
    phi = form(forward, NOISE, STIFFNESS)
    phi.tol = 1e-10
    x, value, M = brute_force(forward, y, g)
    close = {"rtol": 1e-5, "atol": 1e-6}
    torch.testing.assert_close(phi(g, y), value, **close)
    torch.testing.assert_close(phi.images(g, y).flatten(1), x, **close)
    gradient = 2 * STIFFNESS * (g.flatten(1) - x)
    torch.testing.assert_close(phi.gradient(g, y).flatten(1), gradient, **close)
    torch.testing.assert_close(phi.curvature(g).flatten(1), g.flatten(1) @ M, **close)


@pytest.mark.parametrize("form", [ImageQuadratic, *FORMS])
def test_value_gradient_and_directions_agree(form):
    forward, y, g = quadratic_problem()
    phi = form(forward, NOISE, *([] if form is ImageQuadratic else [STIFFNESS]))
    leaf = g.clone().requires_grad_()
    (gradient,) = torch.autograd.grad(phi(leaf, y).sum(), leaf)
    torch.testing.assert_close(phi.gradient(g, y), gradient, rtol=1e-5, atol=1e-6)
    source = torch.Generator().manual_seed(2)
    J = torch.randn(2, 3, *g.shape[1:], generator=source, dtype=torch.float64)
    value, slopes, curvatures = phi.along(g, J, y)
    flat = J.flatten(2)
    curved = phi.curvature(J.flatten(0, 1)).reshape(flat.shape)
    close = {"rtol": 1e-5, "atol": 1e-5}
    torch.testing.assert_close(value, phi(g, y), **close)
    expected = (flat @ gradient.flatten(1)[:, :, None])[:, :, 0]
    torch.testing.assert_close(slopes, expected, **close)
    torch.testing.assert_close(curvatures, flat @ curved.mT, **close)


def test_gram_matrix_of_the_ray_transform():
    X = odl.uniform_discr([-1, -1.5], [1, 1.5], (8, 12), dtype="float32")
    A = ogr.ray_transform(X, num_angles=4)
    plain = gram_matrix.dispatch(object)
    for transposed in (False, True):
        gram = gram_matrix(A, transposed)
        torch.testing.assert_close(gram, plain(A, transposed), rtol=1e-4, atol=1e-5)


# --- In the latent --- #


@pytest.mark.parametrize("kind", ["range", "soft"])
@pytest.mark.parametrize("columns", [512, 0])
@pytest.mark.parametrize("name", ["mlp", "conv"])
def test_model_is_that_of_gauss_and_newton(kind, columns, name, monkeypatch):
    monkeypatch.setattr(latent_objective, "MAX_COLUMNS", columns)
    G = make_generator(name)
    A = forward_operator(G.range)
    D = ogr.squared_l2(A, random_element(A.range, 5), NOISE)
    R = ogr.range_constraint(G) if kind == "range" else ogr.soft_constraint(G, MU)
    J = R.latent_objective(D, LAM)
    z = torch.stack([as_tensor(random_element(G.domain, seed)) for seed in (1, 2)])
    model = J.model(z)
    leaf = z.clone().requires_grad_()
    values = J.batch(leaf)
    (gradient,) = torch.autograd.grad(values.sum(), leaf)
    close = {"rtol": 1e-3, "atol": 1e-3} if name == "conv" else {}
    torch.testing.assert_close(model.value, values.detach(), **close)
    torch.testing.assert_close(model.gradient, gradient, **close)
    _, columns = G.linearize(z)
    flat = columns.flatten(2)
    curved = J.phi.curvature(columns.flatten(0, 1)).reshape(flat.shape)
    rho = LAM * R.mu * weight(G.domain)
    expected = 2 * flat @ curved.mT + 2 * rho * torch.eye(z.shape[1]).to(z)
    d = torch.ones_like(z)
    torch.testing.assert_close(
        model.curve(d), (expected @ d[:, :, None])[:, :, 0], **close
    )


@pytest.mark.parametrize("columns", [512, 0])
def test_linear_generator_in_one_step(columns, monkeypatch):
    """A linear problem: the minimizer by linear algebra."""
    monkeypatch.setattr(latent_objective, "MAX_COLUMNS", columns)
    G = make_generator("linear")
    A, (B, b) = forward_operator(G.range), linear_parts(G)
    D = ogr.squared_l2(A, random_element(A.range, 5), NOISE)
    result = ogr.reconstruct(D, ogr.range_constraint(G), lam=LAM, restarts=3, tol=1e-8)
    AB, rho = A.matrix @ B, LAM * weight(G.domain)
    H = AB.T @ AB / (2 * NOISE**2) + rho * np.eye(3)
    right = AB.T @ (array(D.data) - A.matrix @ b) / (2 * NOISE**2)
    assert array(result.z) == pytest.approx(np.linalg.solve(H, right), abs=1e-6)
    assert result.solver == "gauss_newton in z, operator applied one by one"
    assert max(result.restarts) == pytest.approx(result.objective)


def test_a_prior_that_is_no_square_has_no_model():
    G = make_generator("mlp")
    A = forward_operator(G.range)
    D = ogr.squared_l2(A, random_element(A.range, 5), NOISE)
    huber = odl.functionals.Huber(G.domain, 0.1)
    R = ogr.range_constraint(G, latent_prior=huber)
    assert R.latent_objective(D, LAM).square_weight is None
    assert ogr.reconstruct(D, R, LAM, restarts=2).solver.startswith("lbfgs in z")
