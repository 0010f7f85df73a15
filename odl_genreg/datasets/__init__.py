# SPDX-License-Identifier: MPL-2.0
"""Readers and makers of image data."""

from .mnist import demo_digits, read_mnist

__all__ = ("demo_digits", "read_mnist")
