# SPDX-License-Identifier: MPL-2.0
"""Levenberg-Marquardt from many starts in one batch."""

import dataclasses
from collections.abc import Callable, Sequence

import torch

from .conjugate_gradient import conjugate_gradient
from .minima import Minima

__all__ = ("QuadraticModel", "gauss_newton")


@dataclasses.dataclass
class QuadraticModel:
    """Quadratic model ``f(z + d) ~ f(z) + <g, d> + <d, H d> / 2`` of each run.

    Parameters
    ----------
    value : torch.Tensor
        ``f(z)``, ``(batch,)``.
    gradient : torch.Tensor
        ``g``, ``(batch, n)``.
    hessian : torch.Tensor or callable
        ``H``, positive semidefinite: matrices ``(batch, n, n)``, or a function
        ``d -> H d`` of ``(batch, n)``.
    """

    value: torch.Tensor
    gradient: torch.Tensor
    hessian: torch.Tensor | Callable

    def curve(self, d: torch.Tensor) -> torch.Tensor:
        """Return ``H d``."""
        if callable(self.hessian):
            return self.hessian(d)
        return (self.hessian @ d[:, :, None])[:, :, 0]

    def curvature(self) -> torch.Tensor:
        """Return ``<g, H g> / <g, g>``, ``(batch,)``."""
        g = self.gradient
        tiny = torch.finfo(g.dtype).tiny
        return (g * self.curve(g)).sum(1) / (g * g).sum(1).clamp_min(tiny)

    def step(self, damping: torch.Tensor) -> torch.Tensor:
        """Solve ``(H + damping I) d = -g``, with matrices in float64."""
        if callable(self.hessian):
            return conjugate_gradient(
                lambda d: self.hessian(d) + damping[:, None] * d,
                -self.gradient,
                tol=CG_TOL,
                maxiter=CG_MAXITER,
            )
        damped = self.hessian.double()
        damped.diagonal(dim1=1, dim2=2).add_(damping.double()[:, None])
        factor, _ = torch.linalg.cholesky_ex(damped)
        right = -self.gradient.double()[:, :, None]
        return torch.cholesky_solve(right, factor)[:, :, 0].to(self.gradient.dtype)


# Of the steps that are solved for by conjugate gradients.
CG_TOL, CG_MAXITER = 0.03, 100

# Damping of the first step, relative to the curvature along the gradient.
FIRST_DAMPING = 1e-2


