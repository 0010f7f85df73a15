# SPDX-License-Identifier: MPL-2.0
"""Data fidelities against their formulas in numpy and scipy."""

import numpy as np
import odl
import pytest
from scipy.special import kl_div

from checks import finite_difference_error, taylor_order
from generators import (
    DenseOperator,
    array,
    data_space,
    forward_operator,
    image_space,
    random_element,
)
from odl_genreg import kullback_leibler, ray_transform, squared_l2
from odl_genreg.data_fidelity import DataFidelity
from odl_genreg.gaussian_noise import SquaredL2
from odl_genreg.poisson_noise import CountDivergence
from odl_genreg.solvers import is_smooth
from odl_genreg.torch_bridge import as_element, as_tensor, batch_value
from tolerance import finite_difference_tolerance, tolerance
from tolerance import taylor_order as least_order

each_impl = pytest.mark.parametrize("impl", ["numpy", "pytorch"])
each_weighting = pytest.mark.parametrize("weighting", [None, 1.0])


def least_squares(impl="numpy", weighting=None, noise_std=0.3):
    A = forward_operator(image_space(impl, weighting=weighting))
    return squared_l2(A, random_element(A.range, 5), noise_std)


@each_impl
@each_weighting
def test_squared_l2_is_the_plain_sum(impl, weighting):
    D = least_squares(impl, weighting)
    x = random_element(D.domain)
    residual = D.operator.matrix @ array(x) - array(D.data)
    expected = (residual**2).sum() / (2 * 0.3**2)
    assert D(x) == pytest.approx(expected, rel=tolerance["float64"])
    assert D.on_data(D.operator(x)) == pytest.approx(expected)
    assert batch_value(D)(as_tensor(x)[None]).item() == pytest.approx(expected)


@each_impl
@each_weighting
def test_squared_l2_gradient(impl, weighting):
    D = least_squares(impl, weighting)
    x, h = random_element(D.domain), random_element(D.domain, 1)
    assert taylor_order(D, x, h) >= least_order
    slope = D.gradient(x).inner(h)
    assert D.derivative(x)(h) == pytest.approx(slope, rel=tolerance["float64"])


@each_impl
def test_hessian_of_squared_l2(impl):
    """The gradient is affine: its derivative is a difference of two gradients."""
    D = least_squares(impl)
    x, h = random_element(D.domain), random_element(D.domain, 1)
    difference = D.gradient(x + h) - D.gradient(x)
    error = (D.gradient.derivative(x)(h) - difference).norm()
    assert error <= 1e-10 * difference.norm()


def test_value_and_gradient_share_the_product():
    class Counted(DenseOperator):
        calls = 0

        def _call(self, x):
            Counted.calls += 1
            return super()._call(x)

    X = image_space()
    A = forward_operator(X)
    A = Counted(A.matrix, A.domain, A.range)
    D = squared_l2(A, random_element(A.range, 5))
    x = random_element(X)
    value, gradient = D(x), D.gradient(x)
    assert Counted.calls == 1
    x[0, 0] += 1
    assert D(x) != value
    assert D.gradient(x) != gradient
    assert Counted.calls == 2


@each_impl
def test_data_changed_in_place_are_noticed(impl):
    D = least_squares(impl)
    x = random_element(D.domain)
    _ = D(x)
    D.data.set_zero()
    expected = D.operator(x).norm() ** 2 / (
        2 * 0.3**2 * D.operator.range.weighting.const
    )
    assert D(x) == pytest.approx(expected)


def test_parts_and_expected_residual():
    D = least_squares(noise_std=0.5)
    assert isinstance(D, SquaredL2)
    assert D.operator.range == D.data.space == D.on_data.domain
    assert D.noise_std == 0.5
    assert D.expected_residual == 10 * 0.25
    assert is_smooth(D)


def test_data_may_be_an_array():
    A = forward_operator(image_space())
    values = np.arange(10.0)
    assert squared_l2(A, values).data == squared_l2(A, A.range.element(values)).data


def test_nonlinear_operator():
    """``D(x) = (x^2 - y)^2 / 2`` for one number: (9 - 1)^2 / 2 = 32."""
    X = odl.rn(1)
    D = squared_l2(odl.PowerOperator(X, 2), [1.0])
    assert D([3.0]) == 32.0
    assert D.gradient([3.0])[0] == (9 - 1) * 2 * 3


