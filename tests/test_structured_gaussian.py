# SPDX-License-Identifier: MPL-2.0
"""The covariance of images about G(z), against dense matrices."""

import math

import numpy as np
import odl
import pytest
import torch

import odl_genreg as ogr
from checks import taylor_order
from generators import (
    LATENTS,
    SHAPE,
    array,
    forward_operator,
    image_space,
    latent_space,
    linear_network,
    linear_parts,
    mlp_network,
    precision_network,
    random_element,
)
from odl_genreg.deviation import StructuredGaussian
from odl_genreg.networks import VAE, StructuredVAE
from odl_genreg.precision_factor import neighbors, num_entries, whiten
from odl_genreg.torch_bridge import as_tensor, weight
from odl_genreg.training import train
from tolerance import taylor_order as least_order
from tolerance import tolerance


def dense_factor(factor):
    """``L`` of one factor ``(k, n, m)``, entry by entry from its definition."""
    k, n, m = factor.shape
    radius = next(r for r in range(1, 10) if num_entries(r) == k)
    L = np.zeros((n * m, n * m))
    for p, (row, column) in enumerate(np.ndindex(n, m)):
        scale = math.exp(factor[0, row, column])
        L[p, p] = scale
        for c, (i, j) in enumerate(neighbors(radius), start=1):
            if 0 <= row + i < n and 0 <= column + j < m:
                L[p + i * m + j, p] = scale * float(factor[c, row, column])
    return L


@pytest.mark.parametrize("radius", [1, 2, 3])
def test_whitening_is_the_transposed_factor(radius):
    source = torch.Generator().manual_seed(0)
    factor = torch.randn(2, num_entries(radius), *SHAPE, generator=source).double()
    u = torch.randn(2, *SHAPE, generator=source).double()
    whitened, log_determinant = whiten(factor, u)
    for row in range(2):
        L = dense_factor(factor[row])
        assert np.array_equal(L, np.tril(L))
        expected = (L.T @ u[row].numpy().ravel()).reshape(SHAPE)
        np.testing.assert_allclose(whitened[row], expected, rtol=1e-12)
        sign, expected = np.linalg.slogdet(L)
        assert sign == 1
        assert log_determinant[row].item() == pytest.approx(expected, rel=1e-9)


def test_a_factor_spans_the_window():
    assert len(neighbors(2)) == num_entries(2) - 1 == 12
    both = neighbors(2) + [(-i, -j) for i, j in neighbors(2)]
    assert sorted([*both, (0, 0)]) == [
        (i, j) for i in range(-2, 3) for j in range(-2, 3)
    ]


def make(network=mlp_network, precision=None, **keywords):
    precision = precision_network(torch.float64) if precision is None else precision
    X, Z = image_space(), latent_space()
    return ogr.Generator(network(), Z, X, precision=precision, **keywords)


def test_value_is_twice_the_negative_log_density():
    G = make(intensity=(0.5, 3.0))
    F, u, z = StructuredGaussian(G), random_element(G.range), random_element(G.domain)
    L = dense_factor(G.precision(as_tensor(z)[None])[0])
    sigma = 9 * np.linalg.inv(L @ L.T)  # in the unit of the images
    _, log_determinant = np.linalg.slogdet(sigma)
    expected = array(u) @ np.linalg.solve(sigma, array(u)) + log_determinant
    assert F([u, z]) == pytest.approx(expected, rel=tolerance["float64"])


def test_gradient():
    G = make(intensity=(0.5, 3.0))
    F = StructuredGaussian(G)
    point, direction = (random_element(F.domain, seed) for seed in (0, 5))
    assert taylor_order(F, point, direction) >= least_order


class Constant(torch.nn.Module):
    """The same factor at all latents."""

    def __init__(self, factor):
        super().__init__()
        self.register_buffer("factor", factor)

    def forward(self, z):
        return self.factor.expand(len(z), *self.factor.shape)


