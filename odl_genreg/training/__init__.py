# SPDX-License-Identifier: MPL-2.0
"""Training of generative networks: PyTorch only."""

from .augmentation import random_affine
from .autoencoder import AutoencoderRecipe
from .covariance import CovarianceRecipe
from .gan import GANRecipe
from .latents import standardize_latents
from .train import train
from .vae import VAERecipe

__all__ = (
    "AutoencoderRecipe",
    "CovarianceRecipe",
    "GANRecipe",
    "VAERecipe",
    "random_affine",
    "standardize_latents",
    "train",
)
