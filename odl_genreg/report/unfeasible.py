# SPDX-License-Identifier: MPL-2.0
"""No unfeasible images: samples of the latent prior against images."""

import torch

from ..evaluation import earth_movers_distance, precision_and_recall
from ..generator import Generator
from ..projection import sample_latents
from .finding import Finding, montage

__all__ = ("unfeasible",)

# Samples of N(0, I) stretched by this factor show what is far from the prior.
FAR = 5.0


def unfeasible(
    generator: Generator,
    images: torch.Tensor,
    others: torch.Tensor,
    *,
    repeats: int = 3,
    seed: int = 0,
) -> Finding:
    """Compare samples ``G(z)``, ``z ~ N(0, I)``, with images.

    Parameters
    ----------
    generator : `Generator`
        Operator ``G : Z -> X``.
    images : torch.Tensor
        Images ``(number, *X.shape)`` that the generator was not trained on.
    others : torch.Tensor
        As many other images of the kind, such as training images.
    repeats : positive int, optional
        Number of sets of samples.
    seed : int, optional
        Seed of the first set of samples.
    """
    Z, distances, shares = generator.domain, [], []
    for repeat in range(repeats):
        samples = _decoded(generator, sample_latents(Z, len(images), seed + repeat))
        distances.append(earth_movers_distance(images, samples))
        shares.append(precision_and_recall(images, samples))
    between = earth_movers_distance(images, others)
    mean = sum(distances) / repeats
    precision, recall = (sum(part) / repeats for part in zip(*shares, strict=True))
    z = sample_latents(Z, 11, seed)
    ratio = mean / between
    return Finding(
        question="Is nothing else in the range?",
        label="earth mover's distance of samples, relative to that of other images",
        value=ratio,
        sentence=f"Samples of the latent prior are {ratio:.2f} times as far from the "
        f"images as other images are (earth mover's distance {mean:.3g} and "
        f"{between:.3g}); {precision:.0%} of the samples are near an image, and "
        f"{recall:.0%} of the images near a sample.",
        advice="Far above 1, or with few samples near images, the latent prior lets "
        "images through that are none: with few data restarts and a larger weight of "
        "the latent prior matter. With few images near samples, some kinds of images "
        "are missing, and a deviation is needed.",
        details={
            "number of images": len(images),
            "earth mover's distance, samples": distances,
            "earth mover's distance, other images": between,
            "precision": precision,
            "recall": recall,
        },
        pictures={
            f"Samples (top), and latents {FAR:g} times as far out (bottom)": montage(
                [_decoded(generator, z), _decoded(generator, FAR * z)]
            )
        },
    )


@torch.no_grad()
def _decoded(generator, z):
    return torch.cat([generator.batch(part) for part in z.split(200)])
