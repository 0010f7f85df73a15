# SPDX-License-Identifier: MPL-2.0
"""choose_weights: closed forms, planted optima, and what it says when it fails."""

import functools
import warnings

import numpy as np
import odl
import pytest
import torch
from matplotlib import pyplot
from odl import functionals as f
from scipy.optimize import brentq

import odl_genreg as ogr
from generators import (
    array,
    forward_operator,
    linear_parts,
    make_generator,
    random_element,
)
from odl_genreg.torch_bridge import weight
from odl_genreg.weight_choice import choose_weights, path
from odl_genreg.weight_choice.l_curve import corner

MU, NOISE, SIZE = 0.2, 0.3, 20


@functools.cache
def linear_problem(noise_std=NOISE):
    """Data of an image near the range of a linear generator, with noise."""
    G = make_generator("linear")
    A = forward_operator(G.range, SIZE)
    x = G(random_element(G.domain, 4)) + random_element(G.range, 5, 0.2)
    y = A(x) + random_element(A.range, 6, NOISE)
    return ogr.squared_l2(A, y, noise_std), G


def closed_form(D, G, lam, mu):
    """Image of the soft constraint by linear algebra."""
    (B, b), w, w_Z = linear_parts(G), weight(G.range), weight(G.domain)
    A, eye = D.operator.matrix, np.eye(G.range.size)
    S = eye - B @ np.linalg.solve(B.T @ B + mu * w_Z / w * np.eye(3), B.T)
    hessian = A.T @ A / D.noise_std**2 + 2 * lam * w * S
    right = A.T @ array(D.data) / D.noise_std**2 + 2 * lam * w * S @ b
    return np.linalg.solve(hessian, right)


def closed_residual(D, G, lam, mu=MU):
    A = D.operator.matrix
    return ((A @ closed_form(D, G, lam, mu) - array(D.data)) ** 2).sum()


def diagonal_problem(y, others=False):
    """Denoising in R^3 where ``G`` is the first axis.

    ``x_1 = y_1 / (1 + 2 lam mu / (1 + mu))``, ``x_2 = y_2 / (1 + 2 lam)`` and, with
    other terms, ``x_3 = y_3 / (1 + 2 lam + 2 beta)``.
    """
    X, Z = odl.rn(3), odl.rn(1)
    network = torch.nn.Linear(1, 3, bias=False, dtype=torch.float64)
    network.weight.data = torch.eye(3, 1, dtype=torch.float64)
    G = ogr.Generator(network, Z, X)
    third = odl.MatrixOperator(np.array([[0.0, 0.0, 1.0]]), X, odl.rn(1))
    terms = [(f.L2NormSquared(odl.rn(1)), third)] if others else []
    return ogr.squared_l2(odl.IdentityOperator(X), y), G, terms


# --- Discrepancy principle --- #


@pytest.mark.parametrize("tau", [1.0, 1.3])
def test_discrepancy_of_a_linear_generator(tau):
    D, G = linear_problem()
    choice = choose_weights(D, ogr.soft_constraint(G, MU), tau=tau)
    target = tau * SIZE * NOISE**2
    exact = np.exp(brentq(lambda t: closed_residual(D, G, np.exp(t)) - target, -10, 10))
    assert choice.lam == pytest.approx(exact, rel=0.03)
    assert choice.lam <= exact
    assert 0.99 * target <= choice.chosen.residual <= target
    assert choice.target == pytest.approx(target)
    assert choice.attainable
    assert (choice.mu, choice.beta) == (MU, 1.0)
    assert len(choice.path) <= 12


