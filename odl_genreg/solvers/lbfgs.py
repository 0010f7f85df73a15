# SPDX-License-Identifier: MPL-2.0
"""L-BFGS from many starts in one batch."""

from collections.abc import Callable, Sequence

import torch

from .minima import Minima, first_norms, value_and_gradient

__all__ = ("lbfgs",)


def lbfgs(
    objective: Callable[..., torch.Tensor],
    starts: torch.Tensor,
    *,
    parameters: Sequence[torch.Tensor] = (),
    num_problems: int = 1,
    tol: float = 1e-6,
    maxiter: int = 500,
    num_store: int = 10,
    callback: Callable | None = None,
) -> Minima:
    """Minimize a smooth function from a batch of starts by L-BFGS.

    Each run is on its own: own pairs, own step, and it leaves the batch when it is
    done. A step is accepted by the Armijo condition or, where the values no longer
    resolve it, by the approximate Wolfe condition on the slopes [HZ2005].

    Parameters
    ----------
    objective : callable
        Differentiable torch function of points ``(batch, n)`` and the ``parameters``
        of these rows, with values ``(batch,)``, each row on its own.
    starts : torch.Tensor
        Starts ``(batch, n)``; left as they are.
    parameters : sequence of torch.Tensor, optional
        What else the objective of each run takes, such as its data, ``(batch, ...)``.
    num_problems : positive int, optional
        Number of problems, each with as many consecutive starts.
    tol : positive float, optional
        A run has converged when the norm of its gradient is at most ``tol`` times
        the largest of the starts of its problem.
    maxiter : int, optional
        Maximal number of iterations.
    num_store : positive int, optional
        Number of pairs that are kept.
    callback : callable, optional
        Called after each iteration with the points and values of all runs.

    Returns
    -------
    minima : Minima
        A run ends unconverged when no step improves it (rounding), at ``maxiter``, or
        by an interrupt.

    References
    ----------
    [HZ2005] Hager W W, and Zhang H. *A new conjugate gradient method with guaranteed
    descent and an efficient line search*. SIAM J Optim, 2005, equation (1.7).

    Examples
    --------
    >>> starts = torch.tensor([[3.0], [-2.0]])
    >>> minima = ogr.solvers.lbfgs(lambda z: (z**2).sum(1) + 1, starts)
    >>> minima.values
    tensor([1., 1.])
    """
    x = starts.detach().clone()
    f, g = value_and_gradient(objective, x, *parameters)
    reference = first_norms(g, num_problems)
    trace, interrupted = [f.clone()], False
    pairs = _Pairs(x, num_store)
    running = f.isfinite() & (g.norm(dim=1) > tol * reference)
    try:
        while len(trace) <= maxiter and bool(running.any()):
            rows = running.nonzero()[:, 0]
            data = [parameter[rows] for parameter in parameters]
            d = pairs.direction(g[rows], rows)
            x_new, f_new, g_new, improved = _line_search(
                objective, data, x[rows], f[rows], g[rows], d
            )
            restart = ~improved & pairs.any(rows)
            pairs.append(x_new - x[rows], g_new - g[rows], rows)
            pairs.clear(rows[restart])
            x[rows], f[rows], g[rows] = x_new, f_new, g_new
            running[rows] = (improved | restart) & (
                g_new.norm(dim=1) > tol * reference[rows]
            )
            trace.append(f.clone())
            if callback is not None:
                callback(x, f)
    except KeyboardInterrupt:
        interrupted = True
        f, g = value_and_gradient(objective, x, *parameters)
    norms = g.norm(dim=1) / reference
    return Minima(x, f, norms, norms <= tol, trace, interrupted)


class _Pairs:
    """The last steps ``s`` and gradient differences ``y`` of each run."""

    def __init__(self, x, num_store):
        self.s = x.new_zeros(num_store, *x.shape)
        self.y = x.new_zeros(num_store, *x.shape)
        self.rho = x.new_zeros(num_store, len(x))
        self.gamma = x.new_zeros(len(x))

    def any(self, rows):
        return self.gamma[rows] > 0

    def clear(self, rows):
        self.rho[:, rows] = 0
        self.gamma[rows] = 0

    def append(self, s, y, rows):
        """Keep the pairs of positive curvature, the newest last."""
        sy, yy = (s * y).sum(1), (y * y).sum(1)
        good = sy > 1e-8 * s.norm(dim=1) * y.norm(dim=1)
        s, y, sy, yy, rows = s[good], y[good], sy[good], yy[good], rows[good]
        for stored, new in ((self.s, s), (self.y, y), (self.rho, 1 / sy)):
            stored[:-1, rows] = stored[1:, rows]
            stored[-1, rows] = new
        self.gamma[rows] = sy / yy

    def direction(self, g, rows):
        """Two-loop recursion; steepest descent of unit length at first."""
        q = g.clone()
        s, y, rho = self.s[:, rows], self.y[:, rows], self.rho[:, rows]
        alphas = []
        for i in reversed(range(len(s))):
            alpha = rho[i] * (s[i] * q).sum(1)
            q -= alpha[:, None] * y[i]
            alphas.append(alpha)
        gamma = self.gamma[rows]
        q *= torch.where(gamma > 0, gamma, 1 / g.norm(dim=1))[:, None]
        for i, alpha in zip(range(len(s)), reversed(alphas), strict=True):
            beta = rho[i] * (y[i] * q).sum(1)
            q += (alpha - beta)[:, None] * s[i]
        return -q


def _line_search(objective, data, x, f, g, d, max_evaluations=20, delta=1e-4):
    """Backtrack each run to its own step; runs without one stay where they are."""
    slope = (d * g).sum(1)
    rounding = 10 * torch.finfo(f.dtype).eps * f.abs()
    x_new, f_new, g_new = x.clone(), f.clone(), g.clone()
    step = torch.ones_like(f)
    improved = torch.zeros_like(f, dtype=torch.bool)
    pending = (slope < 0).nonzero()[:, 0]
    for _ in range(max_evaluations):
        if not len(pending):
            break
        t = step[pending]
        x_try = x[pending] + t[:, None] * d[pending]
        f_try, g_try = value_and_gradient(
            objective, x_try, *(parameter[pending] for parameter in data)
        )
        change, slope_0 = f_try - f[pending], slope[pending]
        slope_t = (g_try * d[pending]).sum(1)
        armijo = change <= delta * t * slope_0
        wolfe = (change <= rounding[pending]) & (slope_t <= (2 * delta - 1) * slope_0)
        accepted = f_try.isfinite() & (armijo | (wolfe & (slope_t >= 0.9 * slope_0)))
        rows = pending[accepted]
        x_new[rows], f_new[rows] = x_try[accepted], f_try[accepted]
        g_new[rows], improved[rows] = g_try[accepted], True
        parabola = -slope_0 * t**2 / (2 * (change - t * slope_0))
        parabola = parabola.nan_to_num(nan=0.0, posinf=0.0, neginf=0.0)
        step[pending] = torch.minimum(torch.maximum(parabola, 0.1 * t), 0.5 * t)
        pending = pending[~accepted]
    return x_new, f_new, g_new, improved
