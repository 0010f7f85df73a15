# SPDX-License-Identifier: MPL-2.0
"""The solvers against problems with known minima."""

import numpy as np
import odl
import pytest
import torch
from odl import functionals as f
from scipy.optimize import lsq_linear, minimize_scalar, rosen

from generators import forward_operator, image_space, random_element
from odl_genreg.solvers import (
    BacktrackingLineSearch,
    Term,
    is_smooth,
    lbfgs,
    minimize,
    primal_dual,
    spectral_gradient,
)
from odl_genreg.torch_bridge import (
    LinearMap,
    as_element,
    as_tensor,
    batch_value,
    weight,
)


def normal(*shape, seed=0):
    source = torch.Generator().manual_seed(seed)
    return torch.randn(shape, generator=source, dtype=torch.float64)


def rosenbrock(x):
    inner = 100 * (x[:, 1:] - x[:, :-1] ** 2) ** 2 + (1 - x[:, :-1]) ** 2
    return inner.sum(1)


def quadratic(condition=100.0, size=10, seed=0):
    """``|M x - b|^2 / 2`` with its minimizer."""
    Q = np.linalg.qr(normal(size, size, seed=seed).numpy())[0]
    M = torch.from_numpy(np.sqrt(np.geomspace(1, condition, size))[:, None] * Q)
    b = normal(size, seed=seed + 1)
    solution = torch.linalg.solve(M, b)
    return (lambda x: 0.5 * ((x @ M.T.to(x) - b.to(x)) ** 2).sum(1)), M, b, solution


class Counts:
    """Function that remembers the size of the batches it was given."""

    def __init__(self, function):
        self.function, self.sizes = function, []

    def __call__(self, x):
        self.sizes.append(len(x))
        return self.function(x)


# --- L-BFGS --- #


def test_rosenbrock_in_a_batch():
    starts = torch.tensor([[-1.2, 1.0], [3.0, -2.0], [0.0, 0.0], [10.0, 10.0]]).double()
    assert rosenbrock(starts)[1].item() == pytest.approx(rosen([3.0, -2.0]))
    before = starts.clone()
    minima = lbfgs(rosenbrock, starts, tol=1e-14)
    assert torch.equal(starts, before)
    assert minima.converged.all()
    torch.testing.assert_close(
        minima.points, torch.ones(4, 2).double(), atol=1e-8, rtol=0
    )
    assert minima.values.max() <= 1e-15
    assert minima.history[-1] == minima.values.min()
    assert minima.history == sorted(minima.history, reverse=True)
    assert len(minima.history) == minima.niter + 1


@pytest.mark.parametrize("condition", [1.0, 1e2, 1e4])
def test_quadratic_to_1e_10(condition):
    objective, _, _, solution = quadratic(condition)
    minima = lbfgs(objective, normal(3, 10), tol=1e-12)
    assert minima.converged.all()
    assert (minima.points - solution).norm() <= 1e-9 * solution.norm()
    assert minima.gradient_norms.max() <= 1e-12


def test_runs_of_a_batch_do_not_see_each_other():
    starts = torch.tensor([[-1.2, 1.0], [1e3, 1e3], [0.5, 0.4]]).double()
    together = lbfgs(rosenbrock, starts, maxiter=20, tol=1e-30)
    for b in range(3):
        alone = lbfgs(rosenbrock, starts[b : b + 1], maxiter=20, tol=1e-30)
        torch.testing.assert_close(together.points[b], alone.points[0])


def test_problems_of_a_batch_have_their_own_tolerance():
    starts = torch.tensor([[-1.2, 1.0], [0.5, 0.5], [300.0, -200.0], [400.0, 9.0]])
    starts = starts.double()
    together = lbfgs(rosenbrock, starts, num_problems=2, tol=1e-3)
    for rows in (slice(0, 2), slice(2, 4)):
        alone = lbfgs(rosenbrock, starts[rows], tol=1e-3)
        assert alone.converged.all()
        assert torch.equal(alone.points, together.points[rows])
        assert torch.equal(alone.gradient_norms, together.gradient_norms[rows])


