# SPDX-License-Identifier: MPL-2.0
"""Generative networks: PyTorch only."""

from .adapters import from_autoencoder_kl, from_dcgan
from .autoencoder import Autoencoder
from .gan import GAN
from .local_vae import LocalVAE
from .structured_vae import StructuredVAE
from .vae import VAE

__all__ = (
    "GAN",
    "VAE",
    "Autoencoder",
    "LocalVAE",
    "StructuredVAE",
    "from_autoencoder_kl",
    "from_dcgan",
)
