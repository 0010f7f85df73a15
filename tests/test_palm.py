# SPDX-License-Identifier: MPL-2.0
"""PALM against problems with known minimizers, and against its own formulas."""

import math

import numpy as np
import odl
import pytest
import torch
from odl import functionals as f

from generators import image_space, make_generator, random_element
from linear_problems import LinearProblem
from odl_genreg.deviation import TotalVariation
from odl_genreg.latent_prior import gaussian
from odl_genreg.solvers.block_minima import BlockMinima
from odl_genreg.solvers.palm import palm
from odl_genreg.torch_bridge import as_tensor, batch_value


def normal(*shape, seed=0, dtype=torch.float64):
    source = torch.Generator().manual_seed(seed)
    return torch.randn(shape, generator=source, dtype=torch.float64).to(dtype)


def blocks_of(D, G, lam, mu, deviation, prior_in_smooth=False):
    """Coupling, starts ``(z, x)`` or ``(z, u)`` at z = 0, and functionals."""
    X, prior = G.range, lam * mu * gaussian(G.domain)
    data, prior_value = batch_value(D), batch_value(prior)
    z = torch.zeros(1, *G.domain.shape).to(as_tensor(X.zero()))
    x = G.batch(z).detach()
    if deviation is None:
        squared = batch_value(lam * f.L2NormSquared(X))

        def soft(z, x):
            total = data(x) + squared(x - G.batch(z))
            return total + prior_value(z) if prior_in_smooth else total

        return soft, [z, x], [None if prior_in_smooth else prior, None]

    def synthesis(z, u):
        total = data(G.batch(z) + u)
        return total + prior_value(z) if prior_in_smooth else total

    functionals = [None if prior_in_smooth else prior, lam * deviation]
    return synthesis, [z, torch.zeros_like(x)], functionals


def never_increases(history, rounding=1e-12):
    steps = zip(history, history[1:], strict=False)
    return all(new <= old + rounding * abs(old) for old, new in steps)


# --- Known minimizers --- #


@pytest.mark.parametrize(
    ("kind", "prior_in_smooth", "inertia"),
    [
        ("soft", True, 0.0),
        ("soft", False, 1.0),
        ("sparse", True, 1.0),
        ("sparse", False, 0.0),
        ("sparse", False, 1.0),
    ],
)
def test_linear_generator(kind, prior_in_smooth, inertia):
    linear = LinearProblem(kind)
    P, X = linear.problem, linear.problem.R.domain
    G, deviation = P.R.generator, None if kind == "soft" else f.L1Norm(X)
    smooth, starts, functionals = blocks_of(
        P.D, G, P.lam, P.R.mu, deviation, prior_in_smooth
    )
    minima = palm(smooth, starts, functionals, inertia=inertia, tol=3e-6, maxiter=500)
    z, x = minima.blocks
    x = x if kind == "soft" else G.batch(z) + x
    expected = linear.solution()
    assert minima.converged.all()
    assert x[0].numpy().ravel() == pytest.approx(expected, abs=1e-4)
    assert minima.values.item() == pytest.approx(linear.objective(expected))
    assert never_increases(minima.history)


def test_total_variation_of_the_deviation():
    linear = LinearProblem("tv")
    P, X = linear.problem, linear.problem.R.domain
    G, TV = P.R.generator, TotalVariation(X, tol=1e-4)
    smooth, starts, functionals = blocks_of(P.D, G, P.lam, P.R.mu, TV)
    minima = palm(smooth, starts, functionals, tol=1e-4, maxiter=60)
    z, u = minima.blocks
    expected = linear.solution()
    assert minima.values.item() == pytest.approx(linear.objective(expected), rel=1e-4)
    assert (G.batch(z) + u)[0].numpy().ravel() == pytest.approx(expected, abs=1e-2)


def test_inexact_proximal_never_increases_the_objective():
    """A proximal that is off by half its objective."""
    linear = LinearProblem("tv")
    P, X = linear.problem, linear.problem.R.domain
    G, TV = P.R.generator, TotalVariation(X, tol=0.5)
    smooth, starts, functionals = blocks_of(P.D, G, P.lam, P.R.mu, TV)
    minima = palm(smooth, starts, functionals, inertia=0.0, maxiter=20)
    assert never_increases(minima.history)
    assert minima.history[-1] < 0.5 * minima.history[0]


