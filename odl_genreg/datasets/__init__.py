# SPDX-License-Identifier: MPL-2.0
"""Readers and makers of image data."""

from .download import download
from .folder import read_folder
from .image_set import ImageSet, hold_out
from .images import read_images
from .mnist import demo_digits, read_mnist, read_mnist_labels
from .shapes import bright_spots, shapes

__all__ = (
    "ImageSet",
    "bright_spots",
    "demo_digits",
    "download",
    "hold_out",
    "read_folder",
    "read_images",
    "read_mnist",
    "read_mnist_labels",
    "shapes",
)
