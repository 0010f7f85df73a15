# SPDX-License-Identifier: MPL-2.0
"""Smooth in z: Jacobians, and what searches in the latent find."""

import odl
import torch

from ..evaluation import extreme_singular_values, jacobian_singular_values
from ..gaussian_noise import squared_l2
from ..generator import Generator
from ..projection import sample_latents
from ..reconstruction import reconstruct
from ..regularizer import range_constraint
from ..torch_bridge import as_element, as_tensor
from .finding import Finding, deciles, montage

__all__ = ("smooth",)

# Latents of Jacobians, images that are projected, and restarts of each.
LATENTS, IMAGES, RESTARTS = 100, 20, 10

# Latents of ``Z`` up to which whole Jacobians are computed, and points beyond.
MAX_COLUMNS, FEW = 128, 10

# Loss surfaces: images, half width in the latent, points along a side, step in dB.
SURFACES, HALF_WIDTH, POINTS, STEP = 5, 3.0, 56, 2.0


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
    if Z.size > MAX_COLUMNS:
        values = extreme_singular_values(generator, sample_latents(Z, FEW, seed))
    else:
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
            "Three latents (corners) and what lies between": _grid(generator, seed),
            f"Distance of the image to some images, in steps of {STEP:g} dB, in a "
            "random plane through the best latent (center), to "
            f"{HALF_WIDTH:g} on each side; the darker, the nearer": _surfaces(
                generator, images, [as_tensor(result.z) for result in results], seed
            ),
        },
    )


@torch.no_grad()
def _grid(generator, seed, steps=8):
    """Images of ``z_0 + a (z_1 - z_0) + b (z_2 - z_0)`` for ``a, b`` in [0, 1]."""
    first, second, third = sample_latents(generator.domain, 3, seed + 1)
    shares = torch.linspace(0, 1, steps, dtype=first.dtype, device=first.device)
    rows = [
        generator.batch(
            torch.stack(
                [first + a * (second - first) + b * (third - first) for a in shares]
            )
        )
        for b in shares
    ]
    return montage(rows)


@torch.no_grad()
def _surfaces(generator, images, latents, seed):
    """``|G(z* + a d_1 + b d_2) - x|^2`` of some images, ``d`` orthonormal."""
    side = torch.linspace(-HALF_WIDTH, HALF_WIDTH, POINTS, dtype=images.dtype)
    side = side.to(images.device)
    planes, pairs = [], zip(images[:SURFACES], latents[:SURFACES], strict=True)
    for number, (x, z) in enumerate(pairs):
        directions = sample_latents(generator.domain, 2, seed + number).flatten(1)
        first, second = torch.linalg.qr(directions.T).Q.T
        shifts = side[:, None, None] * first + side[:, None] * second
        points = (z.flatten() + shifts).reshape(-1, *z.shape)
        rows = [generator.batch(part) - x for part in points.split(POINTS)]
        levels = 10 * torch.cat(rows).square().flatten(1).mean(1).log10()
        steps = (levels / STEP).floor()
        shades = (steps - steps.min()) / (steps.max() - steps.min()).clamp_min(1)
        planes.append(shades.reshape(POINTS, POINTS))
    return montage([torch.stack(planes)])
