# SPDX-License-Identifier: MPL-2.0
"""reconstruct(D, R, lam): the whole problem in one call."""

import math
import time
from collections.abc import Callable, Sequence

import torch
import tqdm

from .data_fidelity import DataFidelity
from .projection import sample_latents
from .result import Reconstruction
from .solvers import is_smooth
from .strategies import (
    solve_by_continuation,
    solve_in_latent,
    solve_jointly,
    solve_primal_dual,
)
from .torch_bridge import as_element, as_tensor
from .variational_problem import VariationalProblem

__all__ = ("reconstruct",)

SOLVERS = ("auto", "lbfgs", "continuation", "primal_dual")


def reconstruct(
    data_fidelity,
    regularizer,
    lam: float,
    *,
    other_terms: Sequence = (),
    bounds: tuple[float, float] | None = None,
    restarts: int = 8,
    seed: int = 0,
    solver: str = "auto",
    tol: float = 1e-4,
    maxiter: int = 1000,
    callback: Callable | None = None,
    progress: bool = False,
) -> Reconstruction:
    """Minimize ``D(x) + lam R_G(x) + sum_i g_i(L_i x)`` with bounds on ``x``.

    First in the latent alone, from ``restarts`` starts in one batch; where the image
    cannot be eliminated, then in image and latent, from there.

    Parameters
    ----------
    data_fidelity : `Functional`
        Smooth functional ``D`` on the image space, such as `squared_l2`.
    regularizer : `GenerativeRegularizer`
        Regularizer ``R_G``.
    lam : nonnegative float
        Weight of the regularizer.
    other_terms : sequence of (`Functional`, `Operator`), optional
        Convex terms ``(g_i, L_i)`` with linear ``L_i`` on the image space, TV for
        example; a nonsmooth ``g_i`` needs a proximal.
    bounds : pair of float, optional
        ``lower <= x <= upper``.
    restarts : positive int, optional
        Number of starts: 0 and samples of N(0, I).
    seed : int, optional
        Seed of the samples. The same seed gives the same result.
    solver : {'auto', 'lbfgs', 'continuation', 'primal_dual'}, optional
        'lbfgs' for smooth problems, in ``z`` or in ``(x, z)``; 'continuation' for
        nonsmooth terms and bounds; 'primal_dual' for all. Default: the first that can.
    tol : positive float, optional
        'lbfgs' stops when the norm of the gradient is ``tol`` times the largest of the
        starts, 'continuation' when a step decreases the objective by less than
        ``tol / 100``, relatively, 'primal_dual' when 25 steps change it by less than
        ``tol / 10``.
    maxiter : positive int, optional
        Maximal number of iterations of a stage.
    callback : callable, optional
        An ODL callback; called with the best image so far, an element.
    progress : bool, optional
        Whether to show a progress bar.

    Returns
    -------
    reconstruction : Reconstruction
        Image, latent and what is to be known of them.

    Raises
    ------
    TypeError, ValueError
        If an argument does not fit; before any work.

    Examples
    --------
    Denoising with ``G(z) = z``, where ``R_G(x) = mu / (1 + mu) ||x||^2``:

    >>> Z = odl.rn(2)
    >>> R = ogr.soft_constraint(ogr.Generator(torch.nn.Identity(), Z, Z), mu=1.0)
    >>> D = ogr.squared_l2(odl.IdentityOperator(Z), [2.0, 4.0])
    >>> [round(value, 3) for value in ogr.reconstruct(D, R, lam=1.0).x]
    [1.0, 2.0]
    """
    start_time = time.perf_counter()
    problem = VariationalProblem(data_fidelity, regularizer, lam, other_terms, bounds)
    smooth = problem.is_smooth and (problem.is_latent or is_smooth(problem.prior))
    _check_options(smooth, problem.bounds, restarts, solver, tol, maxiter)
    G = regularizer.generator
    starts = sample_latents(G.domain, restarts, seed)
    starts[0] = 0
    with tqdm.tqdm(disable=not progress, unit=" iterations") as bar:

        def report(images, values):
            best = int(values.nan_to_num(nan=torch.inf).argmin())
            bar.set_postfix(objective=float(values[best]), refresh=False)
            bar.update()
            if callback is not None:
                with torch.no_grad():
                    callback(as_element(G.range, images()[best].clone()))

        options = {"tol": tol, "maxiter": maxiter, "report": report}
        solution = solve_in_latent(problem, starts, **options)
        restart_values = solution.values
        if solver == "primal_dual" or not (smooth or problem.bounds):
            solution = solve_primal_dual(problem, solution, **options)
        elif solver == "continuation" or not smooth:
            solution = solve_by_continuation(problem, solution, **options)
        elif not problem.is_latent:
            solution = solve_jointly(problem, solution, **options)
            restart_values = solution.values
    best = solution.best
    x = as_element(G.range, solution.images[best].clone())
    z = as_element(G.domain, solution.blocks[-1][best].clone())
    deviation = x - G(z)
    residual = None
    if isinstance(data_fidelity, DataFidelity):
        difference = data_fidelity.operator(x) - data_fidelity.data
        residual = float((as_tensor(difference).abs() ** 2).sum())
    objective = float(solution.values[best])
    stopped = f"at maxiter = {maxiter} or by rounding"
    if solution.converged:
        stopped = f"converged to tol = {tol:g}"
    if not math.isfinite(objective):
        stopped = "no image that satisfies all bounds was found"
    return Reconstruction(
        x=x,
        z=z,
        deviation=deviation,
        objective=objective,
        history=solution.history,
        residual=residual,
        expected_residual=getattr(data_fidelity, "expected_residual", None),
        distance_to_range=float(deviation.norm()),
        restarts=restart_values.tolist(),
        solver=solution.solver,
        stop_reason=stopped,
        seconds=time.perf_counter() - start_time,
        weights={"lam": float(lam), "mu": regularizer.mu},
    )


def _check_options(smooth, bounds, restarts, solver, tol, maxiter):
    if solver not in SOLVERS:
        raise ValueError(
            f"`solver` must be one of {SOLVERS}, got {solver!r}; "
            "leave it out for 'auto'."
        )
    if solver == "lbfgs" and not smooth:
        raise ValueError(
            "`solver` must be 'auto', 'continuation' or 'primal_dual' for a nonsmooth "
            "sum, got 'lbfgs'; for it deviation, other terms, bounds and latent prior "
            "must have gradients."
        )
    if solver == "continuation" and bounds is None:
        raise ValueError(
            "`solver` must be 'auto' or 'primal_dual' for a latent prior that is "
            "neither smooth nor a box, got 'continuation'; leave it out."
        )
    for name, number in (("restarts", restarts), ("maxiter", maxiter)):
        if not number >= 1:
            raise ValueError(
                f"`{name}` must be at least 1, got {number}; leave it out for the "
                "default."
            )
    if not tol > 0:
        raise ValueError(f"`tol` must be positive, got {tol}; 1e-4 is the default.")
