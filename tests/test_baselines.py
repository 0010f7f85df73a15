# SPDX-License-Identifier: MPL-2.0
"""Zero-filled and Tikhonov reconstructions against closed forms."""

import numpy as np
import odl
import pytest
import torch

import odl_genreg as ogr
from generators import array, forward_operator, image_space, random_element
from odl_genreg.evaluation import tikhonov, zero_filled
from odl_genreg.torch_bridge import as_tensor, weight
from tolerance import tolerance

each_impl = pytest.mark.parametrize("impl", ["numpy", "pytorch"])
SIGMA = 0.3


def problem(impl="numpy", dtype="float64", size=10):
    """Random matrix on images of (7, 9) cells of volume 0.06, data with cells 0.25."""
    A = forward_operator(image_space(impl, dtype), size)
    return ogr.squared_l2(A, random_element(A.range), SIGMA)


# --- Zero-filled --- #


@each_impl
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_zero_filled_is_the_transpose(impl, dtype):
    D = problem(impl, dtype)
    x = zero_filled(D.operator, D.data)
    assert x in D.domain
    expected = D.operator.matrix.T @ array(D.data)
    np.testing.assert_allclose(array(x), expected, rtol=0, atol=tolerance[dtype])
    scaled = weight(D.domain) / weight(D.operator.range) * D.operator.adjoint(D.data)
    np.testing.assert_allclose(array(x), array(scaled), rtol=0, atol=tolerance[dtype])


def test_zero_filled_with_orthonormal_rows_leaves_the_data():
    """``A A^T y = y``: nothing is changed where something was measured."""
    X = image_space()
    rows = np.linalg.qr(np.random.default_rng(0).standard_normal((63, 10)))[0].T
    A = forward_operator(X)
    A.matrix = rows
    y = random_element(A.range)
    np.testing.assert_allclose(array(A(zero_filled(A, y))), array(y), atol=1e-12)


@each_impl
def test_zero_filled_of_several(impl):
    D = problem(impl)
    A, data = D.operator, [D.data, 2 * D.data]
    expected = array(zero_filled(A, D.data))
    stacked = torch.stack([as_tensor(y) for y in data])
    for several in (data, tuple(data), stacked, stacked.numpy(), stacked.tolist()):
        first, second = zero_filled(A, several)
        np.testing.assert_allclose(array(first), expected)
        np.testing.assert_allclose(array(second), 2 * expected)
    for one in (stacked[0], stacked[0].numpy()):
        np.testing.assert_allclose(array(zero_filled(A, one)), expected)


def test_zero_filled_bounds():
    D = problem()
    free = array(zero_filled(D.operator, D.data))
    cut = array(zero_filled(D.operator, D.data, bounds=(-0.05, 0.1)))
    assert free.min() < -0.05
    assert free.max() > 0.1
    np.testing.assert_array_equal(cut, free.clip(-0.05, 0.1))


def test_zero_filled_errors():
    D = problem()
    with pytest.raises(ValueError, match="`data` must be a sequence .* an empty one"):
        zero_filled(D.operator, [])
    with pytest.raises(ValueError, match=r"`data` must have the shape \(10,\).*\(3,\)"):
        zero_filled(D.operator, np.zeros((2, 3)))
    with pytest.raises(ValueError, match="`data` must be finite, got NaN or inf"):
        zero_filled(D.operator, np.full(10, np.nan))
    with pytest.raises(TypeError, match="`operator` must be linear"):
        zero_filled(D.operator - D.data, D.data)


# --- Tikhonov --- #


def closed_form(D, beta, y):
    """Solution of the normal equations in plain sums, in numpy."""
    A = D.operator.matrix
    H = A.T @ A / (2 * SIGMA**2) + beta * 0.06 * np.eye(A.shape[1])
    return np.linalg.solve(H, A.T @ y / (2 * SIGMA**2))


@each_impl
@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("size", [10, 100])
@pytest.mark.parametrize("beta", [0.5, 50.0])
def test_tikhonov_against_the_normal_equations(impl, dtype, size, beta):
    """With fewer and with more data than cells."""
    D = problem(impl, dtype, size)
    x = tikhonov(D, beta)
    assert x in D.domain
    expected = closed_form(D, beta, array(D.data))
    np.testing.assert_allclose(array(x), expected, rtol=0, atol=tolerance[dtype])


def test_tikhonov_is_the_minimum_of_odl():
    """The gradient of ``D + beta ||.||_X^2`` in ODL is 0."""
    D, beta = problem(), 2.0
    x = tikhonov(D, beta)
    objective = D + beta * odl.functionals.L2NormSquared(D.domain)
    size = objective.gradient(D.domain.zero()).norm()
    assert objective.gradient(x).norm() < tolerance["float64"] * size


def test_tikhonov_of_the_identity_shrinks():
    X = image_space()
    D = ogr.squared_l2(odl.IdentityOperator(X), random_element(X), SIGMA)
    factor = 1 / (1 + 2 * 3.0 * 0.06 * SIGMA**2)
    np.testing.assert_allclose(array(tikhonov(D, 3.0)), factor * array(D.data))


@each_impl
def test_tikhonov_of_several(impl):
    D = problem(impl)
    data = [D.data, random_element(D.operator.range, 1)]
    expected = [array(tikhonov(D.with_data(y), 2.0)) for y in data]
    for several in (data, torch.stack([as_tensor(y) for y in data])):
        results = tikhonov(D, 2.0, data=several)
        assert all(x in D.domain for x in results)
        for x, reference in zip(results, expected, strict=True):
            np.testing.assert_allclose(array(x), reference, atol=1e-12)


def test_tikhonov_errors():
    D = problem()
    for beta in (0.0, -1.0, np.inf, np.nan):
        with pytest.raises(ValueError, match="`beta` must be positive and finite"):
            tikhonov(D, beta)
    with pytest.raises(ValueError, match="`data` must be a sequence .* one element"):
        tikhonov(D, 1.0, data=D.data)
    with pytest.raises(ValueError, match="`data` must be a sequence .* an empty one"):
        tikhonov(D, 1.0, data=[])
    counts = ogr.kullback_leibler(odl.IdentityOperator(D.domain), D.domain.one())
    with pytest.raises(TypeError, match="`data_fidelity` must be that of `squared_l2`"):
        tikhonov(counts, 1.0)
    shifted = ogr.squared_l2(D.operator - D.data, D.data)
    with pytest.raises(TypeError, match="with a linear operator, got a SquaredL2"):
        tikhonov(shifted, 1.0)


def test_linear_baselines_draw_nothing(global_state_untouched):
    D = problem()
    with global_state_untouched():
        zero_filled(D.operator, D.data)
        tikhonov(D, 1.0)
