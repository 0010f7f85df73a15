# SPDX-License-Identifier: MPL-2.0
"""Tomography with a generator of any size, for timing: the weights are random."""

import functools

import odl
import torch
from torch import nn

import odl_genreg as ogr
from odl_genreg.networks import VAE
from odl_genreg.torch_bridge import as_element, as_tensor

__all__ = ("NETWORKS", "Problem", "convolutional", "latents", "multilayer")


def multilayer(pixels: int, latent_dim: int = 16) -> nn.Module:
    """Return dense layers of 128, 512 and all pixels."""
    widths, layers = [latent_dim, 128, 512, pixels**2], []
    with torch.random.fork_rng():
        torch.manual_seed(0)
        for inputs, outputs in zip(widths[:-1], widths[1:], strict=True):
            layers += [nn.Linear(inputs, outputs), nn.SiLU()]
    return nn.Sequential(*layers[:-1], nn.Sigmoid())


def convolutional(pixels: int, latent_dim: int = 16) -> nn.Module:
    """Return the decoder of a `VAE`: two dense and two transposed convolutions."""
    return VAE((pixels, pixels), latent_dim).decoder


NETWORKS = {"dense": multilayer, "convolutional": convolutional}


def latents(count: int, latent_dim: int, seed: int) -> torch.Tensor:
    """Return ``z ~ N(0, I)``, ``(count, latent_dim)``."""
    source = torch.Generator().manual_seed(seed)
    return torch.randn(count, latent_dim, generator=source)


class Problem:
    """``y = A x + noise`` of 5 %, ``x`` near the range of a random generator."""

    def __init__(
        self, make_network, pixels: int, num_angles: int, latent_dim: int = 16
    ):
        self.pixels, self.num_angles, self.latent_dim = pixels, num_angles, latent_dim
        X = odl.uniform_discr([-1, -1], [1, 1], (pixels, pixels), dtype="float32")
        Z = odl.rn(latent_dim, dtype="float32")
        self.network = make_network(pixels, latent_dim).eval().requires_grad_(False)
        self.A = ogr.ray_transform(X, num_angles=num_angles, backend="matrix")
        self.G = ogr.Generator(self.network, Z, X, decoder_variance=0.01)
        x = self.image(latents(1, latent_dim, seed=1)[0], seed=2)
        y = as_tensor(self.A(x)).clone()
        source = torch.Generator().manual_seed(3)
        self.noise_std = 0.05 * float(y.square().mean().sqrt())
        y += self.noise_std * torch.randn(y.shape, generator=source)
        self.y = as_element(self.A.range, y)
        self.D = ogr.squared_l2(self.A, self.y, noise_std=self.noise_std)

    def image(self, z: torch.Tensor, seed: int):
        """Return ``G(z) + u`` with ``u ~ N(0, 0.1^2 I)``, an element of ``X``."""
        X = self.G.range
        source = torch.Generator().manual_seed(seed)
        with torch.no_grad():
            x = self.G.batch(z[None])[0]
        return as_element(X, x + 0.1 * torch.randn(x.shape, generator=source))

    @functools.cached_property
    def soft(self):
        """Soft constraint with its default ``mu``; ``lam mu = 1/2``."""
        return ogr.soft_constraint(self.G)

    @property
    def soft_lam(self) -> float:
        """Weight of `soft`."""
        return 0.5 / self.soft.mu

    @functools.cached_property
    def range(self):
        """Range constraint, with ``lam = 1/2``."""
        return ogr.range_constraint(self.G)
