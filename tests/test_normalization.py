# SPDX-License-Identifier: MPL-2.0
"""The two norms of an operator."""

import math

import numpy as np
import odl
import pytest

import odl_genreg as ogr
from generators import array, forward_operator, random_element
from odl_genreg.forward_operators import operator_norm
from odl_genreg.torch_bridge import takes_batches, weight
from operator_checks import check_operator, images, matrix_of, on_all_spaces


def operators(X):
    yield ogr.Convolution(X, np.random.default_rng(0).normal(size=(3, 3)))
    yield ogr.gaussian_sensing(X, 30)
    yield ogr.gaussian_sensing(X, 2 * X.size)
    yield ogr.sampled_dct(X, 30)
    yield ogr.inpainting(X, ogr.forward_operators.random_mask(X.shape, 0.5))


@on_all_spaces((7, 9))
def test_singular_value(X):
    for A in operators(X):
        plain, weighted = (operator_norm(A, norm) for norm in ("plain", "weighted"))
        largest = np.linalg.norm(matrix_of(A), 2)
        assert plain == pytest.approx(largest, rel=2e-4)
        ratio = math.sqrt(weight(A.range) / weight(X))
        assert weighted == pytest.approx(ratio * plain, rel=1e-12)
        assert operator_norm(A) == weighted


def test_weights_of_both_spaces():
    A = forward_operator(images())
    expected = np.linalg.norm(A.matrix, 2) * math.sqrt(0.25 / A.domain.cell_volume)
    assert operator_norm(A) == pytest.approx(expected, rel=1e-4)
    x = random_element(A.domain)
    assert A(x).norm() <= operator_norm(A) * x.norm()


def test_as_odl_has_it():
    A = ogr.Convolution(images((16, 16)), ogr.forward_operators.gaussian_kernel(1.0))
    estimate = odl.power_method_opnorm(
        A, xstart=random_element(A.domain), maxiter=2000, rtol=1e-9
    )
    assert operator_norm(A) == pytest.approx(estimate, rel=1e-4)


def test_gradient():
    """``sqrt(8) / h`` for a large grid, and a range that is a power."""
    X = odl.uniform_discr([0, 0], [64, 64], (64, 64))
    n = np.arange(64)
    largest = 2 * np.sin(np.pi * n / 128).max()
    expected = math.sqrt(2) * largest
    A = odl.Gradient(X, pad_mode="symmetric")
    assert operator_norm(A, "plain") == pytest.approx(expected, rel=1e-4)


def tomography(n):
    """Full-view tomography with pixels of side 1, and data weighted by their cells."""
    X = odl.uniform_discr([-n / 2] * 2, [n / 2] * 2, (n, n), dtype="float32")
    geometry = odl.applications.tomo.parallel_beam_geometry(X)
    cells = geometry.partition
    tensors = odl.rn(cells.shape, dtype="float32", weighting=cells.cell_volume)
    Y = odl.DiscretizedSpace(cells, tensors)
    return odl.applications.tomo.RayTransform(X, geometry, proj_space=Y)


@pytest.mark.parametrize(
    ("n", "weighted", "plain"), [(28, 9.21, 41.97), (56, 13.03, 83.13)]
)
def test_tomography(n, weighted, plain):
    """The figures that the docstring gives."""
    A = tomography(n)
    assert operator_norm(A) == pytest.approx(weighted, abs=0.008)
    assert operator_norm(A, "plain") == pytest.approx(plain, abs=0.008)


def test_tomography_with_cells_of_area_one():
    """ODL takes a cell volume of 1 for no weighting, and gives the data none."""
    X = odl.uniform_discr([-14, -14], [14, 14], (28, 28), dtype="float32")
    geometry = odl.applications.tomo.parallel_beam_geometry(X)
    A = ogr.ray_transform(X, geometry=geometry)
    assert weight(A.range) == 1
    assert operator_norm(A) == operator_norm(A, "plain")
    # The same cells in a unit that is larger by 1e-5.
    X = odl.uniform_discr([-14.00014] * 2, [14.00014] * 2, (28, 28), dtype="float32")
    geometry = odl.applications.tomo.parallel_beam_geometry(X)
    A = ogr.ray_transform(X, geometry=geometry)
    assert operator_norm(A) == pytest.approx(9.21, abs=0.008)


@pytest.mark.parametrize("norm", ["weighted", "plain"])
@on_all_spaces((7, 9))
def test_normalized(X, norm):
    for A in operators(X):
        B = ogr.normalized(A, norm)
        assert operator_norm(B, norm) == pytest.approx(1, abs=2e-4)
        assert (B.domain, B.range) == (A.domain, A.range)
        check_operator(B)
        assert takes_batches(B)


def test_deterministic(global_state_untouched):
    A = ogr.gaussian_sensing(images((20, 20)), 100)
    with global_state_untouched():
        first, second = operator_norm(A), operator_norm(A)
    assert first == second


def test_single_pixel_and_zero():
    X = odl.rn(1)
    assert operator_norm(odl.MatrixOperator([[-3.0]])) == pytest.approx(3)
    assert operator_norm(odl.ZeroOperator(X)) == 0
    with pytest.raises(ValueError, match="`operator` must not be zero, got norm 0"):
        ogr.normalized(odl.ZeroOperator(X))


def test_errors():
    A = ogr.gaussian_sensing(images(), 5)
    for call in (operator_norm, ogr.normalized):
        with pytest.raises(ValueError, match="`norm` must be one of 'weighted', 'pl"):
            call(A, "l2")
        with pytest.raises(TypeError, match="`operator` must be linear, got"):
            call(odl.functionals.L2NormSquared(images()))
    X = odl.rn(2, weighting=[1.0, 2.0])
    with pytest.raises(ValueError, match="`space` must have a constant weighting"):
        operator_norm(odl.IdentityOperator(X))


def test_noise_trap():
    """At one noise level, the plain norm makes data worse by ``sqrt(w_X / w_Y)``."""
    A = tomography(28)
    X = A.domain
    x = random_element(X)
    strong, weak = (
        np.linalg.norm(array(ogr.normalized(A, norm)(x)))
        for norm in ("weighted", "plain")
    )
    factor = math.sqrt(weight(X) / weight(A.range))
    assert strong / weak == pytest.approx(factor, rel=1e-5)
    assert factor == pytest.approx(4.6, abs=0.1)
