# SPDX-License-Identifier: MPL-2.0
"""D of counts: the divergence of Kullback and Leibler."""

import functools
import math

import torch
from odl import Operator
from odl.functionals import KullbackLeibler

from .data_fidelity import DataFidelity, checked_data
from .torch_bridge import as_element, as_tensor, batch_value, weight

__all__ = ("CountDivergence", "kullback_leibler")


class CountDivergence(KullbackLeibler):
    """ODL's Kullback-Leibler divergence of counts, with ``0 log 0 = 0``.

        ``f(v) = w_Y sum_i v_i - y_i + y_i log(y_i / v_i)``,  ``grad f(v) = 1 - y / v``

    Where there are no counts ODL's is infinite at 0, a ray that misses everything,
    and finite below.
    """

    def _call(self, v):
        return float(batch_value(self)(as_tensor(v)[None]))

    @property
    def gradient(self):
        """Gradient ``v -> 1 - y / v``, 1 where there are no counts."""
        return CountDivergenceGradient(self.prior)


class CountDivergenceGradient(Operator):
    """Gradient of a `CountDivergence`."""

    def __init__(self, counts):
        """Initialize a new instance for counts ``y``."""
        super().__init__(counts.space, counts.space)
        self.counts = counts

    def _call(self, v):
        counts, v = as_tensor(self.counts), as_tensor(v)
        return as_element(self.range, 1 - torch.where(counts > 0, counts / v, 0))


def kullback_leibler(operator, counts, background: float = 0.0) -> DataFidelity:
    """Return ``D(x) = sum_i v_i - y_i + y_i log(y_i / v_i)``, for Poisson counts.

    Here ``v = A x + background``, in plain sums; ``D`` is infinite where a ``v_i`` is
    negative, or 0 with counts.

    Parameters
    ----------
    operator : `Operator`
        Forward operator ``A : X -> Y``.
    counts : ``operator.range`` `element-like`
        Nonnegative counts ``y``.
    background : nonnegative float, optional
        Expected counts without an object.

    Raises
    ------
    ValueError
        If ``counts`` has a negative value, a wrong shape or a value that is not
        finite, or if ``background`` is negative.

    Examples
    --------
    >>> A = odl.IdentityOperator(odl.rn(2))
    >>> D = ogr.kullback_leibler(A, [1, 0])
    >>> D([1, 3])
    3.0
    """
    Y = operator.range
    counts = checked_data(counts, Y)
    if float(as_tensor(counts).min()) < 0:
        raise ValueError(
            "`counts` must be nonnegative, got a negative value; "
            "use `squared_l2` for data with Gaussian noise."
        )
    if not 0 <= background < math.inf:
        raise ValueError(
            f"`background` must be nonnegative and finite, got {background}; "
            "use 0.0 for none."
        )
    divergence = (1 / weight(Y)) * CountDivergence(Y, prior=counts)
    if background:
        divergence = divergence.translated(-float(background) * Y.one())
    rebuild = functools.partial(kullback_leibler, operator, background=background)
    return DataFidelity(operator, counts, divergence, rebuild=rebuild)