@pytest.mark.parametrize("fidelity", ["squared_l2", "kullback_leibler"])
def test_float32_gradient_with_astra(fidelity):
    X = odl.uniform_discr([0, 0], [1.4, 1.8], (7, 9), dtype="float32")
    A = ray_transform(X, num_angles=4)
    x = X.element(1 + 0.3 * np.random.default_rng(0).random((7, 9)))
    h = X.element(np.random.default_rng(1).random((7, 9)))
    if fidelity == "squared_l2":
        D = squared_l2(A, 1.5 * A(X.one()), noise_std=0.1)
    else:
        D = kullback_leibler(A, 20 * A(X.one()))
    assert np.isfinite(D(x))
    assert finite_difference_error(D, x, h) <= finite_difference_tolerance


# --- Kullback-Leibler --- #


def counting(impl="numpy", weighting=None, background=0.0):
    """Counts of a positive operator; the first ray misses, the second has no counts."""
    X = image_space(impl, weighting=weighting)
    matrix = np.random.default_rng(0).random((10, 63))
    matrix[0] = 0
    A = DenseOperator(matrix, X, data_space(10, impl))
    counts = np.random.default_rng(1).poisson(20.0, 10).astype(float)
    counts[0] = counts[1] = 0
    return kullback_leibler(A, counts, background)


def positive_element(X, seed=0):
    return as_element(X, as_tensor(random_element(X, seed)).abs() + 0.2)


@each_impl
@each_weighting
@pytest.mark.parametrize("background", [0.0, 2.5])
def test_kullback_leibler_is_that_of_scipy(impl, weighting, background):
    D = counting(impl, weighting, background)
    x = positive_element(D.domain)
    v = D.operator.matrix @ array(x) + background
    expected = kl_div(array(D.data), v).sum()
    assert D(x) == pytest.approx(expected, rel=tolerance["float64"])
    assert D.on_data(D.operator(x)) == pytest.approx(expected)
    assert batch_value(D)(as_tensor(x)[None]).item() == pytest.approx(expected)


@each_impl
@each_weighting
@pytest.mark.parametrize("background", [0.0, 2.5])
def test_kullback_leibler_gradient(impl, weighting, background):
    """Also where a ray misses everything and there is nothing to count."""
    D = counting(impl, weighting, background)
    x, h = positive_element(D.domain), random_element(D.domain, 1)
    assert taylor_order(D, x, h) >= least_order
    assert is_smooth(D)


@each_impl
def test_counts_where_nothing_is_expected(impl):
    Y = data_space(3, impl)
    f = CountDivergence(Y, prior=Y.element([0.0, 1.0, 2.0]))
    assert f(Y.element([0.0, 1.0, 2.0])) == 0.0
    assert f(Y.element([0.0, 0.0, 2.0])) == np.inf
    assert f(Y.element([-1.0, 1.0, 2.0])) == np.inf
    assert array(f.gradient(Y.element([0.0, 2.0, 2.0]))).tolist() == [1.0, 0.5, 0.0]


@each_impl
@pytest.mark.parametrize("background", [0.0, 2.5])
def test_conjugate_proximals_for_pdhg(impl, background):
    """Moreau: ``p = prox_{s f*}(q)`` makes ``(q - p) / s`` the proximal of ``f``.

    That is the minimizer of ``f(v) + s ||v - q / s||^2 / 2``.
    """
    for D in (least_squares(impl), counting(impl, background=background)):
        Y, s = D.on_data.domain, 0.7
        q = positive_element(Y, 3)
        v = (q - D.on_data.convex_conj.proximal(s)(q)) / s
        v += 1e-12 * Y.one()  # not below 0 by rounding

        def objective(v, D=D, q=q, s=s):
            return D.on_data(v) + s / 2 * (v - q / s).norm() ** 2

        for seed in range(20):
            other = v + 1e-3 * random_element(Y, seed)
            assert objective(v) <= objective(other)


def test_pdhg_runs_on_the_parts():
    """Least squares with more data than unknowns, against numpy."""
    X = odl.uniform_discr([0, 0], [1, 1.5], (2, 3))
    matrix = np.random.default_rng(0).standard_normal((10, 6))
    A = DenseOperator(matrix, X, data_space())
    D = squared_l2(A, np.arange(10.0), noise_std=0.5)
    x, tau = X.zero(), 0.9 / A.norm(estimate=True)
    f = odl.functionals.ZeroFunctional(X)
    odl.solvers.pdhg(x, f, D.on_data, A, niter=1000, tau=tau, sigma=tau)
    expected = np.linalg.lstsq(matrix, np.arange(10.0), rcond=None)[0]
    assert array(x) == pytest.approx(expected, abs=1e-6)


def test_data_fidelity_of_any_functional():
    A = forward_operator(image_space())
    on_data = odl.functionals.Huber(A.range, 0.1)
    D = DataFidelity(A, A.range.one(), on_data)
    x = random_element(D.domain)
    assert D(x) == on_data(A(x))
    assert D.noise_std is None