def test_planted_sparse_deviation():
    """A nonlinear generator, four pixels that it cannot make, few data."""
    G = make_generator("mlp")
    X, Z = G.range, G.domain
    M = normal(40, 63) / 40**0.5
    planted = torch.zeros(1, *X.shape).double()
    planted[0, [1, 3, 5, 6], [2, 7, 0, 4]] = torch.tensor(
        [2.0, -3.0, 4.0, 2.0]
    ).double()
    z = as_tensor(random_element(Z))[None]
    truth = G.batch(z).detach() + planted
    y = truth.flatten(1) @ M.T
    minima = palm(
        lambda z, u: (((G.batch(z) + u).flatten(1) @ M.T - y) ** 2).sum(1),
        [torch.zeros_like(z), torch.zeros_like(planted)],
        [1e-4 * gaussian(Z), 0.1 * f.L1Norm(X)],
        tol=1e-4,
    )
    latent, u = minima.blocks
    assert torch.equal(u.abs() > 0.05, planted != 0)
    torch.testing.assert_close(u, planted, atol=0.05, rtol=0)
    torch.testing.assert_close(G.batch(latent) + u, truth, atol=0.05, rtol=0)


def test_three_blocks_of_different_scale():
    """``|a + 10 b + 100 c - 3|^2 + |a|^2 + |b|^2 + |c|^2``, by hand."""

    def smooth(a, b, c):
        coupled = (a + 10 * b + 100 * c - 3) ** 2
        return (coupled + a**2 + b**2 + c**2).sum(1)

    starts = [torch.zeros(1, 1).double()] * 3
    minima = palm(smooth, starts, [None] * 3, tol=1e-9)
    expected = [3 * factor / (1 + 10101) for factor in (1, 10, 100)]
    found = [block.item() for block in minima.blocks]
    assert found == pytest.approx(expected, rel=1e-4, abs=1e-8)
    assert minima.values.item() == pytest.approx(9 / 10102)


def test_soft_thresholding_on_a_weighted_space():
    """``||x - v||_X^2 + 0.8 ||x||_1``: the entries shrink by 0.4."""
    X = image_space()
    v = normal(3, 7, 9)
    squared = batch_value(f.L2NormSquared(X))
    minima = palm(
        lambda x, v: squared(x - v),
        [torch.zeros_like(v)],
        [0.8 * f.L1Norm(X)],
        parameters=[v],
        tol=1e-9,
    )
    shrunk = v.sign() * (v.abs() - 0.4).clamp_min(0)
    torch.testing.assert_close(minima.blocks[0], shrunk, atol=1e-7, rtol=0)


def test_infeasible_start_in_a_box():
    """The first step is projected; until then the objective is infinite."""
    X = image_space()
    minima = palm(
        lambda x: ((x - 3) ** 2).flatten(1).sum(1),
        [torch.full((2, 7, 9), -5.0).double()],
        [f.IndicatorBox(X, 0, 1)],
    )
    assert minima.trace[0].tolist() == [math.inf] * 2
    assert minima.converged.all()
    assert torch.equal(minima.blocks[0], torch.ones(2, 7, 9).double())
    assert minima.values.tolist() == [4.0 * 63] * 2


class UnitBall(f.functional.Functional):
    """Indicator of ``|x|_2 <= 1``, exact; its projection is rounded."""

    def _call(self, x):
        return 0.0 if np.linalg.norm(as_tensor(x).double()) <= 1 else math.inf

    @property
    def proximal(self):
        X = self.domain

        class Projection(odl.Operator):
            def __init__(self, sigma):
                super().__init__(X, X)

            def _call(self, x):
                return x / max(float(np.linalg.norm(as_tensor(x))), 1.0)

        return Projection


def test_projection_that_is_rounded_out_of_the_domain():
    B = UnitBall(odl.rn(50, dtype="float32"))
    target = 2 * normal(6, 50, dtype=torch.float32)
    minima = palm(
        lambda z, v, target: ((z - target) ** 2).sum(1) + ((v - z) ** 2).sum(1),
        [torch.zeros(6, 50), torch.zeros(6, 50)],
        [B, None],
        parameters=[target],
    )
    z, v = minima.blocks
    assert batch_value(B)(z).isinf().any()
    expected = target / target.norm(dim=1, keepdim=True)
    torch.testing.assert_close(z, expected, atol=1e-5, rtol=0)
    torch.testing.assert_close(v, expected, atol=3e-3, rtol=0)
    distance = target.norm(dim=1) - 1
    torch.testing.assert_close(minima.values, distance**2)


