# SPDX-License-Identifier: MPL-2.0
"""reconstruct: the same for the same seed, bounds, other terms, counts, results."""

import functools

import numpy as np
import odl
import pytest
import torch
from matplotlib import pyplot
from odl import functionals as f
from scipy.optimize import lsq_linear
from scipy.optimize import minimize as scipy_minimize

import odl_genreg as ogr
from generators import (
    Counted,
    DenseOperator,
    array,
    data_space,
    forward_operator,
    image_space,
    latent_space,
    linear_parts,
    make_generator,
    mlp_network,
    random_element,
)
from odl_genreg import (
    image_elimination,
    latent_objective,
    solver_choice,
    strategies,
)
from odl_genreg.latent_prior import box
from odl_genreg.solution import Solution
from odl_genreg.torch_bridge import as_tensor, weight

LAM, MU, NOISE = 3.0, 0.2, 0.3


def problem(name="mlp", impl="numpy", size=10):
    """Data of an image near the range, with noise; the fidelity and the generator."""
    G = make_generator(name, impl)
    A = forward_operator(G.range, size)
    x = G(random_element(G.domain, 4)) + random_element(G.range, 5, 0.1)
    y = A(x) + random_element(A.range, 6, NOISE)
    return ogr.squared_l2(A, y, NOISE), G


def tv_term(X, beta=0.5):
    grad = odl.Gradient(X, pad_mode="symmetric")
    return (beta * f.GroupL1Norm(grad.range), grad)


def same(first, second):
    return (
        first.x == second.x
        and first.z == second.z
        and first.objective == second.objective
        and first.restarts == second.restarts
        and first.history == second.history
    )


CASES = {
    "range": lambda G: (ogr.range_constraint(G), {}),
    "soft": lambda G: (ogr.soft_constraint(G, MU), {}),
    "sparse": lambda G: (ogr.sparse_deviation(G, MU), {}),
    "tv deviation": lambda G: (ogr.tv_deviation(G, MU), {}),
    "huber": lambda G: (
        ogr.GenerativeRegularizer(G, f.Huber(G.range, 0.1), mu=MU),
        {},
    ),
    "soft + TV": lambda G: (
        ogr.soft_constraint(G, MU),
        {"other_terms": [tv_term(G.range)]},
    ),
    "soft in bounds": lambda G: (ogr.soft_constraint(G, MU), {"bounds": (-0.5, 0.5)}),
    "range with a box": lambda G: (
        ogr.range_constraint(G, latent_prior=box(G.domain)),
        {},
    ),
    "soft with a box": lambda G: (
        ogr.soft_constraint(G, MU, latent_prior=box(G.domain)),
        {},
    ),
}
each_case = pytest.mark.parametrize("case", list(CASES))


# --- The same result --- #


@each_case
def test_seed_decides_everything(case, global_state_untouched):
    D, G = problem()
    R, options = CASES[case](G)
    run = functools.partial(
        ogr.reconstruct, D, R, lam=LAM, restarts=3, maxiter=30, **options
    )
    data = D.data.copy()
    fresh, options = CASES[case](problem()[1])
    with global_state_untouched():
        first = run()
        other, rest = CASES["soft" if case != "soft" else "range"](G)
        ogr.reconstruct(D, other, lam=2 * LAM, maxiter=5, seed=7, **rest)
        R(first.x)
        second = run()
        third = ogr.reconstruct(D, fresh, lam=LAM, restarts=3, maxiter=30, **options)
    assert same(first, second)
    assert same(first, third)
    assert D.data == data
    assert all(p.grad is None for p in G.module.parameters())


def test_another_seed_starts_elsewhere():
    D, G = problem()
    R = ogr.range_constraint(G)
    first, second = (ogr.reconstruct(D, R, lam=0.01, seed=s, maxiter=3) for s in (0, 1))
    assert first.restarts[0] == second.restarts[0]  # from z = 0
    assert first.restarts[1:] != second.restarts[1:]


