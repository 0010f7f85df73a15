# SPDX-License-Identifier: MPL-2.0
"""A generator of shaded ellipses and rectangles, 128 x 128 pixels, 128 latents."""

import functools
import math

import numpy as np
import odl
import torch
from harness import RESULTS

import odl_genreg as ogr
from odl_genreg.networks import VAE
from odl_genreg.training import standardize_latents, train

__all__ = ("LATENTS", "PIXELS", "draw_shapes", "shapes_generator")

PIXELS, LATENTS, CHECKPOINT = 128, 128, "shapes-vae"
TRAINING = {"images": 1024, "validation": 128, "epochs": 24, "batch_size": 32}


def draw_shapes(count: int, seed: int) -> torch.Tensor:
    """Return images ``(count, 1, 128, 128)`` in [0, 1], three to six shapes in each."""
    source = np.random.default_rng(seed)
    axis = np.linspace(-1, 1, PIXELS, dtype="float32")
    s, t = np.meshgrid(axis, axis, indexing="ij")
    images = np.zeros((count, 1, PIXELS, PIXELS), dtype="float32")
    for image in images[:, 0]:
        for _ in range(source.integers(3, 7)):
            angle, slope = source.uniform(0, math.pi, 2)
            (a, b), (p, q) = source.uniform(0.1, 0.5, 2), source.uniform(-0.6, 0.6, 2)
            level, shade = source.uniform(0.2, 0.9), source.uniform(-0.3, 0.3)
            u = (math.cos(angle) * (s - p) + math.sin(angle) * (t - q)) / a
            v = (math.cos(angle) * (t - q) - math.sin(angle) * (s - p)) / b
            ellipse = source.random() < 0.5
            radius = np.hypot(u, v) if ellipse else np.maximum(abs(u), abs(v))
            inside = np.clip((1 - radius) * min(a, b) * PIXELS / 2 + 0.5, 0, 1)
            tone = level + shade * (math.cos(slope) * u + math.sin(slope) * v)
            image += inside * (tone - image)
    return torch.from_numpy(np.clip(images, 0, 1))


@functools.cache
def shapes_generator() -> ogr.Generator:
    """Load the generator, after some minutes of training if there is none yet."""
    X = odl.uniform_discr([-1, -1], [1, 1], (PIXELS, PIXELS), dtype="float32")
    path = RESULTS / CHECKPOINT
    if not path.with_suffix(".json").exists():
        _train(X, path)
    return ogr.load_generator(path, image_space=X)


def _train(X, path):
    path.parent.mkdir(exist_ok=True)
    print(f"training the generator of shapes, once: {path}.safetensors", flush=True)
    images = draw_shapes(TRAINING["images"] + TRAINING["validation"], seed=0)
    images, validation = images.split([TRAINING["images"], TRAINING["validation"]])
    network = VAE((PIXELS, PIXELS), LATENTS, channels=(16, 32), hidden=256)
    options = {name: TRAINING[name] for name in ("epochs", "batch_size")}
    history = train(network, images, validation, **options)
    network.requires_grad_(False)
    variance = float(network.log_variance.exp())
    standardize_latents(network, images)
    G = ogr.Generator(
        network.decoder,
        odl.rn(LATENTS, dtype="float32"),
        X,
        encoder=network.mean_encoder,
        decoder_variance=variance,
    )
    architecture = {"name": "vae", "arguments": network.arguments}
    ogr.save_generator(
        path,
        G,
        architecture=architecture,
        description={"training": TRAINING, "history": history},
    )
