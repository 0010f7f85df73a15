# SPDX-License-Identifier: MPL-2.0
"""Tikhonov regularization: one linear system, the same for all data."""

import math
from collections.abc import Sequence

import torch

from ..gaussian_noise import SquaredL2
from ..image_elimination import eliminated
from ..torch_bridge import as_element, as_tensor, weight
from .data_stack import data_stack

__all__ = ("tikhonov",)


def tikhonov(data_fidelity: SquaredL2, beta: float, *, data: Sequence | None = None):
    r"""Minimize least squares plus the squared norm of the image.

        ``min_x D(x) + beta ||x||_X^2``

    There are no bounds: cut off afterwards, the image would not be the minimizer within
    them.

    Parameters
    ----------
    data_fidelity : `SquaredL2`
        ``D(x) = sum_i |(A x - y)_i|^2 / (2 sigma^2)`` of a linear operator.
    beta : positive float
        Weight of the squared norm.
    data : sequence of ``A.range`` `element-like`, or array, optional
        Data of several images, which replace those of ``D``: elements, or an array
        ``(B, *Y.shape)``.

    Returns
    -------
    x : ``A.domain`` element or list of them
        Reconstruction; a list for several images.

    Raises
    ------
    TypeError
        If ``data_fidelity`` is not that of `squared_l2` with a linear operator.
    ValueError
        If ``beta`` is not positive, or ``data`` are not several of ``Y``.

    Notes
    -----
    In plain sums, with the weight ``w_X`` of the inner product of ``X``,

    .. math::
        (A^T A / (2 \sigma^2) + \beta w_X I) x = A^T y / (2 \sigma^2)

    It is solved by `eliminated`, in the form that suits the sizes, as the deviation of
    a soft constraint is: this is the soft constraint of a generator that makes 0 alone.

    Examples
    --------
    ``(x - 3)^2 / 2 + beta w_X x^2`` with ``w_X = 0.5``:

    >>> X = odl.uniform_discr(0, 1, 2)
    >>> D = ogr.squared_l2(odl.IdentityOperator(X), [3, 6])
    >>> ogr.evaluation.tikhonov(D, 2.0)
    uniform_discr(0.0, 1.0, 2).element([ 1.,  2.])
    """
    if not isinstance(data_fidelity, SquaredL2) or data_fidelity.quadratic is None:
        raise TypeError(
            "`data_fidelity` must be that of `squared_l2` with a linear operator, got "
            f"a {type(data_fidelity).__name__}; linearize its operator, or use "
            "`total_variation` for other ones."
        )
    if not 0 < beta < math.inf:
        raise ValueError(
            f"`beta` must be positive and finite, got {beta}; use a small number for "
            "next to none."
        )
    A = data_fidelity.operator
    if data is None:
        y = as_tensor(data_fidelity.data)[None]
    else:
        y = data_stack(data, A.range)
    solver = eliminated(data_fidelity.quadratic, float(beta) * weight(A.domain))
    zero = torch.zeros_like(data_fidelity.quadratic.forward.T.product(y))
    images = solver.images(zero, y)
    elements = [as_element(A.domain, image.clone()) for image in images]
    return elements[0] if data is None else elements