# --- The result --- #


@pytest.mark.parametrize(
    ("case", "name", "impl"),
    [(case, "mlp", "pytorch") for case in CASES]
    + [(case, "conv", "numpy") for case in ("range", "soft", "soft with a box")],
)
def test_parts_of_the_result_fit_together(case, name, impl):
    D, G = problem(name, impl)
    R, options = CASES[case](G)
    result = ogr.reconstruct(D, R, lam=LAM, restarts=3, maxiter=200, **options)
    exact = 1e-3 if name == "conv" else 1e-8
    assert result.x in G.range
    assert result.z in G.domain
    assert (result.x - G(result.z) - result.deviation).norm() <= exact
    assert result.distance_to_range == pytest.approx(result.deviation.norm())
    residual = ((D.operator.matrix @ array(result.x) - array(D.data)) ** 2).sum()
    assert result.residual == pytest.approx(residual, rel=1e-3)
    assert result.expected_residual == pytest.approx(10 * NOISE**2)
    assert len(result.restarts) == 3
    assert result.weights == {"lam": LAM, "mu": R.mu}
    assert result.seconds > 0
    expected = D(result.x) + LAM * R.mu * R.latent_prior(result.z)
    if case.startswith("range"):
        assert result.distance_to_range <= exact
    else:
        expected += LAM * R.deviation(result.deviation)
    for g, L in options.get("other_terms", ()):
        expected += g(L(result.x))
    assert result.objective == pytest.approx(expected, rel=max(exact, 1e-6))
    rises = np.diff(result.history) > exact * result.objective
    assert not rises.any()
    assert result.history[-1] == pytest.approx(result.objective, rel=1e-5)


@each_case
def test_objective_is_not_beaten_nearby(case):
    """By none of many pairs ``(x, z)`` about it."""
    D, G = problem()
    R, options = CASES[case](G)
    result = ogr.reconstruct(D, R, lam=LAM, **options)
    assert "converged" in result.stop_reason

    def objective(x, z):
        if case.startswith("range"):
            x = G(z)
            value = D(x)
        else:
            value = D(x) + LAM * R.deviation(x - G(z))
        for g, L in options.get("other_terms", ()):
            value += g(L(x))
        if "bounds" in options:
            value += f.IndicatorBox(G.range, *options["bounds"])(x)
        return value + LAM * R.mu * R.latent_prior(z)

    for seed in range(8):
        for scale in (1e-3, 1e-2, 1e-1):
            h, k = random_element(G.range, seed), random_element(G.domain, seed + 50)
            x, z = result.x + scale * h, result.z + scale * k
            for pair in ((x, z), (x, result.z), (result.x, z)):
                assert result.objective <= objective(*pair) * (1 + 2e-3)


def test_objective_is_that_of_the_regularizer():
    """``D(x) + lam R(x)``, R by its own inner search."""
    D, G = problem()
    R = ogr.soft_constraint(G, MU, num_starts=8)
    result = ogr.reconstruct(D, R, lam=LAM)
    assert result.objective == pytest.approx(D(result.x) + LAM * R(result.x), rel=1e-5)


def test_restarts_help():
    D, G = problem()
    R = ogr.range_constraint(G)
    values = [
        ogr.reconstruct(D, R, lam=1e-3, restarts=n, tol=1e-8).objective for n in (1, 8)
    ]
    assert values[1] <= values[0] * (1 + 1e-9)
    assert ogr.reconstruct(D, R, lam=1e-3).objective == min(
        ogr.reconstruct(D, R, lam=1e-3).restarts
    )


# --- Callback, progress, stopping --- #


@pytest.mark.parametrize("case", ["range", "soft", "sparse", "soft + TV", "huber"])
def test_callback_gets_images(case):
    D, G = problem()
    R, options = CASES[case](G)
    store = odl.solvers.CallbackStore()
    result = ogr.reconstruct(D, R, lam=LAM, callback=store, maxiter=100, **options)
    assert len(store.results) > 0
    assert all(x in G.range for x in store.results)
    last = store.results[-1]
    assert (last - result.x).norm() <= 0.1 * result.x.norm()


