# SPDX-License-Identifier: MPL-2.0
"""Training of a variational autoencoder."""

import math
from collections.abc import Callable

import torch

from .augmentation import random_affine
from .loop import fit

__all__ = ("train_vae",)


def train_vae(
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
    """Train a variational autoencoder by maximizing its evidence lower bound.

    Minimizes over all parameters of ``network``

        ``sum_i E[-log p(x_i | z)] + KL(q(z | x_i) || N(0, I))``

    with AdamW. ``network`` ends with the weights of the epoch that has the smallest
    validation loss, and with the ``gamma^2`` that belongs to it: the mean squared error
    of the validation images.

    Parameters
    ----------
    network : `VAE`
        Network to train, in place and on its device.
    images, validation_images, epochs, batch_size, seed, patience :
        As for `training.loop.fit`, where also the errors stand.
    learning_rate : positive float, optional
        Largest learning rate; ``log_variance``, a single number that has a long way to
        go, takes ten times as much.
    augmentation : callable or None, optional
        Function ``(images, source)`` that deforms half of each batch. Default: small
        random affine maps, `random_affine`.
    checkpoint_path, log_path : path, optional
        As for `training.loop.fit`.

    Returns
    -------
    history : list of (float, float)
        Mean training loss of each epoch and validation loss after it, in nats per
        image; the latter with the ``gamma^2`` that makes it smallest.
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
    """Steps along the gradient of the negative evidence lower bound."""

    family = "vae"

    def __init__(self, network):
        self.network, variance = network, network.log_variance
        self._weights = [p for p in network.parameters() if p is not variance]
        self._best_log_variance = variance.item()
        groups = [
            {"params": self._weights},
            {"params": [variance], "weight_decay": 0.0},
        ]
        self._optimizer = torch.optim.AdamW(groups, weight_decay=1e-2)
        self.parts = {"network": network, "optimizer": self._optimizer}

    def step(self, batch, rate, source, index):
        optimizer = self._optimizer
        optimizer.param_groups[0]["lr"] = rate
        optimizer.param_groups[1]["lr"] = 10 * rate
        optimizer.zero_grad()
        loss = self.network.negative_elbo(batch, source)
        loss.backward()
        # Norms reach some thousands once gamma is small: this evens them out.
        torch.nn.utils.clip_grad_norm_(self._weights, 1000.0)
        optimizer.step()
        return loss.item()

    @torch.no_grad()
    def validate(self, images, batch_size):
        """Return the smallest negative ELBO over all ``gamma^2``.

        The noise is the same at each call. The learned ``gamma^2`` is the error of the
        training images: by it, a network that goes on improving would seem to get
        worse.
        """
        source = torch.Generator().manual_seed(0)
        device = self.network.log_variance.device
        error = divergence = 0.0
        for batch in images.split(batch_size):
            terms = self.network.elbo_terms(batch.to(device), source)
            error += len(batch) / len(images) * terms[0].item()
            divergence += len(batch) / len(images) * terms[1].item()
        pixels = images[0].numel()
        self._best_log_variance = log_variance = math.log(error / pixels)
        return 0.5 * pixels * (1 + math.log(2 * math.pi) + log_variance) + divergence

    def weights(self):
        variance = self.network.log_variance.detach()
        best = torch.full_like(variance, self._best_log_variance)
        return self.network.state_dict() | {"log_variance": best}