# --- The method --- #


def reference_palm(h, gradients, proximals, blocks, niter, L):
    """One run of [BST2014] without inertia, word for word, in numpy."""
    values = []
    for _ in range(niter):
        for b in range(len(blocks)):
            g, old = gradients[b](*blocks), h(*blocks)
            while True:
                new = proximals[b](blocks[b] - g / L[b], 1 / L[b])
                s, trial = new - blocks[b], [*blocks[:b], new, *blocks[b + 1 :]]
                if h(*trial) <= old + g @ s + L[b] / 2 * s @ s:
                    break
                L[b] *= 10.0
            blocks, L[b] = trial, L[b] * 0.5
        values.append(h(*blocks))
    return blocks, L, values


def test_iterates_are_those_of_the_paper():
    M, N, y = (
        normal(*shape, seed=i).numpy() for i, shape in enumerate([(6, 4), (6, 3), (6,)])
    )

    def h(u, z):
        return 0.5 * np.sum((M @ u + N @ np.tanh(z) - y) ** 2)

    def residual(u, z):
        return M @ u + N @ np.tanh(z) - y

    def smooth(u, z):
        r = u @ torch.from_numpy(M.T) + z.tanh() @ torch.from_numpy(N.T)
        return 0.5 * ((r - torch.from_numpy(y)) ** 2).sum(1)

    gradients = [
        lambda u, z: M.T @ residual(u, z),
        lambda u, z: (N.T @ residual(u, z)) / np.cosh(z) ** 2,
    ]
    proximals = [
        lambda v, t: np.sign(v) * np.maximum(np.abs(v) - 0.3 * t, 0),
        lambda v, t: v / (1 + 2 * 0.6 * t),
    ]
    starts = [normal(1, 4, seed=5), normal(1, 3, seed=6)]
    U, Z = odl.rn(4, weighting=3.0), odl.rn(3, weighting=2.0)
    minima = palm(
        smooth,
        starts,
        [0.1 * f.L1Norm(U), 0.3 * f.L2NormSquared(Z)],
        inertia=0.0,
        tol=1e-14,
        maxiter=25,
    )
    blocks, L, values = reference_palm(
        h, gradients, proximals, [start[0].numpy() for start in starts], 25, [1.0, 1.0]
    )
    assert minima.niter == 25
    for block, constant, expected, L_expected in zip(
        minima.blocks, minima.constants, blocks, L, strict=True
    ):
        assert block[0].numpy() == pytest.approx(expected, abs=1e-12)
        assert constant.item() == L_expected
    u, z = blocks
    whole = values[-1] + 0.3 * np.abs(u).sum() + 0.6 * z @ z
    assert minima.values.item() == pytest.approx(whole)


class Counts:
    """Function that remembers the size of the batches it was given."""

    def __init__(self, function):
        self.function, self.sizes = function, []

    def __call__(self, *arguments):
        self.sizes.append(len(arguments[0]))
        return self.function(*arguments)


def test_constants_carry_over():
    """``a x^2 / 2`` has the constant a: by hand, for a = 90 and a = 3."""
    curvatures = torch.tensor([90.0, 3.0]).double()
    # Accepted for a = 90: 100, 500, 250, 125; for a = 3: 10, 5, 25, 12.5.
    sequences = [(50.0, 5.0), (250.0, 2.5), (125.0, 12.5), (62.5, 6.25)]
    for maxiter, expected in enumerate(sequences, start=1):
        smooth = Counts(lambda x, a: a * (x**2).sum(1) / 2)
        minima = palm(
            smooth,
            [torch.ones(2, 1).double()],
            [None],
            parameters=[curvatures],
            inertia=0.0,
            tol=1e-12,
            maxiter=maxiter,
        )
        assert tuple(minima.constants[0].tolist()) == expected
    # One evaluation for the start of each iteration and of the run, then the trials:
    # 3 and 2 | 2 and 1 | 1 and 2 | 1 and 1.
    assert smooth.sizes == [2] + [2, 2, 2, 1] + [2, 2, 1] + [2, 2, 1] + [2, 2]
    mild = palm(
        smooth,
        [torch.ones(2, 1).double()],
        [None],
        parameters=[curvatures],
        constant=7.0,
        decrease=0.9,
        increase=20.0,
        maxiter=1,
    )
    assert mild.constants[0].tolist() == pytest.approx([0.9 * 140, 0.9 * 7])