def test_callback_may_change_its_image():
    D, G = problem()
    R = ogr.soft_constraint(G, MU)

    def spoil(x):
        x *= 0

    plain = ogr.reconstruct(D, R, lam=LAM)
    assert same(plain, ogr.reconstruct(D, R, lam=LAM, callback=spoil))


def test_progress(capsys):
    D, G = problem()
    R = ogr.soft_constraint(G, MU)
    ogr.reconstruct(D, R, lam=LAM)
    assert capsys.readouterr().err == ""
    ogr.reconstruct(D, R, lam=LAM, progress=True)
    assert "objective=" in capsys.readouterr().err


@pytest.mark.parametrize("case", ["range", "soft", "soft + TV"])
def test_maxiter(case):
    D, G = problem()
    R, options = CASES[case](G)
    result = ogr.reconstruct(D, R, lam=LAM, maxiter=2, **options)
    assert result.stop_reason == "at maxiter = 2 or by rounding"
    assert np.isfinite(result.objective)


# --- Terms and bounds --- #


def convex_reference(D, G, lam, beta, bounds, niter=400):
    """Soft + TV in bounds with a linear generator, by the `pdhg` of ODL in ``x``.

    ``R_G(x) = ||S (x - b)||_X^2``,  ``S^2 = I - B (B^T B + (mu w_Z / w) I)^{-1} B^T``
    """
    X, (B, b) = G.range, linear_parts(G)
    inverse = np.linalg.inv(B.T @ B + MU * weight(G.domain) / weight(X) * np.eye(3))
    values, vectors = np.linalg.eigh(np.eye(63) - B @ inverse @ B.T)
    S = vectors * np.sqrt(values.clip(0)) @ vectors.T
    root = DenseOperator(S, X, X)
    shift = X.element((S @ b).reshape(7, 9))
    g, grad = tv_term(X, beta)
    terms = D.on_data, lam * f.L2NormSquared(X).translated(shift), g
    L = odl.BroadcastOperator(D.operator, root, grad)
    constraint = f.ZeroFunctional(X) if bounds is None else f.IndicatorBox(X, *bounds)
    norm = np.sqrt(
        np.linalg.norm(D.operator.matrix, 2) ** 2 * 0.25 / weight(X)
        + 1
        + 4 / 0.2**2
        + 4 / 0.3**2
    )
    x, ratio = X.zero(), 0.05
    odl.solvers.pdhg(
        x,
        constraint,
        f.SeparableSum(*terms),
        L,
        niter=niter,
        tau=0.9 / norm * ratio,
        sigma=0.9 / norm / ratio,
    )
    return x, f.SeparableSum(*terms)(L(x))


@pytest.mark.parametrize("solver", ["auto", "primal_dual"])
@pytest.mark.parametrize("bounds", [None, (-0.4, 0.6)])
def test_soft_and_tv_against_pdhg(solver, bounds):
    D, G = problem("linear")
    beta = 2.0
    _, least = convex_reference(D, G, LAM, beta, bounds)
    result = ogr.reconstruct(
        D,
        ogr.soft_constraint(G, MU),
        lam=LAM,
        other_terms=[tv_term(G.range, beta)],
        bounds=bounds,
        solver=solver,
        maxiter=3000,
    )
    if bounds is not None:
        assert as_tensor(result.x).min() >= bounds[0]
        assert as_tensor(result.x).max() <= bounds[1]
    assert least * (1 - 1e-3) <= result.objective <= least * (1 + 1e-3)


