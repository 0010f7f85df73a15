# SPDX-License-Identifier: MPL-2.0
"""Train the generator of the MR studies: a VAE with global and local latents.

    python examples/studies/train_mr_generator.py images.npy --out runs/mr-lvae

``images.npy`` holds images ``(number, n, m)`` of magnitudes, unsigned bytes or floats
in [0, 1], none of the images that a study reports among them. Each is joined by its
mirror image, which stays on the same side of the split. The same command goes on after
an interruption.
"""

import argparse
from pathlib import Path

import numpy as np

from odl_genreg.datasets import ImageSet, read_images
from odl_genreg.generator_training import train_generator

CONFIG = {
    "latent_dim": 768,
    "channels": (32, 64, 96, 128),
    "hidden": 512,
    "local_channels": 10,
    "epochs": 30,
    "batch_size": 32,
    "learning_rate": 1e-3,
    "num_validation": 300,
    "seed": 0,
}


def main():
    """Train, and print what is known of the generator."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("images", type=Path)
    parser.add_argument("--out", type=Path, required=True, help="without suffix")
    parser.add_argument("--first", type=int, help="use that many images, at random")
    for name in ("latent_dim", "local_channels", "epochs"):
        option = f"--{name.replace('_', '-')}"
        parser.add_argument(option, type=int, default=CONFIG[name])
    parser.add_argument("--device", default="cpu", help="'cpu' or 'cuda'")
    options = parser.parse_args()
    images = read_images(options.images).images
    order = np.random.default_rng(CONFIG["seed"]).permutation(len(images))
    images = images[order[: options.first]]
    subjects = np.arange(len(images))
    both = ImageSet(
        np.concatenate([images, images[..., ::-1]]), np.concatenate([subjects] * 2)
    )
    local = options.local_channels or None
    generator = train_generator(
        "lvae" if local else "vae",
        both,
        options.out,
        **CONFIG
        | {
            "latent_dim": options.latent_dim,
            "local_channels": local,
            "epochs": options.epochs,
            "num_validation": min(CONFIG["num_validation"], len(both) // 10),
        },
        training_data=f"{len(images)} images of {options.images.name} and their mirror "
        "images",
        device=options.device,
    )
    print(generator, "decoder variance", generator.decoder_variance)


if __name__ == "__main__":
    main()
