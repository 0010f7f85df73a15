# SPDX-License-Identifier: MPL-2.0
"""ODL's L-BFGS with a line search by Wolfe's conditions and a scaled H0."""

import numpy as np
import odl
import pytest
import torch
from odl import functionals as f

from generators import (
    LATENTS,
    array,
    image_space,
    latent_space,
    random_element,
)
from odl_genreg.solvers import (
    BacktrackingLineSearch,
    InitialScaling,
    WolfeLineSearch,
)
from odl_genreg.solvers.wolfe_line_search import AcceptedStep
from odl_genreg.torch_bridge import as_element, as_tensor, weight
from vae_problems import torch_lbfgs, vae_problem


class Counted(f.functional.Functional):
    """Counts values and gradients."""

    def __init__(self, functional):
        super().__init__(functional.domain)
        self.functional, self.values, self.gradients = functional, 0, 0

    def _call(self, x):
        self.values += 1
        return self.functional(x)

    @property
    def gradient(self):
        counted, gradient = self, self.functional.gradient

        class Gradient(odl.Operator):
            def __init__(self):
                super().__init__(counted.domain, counted.domain)

            def _call(self, x):
                counted.gradients += 1
                return gradient(x)

        return Gradient()


class Smooth(f.functional.Functional):
    """Functional given by a torch function of the entries, of each factor."""

    def __init__(self, space, function):
        super().__init__(space)
        self.function = function

    def tensors(self, x):
        parts = x if isinstance(self.domain, odl.ProductSpace) else [x]
        return [as_tensor(part) for part in parts]

    def _call(self, x):
        return float(self.function(*self.tensors(x)))

    @property
    def gradient(self):
        functional = self

        class Gradient(odl.Operator):
            def __init__(self):
                super().__init__(functional.domain, functional.domain)

            def _call(self, x):
                leaves = [t.clone().requires_grad_() for t in functional.tensors(x)]
                rows = torch.autograd.grad(functional.function(*leaves), leaves)
                X = self.domain
                if not isinstance(X, odl.ProductSpace):
                    return as_element(X, rows[0] / weight(X))
                pairs = zip(X, rows, strict=True)
                return X.element([as_element(s, g / weight(s)) for s, g in pairs])

        return Gradient()


def rosenbrock():
    def value(x):
        return (100 * (x[1:] - x[:-1] ** 2) ** 2 + (1 - x[:-1]) ** 2).sum()

    return Smooth(odl.rn(4), value)


def least_squares(impl="numpy", dtype="float64", scale=1.0):
    """``|A x' - y|^2 + |x' - B z|^2 + |z|^2``, ``x' = scale x``, and its minimizer."""
    X, Z = image_space(impl, dtype), latent_space(impl, dtype)
    source = torch.Generator().manual_seed(0)

    def normal(*shape):
        tensor = torch.randn(shape, generator=source, dtype=torch.float64)
        return tensor.to(as_tensor(X.zero()).dtype)

    A, B, y = normal(40, X.size), normal(X.size, LATENTS), normal(40)
    A /= 8

    def value(x, z):
        x = scale * x.flatten()
        return ((A @ x - y) ** 2).sum() + ((x - B @ z) ** 2).sum() + (z**2).sum()

    rows = [
        torch.cat([scale * A, torch.zeros(40, LATENTS)], 1),
        torch.cat([scale * torch.eye(X.size), -B], 1),
        torch.cat([torch.zeros(LATENTS, X.size), torch.eye(LATENTS)], 1),
    ]
    target = torch.cat([y, torch.zeros(X.size + LATENTS)])
    solution = np.linalg.lstsq(torch.cat(rows).numpy(), target.numpy(), rcond=None)[0]
    return Smooth(odl.ProductSpace(X, Z), value), solution


def run(J, x, *, own=0, num_store=5, maxiter=100, callback=None):
    search = WolfeLineSearch(J)
    H0 = InitialScaling(search, num_store=own)
    odl.solvers.bfgs_method(
        J,
        x,
        line_search=search,
        hessinv_estimate=H0,
        num_store=num_store,
        maxiter=maxiter,
        callback=callback,
    )
    return search


def entries(v):
    return np.concatenate([array(part) for part in v])


# --- Known minimizers --- #


