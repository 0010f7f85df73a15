# SPDX-License-Identifier: MPL-2.0
"""All feasible images: how far images are from the range of a generator."""

import torch

from ..evaluation import project_onto_range, ssim
from ..generator import Generator
from .finding import Finding, deciles, montage

__all__ = ("feasible",)

# Standard deviation of the noise, relative to the scale of the intensity.
NOISE = 0.1


def feasible(generator: Generator, images: torch.Tensor, *, seed: int = 0) -> Finding:
    """Measure how far images are from the range, and how much noise is in it.

    Parameters
    ----------
    generator : `Generator`
        Operator ``G : Z -> X``.
    images : torch.Tensor
        Images ``(number, *X.shape)`` that the generator was not trained on.
    seed : int, optional
        Seed of the noise and the restarts.
    """
    projections = project_onto_range(generator, images, seed=seed)
    scale = generator.intensity[1]
    errors = (projections - images).square().flatten(1).mean(1)
    psnr = 10 * torch.log10(scale**2 / errors.clamp_min(1e-20))
    nrmse = (errors / images.square().flatten(1).mean(1).clamp_min(1e-20)).sqrt()
    source = torch.Generator().manual_seed(seed)
    noise = torch.randn(images.shape, generator=source, dtype=images.dtype)
    noise = NOISE * scale * noise.to(images.device)
    moved = project_onto_range(generator, images + noise, seed=seed) - projections
    kept = moved.flatten(1).norm(dim=1) / noise.flatten(1).norm(dim=1)
    ideal = (generator.domain.size / generator.range.size) ** 0.5
    worst = float(psnr.quantile(0.1))
    order = errors.argsort()
    shown = order[torch.linspace(0, len(order) - 1, 11).round().long()]
    details = {
        "number of images": len(images),
        "projection PSNR, dB, mean": float(psnr.mean()),
        "projection PSNR, dB, deciles": deciles(psnr),
        "projection NRMSE, deciles": deciles(nrmse),
        "noise, standard deviation": NOISE * scale,
        "share of noise in the range, mean": float(kept.mean()),
        "share of noise in a linear range": ideal,
    }
    if images.ndim == 3 and min(images.shape[1:]) >= 7:
        pairs = zip(projections, images, strict=True)
        values = [ssim(p, x, data_range=scale) for p, x in pairs]
        details["projection SSIM, mean"] = sum(values) / len(values)
    return Finding(
        question="Are all images of the kind in the range?",
        label="PSNR of the projection onto the range, mean over images, dB",
        value=float(psnr.mean()),
        sentence=f"Images that were not trained on are {psnr.mean():.1f} dB from the "
        f"range on average, a tenth of them less than {worst:.1f} dB. Of noise with "
        f"standard deviation {NOISE * scale:g} the range takes {kept.mean():.0%}; a "
        f"linear range of this dimension would take {ideal:.0%}.",
        advice="A range constraint cannot be more accurate than that, however many "
        "data there are: where the data alone allow a higher PSNR, take the soft "
        "constraint or a sparse deviation.",
        details=details,
        pictures={
            "Images (top) and their projections (bottom), from the nearest to the "
            "farthest in steps of a tenth": montage([images[shown], projections[shown]])
        },
    )