def test_converged_runs_leave_the_batch():
    objective = Counts(rosenbrock)
    starts = torch.tensor([[1.0, 1.0], [-1.2, 1.0], [1.0 + 1e-6, 1.0]]).double()
    minima = lbfgs(objective, starts, tol=1e-10)
    assert objective.sizes[0] == 3
    assert objective.sizes[1] <= 2  # the first is at its minimum
    assert objective.sizes[-1] == 1
    assert minima.converged.all()
    one = Counts(rosenbrock)
    lbfgs(one, starts[1:2], tol=1e-10)
    assert sum(objective.sizes) <= sum(one.sizes) + 40


@pytest.mark.parametrize("offset", [0.0, 1e3])
def test_float32_ends_at_rounding(offset):
    """A tolerance out of reach: the run stagnates, unconverged, and stops soon."""
    objective, _, _, solution = quadratic(1e3)
    counted = Counts(lambda x: objective(x) + offset)
    minima = lbfgs(counted, normal(2, 10).float(), tol=1e-12, maxiter=10**6)
    assert not minima.converged.any()
    assert len(counted.sizes) < 1000
    limit = 1e-3 if offset == 0 else 0.3
    assert (minima.points.double() - solution).norm() <= limit * solution.norm()


def test_function_that_is_infinite_beside_the_minimum():
    """``x - log x``: the line search steps back into the domain."""

    def barrier(x):
        value = x - x.clamp_min(1e-300).log()
        return torch.where(x > 0, value, torch.inf).sum(1)

    minima = lbfgs(barrier, torch.tensor([[1e-3], [50.0]]).double(), tol=1e-9)
    assert minima.points.ravel().tolist() == pytest.approx([1.0, 1.0])


def test_start_outside_of_the_domain_is_left_alone():
    def root(x):
        return (x.sqrt() + 1 / x.sqrt()).sum(1)

    minima = lbfgs(root, torch.tensor([[-1.0], [4.0], [0.0]]).double(), tol=1e-9)
    assert minima.best == 1
    assert minima.points[1].item() == pytest.approx(1.0)
    assert minima.converged.tolist() == [False, True, False]


def test_maxiter_and_callback():
    seen = []
    minima = lbfgs(
        rosenbrock,
        torch.tensor([[-1.2, 1.0]]).double(),
        maxiter=5,
        callback=lambda x, values: seen.append((x.clone(), values.clone())),
    )
    assert minima.niter == len(seen) == 5
    assert not minima.converged.any()
    for x, values in seen:
        torch.testing.assert_close(rosenbrock(x), values)


def test_start_at_the_minimum():
    minima = lbfgs(lambda x: (x**2).sum(1), torch.zeros(2, 3).double())
    assert minima.converged.all()
    assert minima.niter == 0


# --- Spectral gradient --- #


@pytest.mark.parametrize("condition", [1e1, 1e3])
def test_box_constrained_quadratic_against_scipy(condition):
    objective, M, b, _ = quadratic(condition)
    minima = spectral_gradient(
        objective,
        lambda t, x: x.clamp(-0.3, 0.4),
        normal(3, 10),
        tol=1e-10,
        maxiter=3000,
    )
    expected = lsq_linear(M.numpy(), b.numpy(), (-0.3, 0.4), tol=1e-14)
    assert minima.converged.all()
    assert minima.points.numpy() == pytest.approx(np.tile(expected.x, (3, 1)), abs=1e-7)
    assert minima.values.tolist() == pytest.approx([expected.cost] * 3)


def test_spectral_gradient_never_increases():
    objective, *_ = quadratic(1e3)
    values = []
    minima = spectral_gradient(
        objective,
        lambda t, x: x.clamp(-0.3, 0.4),
        normal(1, 10),
        callback=lambda x, v: values.append(v.item()),
    )
    assert all(b <= a * (1 + 1e-12) for a, b in zip(values, values[1:], strict=False))
    assert minima.history[1:] == values


def test_spectral_gradient_on_a_stationary_start():
    minima = spectral_gradient(
        lambda x: (x**2).sum(1), lambda t, x: x, torch.zeros(2, 3).double()
    )
    assert minima.converged.all()