def test_residuals_of_the_path():
    D, G = linear_problem()
    choice = choose_weights(D, ogr.soft_constraint(G, MU), tol=1e-6)
    for trial in choice.path:
        exact = closed_residual(D, G, trial.lam)
        assert trial.residual == pytest.approx(exact, rel=1e-3)
        assert trial.objective == pytest.approx(
            trial.fidelity + trial.lam * trial.regularizer_value
        )
        assert trial.fidelity == pytest.approx(trial.residual / (2 * NOISE**2))
    lams = [trial.lam for trial in choice.path]
    assert lams == sorted(lams, reverse=True)
    assert choice.chosen in choice.path
    assert choice.reconstruction.weights == {"lam": choice.lam, "mu": MU}


def test_range_constraint_that_explains_the_data():
    G = make_generator("linear")
    A = forward_operator(G.range, SIZE)
    y = A(G(random_element(G.domain, 4))) + random_element(A.range, 6, NOISE)
    D = ogr.squared_l2(A, y, NOISE)
    choice = choose_weights(D, ogr.range_constraint(G))
    assert choice.attainable
    assert 0.98 <= choice.chosen.residual / (SIZE * NOISE**2) <= 1


def test_generator_that_cannot_explain_the_data():
    """The residual stays above that of least squares in the range."""
    D, G = linear_problem(noise_std=0.05)
    (B, b), A = linear_parts(G), D.operator.matrix
    least = np.linalg.lstsq(A @ B, array(D.data) - A @ b)[1][0] / (SIZE * 0.05**2)
    assert least > 10
    message = f"residual / \\(m sigma\\^2\\) >= {least:.3g}; use `soft_constraint`"
    with pytest.warns(UserWarning, match=f"The generator cannot explain.*{message}"):
        choice = choose_weights(D, ogr.range_constraint(G))
    assert not choice.attainable
    assert "cannot explain" in str(choice)
    assert choice.chosen.residual <= 1.01 * min(t.residual for t in choice.path)
    assert choice.lam > min(trial.lam for trial in choice.path)


def test_other_terms_that_forbid_a_fit():
    y, strong = [1.0, 1.0, 9.0], 50.0
    D, G, [(g, L)] = diagonal_problem(y, others=True)
    with pytest.warns(UserWarning, match="give `other_terms` a smaller factor"):
        choose_weights(D, ogr.soft_constraint(G, MU), other_terms=[(strong * g, L)])


def test_bounds_that_forbid_a_fit():
    D, G, _ = diagonal_problem([1.0, 1.0, 9.0])
    with pytest.warns(UserWarning, match="check the operator, `noise_std` and `bound"):
        choice = choose_weights(D, ogr.soft_constraint(G, MU), bounds=(0, 5))
    assert choice.chosen.residual == pytest.approx(16, rel=0.02)


def test_noise_level_that_explains_everything():
    D, G, _ = diagonal_problem([0.5, 0.5, 0.5])
    with pytest.warns(UserWarning, match="at every lam.*lower `noise_std`") as caught:
        choice = choose_weights(D, ogr.soft_constraint(G, MU))
    assert caught[0].filename == __file__
    assert not choice.attainable
    assert choice.lam == max(trial.lam for trial in choice.path)


# --- L-curve --- #


@pytest.mark.parametrize("shift", [-1.0, 0.0, 1.5])
def test_corner_of_a_hyperbola(shift):
    s = np.linspace(4, -4, 17)
    root = np.sqrt((s - shift) ** 2 + 0.1)
    index, curvature = corner(np.exp(s - shift + root), np.exp(shift - s + root))
    assert s[index] == pytest.approx(shift)
    assert curvature > 0


def test_corner_is_not_one_of_rounding_errors():
    """The same curve with a zigzag where it hardly moves."""
    fidelity = np.array([64, 16, 4, 1, 0.9, 0.9, 0.901, 0.9])
    value = np.array([1, 1, 1, 1, 5, 5.001, 5.001, 5.002])
    assert corner(fidelity, value)[0] == 3


def test_bulge_is_no_corner():
    s = np.linspace(0, 1, 9)
    assert corner(np.exp(1 - s**2), np.exp(1 - (1 - s) ** 2))[1] < 0