class Uphill(torch.autograd.Function):
    """``sum_i |x_i|`` with the gradient of its negative."""

    @staticmethod
    def forward(ctx, x):
        ctx.save_for_backward(x)
        return x.abs().sum(1)

    @staticmethod
    def backward(ctx, g):
        return -g[:, None] * ctx.saved_tensors[0].sign()


def needle(x):
    """``|x|^2``, but no number beside the point where all entries are 5."""
    here = (x.detach() == 5).all(1)
    return torch.where(here, (x**2).sum(1), math.nan)


@pytest.mark.parametrize("inertia", [0.0, 1.0])
def test_failed_backtracking_keeps_the_last_accepted_point(inertia):
    """No trial of the first block is accepted; the second is solved nevertheless."""
    starts = [torch.full((2, 3), 5.0).double(), torch.zeros(2, 1).double()]
    minima = palm(
        lambda a, b: needle(a) + ((b - 2) ** 2).sum(1),
        starts,
        [None, None],
        inertia=inertia,
        maxiter=25,
    )
    assert torch.equal(minima.blocks[0], starts[0])
    assert minima.constants[0].tolist() == [1.0, 1.0]
    assert minima.blocks[1].ravel().tolist() == pytest.approx([2.0, 2.0], abs=1e-4)
    assert minima.values.tolist() == pytest.approx([75.0, 75.0])
    assert not minima.converged.any()


def test_run_whose_every_backtracking_fails_ends():
    start = torch.full((1, 3), 5.0).double()
    minima = palm(needle, [start], [None], maxiter=10**6)
    assert minima.niter == 1
    assert torch.equal(minima.blocks[0], start)
    assert minima.history == [75.0, 75.0]
    assert not minima.converged.any()


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_wrong_gradient_ends(dtype):
    """Uphill only steps are accepted that the rounding hides."""
    start = torch.full((1, 3), 5.0, dtype=dtype)
    minima = palm(Uphill.apply, [start], [None], maxiter=10**6)
    assert minima.niter <= 30
    assert torch.equal(minima.blocks[0], start)
    assert not minima.converged.any()


def test_stationary_start():
    minima = palm(lambda x: (x**2).sum(1), [torch.zeros(2, 3).double()], [None])
    assert minima.converged.all()
    assert minima.niter == 1
    assert minima.constants[0].tolist() == [1.0, 1.0]


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("inertia", [0.0, 0.5, 1.0])
def test_objective_is_monotone(inertia, dtype):
    """A nonconvex problem in a batch: neither the best run nor any other goes up."""
    G = make_generator("mlp" if dtype == "float64" else "conv")
    X, Z = G.range, G.domain
    target = normal(4, *X.shape, seed=3, dtype=getattr(torch, dtype))
    squared = batch_value(20.0 * f.L2NormSquared(X))
    minima = palm(
        lambda z, u, target: squared(torch.sin(G.batch(z) + u) - target),
        [normal(4, 3).to(target), torch.zeros_like(target)],
        [0.1 * gaussian(Z), f.L1Norm(X)],
        parameters=[target],
        inertia=inertia,
        maxiter=80,
    )
    trace = torch.stack(minima.trace)
    assert (trace[1:] <= trace[:-1]).all()
    assert (trace[-1] < 0.9 * trace[0]).all()
    z, u = minima.blocks
    whole = squared(torch.sin(G.batch(z) + u) - target)
    whole = whole + batch_value(0.1 * gaussian(Z))(z) + batch_value(f.L1Norm(X))(u)
    torch.testing.assert_close(minima.values, whole)


