# SPDX-License-Identifier: MPL-2.0
"""Stages of a reconstruction that take one image after the other."""

from collections.abc import Callable

import torch

from .solution import Solution
from .solvers import envelope_continuation, primal_dual
from .variational_problem import VariationalProblem

__all__ = ("best_start", "solve_by_continuation", "solve_primal_dual")


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


@torch.no_grad()
def best_start(problem: VariationalProblem, start: Solution, data, rows) -> Solution:
    """Return some rows of a start as they are, after an interrupt of their stage."""
    blocks = problem.feasible([block[rows] for block in start.blocks])
    value = problem.objective(*blocks, *data)
    done = torch.zeros_like(value, dtype=torch.bool)
    images, count = problem.images(*blocks), len(rows)
    return Solution(blocks, images, value, [value], done, start.solver, count, True)


def _one_by_one(method, solve, problem, start, data, report):
    """Solve for one image after the other; after an interrupt the rest stays."""
    smooth, parts = problem.smooth, []
    for image, row in enumerate(start.best):
        own = tuple(y[row][None] for y in data)
        if parts and parts[-1].interrupted:
            parts.append(best_start(problem, start, own, rows=row[None]))
            continue
        blocks, value, history, converged, interrupted = solve(
            lambda *b, own=own: smooth(*b, *own),
            problem.feasible([block[row][None] for block in start.blocks]),
            lambda b, value, i=image: report(
                lambda: problem.images(*b), value, image=i
            ),
        )
        with torch.no_grad():
            images = problem.images(*blocks)
        name = f"{method} in z" if problem.in_range else f"{method} in (x, z)"
        trace = [value.new_tensor([entry]) for entry in history]
        done = torch.tensor([converged])
        parts.append(Solution(blocks, images, value, trace, done, name, 1, interrupted))
    return Solution.joined(parts)