def diagonal_curve(y, lam, mu):
    """``log D`` and ``log R`` of `diagonal_problem`, without other terms."""
    shrink = np.array([mu / (1 + mu), 1, 1])
    x = y / (1 + 2 * np.multiply.outer(lam, shrink))
    return np.log(((x - y) ** 2).sum(1) / 2), np.log((shrink * x**2).sum(1))


def test_l_curve_of_a_known_problem():
    y, mu = np.array([100.0, 20.0, 20.0]), 1e-4
    D, G, _ = diagonal_problem(y)
    t = np.linspace(np.log(0.5), np.log(2e4), 2000)
    a, b = diagonal_curve(y, np.exp(t), mu)
    da, db = np.gradient(a, t), np.gradient(b, t)
    curvature = (da * np.gradient(db, t) - db * np.gradient(da, t)) / np.hypot(
        da, db
    ) ** 3
    exact = np.exp(t[curvature.argmax()])
    choice = choose_weights(D, ogr.soft_constraint(G, mu), "l_curve")
    assert choice.attainable
    assert choice.target is None
    assert abs(np.log10(choice.lam / exact)) < 0.3
    far = choose_weights(D, ogr.soft_constraint(G, mu), "l_curve", lam=10 * exact)
    assert abs(np.log10(far.lam / exact)) < 0.3


def test_l_curve_without_a_corner():
    Z = odl.rn(2)
    R = ogr.soft_constraint(ogr.Generator(torch.nn.Identity(), Z, Z), 1.0)
    D = ogr.squared_l2(odl.IdentityOperator(Z), [2.0, 2.0])
    with pytest.warns(UserWarning, match="has no corner.*use the discrepancy"):
        choice = choose_weights(D, R, "l_curve")
    assert choice.lam == pytest.approx(0.5)


def test_l_curve_of_counts():
    X = odl.rn(3)
    G = ogr.Generator(torch.nn.Softplus(), X, X)
    D = ogr.kullback_leibler(odl.IdentityOperator(X), [9.0, 4.0, 4.0])
    R = ogr.soft_constraint(G, MU)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # it may have no corner
        choice = choose_weights(D, R, "l_curve", maxiter=10, restarts=1)
    assert choice.chosen.fidelity == pytest.approx(D(choice.reconstruction.x))
    assert "residual" not in str(choice)


# --- Validation --- #


def planted(y, lam, mu, beta=0.0):
    """Score that is best for the image that these weights give for ``y``."""
    factors = 1 + 2 * np.array([lam * mu / (1 + mu), lam, lam + beta])
    return lambda x, image: -float(np.square(np.log(array(x) / y * factors)).sum())


@pytest.mark.parametrize("lam", [1.0, 300.0, 1e-3])
def test_validation_finds_a_planted_lam(lam):
    y = np.array([3.0, 1.0, 1.0])
    D, G, _ = diagonal_problem([0.0, 0.0, 0.0])
    choice = choose_weights(
        D,
        ogr.soft_constraint(G, MU),
        "validation",
        images=[y],
        data=[y],
        score=planted(y, lam, MU, 0),
        tol=1e-8,
    )
    assert abs(np.log10(choice.lam / lam)) < 0.15
    assert choice.attainable
    assert choice.chosen.score == max(trial.score for trial in choice.path)
    tried = [trial.lam for trial in choice.path]
    assert min(tried) < choice.lam < max(tried)
    assert choice.reconstruction is None


def test_validation_finds_planted_mu_and_beta():
    y, lam, mu, beta = np.array([3.0, 1.0, 1.0]), 4.0, 0.05, 2.0
    D, G, terms = diagonal_problem([0.0, 0.0, 0.0], others=True)
    choice = choose_weights(
        D,
        ogr.soft_constraint(G, 1.0),
        "validation",
        images=[y],
        data=[y],
        score=planted(y, lam, mu, beta),
        lam=lam,
        mu=[0.1, 0.3],
        beta=[1.5, 0.5],
        other_terms=terms,
        restarts=1,
        maxiter=10,
    )
    assert choice.lam == lam
    assert abs(np.log10(choice.mu / mu)) < 0.15
    assert abs(np.log10(choice.beta / beta)) < 0.15
    assert choice.chosen.score == max(trial.score for trial in choice.path)


