# SPDX-License-Identifier: MPL-2.0
"""A nonsmooth term of an objective, composed with a map."""

import dataclasses
from collections.abc import Callable

import torch

from ..torch_bridge import batch_proximal, batch_value, weight

__all__ = ("Term",)


@dataclasses.dataclass
class Term:
    """A term ``g(K(v))`` of an objective.

    Parameters
    ----------
    functional : `Functional`
        Convex functional ``g`` on ``W`` with a proximal.
    map : callable
        Differentiable torch function ``K`` of the blocks of ``v``, each with a batch
        axis, with values ``(batch, *W.shape)``. It may be nonlinear.
    """

    functional: object
    map: Callable

    def __post_init__(self):
        self.value = batch_value(self.functional)
        self._proximal = batch_proximal(self.functional)
        self._weight = weight(self.functional.domain)

    def stiffness(self, k: torch.Tensor) -> float | None:
        """``g(k) / (2 |k|^2)``, half the ratio of dual and primal magnitude at ``k``.

        None where that tells nothing: at a zero of ``g``, or for an indicator.
        """
        k = k.detach()
        ratio = self.value(k).sum() / (2 * (k**2).sum())
        return float(ratio) if bool(ratio.isfinite()) and ratio > 0 else None

    def envelope(self, step: float, k: torch.Tensor) -> torch.Tensor:
        """``min_p g(p) + |k - p|^2 / (2 step)`` in plain sums, differentiable once."""
        p = self._proximal(self._weight * step, k.detach())
        return self.value(p) + ((k - p) ** 2).flatten(1).sum(1) / (2 * step)

    def dual_proximal(self, sigma, q):
        """``prox_{sigma g^*}(q)`` in plain sums, by Moreau's identity."""
        return q - sigma * self._proximal(self._weight / sigma, q / sigma)
