# SPDX-License-Identifier: MPL-2.0
"""Generative adversarial network with the critic of Wasserstein."""

import torch
from torch import nn

from .convolutional import architecture, decoder, features, initialize

__all__ = ("GAN",)


class GAN(nn.Module):
    r"""Generator and critic with smooth activations.

    The generator ``G`` minimizes, the critic ``f`` maximizes

    .. math::
        \mathbb{E}_x f(x) - \mathbb{E}_z f(G(z))
        - \beta\, \mathbb{E}_v (\|\nabla f(v)\| - 1)^2,

    ``z ~ N(0, I)``, ``v`` uniform on the lines between images and samples: for large
    :math:`\beta` the earth mover's distance of images and samples [GAADC2017].

    Notes
    -----
    ``decoder`` is ``G``, with the layers of the decoder of a `VAE`; the critic has
    those of its encoder. There is no encoder: a projection starts anywhere.

    References
    ----------
    [GAADC2017] Gulrajani I, Ahmed F, Arjovsky M, Dumoulin V, and Courville A. *Improved
    training of Wasserstein GANs.* NeurIPS, 2017.
    """

    def __init__(
        self,
        image_shape,
        latent_dim: int = 16,
        *,
        channels=(32, 48),
        hidden: int = 192,
        seed: int = 0,
    ):
        """Initialize a new instance.

        Parameters
        ----------
        image_shape, latent_dim, channels, hidden, seed :
            As for `VAE`.

        Examples
        --------
        >>> from odl_genreg.networks import GAN
        >>> network = GAN((9, 12), latent_dim=3, channels=(4, 5), hidden=6)
        >>> images = network.decoder(torch.zeros(2, 3))
        >>> images.shape, network.critic(images).shape
        (torch.Size([2, 1, 9, 12]), torch.Size([2, 1]))
        """
        super().__init__()
        self.arguments = architecture(image_shape, latent_dim, channels, hidden)
        with torch.device("meta"):
            self.decoder = decoder(image_shape, latent_dim, channels, hidden)
            self.critic = nn.Sequential(
                *features(image_shape, channels, hidden), nn.Linear(hidden, 1)
            )
        initialize(self, seed)

    def sample(self, number: int, generator: torch.Generator) -> torch.Tensor:
        """Return ``G(z)`` for ``z ~ N(0, I)``, ``(number, c, n, m)``."""
        shape = (number, self.arguments["latent_dim"])
        z = torch.randn(shape, generator=generator, device=generator.device)
        return self.decoder(z.to(next(self.parameters()).device))

    def distance(self, x: torch.Tensor, samples: torch.Tensor) -> torch.Tensor:
        """Return ``E f(x) - E f(samples)``, what the critic sees between them."""
        return self.critic(x).mean() - self.critic(samples).mean()

    def gradient_penalty(
        self, x: torch.Tensor, samples: torch.Tensor, generator: torch.Generator
    ) -> torch.Tensor:
        """Return ``E (||grad f(v)|| - 1)^2`` for ``v`` between images and samples."""
        shape = (len(x), *[1] * (x.ndim - 1))
        share = torch.rand(shape, generator=generator, device=generator.device)
        between = torch.lerp(samples.detach().to(x), x, share.to(x)).requires_grad_()
        (gradient,) = torch.autograd.grad(
            self.critic(between).sum(), between, create_graph=True
        )
        return (gradient.flatten(1).norm(dim=1) - 1).square().mean()
