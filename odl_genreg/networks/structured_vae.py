# SPDX-License-Identifier: MPL-2.0
"""Variational autoencoder whose decoder knows how its errors hang together."""

import math

import torch
from torch import nn

from ..precision_factor import num_entries, whiten
from .convolutional import decoder, initialize
from .vae import VAE

__all__ = ("StructuredVAE",)


class StructuredVAE(VAE):
    r"""Variational autoencoder with a structured covariance of the image.

    The model of an image ``x`` with latent vector ``z`` is

        ``z ~ N(0, I),   x | z ~ N(G(z), Sigma(z)),   z | x ~ N(m(x), diag(s(x)^2))``

    with :math:`\Sigma(z)^{-1} = L(z) L(z)^T`. The sparse lower triangular ``L(z)``
    ties each pixel to the window about it [DSEC2023], [DVACS2018].

    Notes
    -----
    `precision` gives ``L(z)``, see `precision_factor.whiten`. It has the layers of the
    decoder. The standard deviation of a pixel given those after it is at least `floor`,
    smoothly: else it goes to zero where all images are the same.

    ``G``, encoder and ``gamma^2`` are those of a `VAE`, and are trained first; the
    covariance after them, see `training.CovarianceRecipe`.

    References
    ----------
    [DSEC2023] Duff M A G, Simpson I J A, Ehrhardt M J, and Campbell N D F. *VAEs with
    structured image covariance applied to compressed sensing MRI.* arXiv:2210.14586.

    [DVACS2018] Dorta G, Vicente S, Agapito L, Campbell N D F, and Simpson I.
    *Structured uncertainty prediction networks.* CVPR, 2018.
    """

    def __init__(
        self,
        image_shape,
        latent_dim: int = 16,
        *,
        channels=(32, 48),
        hidden: int = 192,
        radius: int = 2,
        floor: float = 0.01,
        seed: int = 0,
    ):
        """Initialize a new instance.

        Parameters
        ----------
        image_shape : sequence of two positive ints
            Numbers of rows and columns.
        latent_dim, channels, hidden, seed :
            As for `VAE`.
        radius : positive int, optional
            Of the window, ``2 radius + 1`` pixels wide.
        floor : positive float, optional
            Smallest standard deviation.

        Raises
        ------
        ValueError
            If an argument is not as said.

        Examples
        --------
        >>> from odl_genreg.networks import StructuredVAE
        >>> network = StructuredVAE((8, 12), 3, channels=(4, 5), hidden=6, radius=1)
        >>> network.precision(torch.zeros(2, 3)).shape
        torch.Size([2, 5, 8, 12])
        """
        super().__init__(
            image_shape, latent_dim, channels=channels, hidden=hidden, seed=seed
        )
        if len(tuple(image_shape)) != 2:
            raise ValueError(
                "`image_shape` must be rows and columns for a structured covariance, "
                f"got {tuple(image_shape)}; take a `VAE` for several channels."
            )
        if not (isinstance(radius, int) and 0 < radius < 10 and 0 < floor < math.inf):
            raise ValueError(
                "`radius` and `floor` must be an int of 1 to 9 and a positive float, "
                f"got {radius} and {floor}; leave them out for the defaults."
            )
        self.arguments |= {"radius": radius, "floor": floor}
        shape = num_entries(radius), *image_shape
        with torch.device("meta"):
            self.precision = decoder(
                shape, latent_dim, channels, hidden, output=_Bounded(floor)
            )
        initialize(self.precision, seed)
        last = [layer for layer in self.precision if hasattr(layer, "bias")][-1]
        # From the standard deviation that the training of a `VAE` starts from.
        ratio = max(1.1, math.exp(0.5 * self.log_variance.item()) / floor)
        nn.init.constant_(last.bias[:1], -math.log(ratio - 1))

    def structured_negative_elbo(self, x, generator):
        """Return the negative evidence lower bound in nats, a mean over the images.

        Differentiable in the parameters of `precision` alone.

        Parameters
        ----------
        x : torch.Tensor
            Images of shape ``(batch, 1, n, m)``.
        generator : torch.Generator
            Source of the noise, on any device.
        """
        with torch.no_grad():
            z, divergence = self.encode(x, generator)
            u = (x - self.decoder(z))[:, 0]
        whitened, log_determinant = whiten(self.precision(z), u)
        squares = whitened.square().flatten(1).sum(1) + u[0].numel() * math.log(
            2 * math.pi
        )
        return (0.5 * squares - log_determinant + divergence).mean()


class _Bounded(nn.Module):
    """First channel to ``d < log(1 / floor)``, the others as they are."""

    def __init__(self, floor):
        super().__init__()
        self.floor = floor

    def forward(self, raw):
        d = -math.log(self.floor) - nn.functional.softplus(-raw[:, :1])
        return torch.cat([d, raw[:, 1:]], 1)