@pytest.mark.parametrize(
    ("own", "num_store", "scale", "maxiter"),
    [
        (0, 3, 0.1, 120),
        (0, 3, 10.0, 120),
        (0, 5, 1.0, 80),
        (0, None, 1.0, 60),
        (10, 1, 0.1, 80),
        (10, 1, 1.0, 80),
        (10, 1, 10.0, 80),
    ],
)
def test_least_squares_on_a_badly_scaled_product(own, num_store, scale, maxiter):
    J, solution = least_squares(scale=scale)
    v = J.domain.zero()
    run(J, v, own=own, num_store=num_store, maxiter=maxiter)
    assert np.linalg.norm(entries(v) - solution) <= 1e-4 * np.linalg.norm(solution)


@pytest.mark.parametrize("scale", [0.1, 10.0])
def test_identity_as_h0_is_behind(scale):
    J, solution = least_squares(scale=scale)
    least = J(as_point(J.domain, solution))
    scaled, plain = J.domain.zero(), J.domain.zero()
    run(J, scaled, maxiter=50)
    search = WolfeLineSearch(J)
    odl.solvers.bfgs_method(J, plain, line_search=search, num_store=5, maxiter=50)
    assert J(scaled) - least <= 0.1 * (J(plain) - least)


def as_point(P, vector):
    parts = np.split(vector, [P[0].size])
    return P.element([part.reshape(X.shape) for X, part in zip(P, parts, strict=True)])


@pytest.mark.parametrize("impl", ["numpy", "pytorch"])
@pytest.mark.parametrize("own", [0, 5])
def test_float32(impl, own):
    J, solution = least_squares(impl, "float32")
    v = J.domain.zero()
    run(J, v, own=own, num_store=3, maxiter=60)
    assert np.linalg.norm(entries(v) - solution) <= 1e-2 * np.linalg.norm(solution)


@pytest.mark.parametrize("own", [0, 10])
def test_rosenbrock(own):
    J = rosenbrock()
    x = J.domain.element([-1.2, 1.0, -1.2, 1.0])
    values = [J(x)]
    run(J, x, own=own, callback=lambda x: values.append(J(x)))
    assert as_tensor(x).tolist() == pytest.approx([1.0] * 4, abs=1e-5)
    assert all(np.diff(values) < 0)


# --- H0 --- #


def a_step(space, s, y):
    """An accepted step with a given pair."""
    zero = space.zero()
    return AcceptedStep(0.5, 2 * space.element(s), zero, zero + space.element(y))


def test_one_space_has_the_usual_factor():
    """``<s, y> / <y, y>`` of the last pair."""
    X, Z = image_space(), latent_space()
    for space in (X, Z):
        search = WolfeLineSearch(f.L2NormSquared(space))
        H0, q = InitialScaling(search), random_element(space, 5)
        assert array(H0(q)) == pytest.approx(weight(space) * array(q))
        for seed in range(3):
            s = random_element(space, seed)
            y = s + 0.1 * random_element(space, seed + 10)
            search.accepted = a_step(space, s, y)
            gamma = float(s.inner(y) / y.inner(y))
            assert array(H0(q)) == pytest.approx(gamma * array(q))


def test_blocks_are_scaled_by_the_diagonal_of_a_bfgs_update():
    """Against dense matrices in plain sums."""
    P = odl.ProductSpace(image_space(), latent_space())
    sizes, w = [63, 3], [0.06, 2.0]
    plain = np.repeat(w, sizes)
    search = WolfeLineSearch(f.L2NormSquared(P))
    H0, gammas = InitialScaling(search), np.ones(66)
    for seed in range(3):
        s = random_element(P, seed)
        y = P.element([3 * s[0], 50 * s[1]]) + random_element(P, seed + 10)
        search.accepted = a_step(P, s, y)
        a, b = entries(s), plain * entries(y)
        gammas *= (a @ b) / (b @ (gammas * b))
        B = np.diag(1 / gammas)
        B = B - np.outer(B @ a, B @ a) / (a @ B @ a) + np.outer(b, b) / (a @ b)
        means = [part.mean() for part in np.split(np.diag(B), [63])]
        gammas = 1 / np.repeat(means, sizes)
        q = random_element(P, 7)
        assert entries(H0(q)) == pytest.approx(gammas * plain * entries(q))


