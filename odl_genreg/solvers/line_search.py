# SPDX-License-Identifier: MPL-2.0
"""A line search for ODL's smooth solvers that never ends a float32 run."""

import math

import odl

__all__ = ("BacktrackingLineSearch",)


class BacktrackingLineSearch(odl.solvers.LineSearch):
    """Backtracking line search with interpolation.

    Returns a step ``a`` with the Armijo condition

        ``f(x + a d) <= f(x) + discount * a * f'(x) d``

    or 0.0 where there is none. It never raises.

    Notes
    -----
    Trial steps are minimizers of the parabola through ``f(x)``, ``f'(x) d`` and
    ``f(x + a d)``, kept within [0.1, 0.5] of the last; a first step that is too short
    by more than a factor of 2 is doubled. See [NW2006], section 3.5.

    ODL's solvers have no stop signal. Once neither the direction of the solver nor
    steepest descent improves ``f``, every later call returns 0.0 at once, without
    an evaluation; use a new instance for a new run.

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
        self._failed_before = False

    def __call__(self, x, direction, dir_derivative) -> float:
        """Return a step length along ``direction`` at ``x``.

        Parameters
        ----------
        x, direction : `LinearSpaceElement`
            Point and search direction.
        dir_derivative : float
            Directional derivative ``f'(x) d``.
        """
        if self.stalled:
            return 0.0
        slope = float(dir_derivative)
        step = self._search(x, direction, slope) if slope < 0 else 0.0
        if step == 0.0:
            steepest = math.isclose(-slope, float(direction.norm()) ** 2, rel_tol=1e-3)
            self.stalled = steepest or self._failed_before
        self._failed_before = step == 0.0
        return step

    def _search(self, x, direction, slope):
        trial = x.space.element()

        def f(step):
            trial.lincomb(1.0, x, step, direction)
            return float(self.function(trial))

        start, step = float(self.function(x)), 1.0
        for evaluation in range(self.max_num_iter):
            value = f(step)
            excess = value - start - step * slope
            best = math.inf if excess <= 0 else -slope * step**2 / (2 * excess)
            if value <= start + self.discount * step * slope and value < start:
                while evaluation == 0 and best > 2 * step and step < 2**20:
                    longer = f(2 * step)
                    if not longer < value:
                        break
                    step, value = 2 * step, longer
                return step
            interpolated = best if math.isfinite(excess) else 0.0
            step = min(max(interpolated, 0.1 * step), 0.5 * step)
        return 0.0
