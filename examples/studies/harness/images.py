# SPDX-License-Identifier: MPL-2.0
"""Images of the studies: those to choose weights on, and others to report."""

from pathlib import Path

import numpy as np

from odl_genreg.datasets import demo_digits, read_images, read_mnist, shapes


def mnist_images(selection: int, reported: int, path: Path | None = None):
    """Return digits of the MNIST test set, ``(number, 28, 28)`` each.

    From ``path``, a file of MNIST test images, taken at random; without, from the 100
    that ship with the package.
    """
    digits = demo_digits() if path is None else read_mnist(path, split="test")
    if selection + reported > len(digits):
        raise ValueError(
            f"`images` must hold {selection + reported} digits, got {len(digits)}; "
            "give the MNIST test set, `--images t10k-images-idx3-ubyte.gz`."
        )
    order = np.arange(len(digits))
    if path is not None:
        order = np.random.default_rng(0).permutation(len(digits))
    chosen = digits[order[: selection + reported]]
    return chosen[reported:], chosen[:reported]


def shape_images(selection: int, reported: int, **options):
    """Return images of `shapes` with seeds that no generator was trained on."""
    return shapes(selection, seed=101, **options), shapes(reported, seed=102, **options)


def mr_images(path: Path, selection: int, reported: int):
    """Return images of an array ``(number, n, m)``, others than those of the training.

    The order is that of a seeded shuffle.
    """
    images = read_images(path).images[:, 0]
    if selection + reported > len(images):
        raise ValueError(
            f"`images` must hold {selection + reported} images, got {len(images)} in "
            f"{path}; give another file."
        )
    order = np.random.default_rng(0).permutation(len(images))
    chosen = images[order[: selection + reported]]
    return chosen[reported:], chosen[:reported]
