# SPDX-License-Identifier: MPL-2.0
"""Training of generative networks: PyTorch only."""

from .augmentation import random_affine
from .autoencoder import train_autoencoder
from .gan import train_gan
from .latents import standardize_latents
from .structured_vae import train_structured_vae
from .vae import train_vae

__all__ = (
    "random_affine",
    "standardize_latents",
    "train_autoencoder",
    "train_gan",
    "train_structured_vae",
    "train_vae",
)
