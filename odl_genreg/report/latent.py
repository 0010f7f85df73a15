# SPDX-License-Identifier: MPL-2.0
"""Known latent distribution: encodings against the prior."""

import dataclasses

import torch

from ..evaluation import energy_test, latent_statistics, nearest_latents
from ..generator import Generator
from ..projection import sample_latents
from .finding import Finding

__all__ = ("latent",)


# Encodings that are compared with draws of the prior, and searched for.
COMPARED, SEARCHED = 1000, 200


def latent(generator: Generator, images: torch.Tensor, *, seed: int = 0) -> Finding:
    """Compare the encodings of images with the latent prior N(0, I).

    Without an encoder these are the latents of the nearest images in the range.

    Parameters
    ----------
    generator : `Generator`
        Operator ``G : Z -> X``.
    images : torch.Tensor
        Images ``(number, *X.shape)`` that the generator was not trained on, more than
        latents.
    seed : int, optional
        Seed of the draws of N(0, I).
    """
    if generator.encoder is None:
        codes = nearest_latents(generator, images[:SEARCHED], seed=seed)
    else:
        codes = generator.encode(images)
    how = "Nearest latents" if generator.encoder is None else "Encodings"
    statistics = latent_statistics(codes)
    codes = codes[:COMPARED]
    draws = sample_latents(generator.domain, len(codes), seed)
    coefficient, p_value = energy_test(codes, draws, seed=seed)
    low, high = min(statistics.variances), max(statistics.variances)
    size = generator.domain.size
    return Finding(
        question="Is the distribution of the latents known?",
        label="energy coefficient of encodings and draws of N(0, I), 0 to 1",
        value=coefficient,
        sentence=f"{how} of images have means of at most "
        f"{statistics.largest_mean:.2f} and variances between {low:.2f} and "
        f"{high:.2f}; {statistics.effective_dimension:.1f} of {size} dimensions are in "
        f"use. {_verdict(p_value)} (energy coefficient {coefficient:.3f}, p = "
        f"{p_value:.2g}); their norms alone differ by {statistics.norm_statistic:.2f} "
        f"(statistic of Kolmogorov and Smirnov, p = {statistics.norm_p_value:.2g}).",
        advice="The nearer to N(0, I), the more ||z||^2 is the right latent prior, and "
        "its default weight the right one.",
        details={
            "energy coefficient": coefficient,
            "p value": p_value,
            "latents compared": len(codes),
            **dataclasses.asdict(statistics),
        },
    )


def _verdict(p_value):
    told = "cannot be told" if p_value > 0.05 else "can be told"
    return f"They {told} from draws of N(0, I)"
