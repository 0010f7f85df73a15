# SPDX-License-Identifier: MPL-2.0
"""Measures of generators against brute force and closed forms."""

import itertools

import numpy as np
import pytest
import torch

from generators import LATENTS, linear_parts, make_generator, random_element
from odl_genreg.evaluation import (
    earth_movers_distance,
    energy_test,
    extreme_singular_values,
    jacobian_singular_values,
    latent_statistics,
    precision_and_recall,
)
from odl_genreg.torch_bridge import as_tensor


def normal(*shape, seed=0):
    source = torch.Generator().manual_seed(seed)
    return torch.randn(shape, generator=source, dtype=torch.float64)


# --- Sets of images --- #


def test_earth_movers_distance_by_brute_force():
    images, samples = normal(6, 2, 3), normal(6, 2, 3, seed=1)
    costs = [
        (images - samples[list(order)]).square().sum().item() / 6
        for order in itertools.permutations(range(6))
    ]
    assert earth_movers_distance(images, samples) == pytest.approx(min(costs))


def test_earth_movers_distance_of_a_shift():
    """The best plan of a shifted set is the shift, whatever the order."""
    images = normal(200, 5)
    shift = torch.tensor([1.0, -2.0, 0.0, 0.5, 3.0]).double()
    samples = images[torch.randperm(200, generator=torch.Generator())] + shift
    assert earth_movers_distance(images, samples) == pytest.approx(14.25)


def test_earth_movers_distance_of_other_numbers():
    with pytest.raises(ValueError, match=r"`samples` must have the shape \(3, 2\)"):
        earth_movers_distance(torch.zeros(3, 2), torch.zeros(4, 2))


def test_precision_and_recall_by_brute_force():
    images, samples = normal(40, 3), 0.7 * normal(30, 3, seed=1) + 0.5
    x, s = images.numpy(), samples.numpy()

    def inside(points, others, k):
        radii = [np.sort(np.linalg.norm(others - other, axis=1))[k] for other in others]
        return np.mean(
            [
                (np.linalg.norm(others - point, axis=1) <= radii).any()
                for point in points
            ]
        )

    expected = inside(s, x, 3), inside(x, s, 3)
    assert precision_and_recall(images, samples) == pytest.approx(expected)
    assert 0.2 < expected[1] < expected[0] < 1


def test_missing_images_and_samples_that_are_none():
    two_kinds = torch.cat([normal(100, 2), normal(100, 2, seed=1) + 50])
    one_kind = normal(100, 2, seed=2)
    precision, recall = precision_and_recall(two_kinds, one_kind)
    assert precision > 0.9
    assert 0.4 < recall < 0.6
    precision, recall = precision_and_recall(one_kind, two_kinds)
    assert 0.4 < precision < 0.6
    assert recall > 0.9


@pytest.mark.parametrize("neighbors", [0, 5, 9])
def test_too_few_neighbors(neighbors):
    with pytest.raises(ValueError, match="`neighbors` must be positive and less than"):
        precision_and_recall(normal(9, 2), normal(5, 2), neighbors)


# --- Latents --- #


def test_draws_of_the_prior_pass():
    statistics = latent_statistics(normal(2000, 8))
    assert statistics.largest_mean < 0.1
    assert 0.9 < min(statistics.variances) <= max(statistics.variances) < 1.1
    assert statistics.effective_dimension > 7.9
    assert statistics.norm_p_value > 0.01


@pytest.mark.parametrize(
    "codes",
    [
        1.2 * normal(2000, 8),
        normal(2000, 8) / normal(2000, 8).norm(dim=1, keepdim=True) * 8**0.5,
    ],
    ids=["wide", "sphere"],
)
def test_other_distributions_do_not(codes):
    assert latent_statistics(codes).norm_p_value < 1e-6


def test_latents_that_hardly_vary_do_not_count():
    codes = normal(500, 6) * torch.tensor([1, 1, 1, 1e-3, 1e-3, 1e-3]).double()
    assert latent_statistics(codes).effective_dimension == pytest.approx(3, abs=0.05)


def test_codes_must_be_many():
    with pytest.raises(ValueError, match="`codes` must be more than the 8 latents"):
        latent_statistics(normal(8, 8))


# --- Jacobians --- #


def test_singular_values_of_a_linear_generator():
    G = make_generator("linear")
    W, _ = linear_parts(G)
    z = normal(3, *G.domain.shape)
    expected = np.linalg.svd(W, compute_uv=False)
    for row in jacobian_singular_values(G, z).numpy():
        np.testing.assert_allclose(row, expected, rtol=1e-10)


def test_largest_singular_value_is_the_norm_of_the_derivative():
    """By power iteration with ODL's derivative and adjoint, in weighted norms."""
    G = make_generator("mlp")
    z = random_element(G.domain)
    derivative = G.derivative(z)
    h = random_element(G.domain, 1)
    for _ in range(200):
        h = derivative.adjoint(derivative(h))
        h = h / h.norm()
    expected = derivative(h).norm() / G._weight_ratio**0.5
    values = jacobian_singular_values(G, as_tensor(z)[None])
    assert values[0, 0].item() == pytest.approx(expected, rel=1e-6)
    assert (values[0].diff() <= 0).all()


# --- Energy --- #


def test_energy_coefficient_is_its_definition():
    one, other = normal(5, 3, seed=0), normal(4, 3, seed=1) + 0.5
    between = torch.cdist(one, other).mean()
    within = torch.cdist(one, one).mean() + torch.cdist(other, other).mean()
    expected = float((2 * between - within) / (2 * between))
    coefficient, _ = energy_test(one, other)
    assert coefficient == pytest.approx(expected, rel=1e-5)
    assert energy_test(one, one)[0] == pytest.approx(0, abs=1e-7)


def test_energy_test_has_its_level_and_sees_what_norms_do_not():
    """Under the null hypothesis p is uniform; correlated latents are seen."""
    p = [
        energy_test(
            normal(40, 4, seed=2 * k), normal(40, 4, seed=2 * k + 1), permutations=49
        )[1]
        for k in range(60)
    ]
    assert 0.35 < sum(p) / 60 < 0.65
    assert sum(value <= 0.1 for value in p) <= 14
    one, other = normal(300, 4, seed=1), normal(300, 4, seed=2)
    correlated = torch.cat([other[:, :2], other[:, :2]], 1)
    assert energy_test(one, correlated)[1] < 0.02


def test_extreme_singular_values_of_a_network():
    G = make_generator("mlp")
    z = torch.randn(3, LATENTS, generator=torch.Generator().manual_seed(0)).double()
    whole = jacobian_singular_values(G, z)
    extremes = extreme_singular_values(G, z, tol=1e-10)
    torch.testing.assert_close(extremes, whole[:, [0, -1]], rtol=1e-8, atol=0)
