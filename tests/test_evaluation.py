# SPDX-License-Identifier: MPL-2.0
"""Metrics and baselines against values by hand and independent solutions."""

import sys

import numpy as np
import odl
import pytest
import scipy.optimize

import odl_genreg as ogr
from odl_genreg.evaluation import fbp, psnr, ssim, total_variation
from odl_genreg.forward_operators import ray_transform
from odl_genreg.torch_bridge import as_tensor
from tolerance import tolerance

each_impl = pytest.mark.parametrize("impl", ["numpy", "pytorch"])


def space(impl="numpy", dtype="float32", **keywords):
    """Space of 7 x 9 cells of 0.2 x 0.2."""
    return odl.uniform_discr(
        [-0.7, -0.9], [0.7, 0.9], (7, 9), dtype=dtype, impl=impl, **keywords
    )


def array(x):
    return as_tensor(x).numpy()


# --- Metrics --- #


@each_impl
def test_psnr_by_hand(impl):
    """A mean squared error of 0.04 is 10 log10(1 / 0.04) = 13.979 dB."""
    X = space(impl)
    x, reference = 0.7 * X.one(), 0.5 * X.one()
    expected = pytest.approx(10 * np.log10(25), rel=tolerance["float32"])
    assert psnr(x, reference) == expected
    assert psnr(array(x), as_tensor(reference)) == expected
    more = pytest.approx(10 * np.log10(100), rel=tolerance["float32"])
    assert psnr(x, reference, data_range=2.0) == more
    assert psnr(x, x) == np.inf


@each_impl
def test_ssim(impl):
    X = space(impl)
    x = X.element(np.random.default_rng(0).uniform(size=X.shape).astype("float32"))
    assert ssim(x, x) == pytest.approx(1.0)
    assert ssim(1 - x, x) < 0 < ssim(0.5 * x, x) < 1


def test_ssim_of_constant_images_by_hand():
    """Without structure it is ``(2 a b + c) / (a^2 + b^2 + c)``, ``c = 0.01^2``."""
    a, b, c = 0.2, 0.6, 1e-4
    expected = (2 * a * b + c) / (a**2 + b**2 + c)
    assert ssim(np.full((8, 8), a), np.full((8, 8), b)) == pytest.approx(expected)


@pytest.mark.parametrize("metric", [psnr, ssim])
def test_metric_errors(metric):
    x = np.zeros((8, 9))
    with pytest.raises(ValueError, match=r"must have the shape \(9, 8\).*got \(8, 9\)"):
        metric(x, x.T)
    with pytest.raises(ValueError, match="`data_range` must be positive.*got 0"):
        metric(x, x, data_range=0)


def test_ssim_errors(monkeypatch):
    with pytest.raises(ValueError, match=r"at least 7 pixels.*got shape \(6, 9\)"):
        ssim(np.zeros((6, 9)), np.zeros((6, 9)))
    monkeypatch.setitem(sys.modules, "skimage.metrics", None)
    with pytest.raises(ImportError, match=r"must be installed.*odl_genreg\[demo\]"):
        ssim(np.zeros((8, 9)), np.zeros((8, 9)))


# --- Filtered back-projection --- #


def disc(X):
    return X.element(lambda p: (p[0] - 0.2) ** 2 + (p[1] + 0.1) ** 2 < 0.4**2)


@each_impl
@pytest.mark.parametrize("weighting", [{}, {"weighting": 1.0}])
def test_fbp_recovers_a_disc(impl, weighting):
    X = odl.uniform_discr(
        [-1, -1], [1, 1], (64, 64), dtype="float32", impl=impl, **weighting
    )
    A, x = ray_transform(X, num_angles=180), disc(X)
    sharp, smooth = fbp(A, A(x)), fbp(A, A(x), filter_type="Hann")
    assert sharp in X
    assert psnr(sharp, x) > 27
    assert abs(array(sharp)[array(x) == 1].mean() - 1) < 0.03
    assert psnr(sharp, x) > psnr(smooth, x) > 23
    blurred = fbp(A, A(x), frequency_scaling=0.5)
    assert psnr(sharp, x) > psnr(blurred, x) > 20


def test_fbp_bounds():
    A = ray_transform(space(), num_angles=5)
    y = A.range.element(np.random.default_rng(0).normal(size=A.range.shape))
    free, cut = array(fbp(A, y)), array(fbp(A, y, bounds=(0.0, 0.1)))
    assert free.min() < 0
    assert free.max() > 0.1
    np.testing.assert_array_equal(cut, free.clip(0.0, 0.1))


# --- Total variation --- #


