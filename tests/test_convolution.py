# SPDX-License-Identifier: MPL-2.0
"""The convolution and its kernels, against scipy and closed forms."""

import math

import numpy as np
import odl
import pytest
import scipy.ndimage
import scipy.signal

import odl_genreg as ogr
from generators import array, random_element
from odl_genreg.forward_operators import gaussian_kernel, motion_kernel
from odl_genreg.torch_bridge import normal_spectrum
from operator_checks import check_operator, check_spectrum, images, on_all_spaces

SIDES = [(3, 3), (4, 3), (2, 5), (4, 6), (1, 1), (7, 9), (1, 8)]
MODES = {"zero": "constant", "periodic": "wrap"}


def kernel_of(sides):
    return np.random.default_rng(1).normal(size=sides)


@pytest.mark.parametrize("boundary", MODES)
@on_all_spaces((7, 9), (64, 64))
def test_operator(X, boundary):
    A = ogr.Convolution(X, kernel_of((4, 3)), boundary)
    assert A.range == X
    check_operator(A)


@pytest.mark.parametrize("sides", SIDES)
@pytest.mark.parametrize("boundary", MODES)
def test_values(boundary, sides):
    X, kernel = images(), kernel_of(sides)
    x = random_element(X)
    image, A = array(x).reshape(X.shape), ogr.Convolution(X, kernel, boundary)
    expected = scipy.ndimage.convolve(image, kernel, mode=MODES[boundary])
    np.testing.assert_allclose(A(x).asarray(), expected, atol=1e-12)
    check_operator(A)
    if boundary == "zero":
        full = scipy.signal.convolve(image, kernel, method="direct")
        n, m = (k // 2 for k in sides)
        cropped = full[n : n + X.shape[0], m : m + X.shape[1]]
        np.testing.assert_allclose(A(x).asarray(), cropped, atol=1e-12)


def test_values_in_single_precision():
    X, kernel = images((64, 48), dtype="float32"), gaussian_kernel(2.0)
    x = random_element(X)
    expected = scipy.ndimage.convolve(array(x).reshape(X.shape), kernel, mode="wrap")
    values = ogr.Convolution(X, kernel, "periodic")(x).asarray()
    np.testing.assert_allclose(values, expected, atol=1e-5)


@on_all_spaces((7, 9), (64, 64))
def test_spectrum(X):
    check_spectrum(ogr.Convolution(X, kernel_of((4, 3)) / 3, "periodic"))
    check_spectrum(0.5 * ogr.Convolution(X, kernel_of((3, 2)), "periodic"))


def test_no_spectrum_for_zeros_outside():
    assert normal_spectrum(ogr.Convolution(images(), kernel_of((3, 3)))) is None


def test_kernel_is_a_copy():
    kernel = kernel_of((3, 3))
    A = ogr.Convolution(images(), kernel)
    expected = kernel.copy()
    A.kernel[:] = 0
    kernel[:] = 0
    np.testing.assert_array_equal(A.kernel, expected)


def test_global_state(global_state_untouched):
    X = images()
    with global_state_untouched():
        A = ogr.Convolution(X, motion_kernel(3, 0.4), "periodic")
        A.adjoint(A(random_element(X)))
        normal_spectrum(A)


# --- Kernels --- #


@pytest.mark.parametrize("std", [0.4, 1, 1.7, (0.6, 2.5)])
def test_gaussian_kernel(std):
    kernel = gaussian_kernel(std)
    stds = np.broadcast_to(std, 2)
    assert kernel.shape == tuple(2 * math.ceil(4 * s) + 1 for s in stds)
    assert kernel.sum() == pytest.approx(1)
    rows, columns = (np.arange(n) - n // 2 for n in kernel.shape)
    expected = np.exp(
        -(rows[:, None] ** 2) / (2 * stds[0] ** 2) - columns**2 / (2 * stds[1] ** 2)
    )
    np.testing.assert_allclose(kernel, expected / expected.sum(), rtol=1e-12)


@pytest.mark.parametrize("length", [0.5, 1, 3.3, 8])
@pytest.mark.parametrize("angle", [0.0, 0.3, math.pi / 4, math.pi / 2, 2.5, -7.0])
def test_motion_kernel(length, angle):
    kernel = motion_kernel(length, angle)
    assert kernel.shape[0] % 2 == kernel.shape[1] % 2 == 1
    assert kernel.min() >= 0
    assert kernel.sum() == pytest.approx(1)
    np.testing.assert_allclose(kernel, kernel[::-1, ::-1], atol=1e-12)
    # Against the mean of linear interpolations at many points of the line.
    n = 20000
    t = ((np.arange(n) + 0.5) / n - 0.5) * length
    rows, columns = (np.arange(side) - side // 2 for side in kernel.shape)
    hat_rows, hat_columns = (
        np.maximum(1 - np.abs(c * t - j[:, None]), 0)
        for c, j in ((math.cos(angle), rows), (math.sin(angle), columns))
    )
    np.testing.assert_allclose(kernel, hat_rows @ hat_columns.T / n, atol=1e-6)


def test_motion_along_an_axis_stays_in_it():
    assert motion_kernel(4, 0).shape == (5, 1)
    assert motion_kernel(4, math.pi / 2).shape == (1, 5)


# --- Errors --- #


@pytest.mark.parametrize(
    ("kernel", "message"),
    [
        ([1.0, 2.0], r"`kernel` must be an array in two dimensions .*got shape \(2,\)"),
        (np.zeros((0, 3)), r"`kernel` must be .* with at least one entry, got shape"),
        (
            np.ones((8, 3)),
            r"`kernel` must not be larger than the images, \(7, 9\), got",
        ),
        ([[np.nan]], "`kernel` must be finite, got NaN or infinity"),
        ([[1.0, -np.inf]], "`kernel` must be finite, got NaN or infinity"),
    ],
)
def test_kernel_errors(kernel, message):
    with pytest.raises(ValueError, match=message):
        ogr.Convolution(images(), kernel)


def test_other_errors():
    with pytest.raises(ValueError, match="`boundary` must be one of 'zero', 'periodic"):
        ogr.Convolution(images(), [[1.0]], "reflect")
    for std in (0, -1.0, np.nan, (1, 2, 3), (1, 0)):
        with pytest.raises(ValueError, match="`std` must be a positive number or a"):
            gaussian_kernel(std)
    with pytest.raises(ValueError, match="`length` must be a positive number, got 0"):
        motion_kernel(0, 0.1)
    with pytest.raises(ValueError, match="`angle` must be a finite number, got inf"):
        motion_kernel(2, math.inf)


SPACES = [
    (odl.rn((7, 9)), TypeError, "`image_space` must be a discretized space, got"),
    (odl.uniform_discr(0, 1, 4), ValueError, "uniformly discretized in 2 dimensions"),
    (
        odl.uniform_discr([0, 0], [1, 1], (2, 2), dtype="complex64"),
        ValueError,
        "`image_space` must have dtype float32 or float64, got complex64",
    ),
    (
        odl.uniform_discr([0, 0], [1, 1], (2, 2), weighting=np.ones((2, 2))),
        ValueError,
        "`image_space` must be weighted by a constant, got",
    ),
]


@pytest.mark.parametrize(("space", "error", "message"), SPACES)
def test_space_errors(space, error, message):
    calls = (
        lambda: ogr.Convolution(space, [[1.0]]),
        lambda: ogr.inpainting(space, np.ones((2, 2), bool)),
        lambda: ogr.gaussian_sensing(space, 3),
        lambda: ogr.forward_operators.MatrixSensing(space, np.ones((2, 4))),
        lambda: ogr.sampled_dct(space, 3),
        lambda: ogr.sampled_hadamard(space, 3),
    )
    for call in calls:
        with pytest.raises(error, match=message):
            call()
