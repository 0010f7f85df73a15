# SPDX-License-Identifier: MPL-2.0
"""Training of generative networks: PyTorch only."""

from .augmentation import random_affine
from .vae import train_vae

__all__ = ("random_affine", "train_vae")
