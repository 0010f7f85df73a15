# SPDX-License-Identifier: MPL-2.0
"""Variational autoencoder with latents for the whole image and for each part of it."""

import torch
from torch import nn

from .convolutional import architecture, decoder, features, initialize
from .vae import VAE

__all__ = ("LocalVAE",)


class LocalVAE(VAE):
    """Variational autoencoder whose latents are global ones and a grid of local ones.

    The model of a `VAE`, with ``z = (z_global, z_local)`` and, at the coarsest
    resolution,

        ``G(z) = convolutions(dense(z_global) + convolution(z_local))``.

    Dense layers learn what an image is as a whole, and need many images for each of
    their latents. What they miss is added by ``local_channels`` latents at each point
    of the coarsest grid, by weights that all points share: it is learned from far fewer
    images. Large images, many latents, few images: this is the network.

    Notes
    -----
    Layers and activations are those of `VAE`. The first layer of the decoder and the
    last ones of the encoder are square matrices that training leaves at ``I``; they
    hold the coordinates of `training.standardize_latents`, through which local latents
    get their correlations with each other and with the global ones.
    """

    def __init__(
        self,
        image_shape,
        latent_dim: int = 256,
        *,
        channels=(32, 64, 96),
        hidden: int = 256,
        local_channels: int = 4,
        seed: int = 0,
    ):
        """Initialize a new instance.

        Parameters
        ----------
        image_shape, channels, hidden, seed :
            As for `VAE`.
        latent_dim : positive int, optional
            Number of latent variables of both kinds; more than the local ones.
        local_channels : positive int, optional
            Number of latent variables at each point of the coarsest grid, on which the
            image has ``ceil(n / 2^len(channels))`` by ``ceil(m / 2^len(channels))``
            points.

        Raises
        ------
        ValueError
            If an argument is not as said.

        Examples
        --------
        A grid of 2 x 3 points with one latent each, and two global ones:

        >>> from odl_genreg.networks import LocalVAE
        >>> network = LocalVAE((8, 12), 8, channels=(4, 5), hidden=6, local_channels=1)
        >>> network.decoder(torch.zeros(2, 8)).shape
        torch.Size([2, 1, 8, 12])
        """
        nn.Module.__init__(self)
        arguments = architecture(image_shape, latent_dim, channels, hidden)
        self.arguments = arguments | {"local_channels": local_channels}
        with torch.device("meta"):
            layers = decoder(image_shape, 1, channels, hidden)
            coarse = layers[4].unflattened_size  # (channels, rows, columns)
            num_local = local_channels * coarse[1] * coarse[2]
            if not (isinstance(local_channels, int) and 0 < num_local < latent_dim):
                raise ValueError(
                    "`local_channels` must be a positive int with fewer local latents "
                    f"than `latent_dim` = {latent_dim}, got {local_channels} on a grid "
                    f"of {coarse[1]} x {coarse[2]}; raise `latent_dim` or lengthen "
                    "`channels`."
                )
            num_global = latent_dim - num_local
            layers[0] = nn.Linear(num_global, hidden)
            start = _CoarseImage(layers[:5], local_channels, coarse)
            self.decoder = nn.Sequential(
                nn.Linear(latent_dim, latent_dim), start, *layers[5:]
            )
            self.encoder = _Encoder(arguments, num_global, local_channels)
            self.log_variance = nn.Parameter(torch.empty(()))
        self._initialize(seed)

    def _initialize(self, seed):
        initialize(self, seed)
        self.reset_log_variance()
        for layer in self._coordinates():
            nn.init.eye_(layer.weight)
            layer.requires_grad_(False)

    def _coordinates(self):
        return self.decoder[0], self.encoder.mean, self.encoder.log_variance

    @property
    def mean_encoder(self):
        """Module ``x -> m(x)``, ``(batch, c, n, m)`` to ``(batch, latent_dim)``.

        It shares its weights with ``encoder``.
        """
        return nn.Sequential(self.encoder.features, _FirstHalf(), self.encoder.mean)


class _CoarseImage(nn.Module):
    """``SiLU(dense(z_global) + convolution(z_local))`` on the coarsest grid."""

    def __init__(self, dense, local_channels, coarse):
        super().__init__()
        # The last activation acts on the sum.
        self.dense = nn.Sequential(*dense[:3], dense[4])
        self.grid = nn.Unflatten(1, (local_channels, *coarse[1:]))
        self.convolution = nn.Conv2d(local_channels, coarse[0], 3, padding=1)
        self.num_global = dense[0].in_features

    def forward(self, z):
        whole, parts = z[:, : self.num_global], z[:, self.num_global :]
        return nn.functional.silu(
            self.dense(whole) + self.convolution(self.grid(parts))
        )


class _Encoder(nn.Module):
    """Mean and log-variance of ``z | x``, each of shape ``(batch, latent_dim)``."""

    def __init__(self, arguments, num_global, local_channels):
        super().__init__()
        self.features = _Features(arguments, num_global, local_channels)
        size = arguments["latent_dim"]
        self.mean, self.log_variance = nn.Linear(size, size), nn.Linear(size, size)

    def forward(self, x):
        mean, log_variance = self.features(x).chunk(2, dim=1)
        return self.mean(mean), self.log_variance(log_variance)


class _Features(nn.Module):
    """What encodes an image: means and log-variances, ``(batch, 2 latent_dim)``."""

    def __init__(self, arguments, num_global, local_channels):
        super().__init__()
        channels, hidden = arguments["channels"], arguments["hidden"]
        *trunk, flatten, dense, activation = features(
            arguments["image_shape"], channels, hidden
        )
        self.trunk = nn.Sequential(*trunk)
        self.whole = nn.Sequential(
            flatten, dense, activation, nn.Linear(hidden, 2 * num_global)
        )
        self.parts = nn.Conv2d(channels[-1], 2 * local_channels, 3, padding=1)

    def forward(self, x):
        coarse = self.trunk(x)
        whole, parts = self.whole(coarse), self.parts(coarse)
        pairs = zip(whole.chunk(2, 1), parts.chunk(2, 1), strict=True)
        return torch.cat([part for a, b in pairs for part in (a, b.flatten(1))], 1)


class _FirstHalf(nn.Module):
    """The means."""

    def forward(self, x):
        return x.chunk(2, dim=1)[0]
