# SPDX-License-Identifier: MPL-2.0
"""Variational autoencoder with a learned decoder variance."""

import math

import torch
from torch import nn

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
    infinitely differentiable and ``0 < G(z) < 1``. Two strided convolutions lead from
    ``(n, m)`` to ``(n / 4, m / 4)`` in the encoder, two transposed ones back in the
    decoder; two dense layers stand in between.

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
        image_shape : sequence of two positive ints
            Numbers of rows and columns, both divisible by 4.
        latent_dim : positive int, optional
            Number of latent variables.
        channels : sequence of two positive ints, optional
            Numbers of channels at half and at a quarter of the resolution.
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
        image_shape = _positive_ints("image_shape", image_shape, 2)
        channels = _positive_ints("channels", channels, 2)
        (latent_dim,) = _positive_ints("latent_dim", (latent_dim,), 1)
        (hidden,) = _positive_ints("hidden", (hidden,), 1)
        if any(n % 4 for n in image_shape):
            raise ValueError(
                "`image_shape` must be divisible by 4 in both directions, got "
                f"{image_shape}; pad or crop the images."
            )
        self.arguments = {
            "image_shape": list(image_shape),
            "latent_dim": latent_dim,
            "channels": list(channels),
            "hidden": hidden,
        }
        # Built without storage: PyTorch would draw its weights from the global state.
        with torch.device("meta"):
            self.encoder = _Encoder(image_shape, latent_dim, channels, hidden)
            self.decoder = _decoder(image_shape, latent_dim, channels, hidden)
            self.log_variance = nn.Parameter(torch.empty(()))
        self.to_empty(device="cpu")
        self._initialize(torch.Generator().manual_seed(seed))

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
        mean, log_variance = self.encoder(x)
        return self.decoder(_sample(mean, log_variance, generator))

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
        mean, log_variance = self.encoder(x)
        z = _sample(mean, log_variance, generator)
        squared_error = (x - self.decoder(z)).square().flatten(1).sum(1).mean()
        divergence = mean.square() + log_variance.exp() - 1 - log_variance
        return squared_error, 0.5 * divergence.sum(1).mean()

    @torch.no_grad()
    def _initialize(self, generator):
        """Draw weights of variance 1 / (number of inputs), set the biases to zero."""
        for layer in self.modules():
            if not hasattr(layer, "weight"):
                continue
            inputs = layer.weight[0].numel()
            if isinstance(layer, nn.ConvTranspose2d):
                # Of a 4 x 4 kernel with stride 2, each output pixel meets a quarter.
                inputs = layer.in_channels * layer.weight[0, 0].numel() / 4
            layer.weight.normal_(0, inputs**-0.5, generator=generator)
            layer.bias.zero_()
        self.log_variance.fill_(math.log(0.03))


class _Encoder(nn.Module):
    """Mean and log-variance of ``z | x``, each of shape ``(batch, latent_dim)``."""

    def __init__(self, image_shape, latent_dim, channels, hidden):
        super().__init__()
        n, m = image_shape
        fine, coarse = channels
        self.features = nn.Sequential(
            nn.Conv2d(1, fine, 4, stride=2, padding=1),
            nn.SiLU(),
            nn.Conv2d(fine, coarse, 4, stride=2, padding=1),
            nn.SiLU(),
            nn.Flatten(),
            nn.Linear(coarse * (n // 4) * (m // 4), hidden),
            nn.SiLU(),
        )
        self.mean = nn.Linear(hidden, latent_dim)
        self.log_variance = nn.Linear(hidden, latent_dim)

    def forward(self, x):
        features = self.features(x)
        return self.mean(features), self.log_variance(features)


def _decoder(image_shape, latent_dim, channels, hidden):
    """Return ``G``, the mean of ``x | z``, of shape ``(batch, 1, n, m)``."""
    n, m = image_shape
    fine, coarse = channels
    return nn.Sequential(
        nn.Linear(latent_dim, hidden),
        nn.SiLU(),
        nn.Linear(hidden, coarse * (n // 4) * (m // 4)),
        nn.SiLU(),
        nn.Unflatten(1, (coarse, n // 4, m // 4)),
        nn.ConvTranspose2d(coarse, fine, 4, stride=2, padding=1),
        nn.SiLU(),
        nn.ConvTranspose2d(fine, 1, 4, stride=2, padding=1),
        nn.Sigmoid(),
    )


def _sample(mean, log_variance, generator):
    noise = torch.randn(
        mean.shape, generator=generator, dtype=mean.dtype, device=generator.device
    )
    return mean + noise.to(mean.device) * torch.exp(0.5 * log_variance)


def _positive_ints(name, values, number):
    values = tuple(values)
    if len(values) != number or not all(
        isinstance(n, int) and not isinstance(n, bool) and n > 0 for n in values
    ):
        raise ValueError(
            f"`{name}` must be {number} positive int{'s' * (number > 1)}, got "
            f"{values}; give for example `VAE((28, 28), 16, channels=(32, 48))`."
        )
    return values
