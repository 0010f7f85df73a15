# SPDX-License-Identifier: MPL-2.0
"""The variational autoencoder as a torch module."""

import json
import math

import pytest
import torch
from torch import nn

from odl_genreg.networks import VAE

SHAPE = (8, 12)


def small(seed=0):
    return VAE(SHAPE, latent_dim=3, channels=(4, 5), hidden=6, seed=seed)


def images(number=5):
    return torch.rand(number, 1, *SHAPE, generator=torch.Generator().manual_seed(1))


def test_shapes():
    network, x = small(), images()
    mean, log_variance = network.encoder(x)
    assert mean.shape == log_variance.shape == (5, 3)
    assert network.decoder(mean).shape == x.shape
    assert network.log_variance.shape == ()


def test_values_stay_in_the_unit_interval():
    z = 1e3 * torch.randn(50, 3, generator=torch.Generator().manual_seed(0))
    values = small().decoder(z)
    assert values.min() >= 0
    assert values.max() <= 1
    assert values.min() < 0.1  # the bounds are approached
    assert values.max() > 0.9


def test_all_activations_are_smooth():
    allowed = (nn.SiLU, nn.Sigmoid)
    with_weights = (nn.Linear, nn.Conv2d, nn.ConvTranspose2d)
    layout = (nn.Flatten, nn.Unflatten)
    leaves = [m for m in small().modules() if not list(m.children())]
    assert all(isinstance(m, allowed + with_weights + layout) for m in leaves)


def test_second_differences_of_the_decoder_converge():
    """Along a line, for a step going to zero; with a ReLU they grow like 1 / step."""
    decoder = small().double().decoder
    generator = torch.Generator().manual_seed(2)
    direction = torch.randn(1, 3, generator=generator, dtype=torch.float64)
    points = torch.linspace(-2, 2, 401, dtype=torch.float64)[:, None] * direction

    def largest(h):
        step = h * direction
        values = [decoder(points + k * step) for k in (-1, 0, 1)]
        difference = values[0] - 2 * values[1] + values[2]
        return difference.abs().max().item() / h**2

    assert largest(1e-3) == pytest.approx(largest(1e-2), rel=1e-2)


def test_arguments_rebuild_the_network():
    network = small(seed=3)
    arguments = json.loads(json.dumps(network.arguments))
    again = VAE(**arguments)
    again.load_state_dict(network.state_dict())
    assert again.arguments == network.arguments
    x = images()
    torch.testing.assert_close(
        again.decoder(again.mean_encoder(x)),
        network.decoder(network.mean_encoder(x)),
        rtol=0,
        atol=0,
    )


def test_mean_encoder_is_the_mean_and_shares_weights():
    network, x = small(), images()
    encoder = network.mean_encoder
    assert torch.equal(encoder(x), network.encoder(x)[0])
    with torch.no_grad():
        network.encoder.mean.bias.add_(1.0)
    assert torch.equal(encoder(x), network.encoder(x)[0])


def test_eval_is_deterministic_and_repeats_with_the_generator():
    network, x = small().eval(), images()
    assert torch.equal(network.decoder(x[:, 0, 0, :3]), network.decoder(x[:, 0, 0, :3]))
    first, second = (network(x, torch.Generator().manual_seed(7)) for _ in range(2))
    assert torch.equal(first, second)
    assert not torch.equal(first, network(x, torch.Generator().manual_seed(8)))


def test_seed_decides_the_weights(global_state_untouched):
    with global_state_untouched():
        one, two, other = small(0), small(0), small(1)
        one.negative_elbo(images(), torch.Generator().manual_seed(0))
    name = "decoder.0.weight"
    assert torch.equal(one.state_dict()[name], two.state_dict()[name])
    assert not torch.equal(one.state_dict()[name], other.state_dict()[name])


def test_negative_elbo_of_a_network_that_knows_nothing():
    """With all weights zero G = 1/2 and z | x = N(0, I): no divergence.

    For images that are 0 the error is 1/4 in each of 96 pixels; with gamma^2 = 1/4 the
    negative ELBO is 96 / 2 * (1 + log(2 pi / 4)).
    """
    network = small()
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.zero_()
        network.log_variance.fill_(math.log(0.25))
    value = network.negative_elbo(torch.zeros(4, 1, *SHAPE), torch.Generator())
    expected = 48 * (1 + math.log(math.pi / 2))
    assert value.item() == pytest.approx(expected, rel=1e-6)


def test_divergence_in_the_negative_elbo():
    """A mean of 2 in 3 latents costs 3 * 2^2 / 2 = 6 nats, other things equal."""
    network, x = small(), torch.zeros(1, 1, *SHAPE)
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.zero_()
        before = network.negative_elbo(x, torch.Generator())
        network.encoder.mean.bias.fill_(2.0)
        after = network.negative_elbo(x, torch.Generator())
    assert (after - before).item() == pytest.approx(6.0, rel=1e-4)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"image_shape": (7, 8)}, r"`image_shape` must be divisible by 4.*\(7, 8\)"),
        ({"image_shape": (8,)}, r"`image_shape` must be 2 positive ints, got \(8,\)"),
        ({"latent_dim": 0}, r"`latent_dim` must be 1 positive int, got \(0,\)"),
        ({"channels": (4, -1)}, r"`channels` must be 2 positive ints, got \(4, -1\)"),
        ({"hidden": 2.5}, r"`hidden` must be 1 positive int, got \(2.5,\)"),
    ],
)
def test_errors(arguments, message):
    with pytest.raises(ValueError, match=message):
        VAE(**{"image_shape": SHAPE, **arguments})