def test_inertia_is_faster():
    """Two blocks that hold each other: the condition is 400."""

    def chain(x, y):
        ends = (x - 1) ** 2 + (y - 1) ** 2
        return ((x - y) ** 2 + 1e-2 * ends).sum(1)

    starts = [torch.zeros(1, 1).double(), torch.zeros(1, 1).double()]
    gaps = [
        palm(chain, starts, [None, None], inertia=inertia, maxiter=100).values.item()
        for inertia in (1.0, 0.0)
    ]
    assert gaps[0] < 1e-3 * gaps[1]


# --- Bad values --- #


@pytest.mark.parametrize("bad", [math.nan, math.inf, -math.inf])
def test_trials_that_are_no_number_are_rejected(bad):
    """``x - log x``, and nonsense where x is not positive."""

    def barrier(x):
        value = x - x.clamp_min(1e-300).log()
        return torch.where(x > 0, value, bad).sum(1)

    starts = [torch.tensor([[1e-3], [50.0]]).double()]
    minima = palm(barrier, starts, [None], constant=1e-3, tol=1e-8)
    assert minima.blocks[0].ravel().tolist() == pytest.approx([1.0, 1.0], abs=1e-5)
    assert never_increases(minima.history)


def test_bad_starts_spoil_no_other_run():
    """A start outside of the domain, and one without a gradient."""

    def root(x):
        return (x.sqrt() + 1 / (x.sqrt() + 1e-3)).sum(1)

    starts = [torch.tensor([[-1.0], [4.0], [0.0]]).double()]
    minima = palm(root, starts, [None], tol=1e-9)
    assert minima.blocks[0][1].item() == pytest.approx((1 - 1e-3) ** 2)
    assert minima.converged.tolist() == [False, True, False]
    assert minima.best == 1
    assert minima.blocks[0][[0, 2]].ravel().tolist() == [-1.0, 0.0]
    assert minima.values[0].isnan()


@pytest.mark.parametrize("inertia", [0.0, 1.0])
@pytest.mark.parametrize("offset", [0.0, 1e3])
def test_float32_ends_at_rounding(offset, inertia):
    """A tolerance out of reach: the run ends, unconverged and near the minimum."""
    M, y = normal(12, 6).float(), normal(12, seed=1).float()
    solution = torch.linalg.lstsq(M, y[:, None]).solution[:, 0]
    smooth = Counts(
        lambda u, v: ((torch.cat([u, v], 1) @ M.T - y) ** 2).sum(1) + offset
    )
    starts = [torch.zeros(2, 3), torch.zeros(2, 3)]
    minima = palm(
        smooth, starts, [None, None], tol=1e-30, maxiter=10**6, inertia=inertia
    )
    assert not minima.converged.any()
    assert minima.niter < 1000
    error = (torch.cat(minima.blocks, 1) - solution).norm(dim=1)
    assert error.max() <= (1e-3 if offset == 0 else 0.1) * solution.norm()


# --- Batches --- #


def coupled(x, z, target):
    return ((x - z.sin()) ** 2 + 0.1 * (x - target) ** 4 + 0.1 * z**2).sum(1)


def test_rows_of_a_batch_are_those_of_single_runs():
    target, starts = normal(4, 3, seed=1), [normal(4, 3, seed=2), normal(4, 3, seed=3)]
    functionals = [0.05 * f.L1Norm(odl.rn(3)), None]
    options = {"tol": 1e-5, "maxiter": 100}
    together = palm(coupled, starts, functionals, parameters=[target], **options)
    lengths = set()
    for b in range(4):
        rows = slice(b, b + 1)
        alone = palm(
            coupled,
            [start[rows] for start in starts],
            functionals,
            parameters=[target[rows]],
            **options,
        )
        lengths.add(alone.niter)
        assert alone.converged.item() == together.converged[b].item()
        for name in ("blocks", "constants"):
            pairs = zip(getattr(together, name), getattr(alone, name), strict=True)
            for whole, single in pairs:
                torch.testing.assert_close(whole[rows], single)
        torch.testing.assert_close(together.values[rows], alone.values)
        for step, values in enumerate(alone.trace):
            torch.testing.assert_close(together.trace[step][rows], values)
    assert len(lengths) > 1
    assert together.niter == max(lengths)


