# SPDX-License-Identifier: MPL-2.0
"""Figures: images side by side, and curves."""

import os
from pathlib import Path

import matplotlib

matplotlib.use("Agg")

import matplotlib.pyplot as plt  # noqa: E402

from odl_genreg.evaluation import psnr  # noqa: E402


def save_images(path: Path, rows: dict[str, dict], *, limits=(0, 1), size=1.3):
    """Save images: a row for each name, of ``{"truth": array, method: array, ...}``.

    The PSNR (data range 1) stands below each image but the truth.
    """
    titles = list(next(iter(rows.values())))
    shape = len(rows), len(titles)
    figure, axes = plt.subplots(
        *shape,
        figsize=(size * shape[1] + 0.5, (size + 0.15) * shape[0] + 0.3),
        layout="constrained",
        squeeze=False,
    )
    for (name, images), line in zip(rows.items(), axes, strict=True):
        for title, axis in zip(titles, line, strict=True):
            axis.imshow(images[title], cmap="gray", vmin=limits[0], vmax=limits[1])
            axis.set(xticks=[], yticks=[])
            if title != "truth" and "truth" in images:
                value = psnr(images[title], images["truth"])
                axis.set_xlabel(f"{value:.1f} dB", size=8)
        line[0].set_ylabel(name, size=8)
    for title, axis in zip(titles, axes[0], strict=True):
        axis.set_title(title, size=9)
    _save(figure, path)


def save_curves(
    path: Path, curves: dict, *, x_label: str, y_label: str, log_x=False, log_y=False
):
    """Save curves with error bars: ``{name: (x, y, errors)}``."""
    figure, axis = plt.subplots(figsize=(6, 4), layout="constrained")
    for name, (x, y, errors) in curves.items():
        axis.errorbar(
            x, y, yerr=errors, label=name, marker="o", markersize=3, capsize=2
        )
    axis.set(xlabel=x_label, ylabel=y_label)
    axis.set_xscale("log" if log_x else "linear")
    axis.set_yscale("log" if log_y else "linear")
    axis.grid(alpha=0.3)
    axis.legend(fontsize=8)
    _save(figure, path)


def _save(figure, path):
    part = path.with_name(f".{path.name}")
    figure.savefig(part, dpi=150)
    plt.close(figure)
    os.replace(part, path)
