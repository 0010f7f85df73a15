# SPDX-License-Identifier: MPL-2.0
"""Total variation, solved to a certified gap: the baseline to beat."""

import math
import warnings
from collections.abc import Sequence
from typing import NamedTuple

import odl
import torch

from ..torch_bridge import as_element, as_tensor, weight
from .data_term import data_term
from .primal_dual_batch import PrimalDualBatch

__all__ = ("TotalVariationResult", "total_variation")

NITER_CHUNK = 20  # iterations between two looks at the gap


class TotalVariationResult(NamedTuple):
    """What `total_variation` returns."""

    #: Reconstruction, an element of ``D.domain``.
    x: object
    #: ``D(x) + beta TV(x)``.
    objective: float
    #: Relative gap: ``objective`` is at most this fraction of itself above the minimum.
    gap: float
    #: Number of iterations.
    niter: int


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
    fidelities, several = _fidelities(data_fidelity, data)
    A = fidelities[0].operator
    bounds = _check(beta, bounds, gap_tol, maxiter)
    y = torch.stack([as_tensor(D.data).reshape(-1) for D in fidelities])
    alpha = float(beta) * weight(A.domain)
    batch = PrimalDualBatch(A, y, data_term(fidelities), alpha, bounds)
    results, left, niter = [None] * len(y), torch.arange(len(y)), 0
    while len(left):
        chunk = min(NITER_CHUNK, maxiter - niter)
        niter += chunk
        batch.iterate(chunk)
        gaps, objectives = batch.gap_and_objective()
        gaps = _relative(gaps, objectives)
        stay = gaps > gap_tol
        if niter == maxiter:
            _warn(gaps, stay, gap_tol, niter)
            stay = torch.zeros_like(stay)
        for row in (~stay).nonzero()[:, 0].tolist():
            x = as_element(A.domain, batch.x[row].reshape(A.domain.shape).clone())
            numbers = float(objectives[row]), float(gaps[row]), niter
            results[left[row]] = TotalVariationResult(x, *numbers)
        left, batch = left[stay.cpu()], batch[stay]
    return results if several else results[0]


def _relative(gaps, objectives):
    """Return ``gap / objective``, infinite where nothing is known."""
    ratios = torch.where(gaps > 0, gaps / objectives, 0 * gaps)
    return torch.where(ratios >= 0, ratios, math.inf)


def _warn(gaps, missed, gap_tol, niter):
    """Warn of the largest of the relative gaps that missed the tolerance."""
    if missed.any():
        warnings.warn(
            f"`maxiter` must suffice for a relative gap of {gap_tol}, got a gap of "
            f"{float(gaps[missed].max()):.2g} after {niter} iterations; use a larger "
            "one.",
            RuntimeWarning,
            stacklevel=3,
        )


def _fidelities(data_fidelity, data):
    """Return the data fidelity of each image, and whether there are several."""
    several = isinstance(data_fidelity, Sequence)
    fidelities = list(data_fidelity) if several else [data_fidelity]
    if not fidelities or (several and data is not None):
        received = "`data` as well" if fidelities else "an empty one"
        raise ValueError(
            "`data_fidelity` must be a functional, or a sequence of some without "
            f"`data`, got {received}; give one functional and its `data`."
        )
    for D in fidelities:
        _check_fidelity(D)
    A = fidelities[0].operator
    if any(D.operator is not A for D in fidelities):
        raise ValueError(
            "`data_fidelity` must have one operator, got several; build all of them "
            "with the same, or call `total_variation` for each."
        )
    if data is None:
        return fidelities, several
    if data in A.range or len(data) == 0:
        received = "one element" if len(data) else "an empty one"
        raise ValueError(
            "`data` must be a sequence of elements of Y or an array (B, *Y.shape), "
            f"got {received}; put a single one in brackets."
        )
    if not hasattr(data_fidelity, "with_data"):
        raise TypeError(
            "`data_fidelity` must have the method `with_data` to take other `data`, "
            f"got a {type(data_fidelity).__name__}; give a sequence of functionals."
        )
    return [data_fidelity.with_data(y) for y in data], True


def _check_fidelity(data_fidelity):
    """Raise an error unless its parts are there, the operator linear on images."""
    missing = [
        name
        for name in ("operator", "data", "on_data")
        if not hasattr(data_fidelity, name)
    ]
    if missing:
        raise TypeError(
            "`data_fidelity` must have the attributes `operator`, `data` and "
            f"`on_data`, got a {type(data_fidelity).__name__} without "
            f"{', '.join(missing)}; use `squared_l2`."
        )
    A = data_fidelity.operator
    if not A.is_linear or not isinstance(A.domain, odl.DiscretizedSpace):
        raise TypeError(
            "`data_fidelity.operator` must be linear on a discretized space, got "
            f"{A!r}; linearize it with `derivative`, or use `odl.uniform_discr`."
        )


def _check(beta, bounds, gap_tol, maxiter):
    """Return the bounds as floats, infinite where there is none."""
    for name, value in (("beta", beta), ("gap_tol", gap_tol)):
        if not 0 < value < math.inf:
            raise ValueError(
                f"`{name}` must be positive and finite, got {value}; "
                "use a small number for next to none."
            )
    if not maxiter >= 1:
        raise ValueError(
            f"`maxiter` must be at least 1, got {maxiter}; leave it out for the "
            "default."
        )
    lower, upper = bounds or (None, None)
    lower = -math.inf if lower is None else float(lower)
    upper = math.inf if upper is None else float(upper)
    if not lower < upper:
        raise ValueError(
            f"`bounds` must be (lower, upper) with lower < upper, got {bounds}; "
            "use None for no bound."
        )
    return lower, upper