def test_runs_that_are_done_leave_the_batch():
    smooth = Counts(coupled)
    target = normal(2, 3, seed=1)
    starts = [torch.zeros(2, 3).double(), torch.zeros(2, 3).double()]
    target[0] = 0  # the first start is stationary
    minima = palm(smooth, starts, [None, None], parameters=[target])
    assert minima.converged.all()
    assert smooth.sizes[0] == 2
    assert smooth.sizes[-1] == 1
    assert smooth.sizes.count(2) < 12


# --- Callback and interrupt --- #


def test_callback_once_an_iteration():
    seen = []
    target = normal(2, 3, seed=1)
    minima = palm(
        coupled,
        [normal(2, 3), normal(2, 3)],
        [None, None],
        parameters=[target],
        maxiter=7,
        tol=1e-12,
        callback=lambda blocks, values: seen.append((blocks, values)),
    )
    assert minima.niter == len(seen) == 7
    assert not minima.interrupted
    for blocks, values in seen:
        torch.testing.assert_close(coupled(*blocks, target), values)
    assert minima.history[1:] == [float(values.min()) for _, values in seen]


@pytest.mark.parametrize("in_callback", [True, False])
def test_interrupt_returns_the_best_so_far(in_callback):
    """Also in the middle of an iteration, after one of two blocks has moved."""
    target, calls = normal(2, 3, seed=1), []

    def interrupt(limit):
        calls.append(None)
        if len(calls) == limit:
            raise KeyboardInterrupt

    def smooth(*arguments):
        if not in_callback:
            interrupt(30)
        return coupled(*arguments)

    starts = [normal(2, 3), normal(2, 3)]
    minima = palm(
        smooth,
        starts,
        [None, None],
        parameters=[target],
        tol=1e-12,
        callback=lambda *_: interrupt(4) if in_callback else None,
    )
    assert minima.interrupted
    assert minima.niter == 4 or not in_callback
    assert minima.niter >= 3
    assert not minima.converged.any()
    assert minima.history[-1] < minima.history[0]
    torch.testing.assert_close(coupled(*minima.blocks, target), minima.values)
    assert torch.equal(minima.values, minima.trace[-1])


def test_inputs_are_left_alone():
    starts = [normal(2, 3).requires_grad_(), normal(2, 3, seed=1)]
    parameter = normal(2, 3, seed=2)
    before = [tensor.detach().clone() for tensor in (*starts, parameter)]
    for maxiter in (0, 20):
        minima = palm(
            coupled, starts, [None, None], parameters=[parameter], maxiter=maxiter
        )
        for tensor, copy in zip((*starts, parameter), before, strict=True):
            assert torch.equal(tensor, copy)
        assert starts[0].requires_grad
        assert starts[0].grad is None
        assert not any(block.requires_grad for block in minima.blocks)
        for block in minima.blocks:
            block.zero_()
        assert torch.equal(starts[1], before[1])


# --- Errors --- #


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"functionals": [None]}, r"`functionals` must have one entry .*got 1 for 2"),
        ({"starts": [], "functionals": []}, r"`functionals` must .* got 0 for 0"),
        ({"functionals": [f.L1Norm(odl.rn(4)), None]}, r"`starts` must .*\(2, 3\)"),
        ({"parameters": [torch.zeros(3, 3)]}, r"as many rows .*got \[2, 3\]"),
        ({"inertia": 1.5}, r"`inertia` must be in \[0, 1\], got 1.5"),
        ({"constant": 0.0}, r"`constant` must be positive"),
        ({"decrease": 1.1}, r"`decrease` at most 1"),
        ({"increase": 1.0}, r"`increase` above 1"),
        (
            {"smooth": lambda x, z, t: (x + z).sum()},
            r"`smooth` must .*\(2,\), got \(\)",
        ),
        ({"smooth": lambda x, z, t: x + z}, r"`smooth` must .*got \(2, 3\)"),
    ],
)
def test_errors(changes, message):
    arguments = {
        "smooth": coupled,
        "starts": [normal(2, 3), normal(2, 3)],
        "functionals": [None, None],
        "parameters": [normal(2, 3)],
    }
    with pytest.raises(ValueError, match=message):
        palm(**(arguments | changes))


def test_minima_of_blocks():
    values = torch.tensor([math.nan, 2.0, 1.0])
    minima = BlockMinima([], values, [], values > 0, [values + 3, values])
    assert (minima.best, minima.niter, minima.interrupted) == (2, 1, False)
    assert minima.history == [4.0, 1.0]
