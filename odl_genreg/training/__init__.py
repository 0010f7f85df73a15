# SPDX-License-Identifier: MPL-2.0
"""Training of generative networks: PyTorch only."""

from .augmentation import random_affine
from .latents import standardize_latents
from .vae import train_vae

__all__ = ("random_affine", "standardize_latents", "train_vae")
