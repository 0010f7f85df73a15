# SPDX-License-Identifier: MPL-2.0
"""The variational autoencoder as a torch module."""

import json
import math

import pytest
import torch
from torch import nn

from odl_genreg.networks import GAN, VAE, Autoencoder, StructuredVAE
from odl_genreg.torch_bridge import push_forward

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
        ({"image_shape": (3, 8)}, r"`channels` must halve images of \(3, 8\) pixels"),
        ({"image_shape": (8,)}, r"`image_shape` must be 2 or 3 positive ints, got"),
        ({"latent_dim": 0}, r"`latent_dim` must be 1 positive int, got \(0,\)"),
        (
            {"channels": (4, -1)},
            r"`channels` must be 1 to 8 positive ints, got \(4, -1\)",
        ),
        ({"hidden": 2.5}, r"`hidden` must be 1 positive int, got \(2.5,\)"),
    ],
)
def test_errors(arguments, message):
    with pytest.raises(ValueError, match=message):
        VAE(**{"image_shape": SHAPE, **arguments})


# --- All families --- #

SIZES = {
    "square": ((16, 16), 2, (4, 5)),
    "odd": ((21, 50), 3, (4, 5, 6)),
    "long": ((16, 256), 5, (2, 3, 4, 5)),
    "colors": ((3, 28, 30), 1024, (4, 5)),
}


@pytest.mark.parametrize("family", [VAE, Autoencoder, GAN, StructuredVAE])
@pytest.mark.parametrize("size", SIZES)
def test_all_sizes(family, size):
    shape, latent_dim, channels = SIZES[size]
    if family is StructuredVAE and len(shape) == 3:
        with pytest.raises(ValueError, match="must be rows and columns for a struct"):
            family(shape, latent_dim, channels=channels)
        return
    network = family(shape, latent_dim, channels=channels, hidden=6, seed=1)
    z = torch.randn(2, latent_dim, generator=torch.Generator().manual_seed(0))
    x = network.decoder(z)
    assert x.shape == (2, *((1, *shape) if len(shape) == 2 else shape))
    assert x.min() > 0
    assert x.max() < 1
    if family is GAN:
        assert network.critic(x).shape == (2, 1)
    else:
        assert network.mean_encoder(x).shape == (2, latent_dim)
    again = family(**json.loads(json.dumps(network.arguments)))
    again.load_state_dict(network.state_dict())


@pytest.mark.parametrize("family", [VAE, Autoencoder, GAN, StructuredVAE])
def test_cropped_decoder_goes_forward_layer_by_layer(family):
    """The derivative along a direction is that of a difference."""
    decoder = family((9, 14), 3, channels=(4, 5), hidden=6).double().decoder
    source = torch.Generator().manual_seed(0)
    z, h = torch.randn(2, 1, 3, generator=source, dtype=torch.float64)
    _, pushed = push_forward(decoder, z, h[None])
    difference = (decoder(z + 1e-5 * h) - decoder(z - 1e-5 * h)) / 2e-5
    torch.testing.assert_close(pushed[:, 0], difference, rtol=1e-7, atol=1e-9)


@pytest.mark.parametrize("family", [VAE, Autoencoder, GAN, StructuredVAE])
def test_seeds_of_all_families(family, global_state_untouched):
    arguments = {"latent_dim": 2, "channels": (4, 5), "hidden": 6}
    with global_state_untouched():
        one, same, other = (family(SHAPE, **arguments, seed=s) for s in (0, 0, 1))
    z = torch.ones(1, 2)
    assert torch.equal(one.decoder(z), same.decoder(z))
    assert not torch.equal(one.decoder(z), other.decoder(z))


def test_gradient_penalty_of_a_linear_critic():
    """``f(x) = 3 x_1`` has a gradient of norm 3: ``(3 - 1)^2 = 4``."""
    network = GAN(SHAPE, latent_dim=2, channels=(4, 5), hidden=6)
    network.critic = nn.Sequential(nn.Flatten(), nn.Linear(96, 1))
    with torch.no_grad():
        network.critic[1].weight.zero_()
        network.critic[1].weight[0, 0] = 3.0
    x, source = images(4), torch.Generator().manual_seed(0)
    samples = network.sample(4, source)
    assert network.gradient_penalty(x, samples, source).item() == pytest.approx(4.0)
    expected = 3 * (x - samples)[:, 0, 0, 0].mean()
    assert network.distance(x, samples).item() == pytest.approx(
        expected.item(), rel=1e-5
    )
