# SPDX-License-Identifier: MPL-2.0
"""Stages of a reconstruction: in the latent, and in image and latent."""

import dataclasses
from collections.abc import Callable

import torch

from .solvers import envelope_continuation, is_smooth, lbfgs, minimize, primal_dual
from .solvers.step_sizes import block_curvatures
from .variational_problem import VariationalProblem

__all__ = (
    "Solution",
    "solve_by_continuation",
    "solve_in_latent",
    "solve_jointly",
    "solve_primal_dual",
)


@dataclasses.dataclass
class Solution:
    """Where a stage ended.

    Parameters
    ----------
    blocks : list of torch.Tensor
        Variables of the problem, ``[x, z]`` or, in the range, ``[z]``, each with a
        batch axis for the starts.
    images : torch.Tensor
        The images ``(batch, *X.shape)``.
    values : torch.Tensor
        Objective of the stage for each start, ``(batch,)``.
    history : list of float
        Least objective along the iterations.
    solver : str
        What was run.
    converged : bool
        Whether the best start met the stopping rule.
    """

    blocks: list[torch.Tensor]
    images: torch.Tensor
    values: torch.Tensor
    history: list[float]
    solver: str
    converged: bool

    @property
    def best(self) -> int:
        """Index of the least objective; NaN counts as infinite."""
        return int(self.values.nan_to_num(nan=torch.inf).argmin())


def solve_in_latent(
    problem: VariationalProblem,
    starts: torch.Tensor,
    tol: float,
    maxiter: int,
    report: Callable,
) -> Solution:
    """Minimize the latent objective of a problem from a batch of starts."""
    latent = problem.latent_objective
    minima = minimize(
        latent.misfit,
        latent.prior,
        starts,
        tol=tol,
        maxiter=maxiter,
        callback=lambda z, values: report(lambda: latent.images(z), values),
    )
    with torch.no_grad():
        images = latent.images(minima.points)
    blocks = [minima.points] if problem.in_range else [images, minima.points]
    method = "lbfgs" if is_smooth(problem.prior) else "spectral_gradient"
    converged = bool(minima.converged[minima.best])
    values, history = minima.values, minima.history
    return Solution(blocks, images, values, history, f"{method} in z", converged)


def solve_jointly(
    problem: VariationalProblem,
    start: Solution,
    tol: float,
    maxiter: int,
    report: Callable,
) -> Solution:
    """Minimize a smooth problem in ``(x, z)`` by L-BFGS, from all starts.

    Images are scaled so that both blocks of the Hessian have the same norm.
    """
    shapes = [block.shape[1:] for block in start.blocks]
    best = [block[start.best][None] for block in start.blocks]
    smooth = problem.smooth
    curvatures = block_curvatures(smooth, best)
    largest = max(curvatures)
    scales = [(largest / c) ** 0.5 if c > 0 else 1.0 for c in curvatures]

    def split(points):
        parts = points.split([shape.numel() for shape in shapes], dim=1)
        return [
            scale * part.unflatten(1, shape)
            for scale, part, shape in zip(scales, parts, shapes, strict=True)
        ]

    scaled = zip(start.blocks, scales, strict=True)
    minima = lbfgs(
        lambda points: smooth(*split(points)),
        torch.cat([block.flatten(1) / scale for block, scale in scaled], dim=1),
        tol=tol,
        maxiter=maxiter,
        callback=lambda p, values: report(lambda: problem.images(*split(p)), values),
    )
    blocks = split(minima.points)
    with torch.no_grad():
        images = problem.images(*blocks)
    name = "lbfgs in z" if problem.in_range else "lbfgs in (x, z)"
    converged = bool(minima.converged[minima.best])
    return Solution(blocks, images, minima.values, minima.history, name, converged)


def solve_by_continuation(
    problem: VariationalProblem,
    start: Solution,
    tol: float,
    maxiter: int,
    report: Callable,
) -> Solution:
    """Minimize a problem by `envelope_continuation`, from the best start."""
    blocks, value, history, converged = envelope_continuation(
        problem.smooth,
        problem.terms,
        [block[start.best][None] for block in start.blocks],
        problem.bounds,
        tol=tol / 100,
        maxiter=maxiter,
        callback=lambda b, values: report(lambda: problem.images(*b), values),
    )
    with torch.no_grad():
        images = problem.images(*blocks)
    name = "continuation in z" if problem.in_range else "continuation in (x, z)"
    return Solution(blocks, images, value, history, name, converged)


def solve_primal_dual(
    problem: VariationalProblem,
    start: Solution,
    tol: float,
    maxiter: int,
    report: Callable,
) -> Solution:
    """Minimize any problem by `primal_dual`, from the best start."""
    blocks, values, history, converged = primal_dual(
        problem.smooth,
        problem.terms,
        [block[start.best][None] for block in start.blocks],
        problem.functionals,
        tol=tol / 10,
        maxiter=maxiter,
        callback=lambda b, values: report(lambda: problem.images(*b), values),
    )
    with torch.no_grad():
        images = problem.images(*blocks)
    name = "primal_dual in z" if problem.in_range else "primal_dual in (x, z)"
    return Solution(blocks, images, values, history, name, converged)
