# SPDX-License-Identifier: MPL-2.0
"""Smooth in z: Jacobians, and what searches in the latent find."""

import odl
import torch

from ..evaluation import jacobian_singular_values
from ..gaussian_noise import squared_l2
from ..generator import Generator
from ..projection import sample_latents
from ..reconstruction import reconstruct
from ..regularizer import range_constraint
from ..torch_bridge import as_element
from .finding import Finding, deciles, montage

__all__ = ("smooth",)

# Latents of Jacobians, images that are projected, and restarts of each.
LATENTS, IMAGES, RESTARTS = 100, 20, 10


def smooth(generator: Generator, images: torch.Tensor, *, seed: int = 0) -> Finding:
    """Measure Jacobians, and how many searches in the latent find the best one.

    Parameters
    ----------
    generator : `Generator`
        Operator ``G : Z -> X``.
    images : torch.Tensor
        Images ``(number, *X.shape)``; the first 20 are projected.
    seed : int, optional
        Seed of the latents.
    """
    Z, X = generator.domain, generator.range
    values = jacobian_singular_values(generator, sample_latents(Z, LATENTS, seed))
    largest, least = values[:, 0], values[:, -1]
    condition = float((largest / least.clamp_min(1e-20)).median())
    data = [as_element(X, image.contiguous()) for image in images[:IMAGES]]
    results = reconstruct(
        squared_l2(odl.IdentityOperator(X), data[0]),
        range_constraint(generator),
        1e-6,
        data=data,
        restarts=RESTARTS,
        seed=seed,
        tol=1e-3,
    )
    shares = []
    for result in results:
        objectives = torch.tensor(result.restarts, dtype=torch.float64)
        near = (
            objectives <= 1.01 * objectives.min() + 1e-6 * generator.intensity[1] ** 2
        )
        shares.append(float(near.double().mean()))
    share = sum(shares) / len(shares)
    return Finding(
        question="Does the image follow the latent smoothly?",
        label="share of searches that end at the best projection",
        value=share,
        sentence="Of searches for the nearest image of the range, from 0 and random "
        f"latents, {share:.0%} end within 1 % of the best one. The largest singular "
        f"value of the Jacobian is {largest.median():.3g} in the median, "
        f"{condition:.3g} times the smallest.",
        advice="The lower the share, the more restarts are needed, and the more a "
        "result depends on the start. A large ratio of singular values makes latents "
        "uncertain that the image hardly sees.",
        details={
            "share of searches within 1 %": share,
            "restarts": RESTARTS,
            "largest singular value, deciles": deciles(largest),
            "smallest singular value, deciles": deciles(least),
            "ratio, median": condition,
        },
        pictures={
            "Two latents (corners) and what lies between": _grid(generator, seed)
        },
    )


@torch.no_grad()
def _grid(generator, seed, steps=8):
    """Images of ``z_0 + a (z_1 - z_0) + b (z_2 - z_0)`` for ``a, b`` in [0, 1]."""
    first, second, third = sample_latents(generator.domain, 3, seed + 1)
    shares = torch.linspace(0, 1, steps, dtype=first.dtype)
    rows = [
        generator.batch(
            torch.stack(
                [first + a * (second - first) + b * (third - first) for a in shares]
            )
        )
        for b in shares
    ]
    return montage(rows)