def linear_case():
    """``G(z) = B z + b`` with a constant precision ``P``."""
    zero = torch.zeros(1, LATENTS, dtype=torch.float64)
    factor = precision_network(torch.float64, seed=4)(zero)[0].detach()
    G = make(linear_network, Constant(factor))
    L = dense_factor(factor)
    return G, *linear_parts(G), L @ L.T


def test_regularizer_of_a_linear_generator_is_weighted_least_squares():
    G, B, b, P = linear_case()
    R, x = ogr.structured_deviation(G), random_element(G.range)
    assert R.mu * weight(G.domain) == 1
    H = B.T @ P @ B + np.eye(LATENTS)
    z = np.linalg.solve(H, B.T @ P @ (array(x) - b))
    u = array(x) - B @ z - b
    _, log_determinant = np.linalg.slogdet(P)
    expected = u @ P @ u - log_determinant + z @ z
    assert R(x) == pytest.approx(expected, rel=1e-8)
    gradient = 2 * P @ u / weight(G.range)
    np.testing.assert_allclose(
        array(R.gradient(x)), gradient, atol=1e-4 * abs(gradient).max()
    )


def test_reconstruction_of_a_linear_generator():
    """``min |A x - y|^2 / (2 sigma^2) + lam (u^T P u + |z|^2)`` by a dense solve."""
    G, B, b, P = linear_case()
    A, sigma, lam = forward_operator(G.range), 0.1, 0.5
    y = random_element(A.range)
    D = ogr.squared_l2(A, y, noise_std=sigma)
    found = ogr.reconstruct(D, ogr.structured_deviation(G), lam, restarts=1, tol=1e-7)
    # D and F are plain sums.
    n, k = B.shape
    E = np.hstack([np.eye(n), -B])
    H = 2 * lam * E.T @ P @ E
    H[:n, :n] += A.matrix.T @ A.matrix / sigma**2
    H[n:, n:] += 2 * lam * np.eye(k)
    right = 2 * lam * E.T @ P @ b
    right[:n] += A.matrix.T @ array(y) / sigma**2
    x = np.linalg.solve(H, right)[:n]
    np.testing.assert_allclose(array(found.x), x, atol=1e-4 * abs(x).max())
    assert "lbfgs" in found.solver


def test_errors():
    X, Z = image_space(), latent_space()
    G = ogr.Generator(mlp_network(), Z, X)
    for make_one in (StructuredGaussian, ogr.structured_deviation):
        with pytest.raises(ValueError, match="`generator` must have a `precision`"):
            make_one(G)
    with pytest.raises(TypeError, match="`precision` must be a torch.nn.Module"):
        ogr.Generator(mlp_network(), Z, X, precision=3)
    with pytest.raises(ValueError, match="`precision` must return factors .*, got"):
        ogr.Generator(mlp_network(), Z, X, precision=mlp_network())
    with pytest.raises(ValueError, match="`latent_space` must have the dtype of"):
        ogr.Generator(mlp_network(), Z, X, precision=precision_network(torch.float32))
    for options in ({"radius": 0}, {"floor": 0.0}):
        with pytest.raises(ValueError, match="`radius` and `floor` must be an int"):
            StructuredVAE((8, 12), **options)


# --- Training --- #


def stripes(number, seed):
    """Images whose pixels are equal along each row but for a little noise."""
    source = torch.Generator().manual_seed(seed)
    rows = torch.randn(number, 1, 8, 1, generator=source)
    noise = torch.randn(number, 1, 8, 12, generator=source)
    return (0.5 + 0.1 * rows + 0.01 * noise).clamp(0, 1)


def small(**options):
    arguments = {"channels": (4, 4), "hidden": 8, "floor": 1e-3} | options
    return StructuredVAE((8, 12), latent_dim=2, **arguments)