def problem(impl="numpy", dtype="float32", num_angles=3, **keywords):
    """Noisy data of a box; in float64 by the same matrix without ASTRA's limits."""
    X = space(impl, dtype, **keywords)
    A = ray_transform(space(impl, **keywords), num_angles=num_angles)
    if dtype == "float64":
        A = odl.applications.tomo.RayTransform(
            X, A.geometry, impl=type(A.get_impl()), proj_space=A.range.astype(dtype)
        )
    truth = X.zero()
    truth[2:5, 3:7] = 1
    noise = 0.05 * np.random.default_rng(0).standard_normal(A.range.shape)
    y = A(truth) + A.range.element(noise.astype(dtype))
    return ogr.squared_l2(A, y, noise_std=0.05)


def objective(D, beta, x):
    """``sum |A x - y|^2 / (2 sigma^2) + beta w sum |grad x|`` in numpy."""
    X, side = D.domain, D.domain.cell_sides[0]
    residual = array(D.operator(X.element(x.reshape(X.shape)))) - array(D.data)
    x = x.reshape(X.shape)
    vertical = np.diff(x, axis=0, append=x[-1:]) / side
    horizontal = np.diff(x, axis=1, append=x[:, -1:]) / side
    variation = X.weighting.const * np.sqrt(vertical**2 + horizontal**2).sum()
    return (residual**2).sum() / (2 * D.noise_std**2) + beta * variation


def reference_objective(D, beta, bounds):
    """Minimum by L-BFGS-B with ``|t|`` smoothed more and more sharply, in numpy."""
    X, side, m = D.domain, D.domain.cell_sides[0], D.operator.range.size
    S = D.operator.get_impl().matrix.astype("float64")
    y, sigma, w = array(D.data).ravel(), D.noise_std, X.weighting.const
    assert S.shape[0] == m
    identity = np.eye(X.size).reshape(*X.shape, X.size)
    grad = np.stack(
        [
            np.diff(identity, axis=0, append=identity[-1:]),
            np.diff(identity, axis=1, append=identity[:, -1:]),
        ]
    ).reshape(2, X.size, X.size)

    def value_and_gradient(x, eps):
        residual = S @ x - y
        differences = grad @ x / side
        length = np.sqrt((differences**2).sum(0) + eps**2)
        value = (residual**2).sum() / (2 * sigma**2) + beta * w * length.sum()
        pull = (grad.transpose(0, 2, 1) @ (differences / length)[..., None]).sum(0)
        return value, S.T @ residual / sigma**2 + beta * w / side * pull[:, 0]

    x = np.zeros(X.size)
    for eps in (1.0, 0.1, 1e-2, 1e-3, 1e-4):
        x = scipy.optimize.minimize(
            value_and_gradient,
            x,
            args=(eps,),
            jac=True,
            method="L-BFGS-B",
            bounds=[bounds] * X.size,
            options={"maxiter": 5000, "maxfun": 10000, "ftol": 1e-14, "gtol": 1e-9},
        ).x
    return objective(D, beta, x)


@pytest.mark.parametrize("bounds", [(0.0, 1.0), (0.2, None), None])
@pytest.mark.parametrize("beta", [1.0, 20.0])
def test_total_variation_against_another_solver(bounds, beta):
    D = problem(dtype="float64")
    result = total_variation(D, beta, bounds=bounds, gap_tol=1e-6)
    value = objective(D, beta, array(result.x))
    assert result.objective == pytest.approx(value, rel=tolerance["float64"])
    assert 0 <= result.gap <= 1e-6
    reference = reference_objective(D, beta, bounds or (None, None))
    assert reference - 1e-3 * value <= value <= reference * (1 + 1e-6)


@pytest.mark.parametrize("num_angles", [3, 30])
def test_total_variation_reported_gap_holds(num_angles):
    """The minimum, known from a finer solution, is not below ``1 - gap``."""
    D = problem(dtype="float64", num_angles=num_angles)
    fine = total_variation(D, 5.0, bounds=(0, 1), gap_tol=1e-9).objective
    for gap_tol in (1e-1, 1e-2, 1e-4):
        result = total_variation(D, 5.0, bounds=(0, 1), gap_tol=gap_tol)
        assert result.gap <= gap_tol
        assert fine >= result.objective * (1 - result.gap)


@each_impl
def test_total_variation_keeps_the_box(impl):
    D = problem(impl)
    x = array(total_variation(D, 1.0, bounds=(0.1, 0.6)).x)
    assert x.min() == pytest.approx(0.1)
    assert x.max() == pytest.approx(0.6)
    free = array(total_variation(D, 1.0).x)
    assert free.min() < 0.1
    assert free.max() > 0.6


def test_total_variation_of_both_impls_and_precisions():
    results = [
        total_variation(D, 5.0, bounds=(0, 1), gap_tol=1e-5)
        for D in (problem(), problem("pytorch"), problem(dtype="float64"))
    ]
    for result in results[1:]:
        assert result.objective == pytest.approx(results[0].objective, rel=2e-5)


