# SPDX-License-Identifier: MPL-2.0
"""What solvers that run a batch of starts take and return."""

import dataclasses
from collections.abc import Callable

import torch

__all__ = ("Minima", "value_and_gradient")


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
        Norm of the gradient of each relative to the largest of the starts.
    converged : torch.Tensor
        Which of them reached ``tol``, ``(batch,)``, bool.
    niter : int
        Iterations of the longest run.
    history : list of float
        Best objective after each iteration, the start first.
    """

    points: torch.Tensor
    values: torch.Tensor
    gradient_norms: torch.Tensor
    converged: torch.Tensor
    niter: int
    history: list[float]

    @property
    def best(self) -> int:
        """Index of the least objective; NaN counts as infinite."""
        return int(self.values.nan_to_num(nan=torch.inf).argmin())


def value_and_gradient(objective: Callable, points: torch.Tensor):
    """Return values ``(batch,)`` and gradients ``(batch, n)``: one pass each way."""
    points = points.detach().requires_grad_()
    with torch.enable_grad():
        values = objective(points)
    (gradients,) = torch.autograd.grad(values.sum(), points)
    return values.detach(), gradients
