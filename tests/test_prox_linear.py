# SPDX-License-Identifier: MPL-2.0
"""Prox-linear steps against linear algebra, ADMM, and other solvers."""

import dataclasses
import math

import numpy as np
import odl
import pytest
import torch
from odl.functionals import GroupL1Norm, L1Norm, L2NormSquared

import odl_genreg as ogr
from linear_problems import LinearProblem
from odl_genreg.solvers.composite_problem import CompositeProblem, LinearTerm
from odl_genreg.solvers.prox_linear import prox_linear
from odl_genreg.torch_bridge import LinearMap, as_tensor, weight

UNBOUNDED = (-math.inf, math.inf)


def composite(linear, beta=0.0, bounds=UNBOUNDED):
    """The `LinearProblem` as a `CompositeProblem` of one row."""
    D, R = linear.problem.D, linear.problem.R
    X, lam = R.domain, linear.lam
    grad, identity = odl.Gradient(X, pad_mode="symmetric"), odl.IdentityOperator(X)
    terms = {
        "range": [],
        "soft": [LinearTerm(lam * L2NormSquared(X), LinearMap(identity), True)],
        "sparse": [LinearTerm(lam * L1Norm(X), LinearMap(identity), True)],
        "tv": [LinearTerm(lam * GroupL1Norm(grad.range), LinearMap(grad), True)],
    }[linear.regularizer]
    if beta:
        terms.append(LinearTerm(beta * GroupL1Norm(grad.range), LinearMap(grad)))
    return CompositeProblem(
        generator=R.generator,
        forward=LinearMap(D.operator),
        data=as_tensor(D.data)[None],
        noise_std=torch.tensor([D.noise_std], dtype=torch.float64),
        terms=terms,
        rho=lam * linear.mu * weight(R.generator.domain),
        bounds=bounds,
        in_range=linear.regularizer == "range",
    )


def zeros(problem):
    G, batch = problem.generator, len(problem)
    spaces = [G.domain] if problem.in_range else [G.range, G.domain]
    dtype = problem.data.dtype
    return [torch.zeros(batch, *space.shape, dtype=dtype) for space in spaces]


def nonlinear(dtype=torch.float64, bounds=UNBOUNDED, kind="sparse"):
    """A batch of problems with a smooth network of 3 latents and 7 x 9 pixels."""
    batch, source = 2, torch.Generator().manual_seed(0)
    name = str(dtype).removeprefix("torch.")
    X = odl.uniform_discr([0, 0], [1, 2], (7, 9), dtype=name)
    Z = odl.rn(3, dtype=name)
    network = torch.nn.Sequential(
        torch.nn.Linear(3, 20), torch.nn.Tanh(), torch.nn.Linear(20, X.size)
    )
    for parameter in network.parameters():
        parameter.data = 0.7 * torch.randn(parameter.shape, generator=source)
    G = ogr.Generator(network.to(dtype), Z, X)
    matrix = torch.randn(50, X.size, generator=source).to(dtype) / 7
    A = odl.MatrixOperator(matrix.numpy()) @ odl.FlatteningOperator(X)
    z = torch.randn(batch, 3, generator=source).to(dtype)
    x = G.batch(z).detach()
    x[:, 2, 3:5] += 3
    noise = torch.randn(batch, 50, generator=source).to(dtype)
    data = x.flatten(1) @ matrix.T + 0.2 * noise
    grad, identity = odl.Gradient(X, pad_mode="symmetric"), odl.IdentityOperator(X)
    sparse = LinearTerm(200.0 * L1Norm(X), LinearMap(identity), True)
    tv = LinearTerm(10.0 * GroupL1Norm(grad.range), LinearMap(grad))
    problem = CompositeProblem(
        generator=G,
        forward=LinearMap(A),
        data=data,
        noise_std=torch.full((batch,), 0.2, dtype=dtype),
        terms={"sparse": [sparse], "sparse and tv": [sparse, tv], "none": []}[kind],
        rho=0.5,
        bounds=bounds,
        in_range=kind == "none",
    )
    return problem, x, z


def value(problem, blocks):
    x, z = blocks
    return problem.value(x, x - problem.generator.batch(z), z).detach()


