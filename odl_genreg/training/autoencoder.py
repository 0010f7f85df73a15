# SPDX-License-Identifier: MPL-2.0
"""How an autoencoder learns."""

from .gradient_recipe import GradientRecipe

__all__ = ("AutoencoderRecipe",)


class AutoencoderRecipe(GradientRecipe):
    """Minimize the error of an `Autoencoder`, ``E ||x - G(m(x))||^2``, with AdamW.

    Losses are mean squared errors of an image, plain sums over its pixels.
    """

    family, learning_rate = "ae", 2e-3

    def __init__(self, network):
        """Initialize a new instance for an `Autoencoder`."""
        super().__init__(network, network.parameters())

    def loss(self, batch, source):
        """Return the mean squared error of an image."""
        return self.network.squared_error(batch)