def test_sparse_deviation_against_pdhg():
    """``D(x) + lam (||x - B z - b||_1 + mu ||z||_Z^2)`` is convex in ``(x, z)``."""
    D, G = problem("linear")
    X, Z, (B, b) = G.range, G.domain, linear_parts(G)
    P = odl.ProductSpace(X, Z)
    leave = odl.ReductionOperator(odl.IdentityOperator(X), DenseOperator(-B, Z, X))
    L = odl.BroadcastOperator(D.operator @ odl.ComponentProjection(P, 0), leave)
    offset = X.element(b.reshape(7, 9))
    g = f.SeparableSum(D.on_data, LAM * f.L1Norm(X).translated(offset))
    prior = f.SeparableSum(f.ZeroFunctional(X), LAM * MU * f.L2NormSquared(Z))
    v, step = P.zero(), 0.9 / L.norm(estimate=True, xstart=random_element(P))
    odl.solvers.pdhg(v, prior, g, L, niter=800, tau=0.1 * step, sigma=10 * step)
    least = g(L(v)) + prior(v)
    result = ogr.reconstruct(D, ogr.sparse_deviation(G, MU), lam=LAM, tol=1e-5)
    assert least * (1 - 1e-3) <= result.objective <= least * (1 + 1e-3)


def test_smooth_term_against_linear_algebra():
    """Soft + ``||x||_X^2``; L-BFGS in ``(x, z)``."""
    D, G = problem("linear")
    X, (B, b), w, w_Z = G.range, linear_parts(G), 0.06, 2.0
    A = D.operator.matrix
    hessian = np.block(
        [
            [A.T @ A / NOISE**2 + 2 * w * (LAM + 5) * np.eye(63), -2 * LAM * w * B],
            [-2 * LAM * w * B.T, 2 * LAM * (w * B.T @ B + MU * w_Z * np.eye(3))],
        ]
    )
    right = np.concatenate(
        [A.T @ array(D.data) / NOISE**2 + 2 * LAM * w * b, -2 * LAM * w * B.T @ b]
    )
    expected = np.linalg.solve(hessian, right)[:63]
    term = (5 * f.L2NormSquared(X), odl.IdentityOperator(X))
    result = ogr.reconstruct(
        D, ogr.soft_constraint(G, MU), lam=LAM, other_terms=[term], tol=1e-8
    )
    assert result.solver == "lbfgs in (x, z), operator applied one by one"
    assert array(result.x) == pytest.approx(expected, abs=1e-4)


@pytest.mark.parametrize(
    ("case", "solver"),
    [
        ("soft", "auto"),
        ("soft", "primal_dual"),
        ("sparse", "auto"),
        ("soft + TV", "auto"),
        ("soft + TV", "primal_dual"),
        ("huber", "auto"),
    ],
)
def test_bounds_are_kept(case, solver):
    D, G = problem()
    R, options = CASES[case](G)
    free = ogr.reconstruct(D, R, lam=LAM, **options).x
    bounds = (-0.3, 0.4)
    assert as_tensor(free).min() < -0.5
    result = ogr.reconstruct(D, R, lam=LAM, bounds=bounds, solver=solver, **options)
    x = as_tensor(result.x)
    assert bounds[0] <= x.min()
    assert x.max() <= bounds[1]
    assert x.max() == pytest.approx(bounds[1])


@pytest.mark.parametrize("bounds", [(0.0, np.inf), (-np.inf, 0.4)])
def test_half_bounds(bounds):
    D, G = problem()
    result = ogr.reconstruct(D, ogr.soft_constraint(G, MU), lam=LAM, bounds=bounds)
    x = as_tensor(result.x)
    assert bounds[0] <= x.min()
    assert x.max() <= bounds[1]


def test_box_prior_in_the_range_against_scipy():
    D, G = problem("linear", size=20)
    B, b = linear_parts(G)
    A = D.operator.matrix
    expected = lsq_linear(A @ B, array(D.data) - A @ b, (-0.5, 0.4), tol=1e-14)
    R = ogr.range_constraint(G, latent_prior=box(G.domain, -0.5, 0.4))
    result = ogr.reconstruct(D, R, lam=LAM, tol=1e-7)
    assert array(result.z) == pytest.approx(expected.x, abs=1e-4)
    assert result.objective == pytest.approx(expected.cost / NOISE**2)


