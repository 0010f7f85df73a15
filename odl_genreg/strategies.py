# SPDX-License-Identifier: MPL-2.0
"""Stages of a reconstruction that take all images in one batch."""

from collections.abc import Callable

import torch

from .convex_terms import composite_problem
from .latent_objective import MAX_COLUMNS
from .solution import Solution
from .solvers import (
    gauss_newton,
    is_smooth,
    lbfgs,
    minimize,
    palm,
    prox_linear,
)
from .solvers.step_sizes import block_curvatures
from .variational_problem import VariationalProblem

__all__ = (
    "solve_by_palm",
    "solve_in_latent",
    "solve_jointly",
    "solve_prox_linear",
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

    By `gauss_newton` where it is a sum of squares and the latents are few, unless
    `solver` is 'lbfgs'.
    """
    latent, shape = problem.latent_objective, starts.shape[1:]
    few = problem.generator.domain.size <= MAX_COLUMNS or solver == "gauss_newton"

    def report_latents(z, values):
        def images():
            return latent.images(z.unflatten(1, shape), *data)

        report(images, values)

    options = {
        "parameters": data,
        "num_problems": count,
        "tol": tol,
        "maxiter": maxiter,
        "callback": report_latents,
    }
    if problem.has_least_squares and few and solver != "lbfgs":
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
        num_problems=start.count,
        tol=tol,
        maxiter=maxiter,
        callback=lambda p, values: report(lambda: problem.images(*split(p)), values),
    )
    blocks = split(minima.points)
    with torch.no_grad():
        images = problem.images(*blocks)
    name = "lbfgs in z" if problem.in_range else "lbfgs in (x, z)"
    return Solution.of(minima, blocks, images, name, start.count)


def solve_prox_linear(
    problem: VariationalProblem,
    start: Solution,
    data: tuple[torch.Tensor, ...],
    tol: float,
    maxiter: int,
    report: Callable,
) -> Solution:
    """Minimize a problem by `prox_linear`, from the best starts of all images."""
    rows = start.best
    minima = prox_linear(
        composite_problem(problem, data[0][rows]),
        problem.feasible([block[rows] for block in start.blocks]),
        tol=tol / 10,
        maxiter=maxiter,
        callback=lambda b, values: report(lambda: problem.images(*b), values),
    )
    with torch.no_grad():
        images = problem.images(*minima.blocks)
    name = "prox_linear in z" if problem.in_range else "prox_linear in (x, z)"
    return Solution.of(minima, minima.blocks, images, name, start.count)


def solve_by_palm(
    problem: VariationalProblem,
    start: Solution,
    data: tuple[torch.Tensor, ...],
    tol: float,
    maxiter: int,
    report: Callable,
) -> Solution:
    """Minimize a problem by `palm`, in ``(z, u)`` where ``F`` is not smooth."""
    rows, F = start.best, problem.regularizer.deviation
    blocks, functionals = [block[rows] for block in start.blocks], problem.functionals
    smooth, images = problem.smooth, problem.images
    name = "palm in z" if problem.in_range else "palm in (x, z)"
    if not (problem.in_range or is_smooth(F)):
        name, decode = "palm in (x - G(z), z)", problem.generator.batch

        def images(u, z):
            return u + decode(z)

        def smooth(u, z, *y):
            return problem.smooth(images(u, z), z, *y)

        functionals = [problem.lam * F, functionals[-1]]
        with torch.no_grad():
            blocks[0] = blocks[0] - decode(blocks[1])
    minima = palm(
        smooth,
        blocks,
        functionals,
        parameters=[y[rows] for y in data],
        tol=tol,
        maxiter=maxiter,
        callback=lambda b, values: report(lambda: images(*b), values),
    )
    with torch.no_grad():
        found = images(*minima.blocks)
    blocks = [*([] if problem.in_range else [found]), minima.blocks[-1]]
    return Solution.of(minima, blocks, found, name, start.count)
