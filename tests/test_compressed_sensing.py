# SPDX-License-Identifier: MPL-2.0
"""Measurements by random matrices and by samples of transforms."""

import numpy as np
import pytest
import scipy.fft
import scipy.linalg
import torch

import odl_genreg as ogr
from generators import array, random_element
from odl_genreg.forward_operators import MatrixSensing, SampledTransform
from odl_genreg.torch_bridge import gram_matrix, normal_spectrum, takes_batches
from operator_checks import (
    check_operator,
    check_spectrum,
    images,
    matrix_of,
    on_all_spaces,
)

# --- Matrices --- #


@on_all_spaces((7, 9), (64, 64))
def test_gaussian_sensing(X):
    A = ogr.gaussian_sensing(X, 30, seed=3)
    assert A.range.shape == (30,)
    check_operator(A)
    assert takes_batches(A)


def test_gaussian_values():
    X = images((20, 30))
    A = ogr.gaussian_sensing(X, 200, seed=3, std=0.1)
    matrix = matrix_of(A)
    assert matrix.std() == pytest.approx(0.1, rel=0.01)
    assert abs(matrix.mean()) < 0.001
    x = random_element(X)
    np.testing.assert_allclose(A(x).asarray(), matrix @ array(x), atol=1e-12)
    same, other = (ogr.gaussian_sensing(X, 200, seed=s, std=0.1) for s in (3, 4))
    assert torch.equal(A.matrix, same.matrix)
    assert not torch.equal(A.matrix, other.matrix)


def test_matrix_of_ones_own():
    X = images()
    matrix = np.random.default_rng(0).normal(size=(5, X.size))
    for kind in (matrix, torch.from_numpy(matrix), matrix.tolist()):
        A = MatrixSensing(X, kind)
        np.testing.assert_allclose(matrix_of(A), matrix, rtol=1e-6)


@pytest.mark.parametrize("scale", [None, 3.0])
@pytest.mark.parametrize("transposed", [False, True])
def test_gram_matrix(scale, transposed):
    A = ogr.gaussian_sensing(images(), 10)
    M = A.matrix.numpy() * (scale or 1)
    gram = gram_matrix(A if scale is None else scale * A, transposed)
    np.testing.assert_allclose(gram, M.T @ M if transposed else M @ M.T, atol=1e-12)
    if scale:
        np.testing.assert_allclose(gram_matrix(A * scale, transposed), gram)


# --- Samples of transforms --- #


@on_all_spaces((7, 9), (64, 64))
def test_sampled_dct(X):
    A = ogr.sampled_dct(X, 40, seed=2)
    assert A.range.shape == (40,)
    check_operator(A)
    check_spectrum(A)
    check_spectrum(2.0 * A)
    assert takes_batches(A)


@on_all_spaces((8, 16), (64, 64))
def test_sampled_hadamard(X):
    A = ogr.sampled_hadamard(X, 40, seed=2)
    check_operator(A)
    check_spectrum(A)


def signs_of(A):
    """Signs of the pixels: the zero frequency of both transforms is their sum."""
    X = A.domain
    first = np.zeros(X.size)
    first[0] = 1
    row = A.backward(torch.from_numpy(first.reshape(1, *X.shape)))[0].numpy()
    return np.sign(row)


def test_dct_values():
    X = images((6, 10))
    A, x = ogr.sampled_dct(X, 25, seed=1), random_element(X)
    signed = signs_of(A) * array(x).reshape(X.shape)
    expected = scipy.fft.dctn(signed, norm="ortho")[A.mask]
    np.testing.assert_allclose(A(x).asarray(), expected, atol=1e-12)


def test_hadamard_values():
    X = images((4, 8))
    A, x = ogr.sampled_hadamard(X, 11, seed=1), random_element(X)
    H = np.kron(scipy.linalg.hadamard(4), scipy.linalg.hadamard(8)) / np.sqrt(32)
    signed = signs_of(A).ravel() * array(x)
    expected = (H @ signed)[A.mask.ravel()]
    np.testing.assert_allclose(A(x).asarray(), expected, atol=1e-12)
    np.testing.assert_allclose(np.abs(matrix_of(A)), 1 / np.sqrt(32))