# --- Without elimination --- #


def test_too_many_data_for_a_matrix(monkeypatch):
    D, G = problem(size=40)
    R = ogr.soft_constraint(G, MU)
    factored = ogr.reconstruct(D, R, lam=LAM)
    monkeypatch.setattr(image_elimination, "MAX_DENSE", 39)
    iterated = ogr.reconstruct(D, R, lam=LAM)
    assert factored.solver == iterated.solver
    assert factored.solver.startswith("gauss_newton in z")
    assert iterated.objective == pytest.approx(factored.objective, rel=1e-5)
    assert (iterated.x - factored.x).norm() <= 1e-3 * factored.x.norm()


def counting_problem(background=0.0):
    """Counts; the first ray misses everything, so nothing is expected there."""
    G = make_generator("linear")
    G.module.weight.abs_()
    G.module.bias.abs_().add_(0.5)
    matrix = np.random.default_rng(0).random((12, 63))
    matrix[0] = 0
    A = DenseOperator(matrix, G.range, data_space(12))
    expected = matrix @ (array(G(G.domain.one()))) + background
    counts = np.random.default_rng(1).poisson(expected).astype(float)
    return ogr.kullback_leibler(A, counts, background), G


@pytest.mark.parametrize("background", [0.0, 3.0])
@pytest.mark.parametrize("kind", ["range", "soft"])
def test_counts_against_scipy(kind, background):
    D, G = counting_problem(background)
    R = ogr.range_constraint(G) if kind == "range" else ogr.soft_constraint(G, MU)
    result = ogr.reconstruct(D, R, lam=LAM, tol=1e-6)
    J = R.latent_objective(D, LAM) if kind == "range" else None

    def objective(v):
        if kind == "range":
            return J(G.domain.element(v))
        x, z = G.range.element(v[:63].reshape(7, 9)), G.domain.element(v[63:])
        return D(x) + LAM * R.joint(R.joint.domain.element([x, z]))

    def gradient(v):
        if kind == "range":
            return 2.0 * array(J.gradient(G.domain.element(v)))
        x, z = G.range.element(v[:63].reshape(7, 9)), G.domain.element(v[63:])
        parts = R.joint.gradient(R.joint.domain.element([x, z]))
        on_image = 0.06 * (array(D.gradient(x)) + LAM * array(parts[0]))
        return np.concatenate([on_image, 2 * LAM * array(parts[1])])

    start = np.ones(3) if kind == "range" else np.ones(66)
    bounds = None if kind == "range" else [(1e-3, None)] * 63 + [(None, None)] * 3
    options = {"maxiter": 3000, "maxfun": 5000, "ftol": 1e-14, "gtol": 1e-9}
    best = scipy_minimize(
        objective,
        start,
        jac=gradient,
        method="L-BFGS-B",
        bounds=bounds,
        options=options,
    )
    assert result.objective <= best.fun * (1 + 1e-4)
    assert result.expected_residual is None
    assert result.residual > 0
    assert "converged" in result.stop_reason


def test_any_data_fidelity():
    """A smooth functional that is no `DataFidelity`: no residual."""
    D, G = problem()
    plain = f.Huber(D.operator.range, 0.1).translated(D.data) @ D.operator
    result = ogr.reconstruct(plain, ogr.soft_constraint(G, MU), lam=0.1)
    assert result.residual is None
    assert result.objective < plain(G(G.domain.zero()))
    assert "residual" not in str(result)


def test_lam_zero():
    D, G = problem()
    result = ogr.reconstruct(D, ogr.soft_constraint(G, MU), lam=0.0, tol=1e-6)
    assert result.objective <= 1e-6