def test_spectral_gradient_skips_bad_starts():
    """A start outside of the domain, and one with no gradient, spoil no other."""

    def root(x):
        return (x.sqrt() + 1 / x.sqrt()).sum(1)

    starts = torch.tensor([[-1.0], [4.0], [0.0]]).double()
    minima = spectral_gradient(root, lambda t, x: x, starts, tol=1e-9)
    assert minima.points[1].item() == pytest.approx(1.0)
    assert minima.converged.tolist() == [False, True, False]


def test_no_step_is_no_convergence():
    """The gradient points uphill: every step is refused."""

    class Wrong(torch.autograd.Function):
        @staticmethod
        def forward(ctx, x):
            return x.abs().sum(1)

        @staticmethod
        def backward(ctx, g):
            return -torch.ones(1, 1).double()

    start = torch.ones(1, 1).double()
    minima = spectral_gradient(Wrong.apply, lambda t, x: x, start)
    assert not minima.converged.any()
    assert minima.points.item() == 1.0


# --- minimize --- #


@pytest.mark.parametrize("penalty", ["smooth", "box", "1-norm"])
def test_minimize_chooses_by_the_functional(penalty):
    """``|z - 2|^2 + r(z)`` with two axes; by hand 1, 0.5 and 1.5."""
    Z = odl.rn((2, 3))
    functional, expected, value = {
        "smooth": (f.L2NormSquared(Z), 1.0, 12.0),
        "box": (f.IndicatorBox(Z, 0.0, 0.5), 0.5, 6 * 2.25),
        "1-norm": (f.L1Norm(Z), 1.5, 6 * (0.25 + 1.5)),
    }[penalty]
    seen = []
    minima = minimize(
        lambda z: ((z - 2) ** 2).flatten(1).sum(1),
        functional,
        normal(4, 2, 3),
        tol=1e-10,
        callback=lambda z, values: seen.append(z.shape),
    )
    assert minima.points.shape == (4, 2, 3)
    assert set(seen) == {(4, 2, 3)}
    full = torch.full((4, 2, 3), expected).double()
    torch.testing.assert_close(minima.points, full, atol=1e-7, rtol=0)
    assert minima.values.tolist() == pytest.approx([value] * 4)


def test_minimize_on_a_weighted_space():
    """``sum_i (z_i - 2)^2 + w ||z||_1`` with w = 3: the entries are 2 - 3 / 2."""
    Z = odl.rn(4, weighting=3.0)
    minima = minimize(
        lambda z: ((z - 2) ** 2).sum(1), f.L1Norm(Z), normal(3, 4), tol=1e-10
    )
    half = torch.full((3, 4), 0.5).double()
    torch.testing.assert_close(minima.points, half, atol=1e-7, rtol=0)
    assert minima.values.tolist() == pytest.approx([4 * (2.25 + 3 * 0.5)] * 3)


# --- Primal-dual --- #


@pytest.mark.parametrize("as_term", [True, False])
def test_soft_thresholding_on_a_weighted_space(as_term):
    """``||x - v||_X^2 + 0.8 ||x||_1``: the entries shrink by 0.4."""
    X = image_space()
    v, penalty = as_tensor(random_element(X))[None], 0.8 * f.L1Norm(X)
    squared = batch_value(f.L2NormSquared(X))
    (x,), *_ = primal_dual(
        lambda x: squared(x - v),
        [Term(penalty, lambda x: x)] if as_term else [],
        [torch.zeros_like(v)],
        [None if as_term else penalty],
        tol=1e-9,
        maxiter=2000,
    )
    shrunk = v.sign() * (v.abs() - 0.4).clamp_min(0)
    torch.testing.assert_close(x, shrunk, atol=1e-4, rtol=0)


def lasso(size=20, seed=0):
    M = normal(12, size, seed=seed)
    return M, M @ (5 * normal(size, seed=2) * (torch.arange(size) % 5 == 0)), 3.0


