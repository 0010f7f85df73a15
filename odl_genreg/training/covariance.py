# SPDX-License-Identifier: MPL-2.0
"""How a variational autoencoder learns its structured covariance."""

import torch

from .recipe import Recipe

__all__ = ("CovarianceRecipe",)


class CovarianceRecipe(Recipe):
    """Maximize the evidence lower bound of a `StructuredVAE` in its covariance alone.

    Mean and encoder are trained before, as those of a `VAE`: where both learn at once,
    the covariance explains what the mean has not learned yet, and the mean stays so.
    Losses are in nats per image.
    """

    family, learning_rate = "covariance", 2e-3

    def __init__(self, network):
        """Initialize a new instance for a `StructuredVAE`."""
        super().__init__(network)
        self._weights = list(network.precision.parameters())
        self._optimizer = torch.optim.AdamW(self._weights, weight_decay=1e-2)
        self.parts = {"network": network, "optimizer": self._optimizer}

    def loss(self, batch, source):
        """Return the negative evidence lower bound."""
        return self.network.structured_negative_elbo(batch, source)

    def step(self, batch, rate, source, index):
        """Take a step of AdamW along a clipped gradient."""
        optimizer = self._optimizer
        optimizer.param_groups[0]["lr"] = rate
        optimizer.zero_grad()
        loss = self.loss(batch, source)
        self.backward(loss, self._weights)
        torch.nn.utils.clip_grad_norm_(self._weights, 1000.0)
        optimizer.step()
        return loss.item()
