# SPDX-License-Identifier: MPL-2.0
"""How networks learn whose loss has one gradient."""

import torch

from .recipe import Recipe

__all__ = ("GradientRecipe",)


class GradientRecipe(Recipe):
    """Steps of AdamW along the gradient of `loss`."""

    def __init__(self, network, weights, max_norm: float | None = None):
        """Initialize a new instance.

        Parameters
        ----------
        network : torch.nn.Module
            Network to train, in place and on its device.
        weights : iterable of torch.nn.Parameter
            Those of its parameters that learn.
        max_norm : positive float, optional
            Norm to which a longer gradient is cut.
        """
        super().__init__(network)
        self._weights, self._max_norm = list(weights), max_norm
        self._optimizer = torch.optim.AdamW(self._weights, weight_decay=1e-2)
        self.parts = {"network": network, "optimizer": self._optimizer}

    def step(self, batch, rate, source, index):
        """Take a step of AdamW."""
        optimizer = self._optimizer
        optimizer.param_groups[0]["lr"] = rate
        optimizer.zero_grad()
        loss = self.loss(batch, source)
        self.backward(loss, self._weights)
        if self._max_norm is not None:
            torch.nn.utils.clip_grad_norm_(self._weights, self._max_norm)
        optimizer.step()
        return loss.item()
