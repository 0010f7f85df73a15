# SPDX-License-Identifier: MPL-2.0
"""Measure generators of several latent dimensions: feasible and unfeasible images.

    python examples/latent_dimensions.py TRAIN TEST --output curves [--data shapes]

Trains small autoencoders, VAEs and GANs on MNIST (files of training and test digits) or
on shapes. Measures the PSNR of min_z |x - G(z)|^2 for test images x, and the earth
mover's distance of samples G(z), z ~ N(0, I), and test images, relative to that of
training and test images. Writes numbers and a figure; a stopped run goes on.
"""

import argparse
import json
import os
import pathlib

import matplotlib.pyplot as plt
import torch

from odl_genreg.datasets import hold_out, read_mnist, shapes
from odl_genreg.evaluation import earth_movers_distance, project_onto_range
from odl_genreg.generator_training import train_generator
from odl_genreg.projection import sample_latents

MANY = (5, 8, 10, 16, 25, 40)
LATENTS = {"ae": MANY, "vae": MANY, "gan": (5, 10, 20)}
NUM_TRAIN, NUM_VALIDATION, NUM_PROJECTED, NUM_COMPARED = 9500, 500, 200, 2000
NETWORKS = {
    "MNIST": {"channels": (8, 16), "hidden": 64},
    "shapes": {"channels": (6, 12, 24), "hidden": 64},
}
BATCH_SIZES = {"ae": 128, "vae": 128, "gan": 64}
EPOCHS = {"ae": 40, "vae": 40, "gan": 60}  # half of it on shapes

parser = argparse.ArgumentParser()
parser.add_argument("train", help="MNIST training images")
parser.add_argument("test", help="MNIST test images")
parser.add_argument("--output", type=pathlib.Path, required=True, help="directory")
parser.add_argument("--data", choices=tuple(NETWORKS), default="MNIST")
arguments = parser.parse_args()
arguments.output.mkdir(parents=True, exist_ok=True)

# --- Images --- #

if arguments.data == "MNIST":
    train = read_mnist(arguments.train)[: NUM_TRAIN + NUM_VALIDATION]
    test = read_mnist(arguments.test, split="test")[:NUM_COMPARED]
else:
    train, test = shapes(NUM_TRAIN + NUM_VALIDATION), shapes(NUM_COMPARED, seed=1)
_, chosen = hold_out(len(train), NUM_COMPARED)  # files may be sorted
images, others = torch.from_numpy(test), torch.from_numpy(train[chosen])

# --- Train and measure --- #

path = arguments.output / f"{arguments.data}.json"
points = json.loads(path.read_text()) if path.exists() else {}
if "between" not in points:
    points["between"] = earth_movers_distance(images, others)
for family, dimensions in LATENTS.items():
    for latent_dim in dimensions:
        name = f"{family}-{latent_dim}"
        if name in points:
            continue
        G = train_generator(
            family,
            train[:, None],
            arguments.output / f"{arguments.data}-{name}",
            latent_dim=latent_dim,
            num_validation=NUM_VALIDATION,
            augment=arguments.data == "MNIST",
            **NETWORKS[arguments.data],
            epochs=EPOCHS[family] // (2 if arguments.data == "shapes" else 1),
            batch_size=BATCH_SIZES[family],
        )
        x = images[:NUM_PROJECTED]
        errors = (project_onto_range(G, x) - x).square().flatten(1).mean(1)
        distances = []
        for seed in range(3):
            z = sample_latents(G.domain, NUM_COMPARED, seed)
            with torch.no_grad():
                distances.append(earth_movers_distance(images, G.batch(z)))
        psnr, distance = -10 * errors.log10(), sum(distances) / 3
        points[name] = {"psnr": float(psnr.mean()), "distance": distance}
        print(name, points[name], flush=True)
        part = path.with_name(f".{path.name}")
        part.write_text(json.dumps(points, indent=2) + "\n")
        os.replace(part, path)

# --- Show --- #

figure, axes = plt.subplots(1, 2, figsize=(8, 3), layout="constrained")
for family, dimensions in LATENTS.items():
    chosen = [points[f"{family}-{latent_dim}"] for latent_dim in dimensions]
    axes[0].plot(dimensions, [point["psnr"] for point in chosen], "o-", label=family)
    ratios = [point["distance"] / points["between"] for point in chosen]
    axes[1].plot(dimensions, ratios, "o-", label=family)
axes[0].set(xlabel="latents", ylabel="projection PSNR (dB)", title=arguments.data)
axes[1].set(xlabel="latents", ylabel="relative earth mover's distance")
axes[0].legend()
figure.savefig(arguments.output / f"latent_dimensions_{arguments.data}.png", dpi=150)
