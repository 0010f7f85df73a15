# SPDX-License-Identifier: MPL-2.0
"""L: sparse Cholesky factors of the precision of images, as torch tensors."""

import math

import torch
from torch.nn import functional as F

__all__ = ("neighbors", "num_entries", "whiten")


def neighbors(radius: int) -> list[tuple[int, int]]:
    """Return the shifts from a pixel to those after it, row by row, in its window.

    Examples
    --------
    >>> from odl_genreg.precision_factor import neighbors
    >>> neighbors(1)
    [(0, 1), (1, -1), (1, 0), (1, 1)]
    """
    after = [(0, j) for j in range(1, radius + 1)]
    window = range(-radius, radius + 1)
    return after + [(i, j) for i in range(1, radius + 1) for j in window]


def num_entries(radius: int) -> int:
    """Return the numbers that a factor has for a pixel, ``1 + 2 r (r + 1)``."""
    return 1 + 2 * radius * (radius + 1)


def whiten(factor: torch.Tensor, u: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    r"""Return ``L^T u`` and ``log det L`` of factors and images.

    .. math::
        (L^T u)_p = e^{d_p} \Big( u_p + \sum_s c_{p,s} u_{p+s} \Big), \quad
        \log \det L = \sum_p d_p,

    with the shifts ``s`` of `neighbors`; outside the image ``u`` is 0. So ``e^{-d_p}``
    is the standard deviation of the pixel ``p`` given those after it.

    Parameters
    ----------
    factor : torch.Tensor
        The ``d`` and the ``c``, ``(batch, num_entries(radius), n, m)``.
    u : torch.Tensor
        Images ``(batch, n, m)``.

    Returns
    -------
    whitened, log_determinant : torch.Tensor
        ``(batch, n, m)`` and ``(batch,)``.

    References
    ----------
    [DVACS2018] Dorta G, Vicente S, Agapito L, Campbell N D F, and Simpson I.
    *Structured uncertainty prediction networks.* CVPR, 2018.

    Examples
    --------
    Two pixels, ``d = (0, log 2)`` and ``c = -1`` to the right neighbor:

    >>> from odl_genreg.precision_factor import whiten
    >>> factor = torch.zeros(1, 5, 1, 2)
    >>> factor[0, 0, 0, 1], factor[0, 1] = 0.693147, -1.0
    >>> whitened, log_determinant = whiten(factor, torch.tensor([[[3.0, 1.0]]]))
    >>> whitened, log_determinant
    (tensor([[[2.0000, 2.0000]]]), tensor([0.6931]))
    """
    log_diagonal, entries = factor[:, 0], factor[:, 1:]
    radius = (math.isqrt(1 + 2 * entries.shape[1]) - 1) // 2
    n, m = u.shape[1:]
    padded = F.pad(u, (radius, radius, 0, radius))
    predicted = u
    for c, (i, j) in zip(entries.unbind(1), neighbors(radius), strict=True):
        predicted = predicted + c * padded[:, i : i + n, radius + j : radius + j + m]
    return log_diagonal.exp() * predicted, log_diagonal.flatten(1).sum(1)
