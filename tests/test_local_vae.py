# SPDX-License-Identifier: MPL-2.0
"""The VAE with latents for the whole image and for each part of it."""

import json

import pytest
import torch

from odl_genreg.networks import LocalVAE
from odl_genreg.torch_bridge import push_forward
from odl_genreg.training import standardize_latents, train

SHAPE, SIZES = (8, 12), {"latent_dim": 9, "channels": (4, 5), "hidden": 6}


def network(**arguments):
    return LocalVAE(SHAPE, **{**SIZES, "local_channels": 1} | arguments)


def images(number=64):
    return torch.rand(number, 1, *SHAPE, generator=torch.Generator().manual_seed(0))


@pytest.mark.parametrize("shape", [(16, 16), (21, 50), (3, 12, 14)])
def test_all_sizes(shape):
    rows, columns = -(-shape[-2] // 4), -(-shape[-1] // 4)
    latent_dim = 2 * rows * columns + 3
    vae = LocalVAE(shape, latent_dim, channels=(4, 5), hidden=6, local_channels=2)
    x = vae.decoder(torch.ones(2, latent_dim))
    assert x.shape == (2, *((1, *shape) if len(shape) == 2 else shape))
    assert 0 < x.min() < x.max() < 1
    assert vae.mean_encoder(x).shape == (2, latent_dim)
    mean, log_variance = vae.encoder(x)
    assert torch.equal(mean, vae.mean_encoder(x))
    assert log_variance.shape == mean.shape
    again = LocalVAE(**json.loads(json.dumps(vae.arguments)))
    again.load_state_dict(vae.state_dict())


def test_local_latents_act_on_their_part_only():
    """One at the first point of a grid of 16 x 16; kernels of 3 and twice 4 pixels."""
    vae = LocalVAE((64, 64), 258, channels=(4, 5), hidden=6, local_channels=1)
    z = torch.zeros(2, 258)
    z[1, 2] = 3.0  # after two global ones
    change = (vae.decoder(z)[1] - vae.decoder(z)[0]).abs()[0]
    assert change[:8, :8].min() > 0
    assert change[12:].max() == 0
    assert change[:, 12:].max() == 0
    z[1] = 0
    z[1, 0] = 3.0
    assert (vae.decoder(z)[1] - vae.decoder(z)[0]).abs().min() > 0


def test_global_latents_take_the_rest():
    assert network().decoder[1].num_global == 3
    assert network().decoder[0].in_features == 9


@pytest.mark.parametrize("local_channels", [0, -1, 1.0, 2])
def test_errors(local_channels):
    message = "`local_channels` must be a positive int with fewer .* 9, got .*; raise"
    with pytest.raises(ValueError, match=message):
        network(local_channels=local_channels)


def test_seeds(global_state_untouched):
    with global_state_untouched():
        one, same, other = (network(seed=seed) for seed in (0, 0, 1))
    z = torch.ones(1, 9)
    assert torch.equal(one.decoder(z), same.decoder(z))
    assert not torch.equal(one.decoder(z), other.decoder(z))


def test_training_leaves_the_coordinates_alone():
    vae, eye = network(), torch.eye(9)
    history = train(vae, images(), images(8), epochs=3, batch_size=16)
    assert history[-1][1] < history[0][1]
    for layer in (vae.decoder[0], vae.encoder.mean, vae.encoder.log_variance):
        assert torch.equal(layer.weight, eye)
        assert not layer.bias.any()
    assert vae.decoder[1].convolution.weight.requires_grad


def test_standardized_latents():
    vae, x = network().double(), images(400).double()
    ranges = vae.decoder(vae.mean_encoder(x))
    standardize_latents(vae, x)
    mean, log_variance = vae.encoder(x)
    covariance = torch.cov(mean.T, correction=0) + log_variance.exp().mean(0).diag()
    torch.testing.assert_close(mean.mean(0), torch.zeros(9, dtype=torch.float64))
    torch.testing.assert_close(covariance.diag(), torch.ones(9, dtype=torch.float64))
    torch.testing.assert_close(vae.decoder(vae.mean_encoder(x)), ranges)


def test_goes_forward():
    """The derivative along a direction is that of a difference."""
    decoder = network().double().decoder
    source = torch.Generator().manual_seed(0)
    z, h = torch.randn(2, 1, 9, generator=source, dtype=torch.float64)
    _, pushed = push_forward(decoder, z, h[None])
    difference = (decoder(z + 1e-5 * h) - decoder(z - 1e-5 * h)) / 2e-5
    torch.testing.assert_close(pushed[:, 0], difference, rtol=1e-7, atol=1e-9)