@pytest.mark.parametrize("as_term", [True, False])
def test_lasso_fulfils_its_optimality_conditions(as_term):
    """``|M x - b|^2 / 2 + lam |x|_1``: ``M^T (b - M x)`` is lam times a subgradient."""
    M, b, lam = lasso()
    X = odl.rn(20)
    penalty = lam * f.L1Norm(X)
    terms = [Term(penalty, lambda x: x)] if as_term else []
    start = torch.zeros(1, 20).double()
    (x,), values, history, converged, _ = primal_dual(
        lambda x: 0.5 * ((x @ M.T - b) ** 2).sum(1),
        terms,
        [start],
        [None if as_term else penalty],
        tol=1e-9,
        maxiter=20000,
    )
    assert converged
    dual = M.T @ (b - M @ x[0])
    support = x[0].abs() > 1e-3
    assert 0 < int(support.sum()) < 20
    assert dual.abs().max().item() <= lam * (1 + 1e-3)
    assert (dual[support] - lam * x[0][support].sign()).abs().max() <= 1e-3 * lam
    direct = 0.5 * ((x @ M.T - b) ** 2).sum() + lam * x.abs().sum()
    assert values.item() == pytest.approx(direct.item())
    assert history[0] == pytest.approx(0.5 * (b**2).sum().item())
    assert history[-1] == values.item()
    assert torch.equal(start, torch.zeros(1, 20).double())


def test_total_variation_denoising_in_a_box():
    """``||x - v||_X^2 / 2 + 0.1 TV(x)``, ``0 <= x <= 1``, against a long `pdhg`."""
    X = image_space()
    v = random_element(X)
    grad = odl.Gradient(X, pad_mode="symmetric")
    TV, box, w = 0.1 * f.GroupL1Norm(grad.range), f.IndicatorBox(X, 0, 1), weight(X)
    target = as_tensor(v)
    (x,), values, *_ = primal_dual(
        lambda x: w / 2 * ((x - target) ** 2).flatten(1).sum(1),
        [Term(TV, LinearMap(grad))],
        [torch.zeros(1, 7, 9).double()],
        [box],
        tol=1e-7,
        maxiter=3000,
    )
    assert x.min() >= 0
    assert x.max() <= 1

    def objective(x):
        return (x - v).norm() ** 2 / 2 + TV(grad(x))

    assert values.item() == pytest.approx(objective(as_element(X, x[0])))
    near = 0.5 * f.L2NormSquared(X).translated(v)
    reference, tau = X.zero(), 0.9 / np.sqrt(1 + 4 / 0.2**2 + 4 / 0.3**2)
    odl.solvers.pdhg(
        reference,
        box,
        f.SeparableSum(TV, near),
        odl.BroadcastOperator(grad, odl.IdentityOperator(X)),
        niter=800,
        tau=tau,
        sigma=tau,
    )
    least = objective(reference)
    assert least * (1 - 1e-4) <= values.item() <= least * (1 + 1e-4)


def test_two_blocks_of_different_scale():
    """``(x - 100 z - 3)^2 / 2 + |z|`` with ``x`` in [0, 1]: x = 1, z = -0.0199."""
    X = odl.rn(1)
    blocks, values, _, converged, _ = primal_dual(
        lambda x, z: 0.5 * ((x - 100 * z - 3) ** 2).sum(1),
        [Term(f.L1Norm(X), lambda x, z: z)],
        [torch.zeros(1, 1).double(), torch.zeros(1, 1).double()],
        [f.IndicatorBox(X, 0, 1), None],
        tol=1e-10,
        maxiter=20000,
    )
    assert converged
    assert blocks[0].item() == pytest.approx(1.0)
    assert blocks[1].item() == pytest.approx(-0.0199, rel=1e-3)
    assert values.item() == pytest.approx(0.5 * 0.01**2 + 0.0199, rel=1e-3)


