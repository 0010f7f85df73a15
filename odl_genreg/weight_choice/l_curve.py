# SPDX-License-Identifier: MPL-2.0
"""The L-curve: where a better fit to the data begins to cost much regularity."""

import itertools
import math

import numpy as np

from .choice import WeightChoice
from .path import FARTHEST, WeightPath

__all__ = ("corner", "l_curve_corner")

#: The grid about the center. It begins low: where a large ``lam`` shrinks the latents
#: to 0, the curve often has another corner.
GRID = 10.0 ** np.arange(1, -3.5, -0.5)

#: Steps that are too short for a curvature, relative to the length of the curve.
SHORTEST = 0.02


def corner(fidelity, value) -> tuple[int, float]:
    """Return the index of the corner of an L-curve, and its curvature.

    The largest curvature of ``(log D(x), log R(x))``, by circles through three points;
    positive where the curve turns as an L does. Points that are close to the one before
    are left out: there the curvature is that of rounding errors.

    Parameters
    ----------
    fidelity, value : `array-like`
        ``D(x)`` and ``R(x)`` for decreasing ``lam``; at least three of them.

    Examples
    --------
    >>> from odl_genreg.weight_choice.l_curve import corner
    >>> index, _ = corner([16, 4, 1, 1, 1], [1, 1, 1, 4, 16])
    >>> index
    2
    """
    curve = np.log(np.maximum([fidelity, value], np.finfo(float).tiny)).T
    lengths = np.linalg.norm(np.diff(curve, axis=0), axis=1)
    kept, length = [0], 0.0
    for index, step in enumerate(lengths, start=1):
        length += step
        if length > SHORTEST * lengths.sum():
            kept.append(index)
            length = 0.0
    corners = [(0, -math.inf)]
    for p, q, r in zip(kept, kept[1:], kept[2:], strict=False):
        u, v = curve[q] - curve[p], curve[r] - curve[q]
        sides = math.hypot(*u) * math.hypot(*v) * math.hypot(*(u + v))
        corners.append((q, float(2 * (u[1] * v[0] - u[0] * v[1]) / sides)))
    return max(corners, key=lambda corner: corner[1])


def l_curve_corner(path: WeightPath, lam: float) -> WeightChoice:
    """Choose the ``lam`` at the corner of the L-curve.

    On a grid with two weights to a decade, which grows where the corner is next to
    its end, and with four to a decade about the corner.

    Parameters
    ----------
    path : `WeightPath`
        Trials of one image.
    lam : positive float
        Where the search is centered.
    """
    lams = (lam * GRID).tolist()
    while True:
        index, curvature = _corner(path, lams)
        if curvature <= 0:
            warning = (
                "The L-curve has no corner: more regularity costs the same fit all "
                "along; use the discrepancy principle or validation."
            )
            chosen = path(min(lams, key=lambda tried: abs(math.log(tried / lam))))
            return WeightChoice("l_curve", chosen, path.sorted_trials, warning=warning)
        if index < 2 and lams[0] < FARTHEST * lam:
            lams.insert(0, lams[0] ** 2 / lams[1])
        elif index > len(lams) - 3 and lams[-1] > lam / FARTHEST:
            lams.append(lams[-1] ** 2 / lams[-2])
        else:
            break
    near = lams[index - 1 : index + 2]
    means = [math.sqrt(first * second) for first, second in itertools.pairwise(near)]
    near = sorted(near + means, reverse=True)
    index, curvature = _corner(path, near)
    chosen = path(near[index if curvature > 0 else 2])
    return WeightChoice("l_curve", chosen, path.sorted_trials)


def _corner(path, lams):
    trials = [path(lam) for lam in lams]
    return corner([t.fidelity for t in trials], [t.regularizer_value for t in trials])
