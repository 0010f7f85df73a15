# SPDX-License-Identifier: MPL-2.0
"""How smooth a generator is: the singular values of its Jacobian."""

import torch

from ..generator import Generator

__all__ = ("jacobian_singular_values",)

# Entries of Jacobians at once.
MAX_ENTRIES = 2**22


def jacobian_singular_values(generator: Generator, z: torch.Tensor) -> torch.Tensor:
    """Return the singular values of ``G'(z_b)`` in plain sums, descending.

    The largest says how far the image moves with the latent, the smallest whether it
    moves at all. In the norms of the spaces they are ``sqrt(w_X / w_Z)`` times these.

    Parameters
    ----------
    generator : `Generator`
        Operator ``G : Z -> X``.
    z : torch.Tensor
        Latents ``(batch, *Z.shape)``.

    Returns
    -------
    singular_values : torch.Tensor
        ``(batch, min(Z.size, X.size))``.

    Examples
    --------
    >>> G = ogr.Generator(torch.nn.Identity(), odl.rn(2), odl.rn(2), intensity=(1, 3))
    >>> z = torch.zeros(1, 2, dtype=torch.float64)
    >>> ogr.evaluation.jacobian_singular_values(G, z)
    tensor([[3., 3.]], dtype=torch.float64)
    """
    size = generator.domain.size * generator.range.size
    values = []
    for batch in z.split(max(1, MAX_ENTRIES // size)):
        _, columns = generator.linearize(batch)
        values.append(torch.linalg.svdvals(columns.flatten(2)))
    return torch.cat(values)
