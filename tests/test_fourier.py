# SPDX-License-Identifier: MPL-2.0
"""Samples of k-space: on the grid, off it, of coils, of real and complex images."""

import numpy as np
import odl
import pytest
import torch

import odl_genreg as ogr
from checks import adjoint_error
from generators import DenseOperator, make_generator, random_element
from odl_genreg.forward_operators import (
    Coils,
    equispaced_mask,
    radial_mask,
    radial_trajectory,
    variable_density_mask,
)
from odl_genreg.torch_bridge import LinearMap, as_element, as_tensor, normal_spectrum

SHAPES = [(7, 9), (64, 64)]
BOUND = {"float32": 1e-5, "float64": 1e-10}


def image_space(
    shape, dtype="float64", impl="numpy", complex_images=False, weight=None
):
    """Cells of 0.2 x 0.3, volume 0.06, or the weight that is given."""
    keywords = {} if weight is None else {"weighting": weight}
    n, m = shape
    X = odl.uniform_discr(
        [0, 0], [0.2 * n, 0.3 * m], shape, dtype=dtype, impl=impl, **keywords
    )
    return X**2 if complex_images else X


def sensitivities(shape, coils=3):
    source = np.random.default_rng(5)
    real, imaginary = source.normal(size=(2, coils, *shape))
    return real + 1j * imaginary


def operators(X, shape):
    """Every operator on a space: masked and not on the grid, with and without coils."""
    points = np.random.default_rng(1).uniform(-4, 4, size=(40, 2))
    masked = radial_mask(shape, 4)
    for maps in (None, sensitivities(shape)):
        yield ogr.MaskedFourier(X, masked, maps)
        yield ogr.NonuniformFourier(X, points, maps)


def complex_array(x):
    """Complex array of a real or complex image."""
    t = as_tensor(x).numpy().astype("float64")
    return t[0] + 1j * t[1] if t.ndim == 3 else t + 0j


def direct_sum(u, points):
    """``(n m)^{-1/2} sum_j exp(-i <omega, j>) u_j``, pixels counted from the center."""
    n, m = u.shape
    rows, columns = np.arange(n) - n // 2, np.arange(m) - m // 2
    first = np.exp(-1j * np.multiply.outer(points[:, 0], rows))
    second = np.exp(-1j * np.multiply.outer(points[:, 1], columns))
    return np.einsum("kn,nm,km->k", first, u, second) / np.sqrt(n * m)


@pytest.mark.parametrize("weight", [None, 1.0])
@pytest.mark.parametrize("complex_images", [False, True])
@pytest.mark.parametrize("impl", ["numpy", "pytorch"])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("shape", SHAPES)
def test_adjoint(shape, dtype, impl, complex_images, weight):
    X = image_space(shape, dtype, impl, complex_images, weight)
    for A in operators(X, shape):
        assert adjoint_error(A) <= BOUND[dtype]
        assert A.adjoint.adjoint is A


