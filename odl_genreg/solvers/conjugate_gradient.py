# SPDX-License-Identifier: MPL-2.0
"""Conjugate gradients for a batch of linear systems."""

from collections.abc import Callable

import torch

__all__ = ("conjugate_gradient",)


def conjugate_gradient(
    operator: Callable[[torch.Tensor], torch.Tensor],
    right_hand_side: torch.Tensor,
    *,
    tol: float = 1e-6,
    maxiter: int = 500,
) -> torch.Tensor:
    """Solve ``H u_b = v_b`` for each row of a batch, from 0.

    Parameters
    ----------
    operator : callable
        Symmetric positive definite map ``H`` of tensors ``(batch, ...)``; it always
        gets the whole batch.
    right_hand_side : torch.Tensor
        Right-hand sides ``v``, ``(batch, ...)``.
    tol : positive float, optional
        A row is done when its residual is at most ``tol`` times ``|v_b|``.
    maxiter : int, optional
        Maximal number of iterations.

    Returns
    -------
    u : torch.Tensor
        Solutions ``(batch, ...)``.

    Examples
    --------
    >>> from odl_genreg.solvers.conjugate_gradient import conjugate_gradient
    >>> scale = torch.tensor([[1.0, 2.0, 4.0]])
    >>> conjugate_gradient(lambda u: scale * u, torch.ones(1, 3))
    tensor([[1.0000, 0.5000, 0.2500]])
    """

    def dot(a, b):
        return (a * b).flatten(1).sum(1).reshape(-1, *[1] * (a.ndim - 1))

    u, r, p = torch.zeros_like(right_hand_side), right_hand_side, right_hand_side
    rr = dot(r, r)
    bound = tol**2 * rr
    for _ in range(maxiter):
        running = rr > bound
        if not bool(running.any()):
            break
        Hp = operator(p)
        step = torch.where(running, rr / dot(p, Hp), 0).nan_to_num(0.0, 0.0, 0.0)
        u, r = u + step * p, r - step * Hp
        rr_old, rr = rr, dot(r, r)
        p = r + torch.where(running, rr / rr_old, 0) * p
    return u
