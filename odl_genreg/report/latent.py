# SPDX-License-Identifier: MPL-2.0
"""Known latent distribution: encodings against the prior."""

import dataclasses

import torch

from ..evaluation import latent_statistics
from ..generator import Generator
from .finding import Finding

__all__ = ("latent",)


def latent(generator: Generator, images: torch.Tensor) -> Finding:
    """Compare the encodings of images with the latent prior N(0, I).

    Parameters
    ----------
    generator : `Generator`
        Operator ``G : Z -> X`` with an encoder.
    images : torch.Tensor
        Images ``(number, *X.shape)`` that the generator was not trained on, more than
        latents.

    Raises
    ------
    ValueError
        If the generator has no encoder.
    """
    if generator.encoder is None:
        raise ValueError(
            "`generator` must have an encoder, got one without; leave this property "
            "out, as `write_report` does."
        )
    statistics = latent_statistics(generator.encode(images))
    low, high = min(statistics.variances), max(statistics.variances)
    size = generator.domain.size
    return Finding(
        question="Is the distribution of the latents known?",
        label="statistic of Kolmogorov and Smirnov of |z|^2 against that of N(0, I)",
        value=statistics.norm_statistic,
        sentence=f"Latents of images have means of at most "
        f"{statistics.largest_mean:.2f} and variances between {low:.2f} and "
        f"{high:.2f}; {statistics.effective_dimension:.1f} of {size} dimensions are in "
        "use. The distributions of their norms and of those of N(0, I) differ by "
        f"{statistics.norm_statistic:.2f} (p = {statistics.norm_p_value:.2g}).",
        advice="The nearer to N(0, I), the more ||z||^2 is the right latent prior, and "
        "its default weight the right one.",
        details=dataclasses.asdict(statistics),
    )
