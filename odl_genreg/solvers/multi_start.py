# SPDX-License-Identifier: MPL-2.0
"""A smooth function plus an ODL functional, from many starts in one batch."""

from collections.abc import Callable, Sequence

import torch

from ..torch_bridge import batch_proximal, batch_value, weight
from .lbfgs import lbfgs
from .minima import Minima
from .smoothness import is_smooth
from .spectral_gradient import spectral_gradient

__all__ = ("minimize",)


def minimize(
    objective: Callable[..., torch.Tensor],
    functional,
    starts: torch.Tensor,
    *,
    parameters: Sequence[torch.Tensor] = (),
    num_problems: int = 1,
    tol: float = 1e-6,
    maxiter: int = 500,
    callback: Callable | None = None,
) -> Minima:
    """Minimize ``objective(z) + functional(z)`` over ``z`` from a batch of starts.

    By `lbfgs` where the functional is smooth, by `spectral_gradient` where it is not.

    Parameters
    ----------
    objective : callable
        Differentiable torch function of points ``(batch, *Z.shape)`` and the
        ``parameters`` of these rows, with values ``(batch,)``.
    functional : `Functional`
        Functional on ``Z`` with gradient or proximal, a scaled latent prior.
    starts : torch.Tensor
        Starts ``(batch, *Z.shape)``.
    parameters, num_problems, tol, maxiter, callback :
        As for `lbfgs`; the callback gets points of the shape of ``starts``.

    Returns
    -------
    minima : Minima
        Points have the shape of ``starts``, values are those of the sum.
    """
    shape, penalty = starts.shape[1:], batch_value(functional)
    smooth = is_smooth(functional)

    def on_vectors(z, *data):
        z = z.unflatten(1, shape)
        value = objective(z, *data)
        return value + penalty(z) if smooth else value

    def on_tensors(z, values):
        callback(z.unflatten(1, shape), values)

    options = {
        "parameters": parameters,
        "num_problems": num_problems,
        "tol": tol,
        "maxiter": maxiter,
        "callback": None if callback is None else on_tensors,
    }
    if smooth:
        minima = lbfgs(on_vectors, starts.flatten(1), **options)
    else:
        proximal, w = batch_proximal(functional), weight(functional.domain)

        def on_rows(step, z):
            return proximal(w * step, z.unflatten(1, shape)).flatten(1)

        minima = spectral_gradient(on_vectors, on_rows, starts.flatten(1), **options)
    minima.points = minima.points.unflatten(1, shape)
    if not smooth:
        minima.values = minima.values + penalty(minima.points)
    return minima