def test_one_pass_for_value_and_gradient():
    network = Counted(mlp_network())
    G = ogr.Generator(network, latent_space(), image_space())
    A = forward_operator(G.range)
    D = ogr.squared_l2(A, random_element(A.range), NOISE)
    before = network.counter()
    ogr.reconstruct(D, ogr.soft_constraint(G, MU), lam=LAM, solver="lbfgs")
    forward, backward = (b - a for a, b in zip(before, network.counter(), strict=True))
    assert backward <= forward <= backward + 5


# --- Reconstruction --- #


@pytest.mark.parametrize("impl", ["numpy", "pytorch"])
def test_save_and_load(tmp_path, impl):
    D, G = problem(impl=impl)
    result = ogr.reconstruct(D, ogr.soft_constraint(G, MU), lam=LAM)
    result.save(tmp_path / "result")
    assert sorted(p.name for p in tmp_path.iterdir()) == ["result.json", "result.npz"]
    again = ogr.Reconstruction.load(tmp_path / "result", G)
    assert again == result
    assert again.x in G.range
    assert str(again) == str(result)


def test_summary():
    D, G = problem()
    result = ogr.reconstruct(D, ogr.soft_constraint(G, MU), lam=LAM, restarts=5)
    ratio = result.residual / result.expected_residual
    text = str(result)
    assert f"{result.objective:.6g} by gauss_newton in z" in text
    assert f"{ratio:.3g} times that of the noise" in text
    assert "restarts           5, spread" in text
    assert "converged to tol = 0.0001" in text


def test_show():
    D, G = problem()
    result = ogr.reconstruct(D, ogr.range_constraint(G), lam=LAM, maxiter=5)
    pyplot.switch_backend("agg")
    figure = result.show()
    titles = [axis.get_title() for axis in figure.axes[:3]]
    assert titles == ["x", "G(z)", "x - G(z)"]
    shown = figure.axes[0].images[0].get_array()
    assert np.array_equal(shown, result.x.asarray().T)
    pyplot.close(figure)


@pytest.fixture(autouse=True)
def no_gradients_left_on():
    yield
    assert torch.is_grad_enabled()


def test_bounds_that_no_image_of_the_range_satisfies():
    X, Z = odl.rn(2), odl.rn(2)
    G = ogr.Generator(torch.nn.Sigmoid(), Z, X)
    D = ogr.squared_l2(odl.IdentityOperator(X), [0.5, 0.5])
    result = ogr.reconstruct(D, ogr.range_constraint(G), 1.0, bounds=(10, 11))
    assert result.stop_reason == "no image that satisfies all bounds was found"


def test_eliminated_objective_is_built_once(monkeypatch):
    built, init = [], latent_objective.QuadraticObjective.__init__

    def counted(self, *arguments, **options):
        built.append(self)
        init(self, *arguments, **options)

    monkeypatch.setattr(latent_objective.QuadraticObjective, "__init__", counted)
    X = odl.rn(2)
    G = ogr.Generator(torch.nn.Identity(), X, X)
    D = ogr.squared_l2(odl.IdentityOperator(X), [0.5, 0.5])
    ogr.reconstruct(D, ogr.soft_constraint(G, 0.1), 1.0)
    assert len(built) == 1


# --- Several images at once --- #


def several(count=3):
    D, G = problem()
    X, A = G.range, D.operator
    noise = [random_element(A.range, 10 + i, scale=NOISE) for i in range(count)]
    images = [G(random_element(G.domain, 20 + i)) for i in range(count)]
    return D, G, [A(x) + n for x, n in zip(images, noise, strict=True)], X


BATCHES = {
    "range": (ogr.range_constraint, {}),
    "soft": (lambda G: ogr.soft_constraint(G, MU), {}),
    "box": (lambda G: ogr.soft_constraint(G, MU), {"bounds": (0.0, 0.6)}),
    "sparse": (lambda G: ogr.sparse_deviation(G, MU), {}),
    "lbfgs": (lambda G: ogr.soft_constraint(G, MU), {"solver": "lbfgs"}),
    "palm": (
        lambda G: ogr.sparse_deviation(G, MU),
        {"solver": "palm", "tol": 1e-3},
    ),
    "continuation": (
        lambda G: ogr.sparse_deviation(G, MU),
        {"solver": "continuation", "tol": 1e-3},
    ),
}


