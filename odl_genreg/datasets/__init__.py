# SPDX-License-Identifier: MPL-2.0
"""Readers and makers of image data."""

from .images import read_images
from .mnist import demo_digits, read_mnist
from .shapes import bright_spots, shapes

__all__ = ("bright_spots", "demo_digits", "read_images", "read_mnist", "shapes")