@pytest.mark.parametrize(
    ("regularizer", "dense_size"),
    [("range", 1024), ("soft", 1024), ("sparse", 1024), ("tv", 1024)]
    + [("sparse", 1), ("tv", 1)],
)
def test_minimizer_for_a_linear_generator(regularizer, dense_size):
    linear = LinearProblem(regularizer)
    problem = composite(linear)
    tol = 1e-9 if dense_size > 1 else 1e-7
    result = prox_linear(
        problem, zeros(problem), tol=tol, maxiter=300, dense_size=dense_size
    )
    x = linear.solution()
    image = result.blocks[0]
    if problem.in_range:
        image = problem.generator.batch(image).detach()
    error = np.linalg.norm(image.numpy().ravel() - x) / np.linalg.norm(x)
    assert result.converged.all()
    assert error < 1e-3
    assert float(result.values) == pytest.approx(linear.objective(x), rel=1e-6)


def test_tv_as_another_term():
    linear = LinearProblem("soft")
    problem = composite(linear, beta=6.0)
    result = prox_linear(problem, zeros(problem), tol=1e-9, maxiter=300)
    x = linear.solution_with_tv(6.0)
    error = np.linalg.norm(result.blocks[0].numpy().ravel() - x) / np.linalg.norm(x)
    assert error < 1e-3


def test_active_bounds_by_the_conditions_of_optimality():
    """Where a bound is active, the gradient of the smooth rest points out of it."""
    linear = LinearProblem("soft")
    bounds = (-0.5, 0.8)
    problem = composite(linear, bounds=bounds)
    result = prox_linear(problem, zeros(problem), tol=1e-10, maxiter=500)
    x, z = (block.clone().requires_grad_() for block in result.blocks)
    total = problem.value(x, x - problem.generator.batch(z), z).sum()
    slope, in_z = torch.autograd.grad(total, [x, z])
    at_lower, at_upper = x <= bounds[0] + 1e-6, x >= bounds[1] - 1e-6
    assert bool(at_lower.any())
    assert bool(at_upper.any())
    small = 1e-2 * slope.abs().max()
    assert bool((slope[at_lower] > -small).all())
    assert bool((slope[at_upper] < small).all())
    assert float(slope[~at_lower & ~at_upper].abs().max()) < small
    assert float(in_z.abs().max()) < small
    assert float(x.detach().min()) >= bounds[0]
    assert float(x.detach().max()) <= bounds[1]


def test_planted_sparse_deviation_is_found():
    problem, x, z = nonlinear()
    result = prox_linear(problem, [problem.generator.batch(z), z], tol=1e-7)
    deviation = result.blocks[0] - problem.generator.batch(result.blocks[1])
    planted = torch.zeros(7, 9, dtype=torch.bool)
    planted[2, 3:5] = True
    found = deviation.detach().abs() > 1.0
    assert result.converged.all()
    assert torch.equal(found, planted.expand_as(found))
    assert float((deviation == 0).double().mean()) > 0.7


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=str)
@pytest.mark.parametrize("kind", ["sparse", "sparse and tv"])
def test_objective_never_increases_and_is_the_value(kind, dtype):
    problem, *_ = nonlinear(dtype, kind=kind, bounds=(-1.5, 2.5))
    starts = zeros(problem)
    starts[1] += 0.3
    kept = [start.clone() for start in starts]
    result = prox_linear(problem, starts, tol=1e-6)
    trace = torch.stack(result.trace)
    torch.testing.assert_close(trace[0], value(problem, kept))
    assert bool((trace.diff(dim=0) <= 0).all())
    assert bool((trace[-1] < 0.5 * trace[0]).all())
    torch.testing.assert_close(result.values, value(problem, result.blocks))
    assert float(result.blocks[0].min()) >= -1.5
    assert float(result.blocks[0].max()) <= 2.5
    assert all(torch.equal(a, b) for a, b in zip(starts, kept, strict=True))


def test_stationary_for_a_nonlinear_generator():
    """No small step in any latent direction improves it, the image following."""
    problem, _, z = nonlinear(kind="sparse and tv")
    result = prox_linear(problem, [problem.generator.batch(z), z], tol=1e-9)
    x, z = result.blocks
    G = problem.generator.batch
    for step in torch.eye(3, dtype=z.dtype):
        for h in (1e-2, -1e-2):
            moved = z + h * step
            follows = x - G(z).detach() + G(moved).detach()
            others = [value(problem, [follows, moved]), value(problem, [x, moved])]
            for other in others:
                assert bool((other >= result.values * (1 - 1e-6)).all())


