# SPDX-License-Identifier: MPL-2.0
"""Training of a variational autoencoder with a structured covariance."""

from collections.abc import Callable
from pathlib import Path

import torch

from .augmentation import random_affine
from .loop import fit
from .vae import train_vae

__all__ = ("train_structured_vae",)


def train_structured_vae(
    network,
    images: torch.Tensor,
    validation_images: torch.Tensor,
    *,
    epochs: int,
    batch_size: int = 128,
    learning_rate: float = 2e-3,
    seed: int = 0,
    augmentation: Callable | None = random_affine,
    patience: int | None = None,
    checkpoint_path=None,
    log_path=None,
) -> list[tuple[float, float]]:
    """Train the mean, then the covariance of a structured variational autoencoder.

    First `train_vae`, with the covariance ``gamma^2 I``; then ``Sigma(z)`` by the same
    bound, all else fixed. Where both learn at once, the covariance explains what the
    mean has not learned yet, and the mean stays so.

    Parameters
    ----------
    network : `StructuredVAE`
        Network to train, in place and on its device.
    images, validation_images, batch_size, learning_rate, seed, augmentation, patience :
        As for `train_vae`.
    epochs : positive int
        Number of passes over ``images`` for each of both.
    checkpoint_path, log_path : path, optional
        As for `train_vae`; those of the covariance stand beside, ``covariance-...``.

    Returns
    -------
    history : list of (float, float)
        As for `train_vae`, of the mean and then of the covariance.
    """
    settings = {
        "epochs": epochs,
        "batch_size": batch_size,
        "learning_rate": learning_rate,
        "seed": seed,
        "augmentation": augmentation,
        "patience": patience,
    }
    history = train_vae(
        network,
        images,
        validation_images,
        checkpoint_path=checkpoint_path,
        log_path=log_path,
        **settings,
    )
    return history + fit(
        _Recipe(network),
        images,
        validation_images,
        checkpoint_path=_beside(checkpoint_path),
        log_path=_beside(log_path),
        **settings,
    )


class _Recipe:
    """Steps along the gradient in the covariance alone."""

    family = "svae"

    def __init__(self, network):
        self.network, self._weights = network, list(network.precision.parameters())
        self._optimizer = torch.optim.AdamW(self._weights, weight_decay=1e-2)
        self.parts = {"network": network, "optimizer": self._optimizer}

    def step(self, batch, rate, source, index):
        optimizer = self._optimizer
        optimizer.param_groups[0]["lr"] = rate
        optimizer.zero_grad()
        loss = self.network.structured_negative_elbo(batch, source)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(self._weights, 1000.0)
        optimizer.step()
        return loss.item()

    @torch.no_grad()
    def validate(self, images, batch_size):
        source = torch.Generator().manual_seed(0)
        device = self.network.log_variance.device
        return sum(
            len(batch)
            / len(images)
            * self.network.structured_negative_elbo(batch.to(device), source).item()
            for batch in images.split(batch_size)
        )

    def weights(self):
        return self.network.state_dict()


def _beside(path):
    if path is None:
        return None
    return Path(path).with_name(f"covariance-{Path(path).name}")
