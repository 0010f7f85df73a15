# SPDX-License-Identifier: MPL-2.0
"""What solvers for several blocks of variables return."""

import dataclasses

import torch

from .minima import least

__all__ = ("BlockMinima",)


@dataclasses.dataclass
class BlockMinima:
    """Where the runs of a batch ended, for a function of several blocks.

    Parameters
    ----------
    blocks : list of torch.Tensor
        Best iterate of each run, ``(batch, ...)`` for each block.
    values : torch.Tensor
        Objective of each, ``(batch,)``.
    constants : list of torch.Tensor
        Last constants ``L_b`` of each run, ``(batch,)`` for each block.
    converged : torch.Tensor
        Which of them reached ``tol``, ``(batch,)``, bool.
    trace : list of torch.Tensor
        Least objectives ``(batch,)`` after each iteration, those of the starts first.
    interrupted : bool
        Whether the user interrupted it; the blocks are those of that moment.
    """

    blocks: list[torch.Tensor]
    values: torch.Tensor
    constants: list[torch.Tensor]
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
