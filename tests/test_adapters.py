# SPDX-License-Identifier: MPL-2.0
"""Networks of other packages: lookalikes always, the packages where they are."""

import types

import numpy as np
import odl
import pytest
import torch
from torch import nn

import odl_genreg as ogr
from checks import adjoint_error, derivative_order
from generators import random_element
from odl_genreg.networks import from_autoencoder_kl, from_dcgan
from tolerance import adjoint_tolerance
from tolerance import taylor_order as least_order

SCALING, SHIFT = 0.5, 0.25


class Lookalike(nn.Module):
    """The interface of `AutoencoderKL`, that of diffusers or that of MONAI."""

    def __init__(self, package):
        super().__init__()
        self.package = package
        self.down = nn.Conv2d(1, 2, 4, stride=2, padding=1)
        self.up = nn.ConvTranspose2d(2, 1, 4, stride=2, padding=1)
        if package == "diffusers":
            self.config = types.SimpleNamespace(
                scaling_factor=SCALING, shift_factor=SHIFT
            )

    def encode(self, x):
        mean = self.down(x)
        if self.package == "monai":
            return mean, torch.ones_like(mean)
        return types.SimpleNamespace(latent_dist=types.SimpleNamespace(mean=mean))

    def decode(self, z):
        images = self.up(z).tanh()
        if self.package == "monai":
            return images
        return types.SimpleNamespace(sample=images)


def generator_of(model, latent_shape, shape=(8, 12), dtype="float32"):
    decoder, encoder = from_autoencoder_kl(model)
    X = odl.uniform_discr([0, 0], [0.8, 2.4], shape, dtype=dtype)
    Z = odl.rn(latent_shape, dtype=dtype)
    return ogr.Generator(decoder, Z, X, encoder=encoder, intensity=(0.5, 0.5))


@pytest.mark.parametrize("package", ["diffusers", "monai"])
def test_lookalike_with_latents_of_three_axes(package):
    model = Lookalike(package).double()
    G = generator_of(model, (2, 4, 6), dtype="float64")
    scaling, shift = (SCALING, SHIFT) if package == "diffusers" else (1.0, 0.0)
    z = random_element(G.domain)
    inner = torch.from_numpy(z.asarray())[None] / scaling + shift
    expected = 0.5 + 0.5 * model.up(inner).tanh()[0, 0].detach().numpy()
    np.testing.assert_allclose(G(z).asarray(), expected, rtol=1e-12)
    x = torch.from_numpy(expected)[None]
    code = (model.down(2 * x[:, None] - 1) - shift) * scaling
    torch.testing.assert_close(G.encode(x), code.detach())
    assert derivative_order(G, z, random_element(G.domain, 1)) >= least_order
    assert adjoint_error(G.derivative(z)) <= adjoint_tolerance["float64"]


def test_reconstruction_with_latents_of_three_axes():
    G = generator_of(Lookalike("monai"), (2, 4, 6))
    x = G(random_element(G.domain))
    D = ogr.squared_l2(odl.IdentityOperator(G.range), x, noise_std=0.1)
    result = ogr.reconstruct(D, ogr.range_constraint(G), 1e-4, restarts=2)
    assert (result.x - x).norm() <= 1e-2 * x.norm()
    assert result.z.shape == (2, 4, 6)


def test_dcgan_takes_vectors():
    model = nn.Sequential(nn.ConvTranspose2d(5, 1, 4), nn.Tanh())
    z = torch.randn(3, 5, generator=torch.Generator().manual_seed(0))
    assert torch.equal(from_dcgan(model)(z), model(z[:, :, None, None]))


def test_other_models():
    with pytest.raises(TypeError, match="`model` must have a method `encode`"):
        from_autoencoder_kl(nn.Linear(2, 3))


# --- The packages themselves --- #


def works(G):
    z = random_element(G.domain)
    assert G(z).asarray().std() > 0
    assert derivative_order(G, z, random_element(G.domain, 1)) >= least_order
    assert adjoint_error(G.derivative(z)) <= adjoint_tolerance["float64"]
    codes = G.encode(torch.from_numpy(G(z).asarray())[None])
    assert codes.shape == (1, *G.domain.shape)


def test_autoencoder_kl_of_diffusers():
    diffusers = pytest.importorskip("diffusers")
    model = diffusers.AutoencoderKL(
        in_channels=1,
        out_channels=1,
        block_out_channels=(8, 8),
        down_block_types=("DownEncoderBlock2D",) * 2,
        up_block_types=("UpDecoderBlock2D",) * 2,
        latent_channels=2,
        norm_num_groups=4,
    ).double()
    works(generator_of(model, (2, 4, 6), dtype="float64"))


def test_autoencoder_kl_of_monai():
    nets = pytest.importorskip("monai.networks.nets")
    model = nets.AutoencoderKL(
        spatial_dims=2,
        in_channels=1,
        out_channels=1,
        channels=(8, 8),
        num_res_blocks=1,
        latent_channels=2,
        norm_num_groups=4,
        attention_levels=(False, False),
    ).double()
    works(generator_of(model, (2, 4, 6), dtype="float64"))
