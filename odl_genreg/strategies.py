# SPDX-License-Identifier: MPL-2.0
"""Stages of a reconstruction: in the latent, and in image and latent."""

from collections.abc import Callable

import torch

from .solution import Solution
from .solvers import (
    envelope_continuation,
    gauss_newton,
    is_smooth,
    lbfgs,
    minimize,
    primal_dual,
)
from .solvers.step_sizes import block_curvatures
from .variational_problem import VariationalProblem

__all__ = (
    "solve_by_continuation",
    "solve_in_latent",
    "solve_jointly",
    "solve_primal_dual",
)

# Each stage takes the problem, where to start, the data of each row of that start (no
# tensor if those of D serve all), and `tol`, `maxiter` and `report` of `reconstruct`;
# `report(images, values)` is called after each iteration with a function that returns
# the images, and the objectives.


def solve_in_latent(
    problem: VariationalProblem,
    starts: torch.Tensor,
    data: tuple[torch.Tensor, ...],
    count: int,
    solver: str,
    tol: float,
    maxiter: int,
    report: Callable,
) -> Solution:
    """Minimize the latent objective of a problem from a batch of starts.

    By `gauss_newton` where it is a sum of squares, unless `solver` is 'lbfgs'.
    """
    latent, shape = problem.latent_objective, starts.shape[1:]

    def report_latents(z, values):
        def images():
            return latent.images(z.unflatten(1, shape), *data)

        report(images, values)

    options = {"parameters": data, "tol": tol, "maxiter": maxiter}
    options["callback"] = report_latents
    if problem.has_least_squares and solver != "lbfgs":
        method = "gauss_newton"
        minima = gauss_newton(
            lambda z, *y: latent.batch(z.unflatten(1, shape), *y),
            lambda z, *y: latent.model(z.unflatten(1, shape), *y),
            starts.flatten(1),
            **options,
        )
        minima.points = minima.points.unflatten(1, shape)
    else:
        method = "lbfgs" if is_smooth(problem.prior) else "spectral_gradient"
        minima = minimize(latent.misfit, latent.prior, starts, **options)
    with torch.no_grad():
        images = latent.images(minima.points, *data)
    blocks = [minima.points] if problem.in_range else [images, minima.points]
    return Solution.of(minima, blocks, images, f"{method} in z", count)


def solve_jointly(
    problem: VariationalProblem,
    start: Solution,
    data: tuple[torch.Tensor, ...],
    tol: float,
    maxiter: int,
    report: Callable,
) -> Solution:
    """Minimize a smooth problem in ``(x, z)`` by L-BFGS, from all starts.

    Images are scaled so that both blocks of the Hessian have the same norm.
    """
    shapes = [block.shape[1:] for block in start.blocks]
    first = start.best[:1]
    curvatures = block_curvatures(
        lambda *blocks: problem.smooth(*blocks, *(y[first] for y in data)),
        [block[first] for block in start.blocks],
    )
    largest = max(curvatures)
    scales = [(largest / c) ** 0.5 if c > 0 else 1.0 for c in curvatures]
    smooth = problem.smooth

    def split(points):
        parts = points.split([shape.numel() for shape in shapes], dim=1)
        return [
            scale * part.unflatten(1, shape)
            for scale, part, shape in zip(scales, parts, shapes, strict=True)
        ]

    scaled = zip(start.blocks, scales, strict=True)
    minima = lbfgs(
        lambda points, *y: smooth(*split(points), *y),
        torch.cat([block.flatten(1) / scale for block, scale in scaled], dim=1),
        parameters=data,
        tol=tol,
        maxiter=maxiter,
        callback=lambda p, values: report(lambda: problem.images(*split(p)), values),
    )
    blocks = split(minima.points)
    with torch.no_grad():
        images = problem.images(*blocks)
    name = "lbfgs in z" if problem.in_range else "lbfgs in (x, z)"
    return Solution.of(minima, blocks, images, name, start.count)


def solve_by_continuation(
    problem: VariationalProblem,
    start: Solution,
    data: tuple[torch.Tensor, ...],
    tol: float,
    maxiter: int,
    report: Callable,
) -> Solution:
    """Minimize a problem by `envelope_continuation`, each image from its best start."""

    def solve(smooth, blocks, callback):
        return envelope_continuation(
            smooth,
            problem.terms,
            blocks,
            problem.bounds,
            tol=tol / 100,
            maxiter=maxiter,
            callback=callback,
        )

    return _one_by_one("continuation", solve, problem, start, data, report)


def solve_primal_dual(
    problem: VariationalProblem,
    start: Solution,
    data: tuple[torch.Tensor, ...],
    tol: float,
    maxiter: int,
    report: Callable,
) -> Solution:
    """Minimize any problem by `primal_dual`, each image from its best start."""

    def solve(smooth, blocks, callback):
        return primal_dual(
            smooth,
            problem.terms,
            blocks,
            problem.functionals,
            tol=tol / 10,
            maxiter=maxiter,
            callback=callback,
        )

    return _one_by_one("primal_dual", solve, problem, start, data, report)


def _one_by_one(method, solve, problem, start, data, report):
    """Solve for one image after the other; after an interrupt the rest stays."""
    smooth, parts = problem.smooth, []
    for image, row in enumerate(start.best):
        own = tuple(y[row][None] for y in data)
        blocks = problem.feasible([block[row][None] for block in start.blocks])
        if parts and parts[-1].interrupted:
            with torch.no_grad():
                value = problem.objective(*blocks, *own)
            found = blocks, value, [value.item()], False, True
        else:
            found = solve(
                lambda *b, own=own: smooth(*b, *own),
                blocks,
                lambda b, value, i=image: report(
                    lambda: problem.images(*b), value, image=i
                ),
            )
        blocks, value, history, converged, interrupted = found
        with torch.no_grad():
            images = problem.images(*blocks)
        name = f"{method} in z" if problem.in_range else f"{method} in (x, z)"
        trace = [value.new_tensor([entry]) for entry in history]
        done = torch.tensor([converged])
        parts.append(Solution(blocks, images, value, trace, done, name, 1, interrupted))
    return Solution.joined(parts)