def test_covariance_learns_what_the_mean_cannot():
    """Two latents for eight stripes: the rest is structured noise."""
    network, images = small(), stripes(400, 0)
    history = train(
        network,
        images,
        stripes(64, 1),
        epochs=8,
        batch_size=16,
        learning_rate=0.01,
        augmentation=None,
    )
    assert len(history) == 16
    assert history[-1][1] < history[7][1] - 50  # nats
    factor = network.precision(torch.zeros(1, 2)).detach()[0]
    L = dense_factor(factor.double())
    covariance = np.linalg.inv(L @ L.T)
    std = np.sqrt(covariance.diagonal())
    correlation = (covariance / std / std[:, None]).reshape(8, 12, 8, 12)
    assert correlation[4, 3, 4, 9] > 0.6  # far along a row
    assert abs(correlation[2, 3, 6, 3]) < 0.3  # from row to row


def test_covariance_leaves_the_mean_alone(tmp_path):
    options = {"epochs": 2, "batch_size": 16}
    with_covariance = small()
    mean_alone = VAE((8, 12), latent_dim=2, channels=(4, 4), hidden=8)
    history = train(mean_alone, stripes(40, 0), stripes(16, 1), **options)
    both = train(
        with_covariance,
        stripes(40, 0),
        stripes(16, 1),
        checkpoint_path=tmp_path / "state",
        log_path=tmp_path / "log",
        **options,
    )
    assert both[:2] == history
    for name in ("decoder", "encoder"):
        for one, two in zip(
            getattr(mean_alone, name).parameters(),
            getattr(with_covariance, name).parameters(),
            strict=True,
        ):
            assert torch.equal(one, two)
    assert sorted(file.name for file in tmp_path.iterdir()) == [
        "covariance-log",
        "covariance-state",
        "log",
        "state",
    ]


def test_standard_deviations_stay_above_the_floor():
    network = small(floor=0.05)
    z = 100 * torch.randn(20, 2, generator=torch.Generator().manual_seed(0))
    log_diagonal = network.precision(z)[:, 0]
    assert torch.exp(-log_diagonal).min() >= 0.05 * (1 - 1e-5)


def test_bound_is_that_of_dense_matrices():
    network, x = small(), stripes(3, 0)
    value = network.structured_negative_elbo(x, torch.Generator().manual_seed(0))
    with torch.no_grad():
        z, divergence = network.encode(x, torch.Generator().manual_seed(0))
        means = network.decoder(z).flatten(1).double().numpy()
        factors = network.precision(z).double()
    total = float(divergence.mean())
    for image, mean, factor in zip(x.double(), means, factors, strict=True):
        L = dense_factor(factor)
        w = L.T @ (image.numpy().ravel() - mean)
        log_determinant = np.log(L.diagonal()).sum()
        total += (w @ w / 2 - log_determinant + 48 * math.log(2 * math.pi)) / 3
    assert value.item() == pytest.approx(total, rel=1e-4)


def test_network_moves_with_its_latents():
    """Standardized latents change the coordinates of the covariance too."""
    from odl_genreg.training import standardize_latents

    network, x = small(), stripes(50, 0)
    with torch.no_grad():
        network.encoder.mean.weight.mul_(3)
        before = network.precision(network.mean_encoder(x))
        standardize_latents(network, x)
        after = network.precision(network.mean_encoder(x))
    torch.testing.assert_close(after, before, rtol=0, atol=1e-4)


def test_generator_with_a_structured_vae(global_state_untouched):
    network = small()
    X = odl.uniform_discr([0, 0], [8, 12], (8, 12), dtype="float32")
    Z = odl.rn(2, dtype="float32")
    with global_state_untouched():
        G = ogr.Generator(network.decoder, Z, X, precision=network.precision)
        R = ogr.structured_deviation(G)
        x = random_element(X, scale=0.1)
        before = x.copy()
        R.gradient(x)
    assert x == before
    assert all(parameter.requires_grad for parameter in network.parameters())