def test_nonlinear_map():
    """``(v - 1)^2 / 2 + 0.3 |v^3 - 2|`` in one dimension, against brute force."""

    def whole(v):
        return 0.5 * (v - 1) ** 2 + 0.3 * abs(v**3 - 2)

    expected = minimize_scalar(
        whole, bounds=(1.0, 1.5), method="bounded", options={"xatol": 1e-12}
    )
    X = odl.rn(1)
    (v,), values, *_ = primal_dual(
        lambda v: 0.5 * ((v - 1) ** 2).sum(1),
        [Term((0.3 * f.L1Norm(X)).translated(2 * X.one()), lambda v: v**3)],
        [torch.full((1, 1), 1.5).double()],
        [None],
        tol=1e-9,
        maxiter=5000,
    )
    assert v.item() == pytest.approx(expected.x, abs=1e-4)
    assert values.item() == pytest.approx(expected.fun, rel=1e-5)


def test_never_worse_than_the_start():
    """A nonconvex problem and few iterations: the best iterate is kept."""
    X, starts = odl.rn(4), [normal(1, 4)]
    term = Term(f.L1Norm(X), lambda v: torch.sin(5 * v))

    def whole(v):
        return (v**4).sum(1) + torch.sin(5 * v).abs().sum(1)

    for maxiter in (1, 26, 200):
        (v,), values, history, *_ = primal_dual(
            lambda v: (v**4).sum(1), [term], starts, [None], maxiter=maxiter
        )
        assert values.item() <= whole(starts[0]).item()
        assert values.item() == pytest.approx(whole(v).item())
        assert history == sorted(history, reverse=True)


def test_dual_proximal_is_moreaus():
    """``prox_{s g*}`` of ``g = w ||.||_1`` in plain sums projects onto [-w, w]."""
    X = image_space()
    term = Term(f.L1Norm(X), lambda x: x)
    q = normal(2, 7, 9)
    projected = term.dual_proximal(0.7, q)
    torch.testing.assert_close(projected, q.clamp(-weight(X), weight(X)))


# --- Smoothness --- #


def test_is_smooth():
    X = image_space()
    A = forward_operator(X)
    smooth = [f.L2NormSquared(X), f.Huber(X, 0.1), f.ZeroFunctional(X)]
    rough = [f.L1Norm(X), f.L2Norm(X), f.IndicatorBox(X, 0, 1), f.IndicatorZero(X)]
    for functional in smooth:
        assert is_smooth(functional)
        assert is_smooth(2 * functional + functional.translated(X.one()))
    for functional in rough:
        assert not is_smooth(functional)
        assert not is_smooth(3 * functional)
        assert not is_smooth(functional * 3)
        assert not is_smooth(functional.translated(X.one()))
        assert not is_smooth(smooth[0] + functional)
        assert not is_smooth(f.SeparableSum(smooth[0], functional))
    assert is_smooth(f.SeparableSum(*smooth))
    assert is_smooth(f.L2NormSquared(A.range) @ A)
    assert not is_smooth(f.L1Norm(A.range) @ A)
    assert not is_smooth(f.GroupL1Norm(odl.Gradient(X).range))


# --- Line search --- #


class CountedFunctional(f.functional.Functional):
    """Counts its evaluations."""

    def __init__(self, functional):
        super().__init__(functional.domain)
        self.functional, self.count = functional, 0

    def _call(self, x):
        self.count += 1
        return self.functional(x)

    @property
    def gradient(self):
        return self.functional.gradient


class Valley(f.functional.Functional):
    """Rosenbrock's function in float32 or float64, nonconvex."""

    def __init__(self, dtype="float64", impl="numpy"):
        super().__init__(odl.rn(2, dtype=dtype, impl=impl))

    def _call(self, x):
        return float(rosenbrock(as_tensor(x)[None]))

    @property
    def gradient(self):
        functional = self

        class Gradient(odl.Operator):
            def __init__(self):
                super().__init__(functional.domain, functional.domain)

            def _call(self, x):
                leaf = as_tensor(x)[None].clone().requires_grad_()
                (g,) = torch.autograd.grad(rosenbrock(leaf).sum(), leaf)
                return as_element(self.range, g[0])

        return Gradient()


SOLVERS = {
    "bfgs": odl.solvers.bfgs_method,
    "conjugate gradient": odl.solvers.conjugate_gradient_nonlinear,
    "steepest descent": odl.solvers.steepest_descent,
}


