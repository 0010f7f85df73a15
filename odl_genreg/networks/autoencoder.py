# SPDX-License-Identifier: MPL-2.0
"""Autoencoder, a generator without a latent distribution."""

import torch
from torch import nn

from .convolutional import architecture, decoder, features, initialize

__all__ = ("Autoencoder",)


class Autoencoder(nn.Module):
    """Convolutional autoencoder with smooth activations.

    Decoder ``G`` and encoder ``m`` that minimize ``E ||x - G(m(x))||^2`` [HS2006].
    Training images are near the range of ``G``, but nothing holds the encodings
    together: between them may lie latents of no image.

    Notes
    -----
    Layers and activations are those of `VAE`.

    References
    ----------
    [HS2006] Hinton G E, and Salakhutdinov R R. *Reducing the dimensionality of data
    with neural networks.* Science, 2006.
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
        >>> from odl_genreg.networks import Autoencoder
        >>> network = Autoencoder((9, 12), latent_dim=3, channels=(4, 5), hidden=6)
        >>> network(torch.zeros(2, 1, 9, 12)).shape
        torch.Size([2, 1, 9, 12])
        """
        super().__init__()
        self.arguments = architecture(image_shape, latent_dim, channels, hidden)
        with torch.device("meta"):
            self.encoder = nn.Sequential(
                *features(image_shape, channels, hidden), nn.Linear(hidden, latent_dim)
            )
            self.decoder = decoder(image_shape, latent_dim, channels, hidden)
        initialize(self, seed)

    @property
    def mean_encoder(self) -> nn.Module:
        """The encoder, ``(batch, c, n, m)`` to ``(batch, latent_dim)``."""
        return self.encoder

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Return ``G(m(x))``."""
        return self.decoder(self.encoder(x))

    def squared_error(self, x: torch.Tensor) -> torch.Tensor:
        """Return ``||x - G(m(x))||^2``, a plain sum over pixels, mean over images."""
        return (x - self(x)).square().flatten(1).sum(1).mean()
