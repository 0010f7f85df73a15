# SPDX-License-Identifier: MPL-2.0
"""The discrepancy principle: explain the data as well as the noise allows."""

import itertools
import math

from odl.functionals import IndicatorZero

from .choice import WeightChoice
from .path import FARTHEST, WeightPath

__all__ = ("discrepancy_principle",)

#: Relative accuracy of the residual, or of ``lam``.
ACCURACY = 0.01


def discrepancy_principle(path: WeightPath, lam: float, tau: float) -> WeightChoice:
    """Choose the largest ``lam`` whose residual is at most ``tau m sigma^2``.

    From a ``lam`` with a larger residual down in powers of 10, then by interpolation
    and bisection, until the residual or ``lam`` is known to 1 %.

    Parameters
    ----------
    path : `WeightPath`
        Trials of one image.
    lam : positive float
        Where the search is centered.
    tau : positive float
        Factor of the expected residual.
    """
    above = path(100 * lam)
    target = tau * above.expected_residual
    while above.residual <= target and above.lam < FARTHEST * lam:
        above = path(100 * above.lam)
    if above.residual <= target:
        warning = (
            f"The data are explained at every lam: at {above.lam:.2g} the residual is "
            f"{above.residual / target:.3g} times the one asked for; lower `noise_std` "
            "if it is too large."
        )
        return WeightChoice("discrepancy", above, path.sorted_trials, target, warning)
    below = above
    while below.residual > target and below.lam > lam / FARTHEST:
        above, below = below, path(below.lam / 10)
    if below.residual > target:
        return _unattainable(path, target)
    for step in itertools.count():
        exact = below.residual >= (1 - ACCURACY) * target
        if exact or above.lam <= (1 + ACCURACY) * below.lam:
            return WeightChoice("discrepancy", below, path.sorted_trials, target)
        fraction = 0.5
        if step % 3 < 2 and below.residual > 0:
            aim = (1 - ACCURACY / 2) * target / below.residual
            fraction = math.log(aim) / math.log(above.residual / below.residual)
        fraction = min(max(fraction, 0.1), 0.9)
        middle = path(below.lam * (above.lam / below.lam) ** fraction)
        if middle.residual <= target:
            below = middle
        else:
            above = middle


def _unattainable(path, target):
    """Choose the largest ``lam`` with nearly the least residual of all."""
    trials = path.sorted_trials
    least = min(trial.residual for trial in trials)
    near = [trial for trial in trials if trial.residual <= (1 + ACCURACY) * least]
    chosen = max(near, key=lambda trial: trial.lam)
    if isinstance(path.regularizer.deviation, IndicatorZero):
        reason = "The generator cannot explain the data"
        remedy = "use `soft_constraint` or `sparse_deviation`"
    elif path.other_terms:
        reason = "No lam explains the data"
        remedy = "give `other_terms` a smaller factor"
    else:
        reason = "No lam explains the data"
        remedy = "check the operator, `noise_std` and `bounds`"
    ratio = least / chosen.expected_residual
    warning = f"{reason}: residual / (m sigma^2) >= {ratio:.3g}; {remedy}."
    return WeightChoice("discrepancy", chosen, trials, target, warning)