def taken_steps(J, v, own, number=6):
    """Return H0 after some iterations, with the pair of the last."""
    search = WolfeLineSearch(J)
    H0 = InitialScaling(search, num_store=own)
    odl.solvers.bfgs_method(
        J,
        v,
        line_search=search,
        hessinv_estimate=H0,
        num_store=1,
        maxiter=number,
    )
    step = search.accepted
    return H0, step.size * step.direction, step.after - step.before


@pytest.mark.parametrize("own", [1, 3, 10])
def test_pairs_of_its_own(own):
    """Symmetric, positive, and ``H0 y = s`` for the newest pair."""
    J, _ = least_squares()
    H0, s, y = taken_steps(J, J.domain.zero(), own)
    assert entries(H0(y)) == pytest.approx(entries(s), rel=1e-8, abs=1e-10)
    a, b = random_element(J.domain, 1), random_element(J.domain, 5)
    assert H0(a).inner(b) == pytest.approx(a.inner(H0(b)))
    assert H0.adjoint is H0
    assert H0(a).inner(a) > 0


def test_pairs_here_or_in_the_solver():
    """The same iterates, with m pairs here and one in ODL, or m in ODL."""
    for J, x in (
        (least_squares()[0], least_squares()[0].domain.zero()),
        (rosenbrock(), odl.rn(4).element([-1.2, 1.0, 0.5, 2.0])),
    ):
        here, there = x.copy(), x.copy()
        run(J, here, own=4, num_store=1, maxiter=8)
        run(J, there, own=0, num_store=4, maxiter=8)
        assert (here - there).norm() <= 1e-8 * there.norm()


def test_product_of_products():
    """The same iterates on ``(X x Z) x Z`` as on ``X x Z x Z``."""
    J, _ = least_squares()
    X, Z = J.domain
    flat, nested = odl.ProductSpace(X, Z, Z), odl.ProductSpace(J.domain, Z)

    def value(x, z, u):
        return J.function(x, z) + ((u - z) ** 2).sum() + (u**4).sum()

    class Nested(f.functional.Functional):
        def _call(self, v):
            return functional(flat.element([*v[0], v[1]]))

        @property
        def gradient(self):
            class Gradient(odl.Operator):
                def _call(self, v):
                    x, z, u = functional.gradient(flat.element([*v[0], v[1]]))
                    return nested.element([[x, z], u])

            return Gradient(nested, nested)

    functional = Smooth(flat, value)
    v, w = flat.one(), nested.one()
    run(functional, v, own=5, num_store=1, maxiter=10)
    run(Nested(nested), w, own=5, num_store=1, maxiter=10)
    for a, b in zip(v, [*w[0], w[1]], strict=True):
        assert array(a) == pytest.approx(array(b))


def test_which_pairs_are_kept():
    X = odl.uniform_discr(0, 1, 2)
    search = WolfeLineSearch(f.L2NormSquared(X))
    H0, q = InitialScaling(search, num_store=1), X.one()

    def result(step):
        search.accepted = step
        return H0(q).asarray().tolist()

    assert result(None) == [0.5, 0.5]  # the weight of X
    learned = result(a_step(X, [1, 2], [2, 4]))
    assert learned == pytest.approx([0.5, 0.5])
    assert result(a_step(X, [1, 2], [-2, -4])) == learned  # negative curvature
    assert result(a_step(X, [1, 2], [2, -1])) == learned  # none
    assert result(a_step(X, [0, 0], [0, 0])) == learned
    assert result(a_step(X, [1, 2], [np.nan, 1])) == learned
    assert result(a_step(X, [1, 2], [np.inf, 1])) == learned
    assert result(a_step(X, [0, 1], [0, 4])) == pytest.approx([0.25, 0.25])
    assert result(a_step(X, [1, 1], [1, 3])) != pytest.approx([0.4, 0.4])
    assert result(None) == pytest.approx([0.4, 0.4])  # forgets the pairs, not gamma


def test_applying_it_twice_learns_once():
    X = odl.rn(2)
    search = WolfeLineSearch(f.L2NormSquared(X))
    H0 = InitialScaling(search, num_store=2)
    search.accepted = a_step(X, [1, 0], [2, 0])
    assert H0(X.one()) == H0(X.one())
    search.accepted = a_step(X, [0, 1], [0, 4])
    H0(X.one())
    assert H0(X.one()).asarray() == pytest.approx([0.5, 0.25])


