# SPDX-License-Identifier: MPL-2.0
"""Least squares in the image, convex terms, and a generator inside them."""

import dataclasses
import math
from collections.abc import Sequence

import torch

from ..torch_bridge import LinearMap, batch_proximal, batch_value, weight

__all__ = ("CompositeProblem", "LinearTerm")


@dataclasses.dataclass
class LinearTerm:
    """A term ``g(L x)`` of an image, or ``g(L (x - G(z)))`` of its deviation.

    Parameters
    ----------
    functional : `Functional`
        Convex functional ``g`` on ``W`` with a proximal.
    linear_map : LinearMap
        Linear map ``L : X -> W``.
    of_deviation : bool, optional
        Whether the argument is the deviation ``x - G(z)``.
    """

    functional: object
    linear_map: LinearMap
    of_deviation: bool = False

    def __post_init__(self):
        self.value = batch_value(self.functional)
        self._proximal = batch_proximal(self.functional)
        self._weight = weight(self.functional.domain)

    def proximal(self, steps: torch.Tensor, k: torch.Tensor) -> torch.Tensor:
        """``argmin_p g(p) + |k_b - p|^2 / (2 step_b)``, in plain sums."""
        steps = (self._weight * steps).tolist()
        if len(set(steps)) == 1:
            return self._proximal(steps[0], k)
        rows = zip(steps, k.split(1), strict=True)
        return torch.cat([self._proximal(step, row) for step, row in rows])


@dataclasses.dataclass
class CompositeProblem:
    """A batch of problems in images and latents, each with its own data.

        ``min_{x, z} sum_i |(A x - y)_i|^2 / (2 sigma^2) + rho |z|^2``
        ``           + sum_i g_i(L_i x) + sum_j g_j(L_j (x - G(z)))``

    with ``lower <= x <= upper``, or the same in ``z`` alone with ``x = G(z)``.

    Parameters
    ----------
    generator : `Generator`
        Operator ``G : Z -> X``.
    forward : LinearMap
        Forward operator ``A : X -> Y``.
    data : torch.Tensor
        The data ``y``, ``(batch, *Y.shape)``.
    noise_std : torch.Tensor
        ``sigma`` of each, ``(batch,)``.
    terms : sequence of LinearTerm
        The terms ``g_i``.
    rho : nonnegative float
        Weight of the sum of squares of the latent.
    bounds : pair of float, optional
        Lower and upper bound of the image, infinite for none.
    in_range : bool, optional
        Whether ``x = G(z)``; no term is then one of the deviation.

    Raises
    ------
    ValueError
        If ``data`` and ``noise_std`` have different lengths, ``noise_std`` is not
        positive, or a term of the deviation meets ``in_range``.
    """

    generator: object
    forward: LinearMap
    data: torch.Tensor
    noise_std: torch.Tensor
    terms: Sequence[LinearTerm]
    rho: float
    bounds: tuple[float, float] = (-math.inf, math.inf)
    in_range: bool = False

    def __post_init__(self):
        if self.noise_std.shape != self.data.shape[:1]:
            raise ValueError(
                f"`noise_std` must have the shape {tuple(self.data.shape[:1])} of the "
                f"batch of `data`, got {tuple(self.noise_std.shape)}; use `expand`."
            )
        if not bool((self.noise_std > 0).all()):
            raise ValueError(
                f"`noise_std` must be positive, got {self.noise_std.tolist()}; give "
                "the standard deviation of one datum, or 1.0 for plain least squares."
            )
        if self.in_range and any(term.of_deviation for term in self.terms):
            raise ValueError(
                "`terms` must not be of the deviation for `in_range=True`, where it is "
                "0, got one with `of_deviation=True`; leave it out."
            )

    def __len__(self):
        return len(self.data)

    def take(self, rows: torch.Tensor) -> "CompositeProblem":
        """Return the problems of some rows of the batch."""
        data, noise_std = self.data[rows], self.noise_std[rows]
        return dataclasses.replace(self, data=data, noise_std=noise_std)

    def value(self, x, deviation, z) -> torch.Tensor:
        """Return the objective ``(batch,)``, without the bounds."""
        misfit = _square(self.forward(x) - self.data) / (2 * self.noise_std**2)
        total = misfit + self.rho * _square(z)
        for term in self.terms:
            argument = deviation if term.of_deviation else x
            total = total + term.value(term.linear_map(argument))
        return total

    def excess(self, x) -> torch.Tensor:
        """Return by how much an image leaves the bounds, ``(batch,)``."""
        return (x - x.clamp(*self.bounds)).abs().flatten(1).amax(1)


def _square(x):
    return (x**2).flatten(1).sum(1)
