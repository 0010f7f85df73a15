# SPDX-License-Identifier: MPL-2.0
"""Variational autoencoder with a learned decoder variance."""

import math

import torch
from torch import nn

from .convolutional import architecture, decoder, features, initialize

__all__ = ("VAE",)


class VAE(nn.Module):
    r"""Convolutional variational autoencoder with smooth activations.

    The model of an image ``x`` with latent vector ``z`` is

        ``z ~ N(0, I),   x | z ~ N(G(z), gamma^2 I),   z | x ~ N(m(x), diag(s(x)^2))``

    with the decoder ``G``, the encoder ``(m, log s^2)`` and the learned scalar
    ``gamma^2``.

    Notes
    -----
    All activations are analytic (SiLU, and a sigmoid at the output), so that ``G`` is
    infinitely differentiable and ``0 < G(z) < 1``. Each strided convolution of the
    encoder halves the resolution, each transposed one of the decoder doubles it; two
    dense layers stand in between.

    With ``N`` pixels the negative evidence lower bound per image is

    .. math::
        \frac{1}{2 \gamma^2} \mathbb{E}\|x - G(z)\|^2
        + \frac{N}{2} \log(2 \pi \gamma^2)
        + \mathrm{KL}(N(m(x), s(x)^2) \,\|\, N(0, I)),

    the norm being the plain sum over the pixels. Its minimum over :math:`\gamma^2` is
    the mean squared error per pixel, which balances the two other terms without a
    weight chosen by hand [RDL2021].

    References
    ----------
    [KW2014] Kingma D P, and Welling M. *Auto-encoding variational Bayes.* International
    Conference on Learning Representations, 2014.

    [RDL2021] Rybkin O, Daniilidis K, and Levine S. *Simple and effective VAE training
    with calibrated decoders.* International Conference on Machine Learning, 2021.
    """

    def __init__(
        self, image_shape, latent_dim=16, *, channels=(32, 48), hidden=192, seed=0
    ):
        """Initialize a new instance.

        Parameters
        ----------
        image_shape : sequence of two or three positive ints
            Numbers of rows and columns, or of channels, rows and columns.
        latent_dim : positive int, optional
            Number of latent variables.
        channels : sequence of positive ints, optional
            Numbers of channels at half, a quarter, an eighth, ... of the resolution.
        hidden : positive int, optional
            Width of the dense layer between the latent and the convolutional layers.
        seed : int, optional
            Seed of the initial weights. The global random state is not touched.

        Examples
        --------
        >>> from odl_genreg.networks import VAE
        >>> network = VAE((8, 12), latent_dim=3, channels=(4, 5), hidden=6)
        >>> network.decoder(torch.zeros(2, 3)).shape
        torch.Size([2, 1, 8, 12])
        >>> mean, log_variance = network.encoder(torch.zeros(2, 1, 8, 12))
        >>> mean.shape
        torch.Size([2, 3])

        The arguments build a network of the same architecture:

        >>> again = VAE(**network.arguments)
        >>> missing = again.load_state_dict(network.state_dict())
        """
        super().__init__()
        self.arguments = architecture(image_shape, latent_dim, channels, hidden)
        with torch.device("meta"):
            self.encoder = _Encoder(image_shape, latent_dim, channels, hidden)
            self.decoder = decoder(image_shape, latent_dim, channels, hidden)
            self.log_variance = nn.Parameter(torch.empty(()))
        initialize(self, seed)
        self.reset_log_variance()

    def reset_log_variance(self):
        """Set ``gamma^2`` to what training starts from."""
        nn.init.constant_(self.log_variance, math.log(0.03))

    @property
    def mean_encoder(self):
        """Module ``x -> m(x)``, ``(batch, 1, n, m)`` to ``(batch, latent_dim)``.

        It shares its weights with ``encoder``.
        """
        return nn.Sequential(*self.encoder.features, self.encoder.mean)

    def forward(self, x, generator):
        """Return ``G(z)`` with ``z`` drawn from the encoding of ``x``.

        Parameters
        ----------
        x : torch.Tensor
            Images of shape ``(batch, 1, n, m)``.
        generator : torch.Generator
            Source of the noise, on any device.
        """
        z, _ = self.encode(x, generator)
        return self.decoder(z)

    def negative_elbo(self, x, generator):
        """Return the negative evidence lower bound in nats, a mean over the images.

        The expectation over ``z`` is taken with one draw for each image.

        Parameters
        ----------
        x : torch.Tensor
            Images of shape ``(batch, 1, n, m)``.
        generator : torch.Generator
            Source of the noise, on any device.

        Returns
        -------
        negative_elbo : torch.Tensor
            Scalar, differentiable in all parameters.
        """
        squared_error, divergence = self.elbo_terms(x, generator)
        pixels = x[0].numel()
        return (
            0.5 * squared_error * torch.exp(-self.log_variance)
            + 0.5 * pixels * (math.log(2 * math.pi) + self.log_variance)
            + divergence
        )

    def elbo_terms(self, x, generator):
        """Return ``||x - G(z)||^2`` and the divergence, means over the images.

        Parameters
        ----------
        x : torch.Tensor
            Images of shape ``(batch, 1, n, m)``.
        generator : torch.Generator
            Source of the noise, on any device.

        Returns
        -------
        squared_error, divergence : torch.Tensor
            Scalars, differentiable in all parameters but ``log_variance``.
        """
        z, divergence = self.encode(x, generator)
        squared_error = (x - self.decoder(z)).square().flatten(1).sum(1).mean()
        return squared_error, divergence.mean()

    def encode(self, x, generator):
        """Return a draw ``z`` of each encoding, and its divergence from the prior.

        Parameters
        ----------
        x : torch.Tensor
            Images of shape ``(batch, 1, n, m)``.
        generator : torch.Generator
            Source of the noise, on any device.

        Returns
        -------
        z, divergence : torch.Tensor
            ``(batch, latent_dim)`` and ``(batch,)``.
        """
        mean, log_variance = self.encoder(x)
        divergence = mean.square() + log_variance.exp() - 1 - log_variance
        return _sample(mean, log_variance, generator), 0.5 * divergence.sum(1)


class _Encoder(nn.Module):
    """Mean and log-variance of ``z | x``, each of shape ``(batch, latent_dim)``."""

    def __init__(self, image_shape, latent_dim, channels, hidden):
        super().__init__()
        self.features = features(image_shape, channels, hidden)
        self.mean = nn.Linear(hidden, latent_dim)
        self.log_variance = nn.Linear(hidden, latent_dim)

    def forward(self, x):
        features = self.features(x)
        return self.mean(features), self.log_variance(features)


def _sample(mean, log_variance, generator):
    noise = torch.randn(
        mean.shape, generator=generator, dtype=mean.dtype, device=generator.device
    )
    return mean + noise.to(mean.device) * torch.exp(0.5 * log_variance)
