# SPDX-License-Identifier: MPL-2.0
"""Latent coordinates in which the encodings have mean 0 and covariance I."""

import torch

__all__ = ("standardize_latents",)


@torch.no_grad()
def standardize_latents(network, images):
    """Change the latent coordinates of a trained network, and nothing else.

    With the mean ``c`` and the covariance ``L L^T`` of the encodings of all ``images``,

        ``z = c + L z',   G'(z') = G(c + L z'),   m'(x) = L^{-1} (m(x) - c)``,

    and a structured covariance changes as ``G`` does. The range of the decoder stays
    what it is.

    Parameters
    ----------
    network : `VAE`, `LocalVAE`, `StructuredVAE` or `Autoencoder`
        Network to change, in place.
    images : torch.Tensor
        Images of shape ``(number, 1, n, m)``, more of them than latent variables.

    Notes
    -----
    ``N(c, L L^T)`` is the Gaussian prior with the largest evidence lower bound for the
    given encoder and decoder; in the new coordinates it is ``N(0, I)``. Training pulls
    the encodings there, but not all the way. The new posteriors are correlated, which
    ``network.encoder`` cannot express: its variance becomes the mean one of ``images``,
    the same for all of them. The encodings of an autoencoder are points: ``L L^T`` is
    their covariance.

    Examples
    --------
    >>> from odl_genreg.networks import VAE
    >>> from odl_genreg.training import standardize_latents
    >>> network = VAE((4, 4), latent_dim=1, channels=(2, 2), hidden=3)
    >>> images = torch.rand(9, 1, 4, 4, generator=torch.Generator().manual_seed(0))
    >>> standardize_latents(network, images)
    >>> mean, log_variance = network.encoder(images)
    >>> second_moment = mean.square().mean() + log_variance.exp().mean()
    >>> bool(abs(mean.mean()) < 1e-5), bool(abs(second_moment - 1) < 1e-4)
    (True, True)
    """
    encoder, means, log_variances = network.mean_encoder, [], []
    variational = hasattr(network.encoder, "log_variance")
    for batch in images.split(500):
        batch = batch.to(next(network.parameters()).device)
        means.append(encoder(batch).double())
        if variational:
            log_variances.append(network.encoder(batch)[1].double())
    means = torch.cat(means)
    variance = torch.cat(log_variances).exp().mean(0) if variational else 0 * means[0]
    center = means.mean(0)
    covariance = torch.cov(means.T, correction=0).reshape(len(center), -1)
    factor = torch.linalg.cholesky(covariance + variance.diag())
    inverse = torch.linalg.inv(factor)

    decoders, last = [network.decoder], encoder[-1]
    if hasattr(network, "precision"):
        decoders.append(network.precision)
    for first in (layers[0] for layers in decoders):
        weight = first.weight.double()
        first.bias.copy_(first.bias.double() + weight @ center)
        first.weight.copy_(weight @ factor)
    last.bias.copy_(inverse @ (last.bias.double() - center))
    last.weight.copy_(inverse @ last.weight.double())
    if variational:
        network.encoder.log_variance.weight.zero_()
        network.encoder.log_variance.bias.copy_((inverse.square() @ variance).log())