@pytest.mark.parametrize("case", BATCHES)
def test_several_data_give_one_image_each(case):
    make, options = BATCHES[case]
    D, G, data, X = several()
    R, options = make(G), {"restarts": 3, "tol": 1e-7, **options}
    results = ogr.reconstruct(D, R, LAM, data=data, **options)
    assert len(results) == 3
    for y, result in zip(data, results, strict=True):
        alone = ogr.reconstruct(ogr.squared_l2(D.operator, y, NOISE), R, LAM, **options)
        close = max(1e-6, options["tol"])
        assert result.objective == pytest.approx(alone.objective, rel=close)
        # Continuation stops by its objective alone.
        close = 5e-2 if case == "continuation" else 20 * close
        assert result.residual == pytest.approx(alone.residual, rel=close)
        assert len(result.restarts) == 3
        assert result.solver.partition(",")[0] == alone.solver.partition(",")[0]
        assert result.history[-1] == pytest.approx(result.objective, rel=1e-3)
        assert result.x in X
    objectives = [result.objective for result in results]
    assert len(set(objectives)) == 3


def test_data_as_an_array_and_counts_one_by_one():
    D, G, data, _ = several(2)
    R = ogr.range_constraint(G)
    stack = np.stack([y.asarray() for y in data])
    first = ogr.reconstruct(D, R, LAM, data=data, restarts=2)
    second = ogr.reconstruct(D, R, LAM, data=stack, restarts=2)
    assert [r.objective for r in first] == [r.objective for r in second]
    assert all("operator applied one by one" in r.solver for r in first)

    D, G = counting_problem(1.0)
    counts, R = [D.data, 2 * D.data], ogr.range_constraint(G)
    results = ogr.reconstruct(D, R, LAM, data=counts, restarts=2)
    alone = ogr.reconstruct(D, R, LAM, restarts=2)
    assert results[0].objective == pytest.approx(alone.objective, rel=1e-6)
    assert results[1].objective != pytest.approx(alone.objective, rel=1e-3)


def test_start_replaces_the_first():
    D, G, data, _ = several(2)
    R = ogr.range_constraint(G)
    z = [random_element(G.domain, 20), random_element(G.domain, 21)]
    stopped = {"restarts": 1, "maxiter": 1, "solver": "lbfgs"}
    J = R.latent_objective(D, LAM)
    assert ogr.reconstruct(D, R, LAM, start=z[1], **stopped).history[0] == (
        pytest.approx(J(z[1]))
    )
    results = ogr.reconstruct(D, R, LAM, data=data, start=z, **stopped)
    for y, start, result in zip(data, z, results, strict=True):
        J = R.latent_objective(ogr.squared_l2(D.operator, y, NOISE), LAM)
        assert result.history[0] == pytest.approx(J(start))


def test_callback_of_several_data_gets_lists():
    D, G, data, X = several(2)
    seen = []
    ogr.reconstruct(
        D, ogr.range_constraint(G), LAM, data=data, restarts=2, callback=seen.append
    )
    assert all(len(images) == 2 and images[0] in X for images in seen)
    assert (seen[-1][0] - seen[-1][1]).norm() > 0