def test_validation_at_the_end_of_the_search():
    D, G, _ = diagonal_problem([0.0, 0.0, 0.0])
    with pytest.warns(UserWarning, match="best at the end of the search, lam = "):
        choice = choose_weights(
            D,
            ogr.soft_constraint(G, MU),
            "validation",
            images=[[1.0, 1.0, 1.0]],
            score=lambda x, image: -x.norm(),
            lam=[1.0, 1e4],
        )
    assert choice.lam >= 1e10


def record(monkeypatch):
    """Keep the arguments of all calls of `reconstruct`."""
    calls, original = [], path.reconstruct

    def recorded(*arguments, **keywords):
        calls.append(keywords)
        return original(*arguments, **keywords)

    monkeypatch.setattr(path, "reconstruct", recorded)
    return calls


def test_validation_sees_its_images_alone(monkeypatch):
    """Not the data of ``D``; noise of the level of ``D``, the same for one seed."""
    D, G = linear_problem()
    images = [G(random_element(G.domain, seed)) for seed in range(8)]
    calls = record(monkeypatch)
    choose = functools.partial(
        choose_weights,
        regularizer=ogr.soft_constraint(G, MU),
        method="validation",
        images=images,
        lam=1.0,
    )
    first = choose(D)
    other = choose(ogr.squared_l2(D.operator, D.operator.range.one(), NOISE))
    assert [t.score for t in first.path] == [t.score for t in other.path]
    noise = [y - D.operator(x) for x, y in zip(images, calls[0]["data"], strict=True)]
    assert np.std([array(n) for n in noise]) == pytest.approx(NOISE, rel=0.2)
    assert choose(D, seed=1).path[0].score != first.path[0].score


def test_validation_with_given_data_and_ssim(monkeypatch):
    D, G = linear_problem()
    images = np.stack([G(random_element(G.domain, s)).asarray() for s in (1, 2)])
    data = [D.operator(G.range.element(x)) for x in images]
    calls = record(monkeypatch)
    R = ogr.soft_constraint(G, MU)
    choice = choose_weights(
        D, R, "validation", images=images, data=data, score="ssim", lam=1e-2
    )
    assert all(call["data"] == data for call in calls)
    assert len(choice.path) == 1
    x = ogr.reconstruct(ogr.squared_l2(D.operator, data[0], NOISE), R, 1e-2).x
    y = ogr.reconstruct(ogr.squared_l2(D.operator, data[1], NOISE), R, 1e-2).x
    scores = [ogr.evaluation.ssim(*pair) for pair in zip((x, y), images, strict=True)]
    assert choice.chosen.score == pytest.approx(np.mean(scores), rel=1e-3)


# --- The path --- #


@pytest.mark.parametrize("maker", [ogr.soft_constraint, ogr.sparse_deviation])
def test_warm_start_gives_the_same(maker):
    """The problems are convex: it does not matter where they start."""
    D, G, _ = diagonal_problem([3.0, 2.0, -2.0])
    R = maker(G, MU)
    warm = path.WeightPath(D, R, [], restarts=2, options={})
    for lam in (10.0, 1.0, 0.2):
        trial, cold = warm(lam), ogr.reconstruct(D, R, lam, restarts=2)
        assert trial.objective == pytest.approx(cold.objective, rel=1e-3)
        assert (trial.reconstruction.x - cold.x).norm() <= 1e-2 * cold.x.norm()