@pytest.mark.parametrize("impl", ["numpy", "pytorch"])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("name", ["bfgs", "conjugate gradient"])
def test_solvers_of_odl_reach_the_minimum(name, dtype, impl):
    J = Valley(dtype, impl)
    x = J.domain.element([-1.2, 1.0])
    maxiter = 100 if name == "bfgs" else 1000
    SOLVERS[name](J, x, line_search=BacktrackingLineSearch(J), maxiter=maxiter)
    assert as_tensor(x).tolist() == pytest.approx([1.0, 1.0], abs=2e-2)
    assert J(x) <= (1e-4 if dtype == "float32" else 1e-5)


@pytest.mark.parametrize("name", list(SOLVERS))
def test_float32_run_is_never_ended(name):
    """Far beyond what float32 resolves: no exception, and few evaluations more."""
    X = odl.rn(5, dtype="float32")
    target = X.element([1.0, -2.0, 3.0, 0.5, 10.0])
    J = CountedFunctional(100 * f.L2NormSquared(X).translated(target) + 1e3 * one(X))
    x = X.zero()
    SOLVERS[name](J, x, line_search=BacktrackingLineSearch(J), maxiter=500, tol=1e-30)
    assert (x - target).norm() <= 1e-2
    assert J.count < 300


def one(X):
    return f.ConstantFunctional(X, 1.0)


def test_stalled_search_returns_zero_without_an_evaluation():
    J = CountedFunctional(f.L2NormSquared(odl.rn(2)))
    search, x = BacktrackingLineSearch(J), J.domain.zero()
    direction = J.domain.one()
    assert search(x, direction, -(float(direction.norm()) ** 2)) == 0.0  # a wrong slope
    assert search.stalled
    count = J.count
    assert search(x, direction, -1.0) == 0.0
    assert J.count == count
    fresh = BacktrackingLineSearch(J)
    assert fresh(J.domain.one(), -2 * direction, -8.0) == 0.5


@pytest.mark.parametrize("slope", [0.0, 1.0])
def test_directions_that_do_not_descend(slope):
    J = f.L2NormSquared(odl.rn(2))
    x = J.domain.one()
    search = BacktrackingLineSearch(J)
    assert search(x, x, slope) == 0.0
    assert not search.stalled  # the solver may restart with steepest descent
    assert search(x, -2 * x, -8.0) == 0.5


@pytest.mark.parametrize("slope", [float("nan"), float("inf"), -float("inf")])
def test_slope_that_is_no_number(slope):
    J = CountedFunctional(f.L2NormSquared(odl.rn(2)))
    assert BacktrackingLineSearch(J)(J.domain.one(), J.domain.one(), slope) == 0.0
    assert J.count == 0


def test_search_steps_back_into_the_domain():
    class Barrier(f.functional.Functional):
        def __init__(self, bad):
            super().__init__(odl.rn(1))
            self.bad = bad

        def _call(self, x):
            return x[0] - np.log(x[0]) if x[0] > 0 else self.bad

    for bad in (np.inf, np.nan):
        J = Barrier(bad)
        x = J.domain.element([3.0])
        step = BacktrackingLineSearch(J)(x, J.domain.element([-50.0]), -50 * 2 / 3)
        assert 0 < step < 3 / 50
        assert J(x + step * J.domain.element([-50.0])) < J(x)


def test_search_leaves_its_arguments_alone_and_fulfils_armijo():
    J = Valley()
    x = J.domain.element([-1.2, 1.0])
    direction = -J.gradient(x)
    slope = -(direction.norm() ** 2)
    copies = x.copy(), direction.copy()
    step = BacktrackingLineSearch(J, discount=0.1)(x, direction, slope)
    assert (x, direction) == copies
    assert step > 0
    assert J(x + step * direction) <= J(x) + 0.1 * step * slope


def test_first_step_is_lengthened():
    J = f.L2NormSquared(odl.rn(1))
    x = J.domain.element([1024.0])
    step = BacktrackingLineSearch(J)(x, J.domain.element([-1.0]), -2048.0)
    assert 256 <= step <= 2048
