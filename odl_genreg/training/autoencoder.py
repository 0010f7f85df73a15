# SPDX-License-Identifier: MPL-2.0
"""How an autoencoder learns."""

import torch

from .recipe import Recipe

__all__ = ("AutoencoderRecipe",)


class AutoencoderRecipe(Recipe):
    """Minimize the error of an `Autoencoder`, ``E ||x - G(m(x))||^2``, with AdamW.

    Losses are mean squared errors of an image, plain sums over its pixels.
    """

    family, learning_rate = "ae", 2e-3

    def __init__(self, network):
        """Initialize a new instance for an `Autoencoder`."""
        super().__init__(network)
        self._optimizer = torch.optim.AdamW(network.parameters(), weight_decay=1e-2)
        self.parts = {"network": network, "optimizer": self._optimizer}

    def step(self, batch, rate, source, index):
        """Take a step of AdamW."""
        optimizer = self._optimizer
        optimizer.param_groups[0]["lr"] = rate
        optimizer.zero_grad()
        loss = self.loss(batch, source)
        self.backward(loss, self.network.parameters())
        optimizer.step()
        return loss.item()

    def loss(self, batch, source):
        """Return the mean squared error of an image."""
        return self.network.squared_error(batch)
