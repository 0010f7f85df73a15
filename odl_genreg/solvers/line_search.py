# SPDX-License-Identifier: MPL-2.0
"""A line search for ODL's smooth solvers that never ends a float32 run."""

import math

import numpy as np
import odl

__all__ = ("BacktrackingLineSearch", "relative_rounding")


class BacktrackingLineSearch(odl.solvers.LineSearch):
    """Backtracking line search with interpolation.

    Returns a step ``a`` with the Armijo condition

        ``f(x + a d) <= f(x) + discount * a * f'(x) d``

    or 0.0 where there is none. It never raises.

    Notes
    -----
    The first trial is 1, or the step that promises twice the decrease of the last
    search if that is shorter. Trials are minimizers of the parabola through ``f(x)``,
    ``f'(x) d`` and ``f(x + a d)``, kept within [0.1, 0.5] of the last when backtracking
    and at most 10 times as long while they improve. See [NW2006], section 3.5.

    ODL's solvers have no stop signal. Once neither the direction of the solver nor
    steepest descent improves ``f``, every later call returns 0.0 at once, without
    an evaluation; use a new instance for a new run. For a direction of ascent the
    step is 0.0 as well: L-BFGS then forgets its memory and starts afresh.

    References
    ----------
    [NW2006] Nocedal J, and Wright S J. *Numerical optimization*. Springer, 2006.
    """

    def __init__(self, function, *, discount: float = 1e-4, max_num_iter: int = 30):
        """Initialize a new instance.

        Parameters
        ----------
        function : `Functional`
            Functional ``f`` that the solver minimizes.
        discount : float, optional
            Constant of the Armijo condition, between 0 and 1.
        max_num_iter : positive int, optional
            Maximal number of evaluations of one search.

        Raises
        ------
        ValueError
            If ``discount`` is not between 0 and 1.

        Examples
        --------
        For ``f(x) = x^2`` at 1 along the gradient -2 the best step is 1/2:

        >>> f = odl.functionals.L2NormSquared(odl.rn(1))
        >>> x = f.domain.one()
        >>> ogr.BacktrackingLineSearch(f)(x, -2 * x, -4.0)
        0.5
        """
        if not 0 < discount < 1:
            raise ValueError(
                f"`discount` must be between 0 and 1, got {discount}; use 1e-4."
            )
        self.function = function
        self.discount = float(discount)
        self.max_num_iter = int(max_num_iter)
        self.stalled = False
        self._failures = 0
        self._last = None  # point, value, decrease and step of the last success

    def __call__(self, x, direction, dir_derivative) -> float:
        """Return a step length along ``direction`` at ``x``.

        Parameters
        ----------
        x, direction : `LinearSpaceElement`
            Point and search direction.
        dir_derivative : float
            Directional derivative ``f'(x) d``.
        """
        slope = float(dir_derivative)
        self.stalled = self.stalled or not math.isfinite(slope)
        if self.stalled or slope >= 0:
            return 0.0
        step = self._search(x, direction, slope)
        if step == 0.0:
            self._failures += 1
            steepest = math.isclose(-slope, float(direction.norm()) ** 2, rel_tol=1e-3)
            self.stalled = steepest or self._failures == 3
            self._last = None
        else:
            self._failures = 0
        return step

    def _search(self, x, direction, slope):
        start, trial = self._value_at(x), x.space.element()
        if not math.isfinite(start):
            return 0.0
        resolution = relative_rounding(x.space) * abs(start)

        def f(step):
            trial.lincomb(1.0, x, step, direction)
            value = float(self.function(trial))
            return value if math.isfinite(value) else math.inf

        def minimizer(step, value):
            excess = value - start - step * slope
            return -slope * step**2 / (2 * excess) if excess > 0 else math.inf

        step, value, evaluations = self._first_step(slope), math.inf, 0
        while evaluations < self.max_num_iter and step * -slope > resolution:
            value, evaluations = f(step), evaluations + 1
            if value <= start + self.discount * step * slope and value < start:
                break
            best = minimizer(step, value)
            best = best if math.isfinite(best) else 0.0
            step = min(max(best, 0.1 * step), 0.5 * step)
        else:
            return 0.0
        while evaluations < self.max_num_iter:
            longer = min(minimizer(step, value), 10 * step)
            if not longer > 2 * step:
                break
            value_there, evaluations = f(longer), evaluations + 1
            if not value_there < value:
                break
            step, value = longer, value_there
        trial.lincomb(1.0, x, step, direction)
        self._last = (trial, value, start - value, step)
        return step

    def _value_at(self, x):
        """``f(x)``, which the last search knows if the solver took its step."""
        if self._last is not None and self._last[0] == x:
            return self._last[1]
        return float(self.function(x))

    def _first_step(self, slope):
        if self._last is None:
            return 1.0
        _, _, decrease, step = self._last
        promising = 2.02 * decrease / -slope
        return promising if step > 1 else min(1.0, promising)


def relative_rounding(space):
    """Relative rounding error of a value on a space."""
    while isinstance(space, odl.ProductSpace):
        space = space[0]
    return float(np.finfo(space.dtype_identifier).eps)
