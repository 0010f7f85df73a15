# SPDX-License-Identifier: MPL-2.0
"""Half precision: the same operator within a tolerance."""

import pytest
import torch

import odl_genreg as ogr
from checks import adjoint_error, derivative_order, taylor_order
from generators import array, conv_network, image_space, latent_space, random_element

X, Z = image_space(dtype="float32"), latent_space(dtype="float32")


def make(network=None, **keywords):
    return ogr.Generator(network or conv_network(), Z, X, **keywords)


def check_derivatives(G, H, tolerance):
    """Adjoint, Taylor and forward mode, each as far as the tolerance allows."""
    z, h = random_element(Z), random_element(Z, 1)
    assert adjoint_error(H.derivative(z)) <= tolerance
    assert array(H.derivative(z)(h)) == pytest.approx(array(G.derivative(z)(h)))
    # Rounding hides the remainder of small steps.
    steps = (1.0, 0.5)
    assert derivative_order(H, z, h, steps) >= 1.5
    f = ogr.squared_l2(ogr.Resampling(X, X), X.zero()) @ H
    assert taylor_order(f, z, h, steps) >= 1.5


@pytest.mark.parametrize(
    ("dtype", "tolerance"), [("float16", 2e-3), ("bfloat16", 2e-2)]
)
def test_derivatives(dtype, tolerance):
    G = make(intensity=(0.2, 3.0), decoder_variance=0.1)
    H = ogr.half_precision(G, dtype, tolerance=tolerance)
    z = random_element(Z, 2)
    assert array(H(z)) == pytest.approx(array(G(z)), rel=3 * tolerance)
    assert array(H(z)) != pytest.approx(array(G(z)), rel=1e-7)
    check_derivatives(G, H, tolerance)
    for name in ("domain", "range", "intensity", "decoder_variance"):
        assert getattr(H, name) == getattr(G, name)


def test_weights_are_shared_and_left_as_they_are():
    network = conv_network().train()
    G = make(network)
    H = ogr.half_precision(G)
    z = random_element(Z)
    before = array(H(z))
    with torch.no_grad():
        network[0].bias.add_(1.0)
    assert array(H(z)) != pytest.approx(before, rel=1e-2)
    assert network.training
    assert all(p.requires_grad and p.grad is None for p in network.parameters())
    assert {p.dtype for p in H.module.parameters()} == {torch.float32}


def test_checkpoint_is_that_of_the_plain_generator(tmp_path):
    G = make()
    ogr.save_generator(tmp_path / "g", ogr.half_precision(G))
    again = ogr.load_generator(tmp_path / "g", X, Z, network=conv_network(seed=5))
    z = random_element(Z)
    assert array(again(z)) == pytest.approx(array(G(z)), rel=1e-6)


def test_reconstruction_in_half_precision():
    G = make(decoder_variance=0.01)
    H = ogr.half_precision(G)
    y = G(random_element(Z))
    D = ogr.squared_l2(ogr.Resampling(X, X), y, noise_std=0.1)
    results = [ogr.reconstruct(D, ogr.soft_constraint(g), 1.0) for g in (G, H)]
    plain, fast = (result.objective for result in results)
    assert fast == pytest.approx(plain, rel=1e-2)


def test_overflow_is_an_error():
    network = torch.nn.Sequential(conv_network(), torch.nn.Flatten())
    network.append(torch.nn.Linear(63, 63))
    with torch.no_grad():
        network[-1].weight.fill_(1e5)  # inf in float16
    with pytest.raises(ValueError, match=r"got (nan|inf) > 0.01 in G\(z\); give"):
        ogr.half_precision(make(network))