def test_many_starts_at_the_largest_lam_alone(monkeypatch):
    D, G = linear_problem()
    calls = record(monkeypatch)
    choose_weights(D, ogr.soft_constraint(G, MU), restarts=5)
    assert calls[0]["restarts"] == 5
    assert "start" not in calls[0]
    assert all(call["restarts"] == 1 for call in calls[1:])
    assert all(call["start"] in G.domain for call in calls[1:])


def test_seed_decides_everything(global_state_untouched):
    G = make_generator("mlp")
    A = forward_operator(G.range)
    y = A(G(random_element(G.domain, 4))) + random_element(A.range, 6, NOISE)
    D, R = ogr.squared_l2(A, y, NOISE), ogr.soft_constraint(G, MU)
    with global_state_untouched():
        first = choose_weights(D, R, maxiter=10)
        second = choose_weights(D, R, maxiter=10)
    assert first.lam == second.lam
    assert first.reconstruction.x == second.reconstruction.x
    assert all(p.grad is None for p in G.module.parameters())


@pytest.mark.parametrize("kind", ["range", "sparse", "any"])
def test_value_of_the_regularizer(kind):
    D, G = linear_problem()
    R = {
        "range": lambda: ogr.range_constraint(G),
        "sparse": lambda: ogr.sparse_deviation(G, MU),
        "any": lambda: ogr.GenerativeRegularizer(G, f.Huber(G.range, 0.1), mu=MU),
    }[kind]()
    trial = path.WeightPath(D, R, [], restarts=2, options={"maxiter": 10})(3.0)
    z = trial.latents[0]
    expected = R.mu * R.latent_prior(z)
    if kind != "range":
        expected += R.deviation(trial.reconstruction.x - G(z))
    assert trial.regularizer_value == pytest.approx(expected, rel=1e-6)
    assert trial.objective == pytest.approx(
        D(trial.reconstruction.x) + 3.0 * expected, rel=1e-4
    )


def test_progress(capsys):
    D, G = linear_problem()
    R = ogr.soft_constraint(G, MU)
    choose_weights(D, R)
    assert capsys.readouterr().err == ""
    choose_weights(D, R, progress=True)
    assert "weights" in capsys.readouterr().err


# --- What is shown --- #


def test_table():
    D, G = linear_problem()
    choice = choose_weights(D, ogr.soft_constraint(G, MU))
    lines = str(choice).splitlines()
    trials = len(choice.path)
    assert lines[0] == f"lam = {choice.lam:.4g} by discrepancy, {trials} trials"
    assert lines[1].split() == ["lam", "objective", "R", "residual", "seconds"]
    (marked,) = [line for line in lines if line.endswith("*")]
    assert float(marked.split()[0]) == pytest.approx(choice.lam, rel=1e-3)
    assert len(lines) == 2 + trials


def test_figures():
    pyplot.switch_backend("agg")
    D, G = linear_problem()
    R = ogr.soft_constraint(G, MU)
    choice = choose_weights(D, R)
    figure = choice.show()
    curve, image = figure.axes[:2]
    lams, residuals = curve.lines[0].get_data()
    assert list(lams) == [trial.lam for trial in choice.path]
    assert curve.lines[1].get_ydata()[0] == pytest.approx(1.0)
    assert curve.lines[2].get_ydata()[0] <= 1
    shown = image.images[0].get_array()
    assert np.array_equal(shown, choice.reconstruction.x.asarray().T)
    pyplot.close(figure)
    images = [choice.reconstruction.x]
    choice = choose_weights(D, R, "validation", images=images, lam=3.0, mu=[0.1, 0.2])
    figure = choice.show()
    (axis,) = figure.axes
    mus = {trial.mu for trial in choice.path}
    assert len(axis.get_legend().get_texts()) == len(mus)
    assert axis.lines[-1].get_ydata()[0] == choice.chosen.score
    pyplot.close(figure)


