# SPDX-License-Identifier: MPL-2.0
"""How near images are to the range of a generator: latents and training images.

    python examples/studies/mr_floor.py TRAINING.npy TEST.npy --generator mr-lvae

Principal components, the linear generator with the nearest range, for several numbers
of latents and of training images (each with its mirror image); and generators that are
given, from the encodings of the test images.
"""

import argparse
from pathlib import Path

import numpy as np
import odl
import torch
from harness import mr_images
from harness.tables import mean_and_error

import odl_genreg as ogr
from odl_genreg.datasets import read_images
from odl_genreg.evaluation import project_onto_range, psnr

CONFIG = {
    "latents": [128, 256, 512, 768, 1500, 3000],
    "images": [346, 692, 1384, 2769],
    "selection": 5,  # as in `mri_radial`, which reports the others
    "reported": 24,
    "seed": 0,
}


def main():
    """Print the floors."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("training", type=Path)
    parser.add_argument("test", type=Path)
    parser.add_argument("--generator", nargs="*", default=(), help="checkpoints")
    options = parser.parse_args()
    _, test = mr_images(options.test, CONFIG["selection"], CONFIG["reported"])
    training = read_images(options.training).images[:, 0]
    order = np.random.default_rng(CONFIG["seed"]).permutation(len(training))
    print("| images | " + " | ".join(map(str, CONFIG["latents"])) + " |")
    print("|---" * (len(CONFIG["latents"]) + 1) + "|")
    for number in CONFIG["images"]:
        some = training[order[:number]]
        floors = pca_floors(np.concatenate([some, some[..., ::-1]]), test)
        print(f"| {number} | " + " | ".join(floors) + " |", flush=True)
    X = odl.uniform_discr([0, 0], test.shape[1:], test.shape[1:], dtype="float32")
    for name in options.generator:
        G = ogr.load_generator(name, image_space=X)
        found = project_onto_range(G, torch.from_numpy(test), restarts=1)
        values = [psnr(p, x) for p, x in zip(found, test, strict=True)]
        print(f"{name}, {G.domain.size} latents: {mean_and_error(values, 2)} dB")


def pca_floors(training, test) -> list[str]:
    """Return the PSNR of projections onto the first principal components, as text."""
    X = torch.from_numpy(np.ascontiguousarray(training)).flatten(1)
    mean = X.mean(0)
    X = X - mean
    eigenvalues, U = torch.linalg.eigh(X @ X.T)
    components = (U.flip(1).T @ X)[: max(CONFIG["latents"])]
    components /= components.norm(dim=1, keepdim=True)
    x = torch.from_numpy(test).flatten(1)
    coefficients = (x - mean) @ components.T
    floors = []
    for latents in CONFIG["latents"]:
        if latents >= len(training):
            floors.append("")
            continue
        nearest = mean + coefficients[:, :latents] @ components[:latents]
        pairs = zip(nearest.reshape(test.shape), test, strict=True)
        floors.append(mean_and_error([psnr(p, t) for p, t in pairs], 2))
    return floors


if __name__ == "__main__":
    main()