def test_total_variation_and_weighting():
    """``beta w TV`` is the same with ``w = 0.04`` and ``beta``, or 1 and 0.04 beta."""
    weighted, plain = problem(), problem(weighting=1.0)
    first = total_variation(weighted, 5.0, bounds=(0, 1))
    second = total_variation(plain, 0.04 * 5.0, bounds=(0, 1))
    assert first.objective == pytest.approx(second.objective, rel=2e-4)


@each_impl
def test_constant_images_have_no_variation(impl):
    """With a large weight the mean of the data is left, at the boundary as inside."""
    X = space(impl)
    values = np.random.default_rng(0).uniform(size=X.shape).astype("float32")
    D = ogr.squared_l2(odl.IdentityOperator(X), X.element(values))
    result = total_variation(D, 100.0, bounds=(0, 1))
    np.testing.assert_allclose(array(result.x), values.mean(), atol=1e-2)
    expected = 0.5 * values.var() * values.size
    assert result.objective == pytest.approx(expected, rel=2e-4)


def test_total_variation_of_nothing():
    X = space()
    result = total_variation(ogr.squared_l2(odl.IdentityOperator(X), X.zero()), 1.0)
    assert (result.objective, result.gap) == (0.0, 0.0)
    assert result.x == X.zero()


def test_total_variation_of_a_step_by_hand():
    """Two halves of 7 x 4 cells of length 0.2: each moves by ``0.04 beta / 1.6``.

    A half of 4 columns at distance ``a`` costs ``7 * 4 a^2 / 2``; the edge of 7 cells
    costs ``beta * 0.04 * 7 (1 - 2 a) / 0.2``.
    """
    X = odl.uniform_discr([-0.7, -0.8], [0.7, 0.8], (7, 8))
    step = X.element(lambda p: p[1] > 0)
    D = ogr.squared_l2(odl.IdentityOperator(X), step)
    x = array(total_variation(D, 2.0, gap_tol=1e-8).x)
    distance = 2.0 * 0.04 / 0.2 / 4
    np.testing.assert_allclose(x[:, :4], distance, atol=1e-3)
    np.testing.assert_allclose(x[:, 4:], 1 - distance, atol=1e-3)


def test_total_variation_with_counts():
    """Any convex data term will do: the objective is not beaten nearby."""
    X = space(dtype="float64")
    counts = np.random.default_rng(0).poisson(20.0, X.shape)
    D = ogr.kullback_leibler(odl.IdentityOperator(X), counts, background=1.0)
    result = total_variation(D, 10.0, bounds=(0, None), gap_tol=1e-6)
    grad = odl.Gradient(X, pad_mode="symmetric")
    variation = 10.0 * odl.functionals.GroupL1Norm(grad.range)
    assert result.objective == pytest.approx(D(result.x) + variation(grad(result.x)))
    rng = np.random.default_rng(1)
    for size in (1e-3, 1e-2, 1e-1, 1.0):
        x = result.x + X.element(size * rng.standard_normal(X.shape))
        assert D(x) + variation(grad(x)) >= result.objective * (1 - 1e-6)


def test_total_variation_is_deterministic(global_state_untouched):
    with global_state_untouched():
        first = total_variation(problem(), 5.0, bounds=(0, 1))
    second = total_variation(problem(), 5.0, bounds=(0, 1))
    assert first.x == second.x


def test_total_variation_warns_if_it_stops_early():
    message = "`maxiter` must suffice for a relative gap of 1e-06, got a gap of"
    with pytest.warns(RuntimeWarning, match=message):
        result = total_variation(problem(), 5.0, gap_tol=1e-6, maxiter=20)
    assert result.niter == 20
    assert result.gap > 1e-6


@pytest.mark.parametrize(
    ("keywords", "message"),
    [
        ({"beta": 0.0}, "`beta` must be positive and finite, got 0.0"),
        ({"gap_tol": -1.0}, "`gap_tol` must be positive and finite, got -1.0"),
        ({"bounds": (1, 0)}, r"`bounds` must be .*lower < upper, got \(1, 0\)"),
    ],
)
def test_total_variation_errors(keywords, message):
    with pytest.raises(ValueError, match=message):
        total_variation(problem(), **({"beta": 1.0} | keywords))


def test_total_variation_wrong_kinds():
    with pytest.raises(TypeError, match="must have the attributes.*got a L2NormSq"):
        total_variation(odl.functionals.L2NormSquared(space()), 1.0)
    X = space()
    D = ogr.squared_l2(odl.PowerOperator(X, 2), X.one())
    with pytest.raises(TypeError, match="must be linear on a discretized space"):
        total_variation(D, 1.0)
    D = ogr.squared_l2(odl.IdentityOperator(odl.rn(3)), [0, 0, 0])
    with pytest.raises(TypeError, match="must be linear on a discretized space"):
        total_variation(D, 1.0)