@pytest.mark.parametrize("kind", ["sparse", "sparse and tv"])
def test_each_row_as_if_alone(kind):
    problem, *_ = nonlinear(kind=kind)
    noise_std = torch.tensor([0.2, 0.3], dtype=torch.float64)
    problem = dataclasses.replace(problem, noise_std=noise_std)
    starts = zeros(problem)
    starts[1] += torch.arange(2.0)[:, None] / 5
    together = prox_linear(problem, starts, tol=1e-6)
    for row in range(2):
        i = torch.tensor([row])
        alone = prox_linear(problem.take(i), [s[i] for s in starts], tol=1e-6)
        torch.testing.assert_close(
            alone.values, together.values[i], rtol=1e-8, atol=1e-8
        )
        for a, b in zip(alone.blocks, together.blocks, strict=True):
            torch.testing.assert_close(a, b[i], rtol=1e-5, atol=1e-6)


def test_range_with_bounds():
    """``G(z) = (z, -z)`` with the image in [-1, 1] and data that pull z to 2."""
    network = torch.nn.Linear(1, 2, bias=False, dtype=torch.float64)
    network.weight.data = torch.tensor([[1.0], [-1.0]], dtype=torch.float64)
    X = odl.rn(2)
    problem = CompositeProblem(
        generator=ogr.Generator(network, odl.rn(1), X),
        forward=LinearMap(odl.IdentityOperator(X)),
        data=torch.tensor([[2.0, -2.0]], dtype=torch.float64),
        noise_std=torch.ones(1, dtype=torch.float64),
        terms=[],
        rho=0.0,
        bounds=(-1.0, 1.0),
        in_range=True,
    )
    for start in (0.0, 3.0):  # inside, and outside where the objective is infinite
        z = torch.full((1, 1), start, dtype=torch.float64)
        result = prox_linear(problem, [z], tol=1e-8)
        assert float(result.blocks[0]) == pytest.approx(1.0, abs=1e-3)
        assert float(result.blocks[0]) <= 1.0
        assert float(result.values) == pytest.approx(1.0, rel=1e-2)


def test_float32_ends_by_rounding():
    problem, *_ = nonlinear(torch.float32)
    result = prox_linear(problem, zeros(problem), tol=1e-12, maxiter=1000)
    assert len(result.trace) < 500


def test_nan_is_rejected_and_stays_in_its_row():
    class Cliff(torch.nn.Module):
        def forward(self, z):
            return torch.where(z < 1, z, torch.nan).expand(-1, 2)

    X, Z = odl.rn(2), odl.rn(1)
    identity = LinearMap(odl.IdentityOperator(X))
    problem = CompositeProblem(
        generator=ogr.Generator(Cliff(), Z, X),
        forward=identity,
        data=torch.tensor([[3.0, 3.0], [0.5, 0.5], [0.5, 0.5]], dtype=torch.float64),
        noise_std=torch.ones(3, dtype=torch.float64),
        terms=[LinearTerm(5 * L1Norm(X), identity, True)],
        rho=0.0,
    )
    starts = zeros(problem)
    starts[1][2] = 2.0  # where G is NaN
    result = prox_linear(problem, starts, tol=1e-8, maxiter=20)
    x, z = result.blocks
    assert result.values.isfinite().tolist() == [True, True, False]
    assert float(z[0]) < 1
    assert float(result.values[0]) < float(result.trace[0][0])
    torch.testing.assert_close(x[1], torch.full_like(x[1], 0.5), atol=1e-3, rtol=0)


def test_callback_once_an_iteration():
    problem, *_ = nonlinear()
    seen = []
    result = prox_linear(
        problem,
        zeros(problem),
        maxiter=4,
        callback=lambda blocks, values: seen.append((blocks[0].shape, values)),
    )
    assert len(seen) == len(result.trace) - 1 == 4
    assert {shape for shape, _ in seen} == {torch.Size([2, 7, 9])}
    assert torch.equal(seen[-1][1], result.values)


def test_interrupt_returns_the_best_so_far():
    problem, *_ = nonlinear()

    def stop(blocks, values):
        if len(seen) == 2:
            raise KeyboardInterrupt
        seen.append(values)

    seen = []
    result = prox_linear(problem, zeros(problem), callback=stop)
    assert result.interrupted
    assert not result.converged.any()
    assert bool((result.values <= seen[-1]).all())
    torch.testing.assert_close(result.values, value(problem, result.blocks))


def test_errors():
    problem, *_ = nonlinear()
    with pytest.raises(ValueError, match="`noise_std` must have the shape"):
        dataclasses.replace(problem, noise_std=problem.noise_std[:1])
    with pytest.raises(ValueError, match="`noise_std` must be positive"):
        dataclasses.replace(problem, noise_std=0 * problem.noise_std)
    with pytest.raises(ValueError, match="`terms` must not be of the deviation"):
        dataclasses.replace(problem, in_range=True)
