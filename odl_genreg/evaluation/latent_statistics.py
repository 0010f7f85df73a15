# SPDX-License-Identifier: MPL-2.0
"""Encodings of images against the latent prior N(0, I)."""

import dataclasses

import scipy.stats
import torch

__all__ = ("LatentStatistics", "latent_statistics")


@dataclasses.dataclass
class LatentStatistics:
    """What the encodings of images say about the latent prior N(0, I).

    Parameters
    ----------
    largest_mean : float
        Largest ``|mean|`` of a latent; 0 for the prior.
    variances : list of float
        Variance of each latent; 1 for the prior.
    eigenvalues : list of float
        Of the covariance, ascending; 1 for the prior.
    effective_dimension : float
        ``(sum_i e_i)^2 / sum_i e_i^2`` of the eigenvalues ``e_i``: the number of
        latents if they vary alike, less if some hardly do.
    norm_statistic, norm_p_value : float
        Test of Kolmogorov and Smirnov of ``|z|^2`` against chi squared with the number
        of latents as degrees of freedom: whether the encodings are as far from 0 as
        draws of the prior.
    """

    largest_mean: float
    variances: list[float]
    eigenvalues: list[float]
    effective_dimension: float
    norm_statistic: float
    norm_p_value: float


def latent_statistics(codes: torch.Tensor) -> LatentStatistics:
    """Compare encodings with draws of N(0, I).

    Parameters
    ----------
    codes : torch.Tensor
        Encodings ``(number, ...)``, such as ``G.encode(images)``.

    Raises
    ------
    ValueError
        If there are no more encodings than latents.

    Examples
    --------
    >>> codes = torch.tensor([[1.0, 1.0], [-1.0, 1.0], [1.0, -1.0], [-1.0, -1.0]])
    >>> statistics = ogr.evaluation.latent_statistics(codes)
    >>> statistics.largest_mean, statistics.variances, statistics.effective_dimension
    (0.0, [1.0, 1.0], 2.0)
    """
    z = codes.flatten(1).double()
    if len(z) <= z.shape[1]:
        raise ValueError(
            f"`codes` must be more than the {z.shape[1]} latents, got {len(z)}; encode "
            "more images."
        )
    covariance = torch.cov(z.T, correction=0).reshape(z.shape[1], -1)
    eigenvalues = torch.linalg.eigvalsh(covariance).clamp_min(0)
    norms = z.square().sum(1).cpu().numpy()
    test = scipy.stats.kstest(norms, scipy.stats.chi2(z.shape[1]).cdf)
    return LatentStatistics(
        largest_mean=float(z.mean(0).abs().max()),
        variances=covariance.diag().tolist(),
        eigenvalues=eigenvalues.tolist(),
        effective_dimension=float(
            eigenvalues.sum() ** 2 / eigenvalues.square().sum().clamp_min(1e-300)
        ),
        norm_statistic=float(test.statistic),
        norm_p_value=float(test.pvalue),
    )
