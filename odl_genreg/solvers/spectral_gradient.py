# SPDX-License-Identifier: MPL-2.0
"""Proximal gradient with spectral steps, from many starts in one batch."""

from collections.abc import Callable, Sequence

import torch

from .minima import Minima, first_norms, value_and_gradient

__all__ = ("spectral_gradient",)


def spectral_gradient(
    objective: Callable[..., torch.Tensor],
    proximal: Callable[[float, torch.Tensor], torch.Tensor],
    starts: torch.Tensor,
    *,
    parameters: Sequence[torch.Tensor] = (),
    num_problems: int = 1,
    tol: float = 1e-6,
    maxiter: int = 500,
    callback: Callable | None = None,
) -> Minima:
    """Minimize ``f(z) + r(z)``, ``f`` smooth and ``r`` with a proximal (SpaRSA).

        ``z <- prox_{t r}(z - t grad f(z))``,  ``t = <s, s> / <s, y>`` [WNF2009]

    Each run has its own step, halved until ``f`` lies under its quadratic model, so
    that the sum never increases.

    Parameters
    ----------
    objective : callable
        Differentiable torch function ``f`` of points ``(batch, n)`` and the
        ``parameters`` of these rows, with values ``(batch,)``, each row on its own.
    proximal : callable
        Function ``(t, points)`` with the proximals of ``t r``, for an indicator ``r``
        the projection; starts are projected first. It is called row by row.
    starts : torch.Tensor
        Starts ``(batch, n)``; left as they are.
    parameters : sequence of torch.Tensor, optional
        As for `lbfgs`.
    num_problems : positive int, optional
        As for `lbfgs`.
    tol : positive float, optional
        A run has converged when its step, divided by its length ``t``, is at most
        ``tol`` times the largest gradient of the starts of its problem.
    maxiter : int, optional
        Maximal number of iterations.
    callback : callable, optional
        Called after each iteration with the points and values of all runs.

    Returns
    -------
    minima : Minima
        The values are those of ``f``, without ``r``. A run ends unconverged when no
        step is accepted, at ``maxiter``, or by an interrupt.

    References
    ----------
    [WNF2009] Wright S J, Nowak R D, and Figueiredo M A T. *Sparse reconstruction by
    separable approximation*. IEEE Trans Signal Process, 2009.

    Examples
    --------
    The least of ``(z - 3)^2`` on [-1, 1]:

    >>> minima = ogr.solvers.spectral_gradient(
    ...     lambda z: ((z - 3) ** 2).sum(1),
    ...     lambda t, z: z.clamp(-1, 1),
    ...     torch.zeros(1, 1),
    ... )
    >>> minima.points
    tensor([[1.]])
    """
    x = torch.cat([proximal(1.0, row[None]) for row in starts.detach()])
    f, g = value_and_gradient(objective, x, *parameters)
    tiny = torch.finfo(g.dtype).tiny
    reference = first_norms(g, num_problems)
    step = 1 / g.norm(dim=1).clamp_min(tiny)
    residual = torch.full_like(f, torch.inf)
    running, trace, interrupted = f.isfinite(), [f.clone()], False
    try:
        while len(trace) <= maxiter and bool(running.any()):
            rows = running.nonzero()[:, 0]
            data = [parameter[rows] for parameter in parameters]
            x_new, f_new, g_new, t, moved = _step(
                objective, data, proximal, x[rows], f[rows], g[rows], step[rows]
            )
            s, y = x_new - x[rows], g_new - g[rows]
            change = s.norm(dim=1) / t / reference[rows]
            residual[rows] = torch.where(moved, change, residual[rows])
            curvature = (s * y).sum(1) / (s * s).sum(1)
            step[rows] = torch.where(curvature > 0, 1 / curvature, 2 * t)
            x[rows], f[rows], g[rows] = x_new, f_new, g_new
            running[rows] = moved & (residual[rows] > tol)
            trace.append(f.clone())
            if callback is not None:
                callback(x, f)
    except KeyboardInterrupt:
        interrupted = True
        f, _ = value_and_gradient(objective, x, *parameters)
    return Minima(x, f, residual, residual <= tol, trace, interrupted)


def _step(objective, data, proximal, x, f, g, t, max_halvings=30):
    """One step of each run, halved until ``f`` lies under its quadratic model."""
    rounding = 10 * torch.finfo(f.dtype).eps * f.abs()
    x_new, f_new, g_new, t = x.clone(), f.clone(), g.clone(), t.clone()
    pending = torch.arange(len(x), device=x.device)
    for _ in range(max_halvings):
        forward = x[pending] - t[pending, None] * g[pending]
        x_try = torch.cat(
            [
                proximal(float(t[i]), z[None])
                for i, z in zip(pending, forward, strict=True)
            ]
        )
        f_try, g_try = value_and_gradient(
            objective, x_try, *(parameter[pending] for parameter in data)
        )
        s = x_try - x[pending]
        model = (g[pending] * s).sum(1) + (s * s).sum(1) / (2 * t[pending])
        accepted = f_try <= f[pending] + model + rounding[pending]
        rows = pending[accepted]
        x_new[rows], f_new[rows], g_new[rows] = (
            x_try[accepted],
            f_try[accepted],
            g_try[accepted],
        )
        pending = pending[~accepted]
        if not len(pending):
            break
        t[pending] *= 0.5
    moved = torch.ones_like(f, dtype=torch.bool)
    moved[pending] = False
    return x_new, f_new, g_new, t, moved
