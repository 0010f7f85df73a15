# SPDX-License-Identifier: MPL-2.0
"""A line search that gives quasi-Newton methods pairs of positive curvature."""

import math
from typing import Any, NamedTuple

from .line_search import BacktrackingLineSearch, relative_rounding

__all__ = ("AcceptedStep", "WolfeLineSearch")


class AcceptedStep(NamedTuple):
    """A step of a `WolfeLineSearch`, with the gradients of ``f`` at its ends."""

    size: float
    direction: Any
    before: Any
    after: Any


class WolfeLineSearch(BacktrackingLineSearch):
    """Line search with Wolfe's conditions, for quasi-Newton methods.

    Returns a step ``a`` with

        ``f(x + a d) <= f(x) + discount * a * f'(x) d``,
        ``f'(x + a d) d >= curvature * f'(x) d``

    or 0.0 where there is none. It never raises, and it ends a run as a
    `BacktrackingLineSearch` does.

    Notes
    -----
    By the second condition ``<s, y> > 0`` for the step ``s`` and the change ``y`` of
    the gradient, which ODL's `bfgs_method` does not check. It takes the gradient at the
    end of the step, where the solver needs it next: nothing is lost with a functional
    that keeps its last gradient.

    The first trial is 1; that of the first search is where the tangent of ``f``
    reaches 0. A trial that is too long is followed by one within [0.1, 0.5] of the
    interval that is left, at the minimizer of a parabola. One that is too short is
    followed by one 2 to 10 times as long, where the slope, as a linear function, is 0;
    or by the middle of an interval. Where no trial has enough curvature, the longest
    with the first condition is returned.

    `accepted` is the last `AcceptedStep`. It is None at the start, and after a search
    whose step is 0.0 or lacks curvature.
    """

    def __init__(
        self,
        function,
        *,
        discount: float = 1e-4,
        curvature: float = 0.9,
        max_num_iter: int = 30,
    ):
        """Initialize a new instance.

        Parameters
        ----------
        function : `Functional`
            Functional ``f``, with a gradient, that the solver minimizes.
        discount : float, optional
            Constant of the first condition, between 0 and 1.
        curvature : float, optional
            Constant of the second condition, between ``discount`` and 1.
        max_num_iter : positive int, optional
            Maximal number of evaluations of one search.

        Raises
        ------
        ValueError
            If not ``0 < discount < curvature < 1``.

        Examples
        --------
        The tangent of ``f(x) = x^2`` at 1 is 0 at 1/2, a quarter of the gradient away:

        >>> f = odl.functionals.L2NormSquared(odl.rn(1))
        >>> x = f.domain.one()
        >>> search = ogr.WolfeLineSearch(f)
        >>> search(x, -2 * x, -4.0)
        0.25
        >>> search.accepted.after
        rn(1).element([ 1.])
        """
        super().__init__(function, discount=discount, max_num_iter=max_num_iter)
        if not discount < curvature < 1:
            raise ValueError(
                f"`curvature` must be between `discount` = {discount} and 1, got "
                f"{curvature}; use 0.9."
            )
        self.curvature = float(curvature)
        self.accepted: AcceptedStep | None = None
        self._gradient, self._is_first = function.gradient, True

    def _search(self, x, direction, slope):
        start, before = self._value_at(x), self._gradient_at(x)
        if not math.isfinite(start):
            return 0.0
        step = start / -slope if self._is_first and start > 0 else 1.0
        low, high = 0.0, math.inf
        for _ in range(self.max_num_iter):
            if step * -slope <= relative_rounding(x.space) * abs(start):
                break
            trial = x + step * direction
            value, there = float(self.function(trial)), math.nan
            if value <= start + self.discount * step * slope and value < start:
                after = self._gradient(trial)
                there = float(after.inner(direction))
            if not math.isfinite(there):
                high = step
                excess = value - start - step * slope
                best = -slope * step**2 / (2 * excess) if excess > 0 else 0.0
                step = min(max(best, low + 0.1 * (high - low)), (low + high) / 2)
            elif there >= self.curvature * slope:
                self.accepted = AcceptedStep(step, direction.copy(), before, after)
                self._last, self._is_first = (trial, value), False
                return step
            else:
                low = step
                zero = step * slope / (slope - there) if there > slope else math.inf
                step = min(max(zero, 2 * step), 10 * step)
                step = min(step, (low + high) / 2)
        return low

    def __call__(self, x, direction, dir_derivative) -> float:
        """Return a step length along ``direction`` at ``x``.

        Parameters
        ----------
        x, direction, dir_derivative :
            As for `BacktrackingLineSearch`.
        """
        previous = self.accepted
        step = super().__call__(x, direction, dir_derivative)
        if self.accepted is previous:
            self.accepted = None
        return step

    def _gradient_at(self, x):
        """Return the gradient at ``x``, known where the last search ended."""
        if self.accepted is not None and self._last[0] == x:
            return self.accepted.after
        return self._gradient(x)
