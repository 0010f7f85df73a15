# SPDX-License-Identifier: MPL-2.0
"""How a variational autoencoder learns."""

import math

import torch

from .recipe import Recipe

__all__ = ("VAERecipe",)


class VAERecipe(Recipe):
    """Maximize the evidence lower bound of a `VAE` with AdamW.

    Minimizes over all parameters

        ``sum_i E[-log p(x_i | z)] + KL(q(z | x_i) || N(0, I))``.

    The network ends with the ``gamma^2`` that belongs to its weights: the mean squared
    error of the validation images. ``log_variance``, a single number that has a long
    way to go, takes ten times the learning rate. Losses are in nats per image; that of
    the validation is the one with the ``gamma^2`` that makes it smallest.
    """

    family, learning_rate = "vae", 2e-3

    def __init__(self, network):
        """Initialize a new instance for a `VAE`."""
        super().__init__(network)
        variance = network.log_variance
        self._weights = [p for p in network.parameters() if p is not variance]
        self._best_log_variance = variance.item()
        groups = [
            {"params": self._weights},
            {"params": [variance], "weight_decay": 0.0},
        ]
        self._optimizer = torch.optim.AdamW(groups, weight_decay=1e-2)
        self.parts = {"network": network, "optimizer": self._optimizer}

    def step(self, batch, rate, source, index):
        """Take a step of AdamW along a clipped gradient."""
        optimizer = self._optimizer
        optimizer.param_groups[0]["lr"] = rate
        optimizer.param_groups[1]["lr"] = 10 * rate
        optimizer.zero_grad()
        loss = self.network.negative_elbo(batch, source)
        self.backward(loss, self.network.parameters())
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
        error = divergence = 0.0
        for batch in images.split(batch_size):
            terms = self.network.elbo_terms(batch.to(self.device), source)
            error += len(batch) / len(images) * terms[0].item()
            divergence += len(batch) / len(images) * terms[1].item()
        pixels = images[0].numel()
        self._best_log_variance = log_variance = math.log(error / pixels)
        return 0.5 * pixels * (1 + math.log(2 * math.pi) + log_variance) + divergence

    def weights(self):
        """Return the state of the network with the best ``gamma^2``."""
        variance = self.network.log_variance.detach()
        best = torch.full_like(variance, self._best_log_variance)
        return self.network.state_dict() | {"log_variance": best}
