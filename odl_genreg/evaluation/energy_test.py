# SPDX-License-Identifier: MPL-2.0
"""Whether two samples of vectors have one distribution."""

import numpy as np
import torch

__all__ = ("energy_test",)


def energy_test(
    one: torch.Tensor, other: torch.Tensor, *, permutations: int = 199, seed: int = 0
) -> tuple[float, float]:
    r"""Return the energy coefficient of two samples and its p-value [SR2013].

    .. math::
        H = \frac{2 E|X - Y| - E|X - X'| - E|Y - Y'|}{2 E|X - Y|} \in [0, 1],

    0 for equal distributions alone, whatever their dimension. The p-value is the share
    of random splits of all vectors whose coefficient is at least as large.

    Parameters
    ----------
    one, other : torch.Tensor
        Samples ``(number, ...)``; numbers may differ.
    permutations : positive int, optional
        Number of random splits.
    seed : int, optional
        Seed of the splits.

    References
    ----------
    [SR2013] Szekely G J, and Rizzo M L. *Energy statistics: a class of statistics based
    on distances*. J Stat Plan Inference, 2013.

    Examples
    --------
    Distances between the samples are 2, 0, 4 and 2; those within each of them 0, 2, 2
    and 0: ``H = (2 * 2 - 1 - 1) / (2 * 2)``.

    >>> one, other = torch.tensor([[0.0], [2.0]]), torch.tensor([[2.0], [4.0]])
    >>> coefficient, p_value = ogr.evaluation.energy_test(one, other)
    >>> coefficient
    0.5
    """
    points = torch.cat([one.flatten(1), other.flatten(1)]).double()
    distances = torch.cdist(points, points).cpu().numpy()
    first = np.arange(len(points)) < len(one)
    source = np.random.default_rng(seed)
    observed = _coefficient(distances, first)
    others = [
        _coefficient(distances, source.permutation(first)) for _ in range(permutations)
    ]
    beaten = sum(value >= observed - 1e-12 for value in others)
    return observed, (1 + beaten) / (1 + permutations)


def _coefficient(distances, first):
    """``H`` of the rows in and out of ``first``."""
    shares = np.stack([first / first.sum(), ~first / (~first).sum()])
    (within, between), (_, within_other) = shares @ distances @ shares.T
    if between == 0:
        return 0.0
    return float((2 * between - within - within_other) / (2 * between))
