# SPDX-License-Identifier: MPL-2.0
"""Convex baselines of many images: arguments checked, each solved to its gap."""

import math
import warnings
from collections.abc import Sequence
from typing import NamedTuple

import odl
import torch

from ..torch_bridge import as_element, as_tensor, weight
from .data_term import data_term
from .primal_dual_batch import PrimalDualBatch, SparsifyingMap

__all__ = ("CertifiedMinimum", "certified_minima", "checked_fidelities")

NITER_CHUNK = 20  # iterations between two looks at the gap


class CertifiedMinimum(NamedTuple):
    """A minimizer, and how far from the minimum it is at most."""

    #: Reconstruction, an element of ``D.domain``.
    x: object
    #: Value of the objective.
    objective: float
    #: Relative gap: ``objective`` is at most this fraction of itself above the minimum.
    gap: float
    #: Number of iterations.
    niter: int


def certified_minima(
    fidelities: Sequence,
    sparse: SparsifyingMap,
    beta: float,
    bounds,
    gap_tol: float,
    maxiter: int,
) -> list[CertifiedMinimum]:
    """Minimize ``D_b(x) + beta w_X sum_i |(K x)_i|_2`` within bounds, for each ``D_b``.

    Warns of images whose gaps are not small enough after ``maxiter`` iterations, in the
    name of who called the caller.

    Parameters
    ----------
    fidelities : sequence of `Functional`
        Those that `checked_fidelities` returns.
    sparse : SparsifyingMap
        The map ``K``.
    beta, bounds, gap_tol, maxiter :
        As for `total_variation`; they are checked here, before any work.

    Examples
    --------
    >>> from odl_genreg.evaluation.certified_minima import certified_minima
    >>> from odl_genreg.evaluation.primal_dual_batch import SparsifyingMap
    >>> D = ogr.squared_l2(odl.IdentityOperator(odl.rn(2)), [3.0, 0.5])
    >>> identity = SparsifyingMap(torch.clone, torch.clone, norm=1.0)
    >>> minimum, = certified_minima([D], identity, 1.0, None, 1e-6, 1000)
    >>> minimum.x.asarray().round(3)
    array([ 2.,  0.])
    """
    bounds = _check(beta, bounds, gap_tol, maxiter)
    A = fidelities[0].operator
    y = torch.stack([as_tensor(D.data).reshape(-1) for D in fidelities])
    alpha = float(beta) * weight(A.domain)
    batch = PrimalDualBatch(A, y, data_term(fidelities), sparse, alpha, bounds)
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
            results[left[row]] = CertifiedMinimum(x, *numbers)
        left, batch = left[stay.cpu()], batch[stay]
    return results


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
            stacklevel=4,
        )


def checked_fidelities(data_fidelity, data) -> tuple[list, bool]:
    """Return the data fidelity of each image, and whether there are several.

    Parameters
    ----------
    data_fidelity : `Functional`, or sequence of them
        With the attributes ``operator``, linear on images, ``data`` and ``on_data``; a
        sequence has one operator.
    data : sequence of ``A.range`` `element-like`, array or None
        Data of several images, which replace those of ``data_fidelity``.

    Examples
    --------
    >>> from odl_genreg.evaluation.certified_minima import checked_fidelities
    >>> D = ogr.squared_l2(odl.IdentityOperator(odl.uniform_discr(0, 2, 2)), [0, 0])
    >>> fidelities, several = checked_fidelities(D, [[1, 2], [3, 4], [5, 6]])
    >>> len(fidelities), several
    (3, True)
    """
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
            "with the same, or solve for one after the other."
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
