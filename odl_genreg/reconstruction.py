# SPDX-License-Identifier: MPL-2.0
"""reconstruct(D, R, lam): the whole problem in one call."""

import math
import time
from collections.abc import Callable, Sequence

import torch
import tqdm

from .arguments import check_options, data_list, latent_starts
from .data_fidelity import DataFidelity
from .progress import Progress
from .result import Reconstruction
from .single_strategies import (
    best_start,
    solve_by_continuation,
    solve_primal_dual,
)
from .solver_choice import choose_solver
from .strategies import (
    solve_by_palm,
    solve_in_latent,
    solve_jointly,
    solve_prox_linear,
)
from .torch_bridge import as_element, as_tensor, takes_batches
from .transform_strategy import solve_by_transform
from .variational_problem import VariationalProblem

__all__ = ("reconstruct",)

SECOND_STAGE = {
    "lbfgs": solve_jointly,
    "transform": solve_by_transform,
    "prox_linear": solve_prox_linear,
    "continuation": solve_by_continuation,
    "primal_dual": solve_primal_dual,
    "palm": solve_by_palm,
}


def reconstruct(
    data_fidelity,
    regularizer,
    lam: float,
    *,
    data: Sequence | None = None,
    other_terms: Sequence = (),
    bounds: tuple[float, float] | None = None,
    start=None,
    restarts: int = 8,
    seed: int = 0,
    solver: str = "auto",
    tol: float = 1e-4,
    maxiter: int = 1000,
    callback: Callable | None = None,
    progress: bool = False,
) -> Reconstruction | list[Reconstruction]:
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
    data : sequence of ``A.range`` `element-like`, or array, optional
        Data of several images, which replace those of ``D``: elements, or an array
        ``(B, *Y.shape)``. For a `squared_l2` of a linear operator all images and
        restarts are one batch; otherwise it is one image after the other.
    other_terms : sequence of (`Functional`, `Operator`), optional
        Convex terms ``(g_i, L_i)`` with linear ``L_i`` on the image space, TV for
        example; a nonsmooth ``g_i`` needs a proximal.
    bounds : pair of float, optional
        ``lower <= x <= upper``.
    start : element of ``Z``, or a sequence of one for each image, optional
        The first start, in place of 0; with ``restarts=1`` the only one.
    restarts : positive int, optional
        Number of starts of each image: 0 and samples of N(0, I).
    seed : int, optional
        Seed of the samples. The same seed gives the same result.
    solver : str, optional
        Solver of the last stage; 'auto', the default, is the first of these that fits,
        without 'gauss_newton' and 'prox_linear' for more than 512 latents:

        - 'gauss_newton': in ``z``, for a `squared_l2` with the range or the soft
          constraint and a Gaussian latent prior.
        - 'lbfgs': in ``z`` or in ``(x, z)``, for smooth problems.
        - 'spectral_gradient': in ``z``, for a latent prior with a proximal alone.
        - 'transform': for a `squared_l2` whose ``A^T A`` a fast transform diagonalizes
          (masked Fourier, periodic convolution), the soft constraint, other terms and
          bounds; more than 1024 pixels or 512 latents; all images in one batch.
        - 'prox_linear': for a `squared_l2`, a Gaussian latent prior and any terms with
          a proximal, with or without bounds; all images in one batch.
        - 'continuation': for nonsmooth terms and bounds.
        - 'primal_dual': for all.
        - 'palm': in ``(x, z)`` or ``(x - G(z), z)``, with inertia.
    tol : positive float, optional
        'gauss_newton' and 'lbfgs' stop when the norm of the gradient is ``tol`` times
        the largest of the starts, 'prox_linear' when steps decrease the objective by
        less than ``tol / 10``, relatively, 'continuation' by less than ``tol / 100``,
        'primal_dual' when 25 steps change it by less than ``tol / 10``, 'palm' as
        `solvers.palm`.
    maxiter : positive int, optional
        Maximal number of iterations of a stage.
    callback : callable, optional
        An ODL callback; called once an iteration with the best image so far, an
        element, or with the list of those of several ``data``.
    progress : bool, optional
        Whether to show a progress bar.

    Returns
    -------
    reconstruction : Reconstruction or list of Reconstruction
        Image, latent and what is to be known of them; a list for several ``data``.
        After an interrupt (Ctrl-C) of a solver the best so far.

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
    check_options(restarts, tol, maxiter)
    solver = choose_solver(problem, solver)
    several = data_list(data_fidelity, data)
    G, count = regularizer.generator, 1 if several is None else len(several)
    starts = latent_starts(G, count, restarts, seed, start)
    if several is not None and not problem.is_quadratic:
        return [
            reconstruct(
                data_fidelity.with_data(y),
                regularizer,
                lam,
                other_terms=other_terms,
                bounds=bounds,
                start=as_element(G.domain, starts[image * restarts]),
                restarts=restarts,
                seed=seed,
                solver=solver,
                tol=tol,
                maxiter=maxiter,
                callback=callback,
                progress=progress,
            )
            for image, y in enumerate(several)
        ]
    rows = ()
    if problem.is_quadratic:
        y = [data_fidelity.data] if several is None else several
        rows = (torch.stack(list(map(as_tensor, y))).repeat_interleave(restarts, 0),)
    with tqdm.tqdm(disable=not progress, unit=" iterations") as bar:
        report = Progress(bar, callback, G.range, several and count)
        options = {"tol": tol, "maxiter": maxiter, "report": report}
        first = solve_in_latent(problem, starts, rows, count, solver, **options)
        report.show(lambda: first.images, first.values)
        last, best = first, first.best
        if solver in SECOND_STAGE and not (problem.is_latent and solver == "lbfgs"):
            if first.interrupted:
                last = best_start(problem, first, [y[best] for y in rows], best)
            else:
                last = SECOND_STAGE[solver](problem, first, rows, **options)
    seconds = time.perf_counter() - start_time
    results = [
        _result(problem, first, last, image, y, tol, maxiter, seconds)
        for image, y in enumerate(several or [getattr(data_fidelity, "data", None)])
    ]
    return results[0] if several is None else results


def _result(problem, first, last, image, y, tol, maxiter, seconds):
    """Return what was found of one image, ``first`` and ``last`` being the stages."""
    D, R, G = problem.data_fidelity, problem.regularizer, problem.generator
    best = last.best[image]
    x = as_element(G.range, last.images[best].clone())
    z = as_element(G.domain, last.blocks[-1][best].clone())
    deviation = x - G(z)
    residual, solver = None, last.solver
    if isinstance(D, DataFidelity):
        residual = float((as_tensor(D.operator(x) - y).abs() ** 2).sum())
        looped = D.operator.is_linear and not takes_batches(D.operator)
        if looped and len(first.values) > 1:
            solver += ", operator applied one by one"
    objective = float(last.values[best])
    stopped = f"at maxiter = {maxiter} or by rounding"
    if bool(last.converged[best]):
        stopped = f"converged to tol = {tol:g}"
    if last.interrupted:
        stopped = "interrupted"
    if not math.isfinite(objective):
        stopped = "no image that satisfies all bounds was found"
    runs = last if len(last.values) == len(first.values) else first
    return Reconstruction(
        x=x,
        z=z,
        deviation=deviation,
        objective=objective,
        history=last.history(image),
        residual=residual,
        expected_residual=getattr(D, "expected_residual", None),
        distance_to_range=float(deviation.norm()),
        restarts=runs.by_image(runs.values)[image].tolist(),
        solver=solver,
        stop_reason=stopped,
        seconds=seconds,
        weights={"lam": problem.lam, "mu": R.mu},
    )
