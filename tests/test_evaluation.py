# SPDX-License-Identifier: MPL-2.0
"""Metrics and baselines against values by hand and independent solutions."""

import sys
from types import SimpleNamespace

import numpy as np
import odl
import pytest
import scipy.optimize
import torch

import odl_genreg as ogr
from odl_genreg.evaluation import fbp, psnr, ssim, total_variation
from odl_genreg.evaluation.data_term import AnyTerm, SquaredTerm
from odl_genreg.forward_operators import SparseMatrixBackend, ray_transform
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


class DoubleMatrixBackend(SparseMatrixBackend):
    """The matrix of ASTRA in float64."""

    def __init__(self, geometry, vol_space, proj_space):
        super().__init__(geometry, vol_space, proj_space)
        self.matrix = self.matrix.astype("float64")
        self.transpose = self.transpose.astype("float64")


def problem(impl="numpy", dtype="float32", num_angles=3, **keywords):
    """Noisy data of a box; in float64 by the same matrix without ASTRA's limits."""
    X = space(impl, dtype, **keywords)
    A = ray_transform(space(impl, **keywords), num_angles=num_angles)
    if dtype == "float64":
        A = odl.applications.tomo.RayTransform(
            X, A.geometry, impl=DoubleMatrixBackend, proj_space=A.range.astype(dtype)
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


@pytest.mark.parametrize("shape", [(6,), (4, 3, 2)])
def test_total_variation_of_a_step_in_other_dimensions(shape):
    """Halves of a box with sides 2, 1, 4: each moves by ``2 beta w / (n_0 side_0)``."""
    X = odl.uniform_discr([0] * len(shape), [2, 1, 4][: len(shape)], shape)
    step = X.element(lambda p: p[0] > 1)
    D = ogr.squared_l2(odl.IdentityOperator(X), step)
    result = total_variation(D, 1.5, gap_tol=1e-8)
    distance = 2 * 1.5 * X.cell_volume / 2
    expected = distance + (1 - 2 * distance) * array(step)
    np.testing.assert_allclose(array(result.x), expected, atol=1e-3)


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


def test_total_variation_where_nothing_was_counted():
    """A dual variable on the edge of the domain, where rounding would lead outside."""
    X = space()
    counts = X.element(lambda p: 20.0 * (p[0] > 0))
    D = ogr.kullback_leibler(odl.IdentityOperator(X), counts, background=1.0)
    result = total_variation(D, 1.0, bounds=(0, None))
    assert 0 <= result.gap <= 1e-4
    np.testing.assert_allclose(array(result.x)[:2], 0, atol=1e-3)


# --- Several images at once --- #


def images_of(D, count=4):
    """Data of as many images, each dimmer than the one before, the last all 0."""
    return [(1 - i / (count - 1)) * D.data for i in range(count)]


@each_impl
@pytest.mark.parametrize("bounds", [(0.0, 1.0), None])
def test_total_variation_of_a_batch(impl, bounds):
    """Each image has the minimum that it has alone, within the two gaps."""
    D = problem(impl)
    data = images_of(D)
    results = total_variation(D, 5.0, data=data, bounds=bounds)
    assert len(results) == len(data)
    for y, result in zip(data, results, strict=True):
        alone = total_variation(D.with_data(y), 5.0, bounds=bounds)
        assert result.x in D.domain
        assert 0 <= result.gap <= 1e-4
        assert result.objective <= alone.objective / (1 - alone.gap) + 1e-12
        assert alone.objective <= result.objective / (1 - result.gap) + 1e-12
        np.testing.assert_allclose(array(result.x), array(alone.x), atol=0.02)
    assert len({result.niter for result in results}) > 1


def test_total_variation_of_a_batch_has_certified_gaps():
    D = problem(dtype="float64")
    options = {"data": images_of(D), "bounds": (0, 1)}
    fine = total_variation(D, 5.0, gap_tol=1e-8, **options)
    coarse = total_variation(D, 5.0, gap_tol=1e-3, **options)
    for exact, result in zip(fine, coarse, strict=True):
        assert exact.gap <= 1e-8
        assert exact.objective >= result.objective * (1 - result.gap)
        assert exact.niter >= result.niter


def test_total_variation_takes_data_in_an_array_or_fidelities():
    D = problem()
    data = images_of(D, 2)
    expected = total_variation(D, 5.0, data=data)
    stacked = total_variation(D, 5.0, data=np.stack([array(y) for y in data]))
    listed = total_variation([D.with_data(y) for y in data], 5.0)
    for results in (stacked, listed):
        assert [r.x for r in results] == [r.x for r in expected]
        assert [r[1:] for r in results] == [r[1:] for r in expected]


def test_total_variation_with_a_noise_level_for_each_image():
    """``D / 4`` for twice the noise: the same minimizer with ``beta / 4``."""
    D = problem(dtype="float64")
    noisy = ogr.squared_l2(D.operator, D.data, noise_std=2 * D.noise_std)
    first, second = total_variation([D, noisy], 4.0, gap_tol=1e-6)
    assert first.objective == pytest.approx(total_variation(D, 4.0).objective, 2e-4)
    scaled = total_variation(D, 16.0, gap_tol=1e-6)
    assert second.objective == pytest.approx(scaled.objective / 4, rel=3e-6)


def test_total_variation_of_many_counts():
    X = space(dtype="float64")
    rng = np.random.default_rng(0)
    counts = [X.element(rng.poisson(rate, X.shape)) for rate in (3.0, 20.0)]
    D = ogr.kullback_leibler(odl.IdentityOperator(X), counts[0], background=1.0)
    options = {"bounds": (0, None), "gap_tol": 1e-3}
    results = total_variation(D, 5.0, data=counts, **options)
    for y, result in zip(counts, results, strict=True):
        alone = total_variation(D.with_data(y), 5.0, **options)
        assert result.gap <= 1e-3
        assert result.objective == pytest.approx(alone.objective, rel=1e-3)


def test_total_variation_of_fidelities_of_two_kinds():
    X = space(dtype="float64")
    A, y = odl.IdentityOperator(X), X.element(lambda p: 4 + (p[0] > 0))
    fidelities = [ogr.squared_l2(A, y), ogr.kullback_leibler(A, y)]
    for D, result in zip(fidelities, total_variation(fidelities, 1.0), strict=True):
        alone = total_variation(D, 1.0).objective
        assert result.objective == pytest.approx(alone, rel=2e-4)


def test_total_variation_with_an_operator_of_single_images():
    """ODL takes one image after the other where there is no batched product."""
    X = space()
    y = np.random.default_rng(0).uniform(size=(2, *X.shape)).astype("float32")
    multiply = odl.MultiplyOperator(2 * X.one())
    results = total_variation(ogr.squared_l2(multiply, y[0]), 2.0, data=y)
    D = ogr.squared_l2(odl.IdentityOperator(X), y[0], noise_std=0.5)
    for result, expected in zip(
        results, total_variation(D, 2.0, data=y / 2), strict=True
    ):
        assert result.objective == pytest.approx(expected.objective, rel=2e-4)


def test_total_variation_warns_of_the_images_that_it_gave_up():
    D = problem()
    data = [0 * D.data, D.data]
    with pytest.warns(RuntimeWarning, match="a gap of .* after 40 iterations"):
        done, given_up = total_variation(D, 5.0, data=data, maxiter=40)
    assert (done.niter, given_up.niter) == (20, 40)
    assert done.gap == 0
    assert given_up.gap > 1e-4


def test_total_variation_warns_of_an_infinite_objective():
    """The first iterate is 0, which cannot explain any counts."""
    X = space()
    D = ogr.kullback_leibler(odl.IdentityOperator(X), 5 * X.one())
    with pytest.warns(RuntimeWarning, match="got a gap of inf after 1 iterations"):
        result = total_variation(D, 1.0, maxiter=1)
    assert result[1:] == (np.inf, np.inf, 1)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_squared_term_is_that_of_odl(dtype):
    """By formulas and one by one by ODL, with weights in ``Y``."""
    Y = odl.uniform_discr(0, 1, 5, dtype=dtype)
    A = odl.IdentityOperator(Y)
    fidelities = [ogr.squared_l2(A, s * Y.one(), noise_std=s) for s in (0.5, 2.0, 3.0)]
    generator = torch.Generator().manual_seed(0)
    v, q = torch.randn(2, 3, 5, generator=generator, dtype=torch.float64)
    step = torch.tensor([[0.1], [1.0], [4.0]], dtype=torch.float64)
    terms = [SquaredTerm(fidelities), AnyTerm(fidelities)]
    close = {"rtol": 10 * tolerance[dtype], "atol": tolerance[dtype]}
    for chosen in ([True, True, True], [True, False, True]):
        rows = torch.tensor(chosen)
        for results in (
            [term[rows].value(v[rows]) for term in terms],
            [term[rows].conjugate(q[rows]) for term in terms],
            [term[rows].dual_proximal(step[rows], q[rows]) for term in terms],
        ):
            torch.testing.assert_close(*results, **close)


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
        ({"maxiter": 0}, "`maxiter` must be at least 1, got 0"),
        ({"data": []}, "`data` must be a sequence .* got an empty one"),
        ({"data": [[0.0]]}, r"`data` must have the shape \(3, 13\) .* got \(1,\)"),
    ],
)
def test_total_variation_errors(keywords, message):
    with pytest.raises(ValueError, match=message):
        total_variation(problem(), **({"beta": 1.0} | keywords))


def test_total_variation_errors_of_a_batch():
    D, other = problem(), problem()
    with pytest.raises(ValueError, match="`data` must be a sequence .* one element"):
        total_variation(D, 1.0, data=D.data)
    with pytest.raises(ValueError, match="`data_fidelity` must have one operator"):
        total_variation([D, other], 1.0)
    with pytest.raises(ValueError, match="without `data`, got `data` as well"):
        total_variation([D, D], 1.0, data=[D.data])
    with pytest.raises(ValueError, match="`data_fidelity` must be .* an empty one"):
        total_variation([], 1.0)
    plain = SimpleNamespace(operator=D.operator, data=D.data, on_data=D.on_data)
    with pytest.raises(TypeError, match="must have the method `with_data`"):
        total_variation(plain, 1.0, data=[D.data])


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
