# SPDX-License-Identifier: MPL-2.0
"""Generative networks: PyTorch only."""

from .vae import VAE

__all__ = ("VAE",)