def gauss_newton(
    objective: Callable,
    model: Callable[..., QuadraticModel],
    starts: torch.Tensor,
    *,
    parameters: Sequence[torch.Tensor] = (),
    tol: float = 1e-6,
    maxiter: int = 100,
    callback: Callable | None = None,
) -> Minima:
    r"""Minimize a nonlinear least squares function from a batch of starts.

        ``(H + damping I) d = -g``,    ``z <- z + d``    if it decreases the objective

    The method of Levenberg and Marquardt: ``H`` is the Hessian of Gauss and Newton, and
    each run has its own damping, chosen by the ratio of actual and predicted decrease
    [Nie1999]. A run leaves the batch when it is done; no value ever increases.

    Parameters
    ----------
    objective : callable
        Torch function of points ``(batch, n)`` and the ``parameters`` of these rows,
        with values ``(batch,)``, each row on its own.
    model : callable
        Function of the same arguments that returns a `QuadraticModel`.
    starts : torch.Tensor
        Starts ``(batch, n)``; left as they are.
    parameters : sequence of torch.Tensor, optional
        What else the objective of each run takes, such as its data, ``(batch, ...)``.
    tol : positive float, optional
        A run has converged when the norm of its gradient is at most ``tol`` times
        the largest of the starts, or when the model promises no decrease that
        rounding would not hide.
    maxiter : int, optional
        Maximal number of iterations, that is of models.
    callback : callable, optional
        Called after each iteration with the points and values of all runs.

    Returns
    -------
    minima : Minima
        A run ends unconverged when no step improves it, at ``maxiter`` or by an
        interrupt.

    References
    ----------
    [Nie1999] Nielsen H B. *Damping parameter in Marquardt's method*. Technical
    University of Denmark, IMM-REP-1999-05, 1999.

    Examples
    --------
    The least of ``(z^2 - 4)^2`` from two sides:

    >>> def objective(z):
    ...     return ((z**2 - 4) ** 2).sum(1)
    >>> def model(z):
    ...     r, J = z**2 - 4, 2 * z
    ...     return ogr.solvers.QuadraticModel(
    ...         objective(z), 2 * J * r, 2 * (J**2)[:, :, None]
    ...     )
    >>> starts = torch.tensor([[1.0], [-3.0]])
    >>> ogr.solvers.gauss_newton(objective, model, starts).points
    tensor([[ 2.],
            [-2.]])
    """
    x = starts.detach().clone()
    with torch.no_grad():
        f = objective(x, *parameters)
    norms, damping = torch.full_like(f, torch.inf), torch.full_like(f, torch.nan)
    running, converged = f.isfinite(), torch.zeros_like(f, dtype=torch.bool)
    trace, reference, interrupted = [f.clone()], None, False
    growth = torch.full_like(f, 2.0)
    try:
        while len(trace) <= maxiter and bool(running.any()):
            rows = running.nonzero()[:, 0]
            data = [parameter[rows] for parameter in parameters]
            now = model(x[rows], *data)
            norms[rows] = now.gradient.norm(dim=1)
            if reference is None:
                reference = norms[rows].nan_to_num(0.0, 0.0).max()
                damping[rows] = FIRST_DAMPING * now.curvature()
            converged[rows] = norms[rows] <= tol * reference
            state = _State(x[rows], f[rows], damping[rows], growth[rows])
            moved, flat = _improve(objective, data, now, state, ~converged[rows])
            x[rows], f[rows] = state.x, state.f
            damping[rows], growth[rows] = state.damping, state.growth
            converged[rows] |= flat
            running[rows] = moved
            trace.append(f.clone())
            if callback is not None:
                callback(x, f)
    except KeyboardInterrupt:
        interrupted = True
        with torch.no_grad():
            f = objective(x, *parameters)
    if reference is not None:
        norms = norms / reference.clamp_min(torch.finfo(norms.dtype).tiny)
    return Minima(x, f, norms, converged, trace, interrupted)


@dataclasses.dataclass
class _State:
    """Point, value, damping and its next growth of each run."""

    x: torch.Tensor
    f: torch.Tensor
    damping: torch.Tensor
    growth: torch.Tensor


@torch.no_grad()
def _improve(objective, data, model, state, pending, max_trials=10):
    """Move each pending run by a step that decreases its objective, if there is one.

    Returns which runs moved, and for which of them no decrease can be resolved.
    """
    moved, flat = torch.zeros_like(pending), torch.zeros_like(pending)
    resolution = 10 * torch.finfo(state.f.dtype).eps * state.f.abs()
    for _ in range(max_trials):
        if not bool(pending.any()):
            break
        d = model.step(state.damping)
        promised = (state.damping * (d * d).sum(1) - (model.gradient * d).sum(1)) / 2
        flat |= pending & (promised <= resolution)
        pending = pending & ~flat
        i = pending.nonzero()[:, 0]
        x = state.x[i] + d[i]
        f = objective(x, *(parameter[i] for parameter in data))
        ratio = (state.f[i] - f) / promised[i]
        good = f.isfinite() & (ratio > 1e-4)
        factor = (1 - (2 * ratio - 1) ** 3).clamp(1 / 5, 2)
        state.damping[i] *= torch.where(good, factor, state.growth[i])
        state.growth[i] = torch.where(good, 2, 2 * state.growth[i])
        i, accepted = i[good], (x[good], f[good])
        state.x[i], state.f[i] = accepted
        moved[i] = True
        pending[i] = False
    return moved, flat
