# SPDX-License-Identifier: MPL-2.0
"""How a variational autoencoder learns its structured covariance."""

from .gradient_recipe import GradientRecipe

__all__ = ("CovarianceRecipe",)


class CovarianceRecipe(GradientRecipe):
    """Maximize the evidence lower bound of a `StructuredVAE` in its covariance alone.

    Mean and encoder are trained before, as those of a `VAE`: where both learn at once,
    the covariance explains what the mean has not learned yet, and the mean stays so.
    Losses are in nats per image.
    """

    family, learning_rate = "covariance", 2e-3

    def __init__(self, network):
        """Initialize a new instance for a `StructuredVAE`."""
        super().__init__(network, network.precision.parameters(), max_norm=1000.0)

    def loss(self, batch, source):
        """Return the negative evidence lower bound."""
        return self.network.structured_negative_elbo(batch, source)
