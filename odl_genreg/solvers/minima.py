# SPDX-License-Identifier: MPL-2.0
"""What solvers that run a batch of starts take and return."""

import dataclasses
from collections.abc import Callable

import torch

__all__ = ("Minima", "first_norms", "least", "value_and_gradient")


@dataclasses.dataclass
class Minima:
    """Where the runs of a batch ended.

    Parameters
    ----------
    points : torch.Tensor
        Last iterates ``(batch, n)``.
    values : torch.Tensor
        Objective of each, ``(batch,)``.
    gradient_norms : torch.Tensor
        Norm of the gradient of each relative to the largest of the starts of its
        problem.
    converged : torch.Tensor
        Which of them reached ``tol``, ``(batch,)``, bool.
    trace : list of torch.Tensor
        Objectives ``(batch,)`` after each iteration, those of the starts first.
    interrupted : bool
        Whether the user interrupted it; the points are those of that moment.
    """

    points: torch.Tensor
    values: torch.Tensor
    gradient_norms: torch.Tensor
    converged: torch.Tensor
    trace: list[torch.Tensor]
    interrupted: bool = False

    @property
    def best(self) -> int:
        """Index of the least objective; NaN counts as infinite."""
        return int(self.values.nan_to_num(nan=torch.inf, posinf=torch.inf).argmin())

    @property
    def niter(self) -> int:
        """Iterations of the longest run."""
        return len(self.trace) - 1

    @property
    def history(self) -> list[float]:
        """Best objective after each iteration, the start first."""
        return [least(values) for values in self.trace]


def least(values: torch.Tensor) -> float:
    """Return the least value of a batch; NaN counts as infinite."""
    return float(values.nan_to_num(nan=torch.inf, posinf=torch.inf).min())


def first_norms(gradients: torch.Tensor, num_problems: int) -> torch.Tensor:
    """Return, for each run, the largest gradient norm of the starts of its problem."""
    norms = gradients.norm(dim=1).nan_to_num(nan=0.0, posinf=0.0)
    largest = norms.reshape(num_problems, -1).amax(1)
    tiny = torch.finfo(norms.dtype).tiny
    return largest.repeat_interleave(len(norms) // num_problems).clamp_min(tiny)


def value_and_gradient(objective: Callable, points: torch.Tensor, *parameters):
    """Return values ``(batch,)`` and gradients ``(batch, n)``: one pass each way."""
    points = points.detach().requires_grad_()
    with torch.enable_grad():
        values = objective(points, *parameters)
        (gradients,) = torch.autograd.grad(values.sum(), points)
    return values.detach(), gradients
