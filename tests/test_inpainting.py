# SPDX-License-Identifier: MPL-2.0
"""Known pixels, and averages over blocks."""

import numpy as np
import odl
import pytest
import torch

import odl_genreg as ogr
from generators import array, random_element
from odl_genreg.forward_operators import random_mask
from odl_genreg.torch_bridge import LinearMap, as_tensor, normal_spectrum, takes_batches
from operator_checks import (
    KINDS,
    check_operator,
    check_spectrum,
    images,
    on_all_spaces,
)


@on_all_spaces((7, 9), (64, 64))
def test_inpainting(X):
    mask = random_mask(X.shape, 0.3, seed=1)
    A = ogr.inpainting(X, mask)
    assert A.range.shape == (mask.sum(),)
    check_operator(A)
    check_spectrum(A)
    x = random_element(X)
    expected = array(x).reshape(X.shape)[mask]
    np.testing.assert_array_equal(as_tensor(A(x)).numpy(), expected)
    assert takes_batches(A)


def test_normal_operator_is_the_mask():
    X = images()
    mask = random_mask(X.shape, 0.4)
    linear_map = LinearMap(ogr.inpainting(X, mask))
    x = as_tensor(random_element(X))[None]
    expected = torch.from_numpy(mask) * x
    assert torch.equal(linear_map.T(linear_map(x)), expected)
    spectrum = normal_spectrum(linear_map.operator)
    np.testing.assert_array_equal(spectrum.eigenvalues.numpy(), mask)


def test_as_odl_has_it():
    """Where the adjoint of `odl.SamplingOperator` holds, the two are the same."""
    X = images()
    mask = random_mask(X.shape, 0.4)
    A = ogr.inpainting(X, mask)
    B = odl.SamplingOperator(X, [list(i) for i in np.nonzero(mask)])
    x, y = random_element(X), random_element(A.range)
    assert A.range == B.range
    assert A(x) == B(x)
    assert (A.adjoint(y) - B.adjoint(y)).norm() <= 1e-12 * B.adjoint(y).norm()


def test_mask_is_a_copy():
    mask = random_mask((7, 9), 0.5)
    A, expected = ogr.inpainting(images(), mask), mask.copy()
    A.mask[:] = False
    mask[:] = False
    np.testing.assert_array_equal(A.mask, expected)


@pytest.mark.parametrize("fraction", [0.02, 0.25, 0.5, 1])
def test_random_mask(fraction, global_state_untouched):
    with global_state_untouched():
        mask, same, other = (random_mask((7, 9), fraction, s) for s in (1, 1, 2))
    assert mask.shape == (7, 9)
    assert mask.sum() == round(fraction * 63)
    np.testing.assert_array_equal(mask, same)
    assert fraction == 1 or not np.array_equal(mask, other)


def test_global_state(global_state_untouched):
    X = images()
    with global_state_untouched():
        A = ogr.inpainting(X, random_mask(X.shape, 0.5))
        A.adjoint(A(random_element(X)))


# --- Averages over blocks --- #


@pytest.mark.parametrize(("impl", "dtype"), sorted({kind[:2] for kind in KINDS}))
@pytest.mark.parametrize(
    ("shape", "factor"), [((6, 9), 3), ((7, 9), (7, 3)), ((64, 64), 4), ((7, 9), 1)]
)
def test_downsampling(shape, factor, impl, dtype):
    X = images(shape, impl, dtype)
    A = ogr.downsampling(X, factor)
    check_operator(A)
    rows, columns = np.broadcast_to(factor, 2)
    x = random_element(X)
    blocks = array(x).reshape(shape[0] // rows, rows, shape[1] // columns, columns)
    atol = 1e-6 if dtype == "float32" else 1e-12
    np.testing.assert_allclose(as_tensor(A(x)), blocks.mean(axis=(1, 3)), atol=atol)
    assert A.range.cell_volume == pytest.approx(rows * columns * X.cell_volume)


# --- Errors --- #


def test_errors():
    X = images()
    message = r"`mask` must be a boolean array of shape \(7, 9\), .*got "
    for mask in (np.ones((7, 9)), np.ones((9, 7), bool), np.ones((7, 9), int)):
        with pytest.raises(ValueError, match=message):
            ogr.inpainting(X, mask)
    with pytest.raises(ValueError, match="`mask` must keep at least one entry, got"):
        ogr.inpainting(X, np.zeros((7, 9), bool))
    for fraction in (0, 1.1, -1, 0.001, np.nan):
        with pytest.raises(
            ValueError, match=r"`fraction` must be in \(0, 1\] and keep"
        ):
            random_mask((7, 9), fraction)


def test_downsampling_errors():
    message = r"`factor` must be a positive integer that divides .*\(7, 9\).*got "
    for factor in (2, 0, 1.0, (7, 2), (7,), (7, 3, 1), -1):
        with pytest.raises(ValueError, match=message):
            ogr.downsampling(images(), factor)
    for space in (images(weighting=1.0), odl.rn((7, 9))):
        with pytest.raises(
            ValueError, match="`image_space` must be a discretized space"
        ):
            ogr.downsampling(space, 1)
