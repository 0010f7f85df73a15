# SPDX-License-Identifier: MPL-2.0
"""Half precision and compilation: the same operator, within a tolerance."""

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
    ("autocast", "tolerance"), [("float16", 2e-3), ("bfloat16", 1e-2)]
)
def test_half_precision(autocast, tolerance):
    G = make(intensity=(0.2, 3.0), decoder_variance=0.1)
    H = ogr.accelerated(G, autocast=autocast, tolerance=tolerance)
    z = random_element(Z, 2)
    assert array(H(z)) == pytest.approx(array(G(z)), rel=3 * tolerance)
    assert array(H(z)) != pytest.approx(array(G(z)), rel=1e-7)
    check_derivatives(G, H, tolerance)
    for name in ("domain", "range", "intensity", "decoder_variance"):
        assert getattr(H, name) == getattr(G, name)
    back = ogr.accelerated(H)
    assert array(back(z)) == pytest.approx(array(G(z)), rel=1e-6)


def test_weights_are_shared_and_left_as_they_are():
    network = conv_network().train()
    G = make(network)
    H = ogr.accelerated(G, autocast="float16")
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
    ogr.save_generator(tmp_path / "g", ogr.accelerated(G, autocast="float16"))
    again = ogr.load_generator(tmp_path / "g", X, Z, network=conv_network(seed=5))
    z = random_element(Z)
    assert array(again(z)) == pytest.approx(array(G(z)), rel=1e-6)


def test_reconstruction_in_half_precision():
    G = make(decoder_variance=0.01)
    H = ogr.accelerated(G, autocast="float16")
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
        ogr.accelerated(make(network), autocast="float16")


class Wrapped(torch.nn.Module):
    """Network whose layers forward mode does not see."""

    def __init__(self):
        super().__init__()
        self.network = conv_network()

    def forward(self, z):
        return self.network(z)


@pytest.mark.slow
@pytest.mark.parametrize("autocast", [None, "float16"])
@pytest.mark.parametrize("network", [conv_network, Wrapped])
def test_compiled(network, autocast):
    G = make(network(), intensity=(0.2, 3.0), decoder_variance=0.1)
    H = ogr.accelerated(G, autocast=autocast, compiled=True)
    tolerance = 1e-5 if autocast is None else 2e-3
    check_derivatives(G, H, tolerance)
    for count in (1, 2, 5, 17):
        z = torch.randn(count, 3)
        error = (H.batch(z) - G.batch(z)).norm() / G.batch(z).norm()
        assert float(error) <= tolerance
    tangents = torch.func.jvp(H.batch, (z,), (z,))[1]
    _, expected = G.push_forward(z, z[:, None])
    assert float((tangents - expected[:, 0]).norm() / expected.norm()) <= 2 * tolerance
    with torch.no_grad():
        G.module.get_parameter(next(iter(dict(G.module.named_parameters())))).add_(0.5)
    assert float((H.batch(z) - G.batch(z)).norm() / G.batch(z).norm()) <= 2 * tolerance
    D = ogr.squared_l2(ogr.Resampling(X, X), G(random_element(Z)), noise_std=0.1)
    for solver in ("gauss_newton", "lbfgs"):
        values = [
            ogr.reconstruct(D, ogr.soft_constraint(g), 1.0, solver=solver).objective
            for g in (G, H)
        ]
        assert values[1] == pytest.approx(values[0], rel=1e-2)
