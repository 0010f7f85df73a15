# SPDX-License-Identifier: MPL-2.0
"""All properties of a generator, as a page and as numbers."""

import json
import os
from pathlib import Path

import torch

from ..generator import Generator
from ..torch_bridge import torch_device, torch_dtype
from .feasible import feasible
from .finding import Finding
from .latent import SEARCHED, latent
from .page import html_page
from .smooth import smooth
from .unfeasible import unfeasible

__all__ = ("write_report",)


def write_report(
    generator: Generator,
    images: torch.Tensor,
    others: torch.Tensor,
    path,
    *,
    name: str = "generator",
    projected: int = 200,
    compared: int = 2000,
    seed: int = 0,
) -> dict[str, Finding]:
    """Measure all properties of a generator; write ``path.html`` and ``path.json``.

    Parameters
    ----------
    generator : `Generator`
        Operator ``G : Z -> X``.
    images : torch.Tensor
        Images ``(number, *X.shape)`` in the unit of ``X`` that it was not trained on.
        They are moved to its device.
    others : torch.Tensor
        Other images of the kind, such as those of the training.
    path : path-like
        Where to write, without suffix.
    name : str, optional
        Name of the generator.
    projected, compared : positive int, optional
        Most images that are projected onto the range, and compared with samples; a
        random choice, as files may be sorted.
    seed : int, optional
        Seed of samples, noise and restarts.

    Returns
    -------
    findings : dict of `Finding`
        By the names of the properties; without 'latent' if there are too few images for
        a covariance.

    Raises
    ------
    ValueError
        If ``images`` or ``others`` have another shape than ``X``.
    """
    X = generator.range
    shape, dtype, device = X.shape, torch_dtype(X), torch_device(X)
    for label, batch in (("images", images), ("others", others)):
        if tuple(batch.shape[1:]) != shape or len(batch) < 20:
            raise ValueError(
                f"`{label}` must be at least 20 of the shape {shape} of "
                f"`generator.range`, got {tuple(batch.shape)}; reshape them, or give "
                "more."
            )
    source = torch.Generator().manual_seed(seed)
    images, others = (
        batch[torch.randperm(len(batch), generator=source)].to(device, dtype)
        for batch in (images, others)
    )
    count = min(compared, len(images), len(others))
    findings = {
        "feasible": feasible(generator, images[:projected], seed=seed),
        "unfeasible": unfeasible(generator, images[:count], others[:count], seed=seed),
        "smooth": smooth(generator, images, seed=seed),
    }
    if min(len(images), SEARCHED) > generator.domain.size:
        findings["latent"] = latent(generator, images, seed=seed)
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    _write(path.with_name(path.name + ".html"), html_page(name, findings))
    numbers = {
        key: {
            "label": finding.label,
            "value": finding.value,
            "sentence": finding.sentence,
            "details": finding.details,
        }
        for key, finding in findings.items()
    }
    text = json.dumps({"generator": name, "seed": seed, "findings": numbers}, indent=2)
    _write(path.with_name(path.name + ".json"), text + "\n")
    return findings


def _write(path, text):
    part = path.with_name(f".{path.name}.part")
    part.write_text(text, encoding="utf-8")
    os.replace(part, path)
