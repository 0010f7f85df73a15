# SPDX-License-Identifier: MPL-2.0
"""Training of an autoencoder."""

from collections.abc import Callable

import torch

from .augmentation import random_affine
from .loop import fit

__all__ = ("train_autoencoder",)


def train_autoencoder(
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
    """Train an autoencoder, ``min E ||x - G(m(x))||^2``, with AdamW.

    Parameters
    ----------
    network : `Autoencoder`
        Network to train, in place and on its device.
    images, validation_images, epochs, batch_size, learning_rate, seed, patience :
        As for `training.loop.fit`, where also the errors stand.
    augmentation : callable or None, optional
        As for `train_vae`.
    checkpoint_path, log_path : path, optional
        As for `training.loop.fit`.

    Returns
    -------
    history : list of (float, float)
        Mean squared error of an image, a plain sum over its pixels, of each epoch and
        of the validation images after it.
    """
    return fit(
        _Recipe(network),
        images,
        validation_images,
        epochs=epochs,
        batch_size=batch_size,
        learning_rate=learning_rate,
        seed=seed,
        augmentation=augmentation,
        patience=patience,
        checkpoint_path=checkpoint_path,
        log_path=log_path,
    )


class _Recipe:
    """Steps along the gradient of the squared error."""

    family = "ae"

    def __init__(self, network):
        self.network = network
        self._optimizer = torch.optim.AdamW(network.parameters(), weight_decay=1e-2)
        self.parts = {"network": network, "optimizer": self._optimizer}

    def step(self, batch, rate, source, index):
        optimizer = self._optimizer
        optimizer.param_groups[0]["lr"] = rate
        optimizer.zero_grad()
        loss = self.network.squared_error(batch)
        loss.backward()
        optimizer.step()
        return loss.item()

    @torch.no_grad()
    def validate(self, images, batch_size):
        device = next(self.network.parameters()).device
        return sum(
            len(batch)
            / len(images)
            * self.network.squared_error(batch.to(device)).item()
            for batch in images.split(batch_size)
        )

    def weights(self):
        return self.network.state_dict()