def test_argument_is_left_alone():
    J, _ = least_squares()
    H0, _, y = taken_steps(J, J.domain.zero(), own=3)
    copy = y.copy()
    H0(y)
    assert y == copy


def test_errors_of_h0():
    X = odl.rn(2)
    with pytest.raises(TypeError, match=r"`line_search` must be a `WolfeLineSearch`"):
        InitialScaling(BacktrackingLineSearch(f.L2NormSquared(X)))
    with pytest.raises(ValueError, match=r"`num_store` must be nonnegative, got -1"):
        InitialScaling(WolfeLineSearch(f.L2NormSquared(X)), num_store=-1)
    weighted = odl.ProductSpace(X, 2, weighting=[1.0, 2.0])
    with pytest.raises(ValueError, match="a product with a constant weighting, got"):
        InitialScaling(WolfeLineSearch(f.L2NormSquared(weighted)))
    uneven = odl.rn(2, weighting=[1.0, 2.0])
    with pytest.raises(ValueError, match="must have a constant weighting"):
        InitialScaling(WolfeLineSearch(f.L2NormSquared(uneven)))


# --- The line search --- #


class Recorded(WolfeLineSearch):
    """Remembers the arguments and steps of all searches."""

    def __init__(self, function, **options):
        super().__init__(function, **options)
        self.calls = []

    def __call__(self, x, direction, dir_derivative):
        step = super().__call__(x, direction, dir_derivative)
        self.calls.append((x.copy(), direction.copy(), dir_derivative, step))
        return step


@pytest.mark.parametrize("curvature", [0.9, 0.1])
def test_every_step_fulfils_wolfes_conditions(curvature):
    J = rosenbrock()
    search = Recorded(J, curvature=curvature)
    x = J.domain.element([-1.2, 1.0, 0.5, 2.0])
    odl.solvers.bfgs_method(
        J,
        x,
        line_search=search,
        hessinv_estimate=InitialScaling(search),
        num_store=5,
        maxiter=30,
    )
    assert len(search.calls) >= 20
    for x, direction, slope, step in search.calls:
        end = x + step * direction
        there = J.gradient(end).inner(direction)
        assert J(end) <= J(x) + 1e-4 * step * slope
        assert there >= curvature * slope
        assert step * (there - slope) > 0


def test_one_value_and_one_gradient_for_each_step():
    """Beside the gradients that the solver asks for at the same points."""
    J = Counted(least_squares()[0])
    v, steps = J.domain.zero(), []
    run(J, v, maxiter=12, callback=steps.append)
    assert len(steps) == 12
    assert J.values <= 1 + 12 + 4
    assert J.gradients <= 2 * (1 + 12) + 4


@pytest.mark.parametrize("offset", [0.0, 1e3])
@pytest.mark.parametrize("own", [0, 10])
def test_float32_run_ends_without_evaluations(offset, own):
    J = least_squares(dtype="float32")[0]
    J = Counted(J + f.ConstantFunctional(J.domain, offset))
    v = J.domain.zero()
    search = run(J, v, own=own, num_store=1 if own else 5, maxiter=200)
    assert search.stalled
    count, value = J.values, J(v)
    assert count <= 150
    run_on = [search(v, -J.gradient(v), -1.0) for _ in range(3)]
    assert run_on == [0.0] * 3
    assert J.values == count + 1
    assert value <= J.functional(J.domain.zero())


@pytest.mark.parametrize("slope", [0.0, 1.0])
def test_directions_that_do_not_descend(slope):
    J = Counted(f.L2NormSquared(odl.rn(2)))
    x, search = J.domain.one(), WolfeLineSearch(J)
    assert search(x, -2 * x, -8.0) > 0
    count = J.values
    assert search(x, x, slope) == 0.0
    assert J.values == count
    assert search.accepted is None
    assert not search.stalled
    assert search(x, -2 * x, -8.0) > 0
    assert search.accepted is not None


@pytest.mark.parametrize("slope", [float("nan"), float("inf"), -float("inf")])
def test_slope_that_is_no_number(slope):
    J = Counted(f.L2NormSquared(odl.rn(2)))
    search = WolfeLineSearch(J)
    assert search(J.domain.one(), J.domain.one(), slope) == 0.0
    assert J.values == J.gradients == 0
    assert search.stalled