@pytest.mark.parametrize("make", [ogr.sampled_dct, ogr.sampled_hadamard])
def test_rows_are_orthonormal_and_seeded(make):
    X = images((8, 8))
    matrix = matrix_of(make(X, 20, seed=1))
    np.testing.assert_allclose(matrix @ matrix.T, np.eye(20), atol=1e-12)
    np.testing.assert_array_equal(matrix, matrix_of(make(X, 20, seed=1)))
    other = make(X, 20, seed=2)
    assert not np.array_equal(other.mask, make(X, 20, seed=1).mask)
    assert not np.array_equal(signs_of(other), signs_of(make(X, 20, seed=1)))
    assert 0.25 < (signs_of(other) > 0).mean() < 0.75
    assert make(X, X.size).mask.all()


def test_random_signs_spread_a_constant_image():
    """Without them all of it is in one coefficient, which is hardly ever sampled."""
    X = images((32, 32), weighting=1.0)
    for make in (ogr.sampled_dct, ogr.sampled_hadamard):
        energy = [make(X, 256, seed=s)(X.one()).norm() ** 2 / X.size for s in range(5)]
        assert all(0.15 < e < 0.35 for e in energy), energy


def test_transform_of_ones_own():
    X = images()

    def turn(x):
        return x.flip(1, 2)

    mask = np.arange(X.size).reshape(X.shape) % 3 == 0
    A = SampledTransform(X, mask, turn, turn)
    check_operator(A)
    check_spectrum(A)
    x = random_element(X)
    expected = array(x).reshape(X.shape)[::-1, ::-1][mask]
    np.testing.assert_array_equal(A(x).asarray(), expected)
    spectrum = normal_spectrum(A)
    np.testing.assert_array_equal(spectrum.eigenvalues.numpy(), mask)


def test_global_state(global_state_untouched):
    X = images((8, 8))
    with global_state_untouched():
        for make in (ogr.sampled_dct, ogr.sampled_hadamard, ogr.gaussian_sensing):
            A = make(X, 5)
            A.adjoint(A(random_element(X)))


# --- Errors --- #


@pytest.mark.parametrize("number", [0, -1, 2.0, True])
def test_number_of_measurements(number):
    for make in (ogr.gaussian_sensing, ogr.sampled_dct, ogr.sampled_hadamard):
        with pytest.raises(ValueError, match="`num_measurements` must be a.*got"):
            make(images((8, 8)), number)


def test_errors():
    X = images((8, 8))
    for make in (ogr.sampled_dct, ogr.sampled_hadamard):
        with pytest.raises(
            ValueError, match=r"must be an integer in \[1, 64\], got 65"
        ):
            make(X, 65)
    for std in (0.0, -1.0, np.inf):
        with pytest.raises(ValueError, match="`std` must be a positive number, got"):
            ogr.gaussian_sensing(X, 5, std=std)
    with pytest.raises(ValueError, match="powers of two, got .7, 9.; use `sampled_dct"):
        ogr.sampled_hadamard(images(), 5)
    for shape in ((64,), (64, 5), (0, 64)):
        with pytest.raises(ValueError, match="`matrix` must have a row for each"):
            MatrixSensing(X, np.ones(shape))


def test_transforms_that_are_not_orthonormal():
    X, mask = images((8, 8)), np.ones((8, 8), bool)

    def double(x):
        return 2 * x

    def half(x):
        return x / 2

    def crop(x):
        return x[:, 1:]

    def flip(x):
        return x.flip(1)

    for forward, backward, received in (
        (double, half, r"\|U x\| / \|x\| = 2 "),
        (flip, torch.clone, r"\|U\^T U x - x\| / \|x\| = 1"),
        (crop, torch.clone, "another shape"),
    ):
        message = "`forward` must be orthonormal with the inverse `backward`, got .*"
        with pytest.raises(ValueError, match=message + received):
            SampledTransform(X, mask, forward, backward)