def test_figure_of_an_l_curve():
    pyplot.switch_backend("agg")
    D, G, _ = diagonal_problem([100.0, 20.0, 20.0])
    choice = choose_weights(D, ogr.soft_constraint(G, 1e-4), "l_curve")
    figure = choice.show()
    (axis,) = figure.axes  # x has one dimension
    assert axis.lines[1].get_xdata()[0] == choice.chosen.fidelity
    pyplot.close(figure)


# --- Errors --- #


def counts():
    G = make_generator("linear")
    A = forward_operator(G.range)
    return ogr.kullback_leibler(A, A.range.one()), G


def huber():
    D, G = linear_problem()
    return f.Huber(D.operator.range, 0.1) @ D.operator, G


TERM = [
    (
        f.L2NormSquared(make_generator().range),
        odl.IdentityOperator(make_generator().range),
    )
]
IMAGE = np.ones((7, 9))
VALIDATION = {"method": "validation", "images": [IMAGE]}


@pytest.mark.parametrize(
    ("problem", "keywords", "message"),
    [
        (linear_problem, {"method": "gcv"}, "`method` must be one of .*got 'gcv'"),
        (counts, {}, "`data_fidelity` must be that of `squared_l2` for method='disc"),
        (huber, {}, "`data_fidelity` must be that of `squared_l2`.*use method='l_cur"),
        (linear_problem, {"tau": 0.0}, "`tau` must be positive and finite, got 0.0"),
        (linear_problem, {"images": [IMAGE]}, "must be left out for method='discrep"),
        (linear_problem, {"lam": -1.0}, "`lam` must be positive and finite, got -1.0"),
        (linear_problem, {"lam": [1.0, 2.0]}, "`lam` must not be a grid for method="),
        (linear_problem, {"mu": [1.0]}, "`mu` must not be a grid for method='discrep"),
        (linear_problem, {**VALIDATION, "mu": [0.0, 1.0]}, "`mu` must be positive"),
        (linear_problem, {**VALIDATION, "lam": []}, "`lam` must be positive"),
        (linear_problem, {**VALIDATION, "beta": [1.0, 2.0]}, "`beta` must be left out"),
        (linear_problem, {"method": "validation"}, "`images` must be a seq.*got None"),
        (linear_problem, {**VALIDATION, "images": []}, "`images` must be a sequence"),
        (
            linear_problem,
            {**VALIDATION, "images": [np.ones((9, 7))]},
            r"`images` must have the shape \(7, 9\).*got \[\(9, 7\)\]; resample",
        ),
        (linear_problem, {**VALIDATION, "data": []}, "`data` must be those of the 1"),
        (linear_problem, {**VALIDATION, "score": "mse"}, "`score` must be one of"),
        (counts, VALIDATION, "`data` must be given for a `data_fidelity` without"),
        (huber, VALIDATION, "`data_fidelity` must be a `DataFidelity` for method="),
    ],
)
def test_errors(problem, keywords, message, monkeypatch):
    D, G = problem()
    monkeypatch.setattr(path, "reconstruct", None)  # before any work
    with pytest.raises(ValueError, match=message):
        choose_weights(D, ogr.soft_constraint(G, MU), **keywords)


def test_error_for_the_mu_of_the_range_constraint():
    D, G = linear_problem()
    with pytest.raises(ValueError, match="`mu` must be left out for the range const"):
        choose_weights(D, ogr.range_constraint(G), **VALIDATION, mu=[0.1, 1.0])


def test_error_for_bounds_without_an_image():
    X = odl.rn(2)
    R = ogr.range_constraint(ogr.Generator(torch.nn.Sigmoid(), X, X))
    D = ogr.squared_l2(odl.IdentityOperator(X), [0.5, 0.5])
    with pytest.raises(ValueError, match="must admit an image.*got inf at lam = 50"):
        choose_weights(D, R, bounds=(10, 11))


def test_error_for_another_functional():
    D, G = linear_problem()
    with pytest.raises(TypeError, match="`regularizer` must be a `GenerativeRegul"):
        choose_weights(D, f.L1Norm(G.range))
