# SPDX-License-Identifier: MPL-2.0
"""Levenberg-Marquardt with secant updates, from many starts in one batch."""

from collections.abc import Callable, Sequence

import torch

from .minima import Minima, first_norms, value_and_gradient
from .quadratic_model import QuadraticModel

__all__ = ("gauss_newton",)


# Damping of the first step, relative to the curvature along the gradient.
FIRST_DAMPING = 1e-2

# Share of the objective: after a step that gains it, what was learned is soon wrong.
FAST = 0.2

# Steps in a row that may fail.
MAX_FAILURES = 10


def gauss_newton(
    objective: Callable,
    model: Callable[..., QuadraticModel],
    starts: torch.Tensor,
    *,
    parameters: Sequence[torch.Tensor] = (),
    num_problems: int = 1,
    refresh: int | None = None,
    tol: float = 1e-6,
    maxiter: int = 500,
    callback: Callable | None = None,
) -> Minima:
    r"""Minimize a nonlinear least squares function from a batch of starts.

        ``(H + damping I) d = -g``,    ``z <- z + d``    if it decreases the objective

    The method of Levenberg and Marquardt, each run with its own damping, chosen by the
    ratio of actual and predicted decrease [Nie1999]. ``H`` is the Hessian of Gauss and
    Newton now and then, and in between its update by BFGS, which costs no Jacobian and
    learns what Gauss and Newton leave out [FX1987]. A run leaves the batch
    when it is done; no value ever increases.

    Parameters
    ----------
    objective : callable
        Differentiable torch function of points ``(batch, n)`` and the ``parameters``
        of these rows, with values ``(batch,)``, each row on its own.
    model : callable
        Function of the same arguments that returns a `QuadraticModel`. One whose
        Hessian is a function is not updated, but asked for in every step.
    starts : torch.Tensor
        Starts ``(batch, n)``; left as they are.
    parameters : sequence of torch.Tensor, optional
        What else the objective of each run takes, such as its data, ``(batch, ...)``.
    num_problems : positive int, optional
        Number of problems, each with as many consecutive starts.
    refresh : positive int, optional
        Most steps with one Hessian of Gauss and Newton; after a failure of its
        update it is computed anew, too, and after a third of the steps where the
        objective falls by a fifth in one of them [FX1987]. Default: 3, and ``n / 8``
        for many variables, where a Jacobian is dear.
    tol : positive float, optional
        A run has converged when the norm of its gradient is at most ``tol`` times
        the largest of the starts of its problem, or when the model promises no
        decrease that rounding would not hide.
    maxiter : int, optional
        Maximal number of iterations, that is of steps tried.
    callback : callable, optional
        Called after each iteration with the points and values of all runs.

    Returns
    -------
    minima : Minima
        A run ends unconverged when no step improves it, at ``maxiter`` or by an
        interrupt.

    References
    ----------
    [FX1987] Fletcher R, and Xu C. *Hybrid methods for nonlinear least squares*. IMA
    Journal of Numerical Analysis, 1987.

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
    >>> ogr.solvers.gauss_newton(objective, model, starts).points.round(decimals=4)
    tensor([[ 2.],
            [-2.]])
    """
    x, interrupted = starts.detach().clone(), False
    runs = _Runs(x, model, parameters, refresh or max(3, x.shape[1] // 8))
    reference = first_norms(runs.gradient, num_problems)
    running = runs.value.isfinite()
    converged, trace = torch.zeros_like(running), [runs.value.clone()]
    try:
        while True:
            converged |= running & (runs.gradient.norm(dim=1) <= tol * reference)
            running &= ~converged
            if len(trace) > maxiter or not bool(running.any()):
                break
            rows = running.nonzero()[:, 0]
            d, promised = runs.step(rows)
            resolved = promised > runs.resolution[rows]
            converged[rows[~resolved]] = True
            if bool(resolved.any()):
                runs.move(objective, rows[resolved], d[resolved], promised[resolved])
            running &= ~converged & (runs.failures < MAX_FAILURES)
            trace.append(runs.value.clone())
            if callback is not None:
                callback(runs.x, runs.value)
    except KeyboardInterrupt:
        interrupted = True
        with torch.no_grad():
            runs.value = objective(runs.x, *parameters)
    norms = runs.gradient.norm(dim=1) / reference
    return Minima(runs.x, runs.value, norms, converged, trace, interrupted)


class _Runs:
    """Point, value, gradient and Hessian of each run, and the damping of its step."""

    def __init__(self, x, model, parameters, refresh):
        self.x, self.parameters, self._model = x, parameters, model
        first = model(x, *parameters)
        self.value, self.gradient = first.value.clone(), first.gradient.clone()
        self.updated = not callable(first.hessian)
        self.refresh = refresh if self.updated else 1
        self._hessian = first.hessian.double() if self.updated else None
        self.age = torch.zeros_like(self.value, dtype=torch.int64)
        self.failures = torch.zeros_like(self.age)
        self.damping = FIRST_DAMPING * first.curvature().double()
        self.growth = torch.full_like(self.damping, 2)

    @property
    def resolution(self):
        """Least decrease of each run that rounding does not hide."""
        return 10 * torch.finfo(self.value.dtype).eps * self.value.abs()

    def step(self, rows):
        """Return steps, and the decreases that they promise."""
        self._renew(rows[self.age[rows] >= self.refresh])
        d, promised = self._solve(rows)
        # An updated Hessian may be too large: it does not decide on the end.
        updated = self.age[rows] > 0
        doubtful = (promised <= self.resolution[rows]) & updated
        if bool(doubtful.any()):
            self._renew(rows[doubtful])
            d[doubtful], promised[doubtful] = self._solve(rows[doubtful])
        return d, promised

    def _data(self, rows):
        return [parameter[rows] for parameter in self.parameters]

    def _renew(self, rows):
        if self.updated and len(rows):
            model = self._model(self.x[rows], *self._data(rows))
            self._hessian[rows], self.age[rows] = model.hessian.double(), 0

    def _solve(self, rows):
        g, damping = self.gradient[rows], self.damping[rows]
        if self.updated:
            model = QuadraticModel(self.value[rows], g, self._hessian[rows])
        else:
            model = self._model(self.x[rows], *self._data(rows))
        d = model.step(damping)
        return d, ((damping * (d * d).sum(1) - (g * d).sum(1)) / 2).to(g.dtype)

    def move(self, objective, rows, d, promised):
        """Go where the step decreases the objective; learn from it."""
        x = self.x[rows] + d
        value, gradient = value_and_gradient(objective, x, *self._data(rows))
        ratio = ((self.value[rows] - value) / promised).double()
        good, fresh = value.isfinite() & (ratio > 1e-4), self.age[rows] == 0
        factor = (1 - (2 * ratio - 1) ** 3).clamp(1 / 5, 2)
        # Where an updated Hessian fails, a new one comes before more damping.
        fault = torch.where(fresh, self.growth[rows], 1)
        self.damping[rows] *= torch.where(good, factor, fault)
        self.growth[rows] = torch.where(good, 2, 2 * fault)
        self.failures[rows] = torch.where(good, 0, self.failures[rows] + 1)
        self.age[rows[~good & ~fresh]] = self.refresh
        rows, x, value, gradient = rows[good], x[good], value[good], gradient[good]
        if self.updated:
            self._update(rows, d[good].double(), gradient - self.gradient[rows])
            self.age[rows] += 1
            fast = value <= (1 - FAST) * self.value[rows]
            fast &= self.age[rows] >= max(1, self.refresh // 3)
            self.age[rows[fast]] = self.refresh
        self.x[rows], self.value[rows] = x.detach(), value
        self.gradient[rows] = gradient

    def _update(self, rows, s, y):
        """BFGS with Powell's correction, which keeps ``H`` positive definite."""
        H, y = self._hessian[rows], y.double()
        Hs = (H @ s[:, :, None])[:, :, 0]
        old, new = (s * Hs).sum(1), (s * y).sum(1)
        theta = torch.where(new < 0.2 * old, 0.8 * old / (old - new), 1)[:, None]
        y = theta * y + (1 - theta) * Hs
        new = (s * y).sum(1)
        H = H + _outer(y) / new[:, None, None] - _outer(Hs) / old[:, None, None]
        known = H.isfinite().flatten(1).all(1)
        self._hessian[rows[known]] = H[known]


def _outer(v):
    return v[:, :, None] * v[:, None, :]