# In the first stage and, where there is one, in the second.
@pytest.mark.parametrize(
    ("case", "at"),
    [
        *((case, 2) for case in ("range", "sparse", "continuation", "palm", "box")),
        ("range", 8),
        *((case, 14) for case in ("sparse", "continuation", "palm", "box")),
    ],
)
def test_interrupt_returns_the_best_so_far(case, at):
    make, options = BATCHES[case]
    D, G, data, X = several(2)
    calls = []

    def interrupt(images):
        calls.append(images)
        if len(calls) == at:
            raise KeyboardInterrupt

    options = {"restarts": 2, "tol": 1e-12, **options}
    R = make(G)
    results = ogr.reconstruct(D, R, LAM, data=data, callback=interrupt, **options)
    assert len(calls) == at
    for y, result in zip(data, results, strict=True):
        assert result.stop_reason == "interrupted"
        assert result.x in X
        fidelity = ogr.squared_l2(D.operator, y, NOISE)
        value = fidelity(result.x) + LAM * R.joint([result.x, result.z])
        if case != "range":
            assert result.objective == pytest.approx(value, rel=1e-5)
        lower, upper = options.get("bounds", (-np.inf, np.inf))
        assert lower <= result.x.asarray().min()
        assert result.x.asarray().max() <= upper


def test_history_of_an_infeasible_start_is_infinite():
    trace = [torch.tensor([torch.inf, torch.nan]), torch.tensor([2.0, torch.inf])]
    done = torch.tensor([True, False])
    found = Solution([], torch.zeros(2, 1), trace[1], trace, done, "", count=1)
    assert found.history(0) == [np.inf, 2.0]
    assert found.best.tolist() == [0]


@pytest.mark.parametrize(
    ("kind", "solver"),
    [
        ("soft", "gauss_newton"),
        ("soft", "lbfgs"),
        ("sparse", "prox_linear"),
        ("sparse", "continuation"),
        ("sparse", "primal_dual"),
        ("sparse", "palm"),
    ],
)
def test_callers_without_gradients(kind, solver):
    """Under ``torch.no_grad`` all is as without."""
    G = make_generator("mlp")
    A = forward_operator(G.range)
    D = ogr.squared_l2(A, random_element(A.range), noise_std=0.1)
    maker = {"soft": ogr.soft_constraint, "sparse": ogr.sparse_deviation}[kind]
    options = {"solver": solver, "restarts": 2, "maxiter": 20}
    expected = ogr.reconstruct(D, maker(G, 0.1), 1.0, **options).x
    with torch.no_grad():
        found = ogr.reconstruct(D, maker(G, 0.1), 1.0, **options).x
    assert found == expected


# --- Many latents --- #


def test_many_latents_need_no_jacobian(monkeypatch):
    """Above 512 latents `auto` takes gradients; the minimum is the same."""
    D, G = problem()
    soft, sparse = ogr.soft_constraint(G, MU), ogr.sparse_deviation(G, MU)
    few = [ogr.reconstruct(D, R, lam=LAM, tol=1e-8) for R in (soft, sparse)]
    for module in (solver_choice, strategies):
        monkeypatch.setattr(module, "MAX_COLUMNS", 2)
    monkeypatch.setattr(
        type(G), "linearize", lambda *_: pytest.fail("a Jacobian was computed")
    )
    many = [ogr.reconstruct(D, R, lam=LAM, tol=1e-8) for R in (soft, sparse)]
    assert many[0].solver.startswith("lbfgs in z")
    assert many[1].solver.startswith("continuation in (x, z)")
    bounds = (1e-6, 1e-3)  # a continuation ends above the minimum
    for one, other, bound in zip(few, many, bounds, strict=True):
        assert other.objective == pytest.approx(one.objective, rel=bound)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_many_latents_by_gauss_newton_in_single_precision(monkeypatch, dtype):
    monkeypatch.setattr(latent_objective, "MAX_COLUMNS", 2)
    name = "conv" if dtype == "float32" else "mlp"
    G = make_generator(name)
    A = forward_operator(G.range)
    D = ogr.squared_l2(A, random_element(A.range, 1), 0.5)
    R = ogr.soft_constraint(G, MU)
    iterated = ogr.reconstruct(D, R, lam=LAM, solver="gauss_newton")
    monkeypatch.undo()
    factored = ogr.reconstruct(D, R, lam=LAM, solver="gauss_newton")
    assert iterated.objective == pytest.approx(factored.objective, rel=1e-4)