@pytest.mark.parametrize("bad", [np.inf, np.nan])
def test_search_steps_back_into_the_domain(bad):
    def value(x):
        return (x - x.log()).sum() if bool((x > 0).all()) else x.sum() * 0 + bad

    J = Smooth(odl.rn(1), value)
    x, d = J.domain.element([3.0]), J.domain.element([-50.0])
    step = WolfeLineSearch(J)(x, d, -50 * 2 / 3)
    assert 0 < step < 3 / 50
    assert J(x + step * d) < J(x)


def test_gradient_that_is_no_number_is_a_step_too_long():
    class Partial(f.functional.Functional):
        def _call(self, x):
            return float(x[0] ** 2)

        @property
        def gradient(self):
            X = self.domain

            class Gradient(odl.Operator):
                def _call(self, x):
                    return 2 * x if x[0] > 0.4 else np.nan * x

            return Gradient(X, X)

    J = Partial(odl.rn(1))
    x = J.domain.one()
    search = WolfeLineSearch(J)
    search._is_first = False  # the first trial is 1
    step = search(x, -0.9 * x, -1.8)
    assert 0 < step < 0.6 / 0.9
    assert np.isfinite(float(search.accepted.after[0]))


def test_start_that_is_no_number():
    J = Smooth(odl.rn(1), lambda x: x.sum() * np.nan)
    x = J.domain.one()
    search = WolfeLineSearch(J)
    assert search(x, -1 * x, -1.0) == 0.0
    run(J, x, maxiter=5)  # ODL goes on with NaN; nothing is raised


def test_short_steps_are_lengthened():
    J = f.L2NormSquared(odl.rn(1))
    x, d = J.domain.element([1024.0]), J.domain.element([-1.0])
    search = WolfeLineSearch(J, curvature=0.1)
    search._is_first = False  # the first trial is 1
    step = search(x, d, -2048.0)
    assert 0.9 * 1024 <= step <= 2048


def test_no_curvature_anywhere():
    """``f(x) = -x``: the longest trial, and nothing to learn from it."""
    J = Counted(Smooth(odl.rn(1), lambda x: -x.sum()))
    x = J.domain.zero()
    search = WolfeLineSearch(J, max_num_iter=5)
    step = search(x, J.domain.one(), -1.0)
    assert 1 < step <= 1e4
    assert search.accepted is None
    assert J.values <= 6


def test_search_leaves_its_arguments_alone():
    J = rosenbrock()
    x = J.domain.element([-1.2, 1.0, 0.5, 2.0])
    direction = -J.gradient(x)
    copies = x.copy(), direction.copy()
    search = WolfeLineSearch(J)
    search(x, direction, -(direction.norm() ** 2))
    assert (x, direction) == copies
    direction *= 0  # as ODL's solvers do
    assert search.accepted.direction == copies[1]


@pytest.mark.parametrize("options", [{"curvature": 1e-5}, {"curvature": 1.0}])
def test_errors_of_the_search(options):
    J = f.L2NormSquared(odl.rn(1))
    with pytest.raises(ValueError, match=r"`curvature` must be between `discount` ="):
        WolfeLineSearch(J, **options)
    with pytest.raises(ValueError, match="`discount` must be between 0 and 1, got 1"):
        WolfeLineSearch(J, discount=1)
    with pytest.raises(NotImplementedError):
        WolfeLineSearch(f.IndicatorBox(odl.rn(1), 0, 1))


# --- The shipped generator --- #


@pytest.mark.parametrize(("own", "num_store"), [(0, 5), (10, 1)])
@pytest.mark.parametrize("view", ["Z", "X x Z"])
def test_as_good_as_torch(view, own, num_store):
    p = vae_problem("soft", seed=0)
    J, start = p.R.latent_objective(p.D, p.lam), p.z
    if view == "X x Z":
        P = odl.ProductSpace(p.R.domain, J.domain)
        J = p.D @ odl.ComponentProjection(P, 0) + p.lam * p.R.joint
        start = P.element([p.R.generator(start), start])
    J, x = Counted(J), start.copy()
    steps = []
    run(J, x, own=own, num_store=num_store, maxiter=100, callback=steps.append)
    assert J.values <= 1.3 * len(steps) + 20
    assert J(x) <= 1.002 * torch_lbfgs(J.functional, start, niter=100)
