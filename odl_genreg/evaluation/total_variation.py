# SPDX-License-Identifier: MPL-2.0
"""Total variation, solved to a certified gap: the baseline to beat."""

import math
from collections.abc import Sequence

import odl

from ..torch_bridge import batch_products
from .certified_minima import CertifiedMinimum, certified_minima, checked_fidelities
from .primal_dual_batch import SparsifyingMap

__all__ = ("TotalVariationResult", "total_variation")


class TotalVariationResult(CertifiedMinimum):
    """What `total_variation` returns."""


def total_variation(
    data_fidelity,
    beta: float,
    *,
    data: Sequence | None = None,
    bounds=None,
    gap_tol: float = 1e-4,
    maxiter: int = 10000,
) -> TotalVariationResult | list[TotalVariationResult]:
    r"""Minimize a data fidelity plus total variation, to a certified accuracy.

        ``min_x D(x) + beta || |grad x|_2 ||_1``,  ``lower <= x <= upper``

    Isotropic total variation in the norms of ``X``: the sum over the cells of cell
    volume times length of the gradient. The gradient is `odl.Gradient` with forward
    differences and Neumann boundary (``pad_mode='symmetric'``): a difference that
    leaves the image is 0, so constant images have no variation.

    Several images are solved as one batch, each to its own gap: the results are those
    of single calls, up to rounding, in a fraction of the time.

    Parameters
    ----------
    data_fidelity : `Functional`, or sequence of them
        ``D(x) = on_data(A x)`` with the attributes ``operator``, a linear operator
        ``A`` on a space of images; ``data``, in its range; and ``on_data``, convex,
        whose ``convex_conj`` has values and a proximal, such as `squared_l2`. A
        sequence, one for each image, has one ``operator``.
    beta : positive float
        Weight of the total variation.
    data : sequence of ``A.range`` `element-like`, or array, optional
        Data of several images, which replace those of ``D``: elements, or an array
        ``(B, *Y.shape)``.
    bounds : pair, optional
        ``(lower, upper)``, floats or None; without it, images are not constrained.
    gap_tol : positive float, optional
        Stop at this relative primal-dual gap. In float32, less than 1e-5 may not be
        reached.
    maxiter : positive int, optional
        Stop after this number of iterations, with a warning.

    Returns
    -------
    result : TotalVariationResult or list of TotalVariationResult
        The fields ``x``, ``objective``, ``gap`` and ``niter``; a list for several
        images.

    Raises
    ------
    TypeError
        If ``data_fidelity`` lacks an attribute, or its operator is not linear.
    ValueError
        If ``data_fidelity`` has several operators, or if ``beta``, ``data``,
        ``bounds``, ``gap_tol`` or ``maxiter`` make no sense.

    Notes
    -----
    The method is that of `PrimalDualBatch`. The gap is

    .. math::
        D(x) + \beta TV(x) + D_Y^*(q)
        + \sum_i \max_{l \le t \le u} -t (A^T q + \nabla^T p)_i

    in plain sums, where the dual variables are feasible by construction,
    ``|p_i|_2 <= beta w_X``. Where there is no bound, the maximum is over twice the
    largest value of the image and of a scaled back-projection: it certifies ``x`` among
    the images of at most this size. It is computed for the result as returned, in
    float64, ``A`` in the dtype of its spaces.

    Examples
    --------
    Each half of a step moves towards the other by ``beta / 2`` (jump of 1, length of
    the edge 1), until they meet:

    >>> X = odl.uniform_discr([0, 0], [4, 2], (4, 2))
    >>> D = ogr.squared_l2(odl.IdentityOperator(X), [[0, 0], [0, 0], [1, 1], [1, 1]])
    >>> result = ogr.evaluation.total_variation(D, 0.5, gap_tol=1e-6)
    >>> result.x.asarray()[:, 0].round(3)
    array([ 0.25,  0.25,  0.75,  0.75])

    Twice the step, and half of it:

    >>> data = [2 * D.data, 0.5 * D.data]
    >>> results = ogr.evaluation.total_variation(D, 0.5, data=data, gap_tol=1e-6)
    >>> [float(result.x.asarray()[0, 0].round(3)) for result in results]
    [0.25, 0.25]
    >>> [float(result.x.asarray()[3, 0].round(3)) for result in results]
    [1.75, 0.25]
    """
    fidelities, several = checked_fidelities(data_fidelity, data)
    gradient = odl.Gradient(fidelities[0].operator.domain, pad_mode="symmetric")
    norm = 2 * math.hypot(*(1 / float(side) for side in gradient.domain.cell_sides))
    sparse = SparsifyingMap(*batch_products(gradient), norm)
    minima = certified_minima(fidelities, sparse, beta, bounds, gap_tol, maxiter)
    results = [TotalVariationResult(*minimum) for minimum in minima]
    return results if several else results[0]
