# SPDX-License-Identifier: MPL-2.0
"""The stages of `reconstruct`, without its set-up, and the objective over time."""

import math
import time

import torch
from methods import Trajectory

import odl_genreg as ogr
from odl_genreg.reconstruction import SECOND_STAGE
from odl_genreg.solver_choice import choose_solver
from odl_genreg.strategies import solve_in_latent
from odl_genreg.torch_bridge import as_tensor
from odl_genreg.variational_problem import VariationalProblem

__all__ = ("Prepared", "best_of_restarts", "ours")

# The defaults of `reconstruct`.
OPTIONS = {"tol": 1e-4, "maxiter": 1000}
# Their values along the way are those of smoother problems.
SMOOTHED = ("continuation",)


class Prepared:
    """A case after what is computed once for its operator and weights."""

    def __init__(self, case, solver: str = "auto"):
        self.problem = VariationalProblem(case.D, case.R, case.lam, (), None)
        self.solver, self.data = choose_solver(self.problem, solver), case.D.data
        _ = self.problem.latent_objective

    def __call__(self, starts: torch.Tensor, record=None):
        """Run the stages from some starts; ``record`` gets objectives on the way."""

        def report(images, values, image=None):
            if record is not None:
                record(float(values.min()))

        def silent(images, values, image=None):
            pass

        problem, solver, rows = self.problem, self.solver, ()
        if problem.is_quadratic:
            y = as_tensor(self.data)
            rows = (y.expand(len(starts), *y.shape),)
        second = SECOND_STAGE.get(solver)
        if problem.is_latent and solver == "lbfgs":
            second = None
        first = report if second is None else silent
        solution = solve_in_latent(
            problem, starts, rows, 1, solver, report=first, **OPTIONS
        )
        if second is not None:
            told = silent if solver in SMOOTHED else report
            solution = second(problem, solution, rows, report=told, **OPTIONS)
        return solution


def ours(case, z: torch.Tensor) -> Trajectory:
    """Run what `reconstruct(..., restarts=1, start=z)` runs after its set-up."""
    solve = Prepared(case)
    trajectory = Trajectory()
    with trajectory.paused(), torch.no_grad():
        value = case.objective(*case.start(z)).item()
    trajectory.record(value)
    solution = solve(z[None], trajectory.record)
    trajectory.record(float(solution.values))
    *x, z = solution.blocks
    with torch.no_grad():
        value = case.objective(*(image[0] for image in x), z).item()
    if not math.isclose(value, trajectory.best, rel_tol=1e-3):
        raise ValueError(f"the objective must be {value}, got {trajectory.best}")
    return trajectory


def best_of_restarts(case, count: int) -> tuple[float, float, float]:
    """Return the objective from some starts, and the seconds of set-up and in all."""
    start = time.perf_counter()
    Prepared(case)
    setup = time.perf_counter() - start
    result = ogr.reconstruct(case.D, case.R, case.lam, restarts=count)
    return result.objective, setup, result.seconds
