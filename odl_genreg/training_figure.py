# SPDX-License-Identifier: MPL-2.0
"""The figure of a training: its losses, and samples of the generator."""

import json
import os
from pathlib import Path

import matplotlib

matplotlib.use("Agg")

import matplotlib.pyplot as plt  # noqa: E402
import torch  # noqa: E402

from .generator import Generator  # noqa: E402
from .projection import sample_latents  # noqa: E402
from .report.finding import montage  # noqa: E402

__all__ = ("save_training_figure",)

SAMPLES, COLUMNS = 32, 8


def save_training_figure(path, generator: Generator, log_path, *, seed: int = 0):
    """Save the losses of a log beside samples ``G(z)`` with ``z ~ N(0, I)``.

    Parameters
    ----------
    path : path-like
        Name of the PNG file.
    generator : `Generator`
        The trained generator.
    log_path : path-like
        Log of the training, see `training.loop.fit`.
    seed : int, optional
        Seed of the samples.
    """
    path = Path(path)
    lines = Path(log_path).read_text(encoding="utf-8").splitlines()
    epochs = [json.loads(line) for line in lines]
    with torch.no_grad():
        images = generator.batch(sample_latents(generator.domain, SAMPLES, seed))
    figure, (left, right) = plt.subplots(1, 2, figsize=(11, 4), layout="constrained")
    for key, label in (("loss", "training"), ("validation_loss", "validation")):
        left.plot([e["epoch"] for e in epochs], [e[key] for e in epochs], label=label)
    left.set(xlabel="epoch", title="loss")
    left.legend()
    right.imshow(montage(images.split(COLUMNS)).cpu().numpy(), cmap="gray")
    right.set(xticks=[], yticks=[], title="samples")
    part = path.with_name(f".{path.name}")
    figure.savefig(part, dpi=120, format="png")
    plt.close(figure)
    os.replace(part, path)
