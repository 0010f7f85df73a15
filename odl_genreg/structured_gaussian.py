# SPDX-License-Identifier: MPL-2.0
"""F(u, z) of images that are Gaussian about G(z), with a covariance that G knows."""

import math

import odl

from .generator import Generator
from .precision_factor import whiten
from .torch_bridge import TorchFunctional

__all__ = ("StructuredGaussian",)


class StructuredGaussian(TorchFunctional):
    r"""Functional ``F(u, z) = u^T Sigma(z)^{-1} u + log det Sigma(z)`` on ``X x Z``.

    For images ``x ~ N(G(z), Sigma(z))`` it is :math:`-2 \log p(x \,|\, z)` of
    ``u = x - G(z)``, without the constant ``N log(2 pi)`` of ``N`` pixels.

    Notes
    -----
    :math:`\Sigma^{-1} = L L^T` with the sparse lower triangular ``L(z)`` that
    ``G.precision`` gives [DSEC2023], so that

    .. math::
        F(u, z) = |L(z)^T u|^2 - 2 \log \det L(z),

    at the cost of a few multiplications for each pixel. As a density of pixels it is a
    plain sum: it does not depend on the cell volume. It may be negative. Smooth if the
    network is.

    References
    ----------
    [DSEC2023] Duff M A G, Simpson I J A, Ehrhardt M J, and Campbell N D F. *VAEs with
    structured image covariance applied to compressed sensing MRI.* arXiv:2210.14586.
    """

    def __init__(self, generator: Generator):
        """Initialize a new instance.

        Parameters
        ----------
        generator : `Generator`
            Operator ``G : Z -> X`` with a ``precision``.

        Raises
        ------
        ValueError
            If the generator has no ``precision``.

        Examples
        --------
        Pixels of standard deviation 1/2, independent: ``4 |u|^2 + 2 log(1/4)``

        >>> class Independent(torch.nn.Module):
        ...     def forward(self, z):
        ...         factor = torch.zeros(len(z), 5, 1, 2, dtype=z.dtype)
        ...         factor[:, 0] = 0.693147
        ...         return factor
        >>> class Zero(torch.nn.Module):
        ...     def forward(self, z):
        ...         return 0 * z[:, :, None].expand(-1, 1, 2)
        >>> X, Z = odl.uniform_discr([0, 0], [1, 1], (1, 2)), odl.rn(1)
        >>> G = ogr.Generator(Zero(), Z, X, precision=Independent())
        >>> F = ogr.deviation.StructuredGaussian(G)
        >>> round(F([X.one(), Z.zero()]), 4)
        5.2274
        """
        if generator.precision is None:
            raise ValueError(
                "`generator` must have a `precision` for a structured covariance, got "
                "one without; train it with `odl-genreg train svae`, or take "
                "`soft_constraint`."
            )
        X, Z = generator.range, generator.domain
        factor = generator.precision
        tensors = [*factor.parameters(), *factor.buffers()]
        super().__init__(odl.ProductSpace(X, Z), tensors)
        self.generator = generator

    def batch(self, u, z):
        """Values ``(batch,)`` of deviations and latents."""
        scale = self.generator.intensity[1]
        whitened, log_determinant = whiten(self.generator.precision(z), u / scale)
        constant = 2 * self.generator.range.size * math.log(scale)
        return whitened.square().flatten(1).sum(1) - 2 * log_determinant + constant
