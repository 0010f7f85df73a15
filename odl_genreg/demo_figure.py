# SPDX-License-Identifier: MPL-2.0
"""The figure of the demo: a digit by every method at every number of angles."""

import os

import matplotlib

matplotlib.use("Agg")

import matplotlib.pyplot as plt  # noqa: E402

from .evaluation import psnr  # noqa: E402

__all__ = ("save_figure",)


def save_figure(path, images, digits, num_angles, shown=2):
    """Save the images of the first digits, a row for each number of angles.

    Parameters
    ----------
    path : pathlib.Path
        Name of the PNG file.
    images : dict
        ``{(digit, angles): {"truth": array, method: array, ...}}``.
    digits, num_angles : sequence of int
        What was reconstructed.
    shown : int, optional
        Number of digits in the figure.
    """
    digits = list(digits)[:shown]
    methods = list(images[digits[0], num_angles[0]])
    lines = [(digit, angles) for digit in digits for angles in num_angles]
    size = 1.1 * len(methods) + 0.6, 1.22 * len(lines) + 0.4
    figure, axes = plt.subplots(
        len(lines), len(methods), figsize=size, layout="constrained", squeeze=False
    )
    for line, row in zip(lines, axes, strict=True):
        truth = images[line]["truth"]
        for method, axis in zip(methods, row, strict=True):
            axis.imshow(images[line][method], cmap="gray", vmin=0, vmax=1)
            axis.set(xticks=[], yticks=[])
            if method != "truth":
                axis.set_xlabel(f"{psnr(images[line][method], truth):.1f} dB", size=8)
        row[0].set_ylabel(f"{line[1]} angles", size=9)
    for method, axis in zip(methods, axes[0], strict=True):
        axis.set_title(method, size=10)
    part = path.with_name(f".{path.name}")
    figure.savefig(part, dpi=200)
    plt.close(figure)
    os.replace(part, path)