@pytest.mark.parametrize("complex_images", [False, True])
@pytest.mark.parametrize("shape", [(7, 9), (6, 8)])
def test_values_are_direct_sums(shape, complex_images):
    X = image_space(shape, complex_images=complex_images)
    x, maps = random_element(X), sensitivities(shape)
    u = complex_array(x)
    points = radial_trajectory(shape, 5)
    mask = variable_density_mask(shape, 0.4)
    k = (np.argwhere(mask) - np.array(shape) // 2) / np.array(shape)
    cases = [
        (ogr.NonuniformFourier(X, points), points, [u]),
        (ogr.NonuniformFourier(X, points, maps), points, maps * u),
        (ogr.MaskedFourier(X, mask), 2 * np.pi * k, [u]),
        (ogr.MaskedFourier(X, mask, maps), 2 * np.pi * k, maps * u),
    ]
    for A, omega, images in cases:
        y = as_tensor(A(x)).numpy()
        y = y if y.ndim == 3 else y[None]
        expected = np.stack([direct_sum(image, omega) for image in images])
        np.testing.assert_allclose(y[:, 0] + 1j * y[:, 1], expected, atol=1e-11)


def test_data_space_holds_the_samples_only():
    X, mask = image_space((7, 9)), radial_mask((7, 9), 3)
    assert ogr.MaskedFourier(X, mask).range.shape == (2, mask.sum())
    A = ogr.MaskedFourier(X, mask, sensitivities((7, 9)))
    assert A.range.shape == (3, 2, mask.sum())
    D = ogr.squared_l2(A, A.range.zero(), noise_std=0.1)
    assert D.expected_residual == pytest.approx(6 * mask.sum() * 0.01)


@pytest.mark.parametrize("complex_images", [False, True])
def test_batches_and_derivatives(complex_images):
    X = image_space((5, 4), complex_images=complex_images)
    for A in operators(X, (5, 4)):
        x, linear_map = random_element(X), LinearMap(A)
        batch = torch.stack([as_tensor(x), 2 * as_tensor(x)])
        torch.testing.assert_close(linear_map(batch)[1], 2 * as_tensor(A(x)))
        assert torch.autograd.gradcheck(linear_map, batch.requires_grad_())


@pytest.mark.parametrize("complex_images", [False, True])
@pytest.mark.parametrize("shape", [(7, 9), (8, 6)])
def test_normal_spectrum(shape, complex_images):
    X = image_space(shape, complex_images=complex_images)
    # not symmetric: a real image sees each sample and its reflection
    A = ogr.MaskedFourier(X, variable_density_mask(shape, 0.3, seed=2))
    x, linear_map = as_tensor(random_element(X))[None], LinearMap(A)
    spectrum = normal_spectrum(A)
    normal = linear_map.T(linear_map(x))
    torch.testing.assert_close(spectrum.apply(lambda t: t, x), normal)
    inverse = spectrum.apply(lambda t: 1 / (t + 0.5), normal + 0.5 * x)
    torch.testing.assert_close(inverse, x)
    torch.testing.assert_close(spectrum.backward(spectrum.forward(x)), x)
    assert spectrum.forward(x).abs().square().sum() == pytest.approx(
        float(x.square().sum())
    )


def test_no_spectrum_with_coils():
    X = image_space((7, 9))
    mask = radial_mask((7, 9), 3)
    assert normal_spectrum(ogr.MaskedFourier(X, mask, sensitivities((7, 9)))) is None
    assert normal_spectrum(2 * ogr.MaskedFourier(X, mask)) is not None


def test_gradient_is_the_derivative():
    """That of the same with ODL's own Fourier transform is not."""
    X = image_space((7, 9))
    A = ogr.MaskedFourier(X, radial_mask((7, 9), 3))
    D = ogr.squared_l2(A, random_element(A.range, 3), noise_std=0.5)
    x, h = random_element(X), random_element(X, 1)
    difference = (D(x + 1e-4 * h) - D(x - 1e-4 * h)) / 2e-4
    assert D.gradient(x).inner(h) == pytest.approx(difference, rel=1e-8)


def test_grid_points_of_the_nonuniform_transform():
    shape = (6, 9)
    X, mask = image_space(shape), np.ones(shape, dtype=bool)
    k = (np.argwhere(mask) - np.array(shape) // 2) / np.array(shape)
    x = random_element(X)
    first = as_tensor(ogr.MaskedFourier(X, mask)(x))
    second = as_tensor(ogr.NonuniformFourier(X, 2 * np.pi * k)(x))
    torch.testing.assert_close(first, second, atol=1e-11, rtol=0)
    assert first.norm() == pytest.approx(float(as_tensor(x).norm()))  # orthonormal


class TwoChannels(torch.nn.Module):
    """Real and imaginary part of an image, from three real latents."""

    def __init__(self):
        super().__init__()
        self.layer = torch.nn.Linear(3, 2 * 7 * 9).double()

    def forward(self, z):
        return torch.tanh(self.layer(z)).reshape(-1, 2, 7, 9)


@pytest.mark.parametrize("with_coils", [False, True])
def test_reconstruction_of_complex_images(with_coils):
    """Z is real, gradients are those of the real inner product."""
    X, Z = image_space((7, 9), complex_images=True), odl.rn(3)
    G = ogr.Generator(TwoChannels(), Z, X)
    maps = sensitivities((7, 9)) if with_coils else None
    A = ogr.MaskedFourier(X, radial_mask((7, 9), 3), maps)
    z = Z.element([0.3, -1.0, 0.5])
    D = ogr.squared_l2(A, A(G(z)), noise_std=1e-3)
    R = ogr.soft_constraint(G, mu=1e-6)
    result = ogr.reconstruct(D, R, lam=1.0, tol=1e-8)
    assert (result.x - G(z)).norm() <= 1e-3 * G(z).norm()
    assert (result.z - z).norm() <= 1e-2


def test_soft_through_the_spectrum_is_that_of_the_matrix():
    X, shape = image_space((7, 9)), (7, 9)
    A = ogr.MaskedFourier(X, variable_density_mask(shape, 0.3))
    rows = as_tensor(random_element(A.range))
    columns = [
        LinearMap(A)(e.reshape(1, *shape)).reshape(-1)
        for e in torch.eye(63, dtype=torch.float64)
    ]
    B = DenseOperator(torch.stack(columns, 1).numpy(), X, A.range)
    G = make_generator("mlp")
    G = ogr.Generator(G.module, G.domain, X)
    R, y = ogr.soft_constraint(G, mu=0.1), as_element(A.range, rows)
    first, second = (
        ogr.reconstruct(ogr.squared_l2(op, y, 0.1), R, 2.0, tol=1e-9) for op in (A, B)
    )
    assert normal_spectrum(A) is not None
    assert normal_spectrum(B) is None
    assert first.objective == pytest.approx(second.objective, rel=1e-9)
    assert (first.x - second.x).norm() <= 1e-5 * second.x.norm()


def test_masks():
    for num_lines in (1, 10, 30):
        mask = radial_mask((128, 128), num_lines)
        assert mask[64, 64]
        assert mask[:, 64].all()  # the first line, along the first axis
    assert radial_mask((128, 128), 400).mean() > 0.75
    mask = equispaced_mask((8, 100), 4, 0.08, offset=1)
    assert mask[:, 1::4].all()
    assert mask[:, 46:54].all()
    assert mask[0].sum() == 25 + 8 - 2
    mask = variable_density_mask((64, 48), 0.25, seed=1)
    assert mask.sum() == 64 * 48 / 4
    assert mask[24:40, 18:30].mean() > 3 * mask.mean() / 2
    assert not np.array_equal(mask, variable_density_mask((64, 48), 0.25, seed=2))
    assert np.array_equal(mask, variable_density_mask((64, 48), 0.25, seed=1))
    assert variable_density_mask((5, 4), 1.0).all()


def test_radial_trajectory():
    points = radial_trajectory((8, 6), 3, 10).reshape(3, 10, 2)
    np.testing.assert_allclose(points[:, 5], 0, atol=1e-12)
    np.testing.assert_allclose(np.linalg.norm(points[:, 0], axis=1), np.pi)
    np.testing.assert_allclose(points[0, :, 1], 0, atol=1e-12)
    direction = points[1, 9] / np.linalg.norm(points[1, 9])
    np.testing.assert_allclose(direction, [np.cos(np.pi / 3), np.sin(np.pi / 3)])


def test_nothing_global_is_touched(global_state_untouched):
    X = image_space((7, 9), "float32")
    with global_state_untouched():
        for A in operators(X, (7, 9)):
            A.adjoint(A(X.one()))


X = image_space((7, 9))
ERRORS = [
    (
        lambda: Coils(odl.rn((7, 9))),
        TypeError,
        "`image_space` must be a discretized space in 2 dimensions, or its power 2 .*"
        "got .*; use",
    ),
    (
        lambda: Coils(X**3),
        TypeError,
        "`image_space` must be a discretized space in 2 dimensions, or its power 2",
    ),
    (
        lambda: Coils(odl.uniform_discr([0, 0], [1, 1], (7, 9), dtype="complex128")),
        TypeError,
        r"`image_space` must be real, got dtype complex128; use `U \*\* 2`",
    ),
    (
        lambda: Coils(X, np.ones((7, 9))),
        ValueError,
        r"`sensitivities` must have shape \(coils, 7, 9\), got \(7, 9\); put",
    ),
    (
        lambda: Coils(X, np.full((1, 7, 9), np.nan)),
        ValueError,
        "`sensitivities` must be finite, got NaN or inf; set",
    ),
    *(
        (
            lambda mask=mask: ogr.MaskedFourier(X, mask),
            ValueError,
            r"`mask` must be a boolean array of shape \(7, 9\) with a sampled .*; use",
        )
        for mask in (
            np.ones((7, 9)),
            np.ones((9, 7), dtype=bool),
            np.zeros((7, 9), dtype=bool),
        )
    ),
    (
        lambda: ogr.NonuniformFourier(X, np.zeros((4, 3))),
        ValueError,
        r"`points` must have shape \(number, 2\), got \(4, 3\); use",
    ),
    (
        lambda: ogr.NonuniformFourier(X, [[0.0, np.inf]]),
        ValueError,
        "`points` must be finite, got NaN or inf; give",
    ),
    (
        lambda: radial_mask((7,), 3),
        ValueError,
        r"`shape` must be a pair of positive ints, got \(7,\); use",
    ),
    (
        lambda: radial_mask((7, 9), 0),
        ValueError,
        "`num_lines` must be a positive int, got 0; use",
    ),
    (
        lambda: radial_trajectory((7, 9), 3, 1.5),
        ValueError,
        "`num_samples` must be a positive int, got 1.5; use",
    ),
    (
        lambda: equispaced_mask((7, 9), 4, 1.5),
        ValueError,
        r"`center_fraction` must be in \[0, 1\], got 1.5; 0.08",
    ),
    (
        lambda: variable_density_mask((7, 9), 0),
        ValueError,
        r"`fraction` must be in \(0, 1\], got 0; 0.25",
    ),
    (
        lambda: variable_density_mask((7, 9), 0.5, decay=-1),
        ValueError,
        "`decay` must be nonnegative and finite, got -1; 0",
    ),
]


@pytest.mark.parametrize(("call", "error", "message"), ERRORS)
def test_errors(call, error, message):
    with pytest.raises(error, match=message):
        call()


def test_missing_finufft(monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "finufft", None)
    with pytest.raises(ImportError, match=r"`finufft` must be .*odl_genreg\[mri\]"):
        ogr.NonuniformFourier(X, [[0.0, 0.0]])
