# SPDX-License-Identifier: MPL-2.0
"""F(x - G(z)) + mu R_Z(z), the regularizer as a functional of both variables."""

import functools

import odl

from .solvers import is_smooth
from .torch_bridge import TorchFunctional, batch_value

__all__ = ("JointFunctional",)


class JointFunctional(TorchFunctional):
    """Functional ``(x, z) -> F(x - G(z)) + mu R_Z(z)`` on ``X x Z``."""

    def __init__(self, generator, deviation, latent_term):
        """Initialize a new instance.

        Parameters
        ----------
        generator : `Generator`
            Operator ``G : Z -> X``.
        deviation : `Functional`
            Functional ``F`` on ``X``, or on ``X x Z`` for an ``F`` of
            ``(x - G(z), z)``.
        latent_term : `Functional`
            Functional ``mu R_Z`` on ``Z``.
        """
        X, Z = generator.range, generator.domain
        super().__init__(odl.ProductSpace(X, Z), generator.tensors)
        self.generator, self.deviation = generator, deviation
        self.latent_term = latent_term
        self._values = batch_value(deviation), batch_value(latent_term)

    def batch(self, x, z):
        """Values ``(batch,)`` of images and latents."""
        deviation, latent_term = self._values
        u = x - self.generator.batch(z)
        on_image = self.deviation.domain == self.generator.range
        return deviation(*([u] if on_image else [u, z])) + latent_term(z)

    @functools.cached_property
    def gradient(self):
        """Gradient in ``x`` and ``z``.

        Raises
        ------
        NotImplementedError
            If ``F`` or ``R_Z`` is not smooth.
        """
        for name, functional in (
            ("deviation", self.deviation),
            ("latent_prior", self.latent_term),
        ):
            if not is_smooth(functional):
                raise NotImplementedError(
                    f"`{name}` must be smooth for a gradient, got "
                    f"{type(functional).__name__}; use `separable`, or a solver that "
                    "takes proximals."
                )
        return super().gradient
