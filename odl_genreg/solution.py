# SPDX-License-Identifier: MPL-2.0
"""Where a stage of a reconstruction ended."""

import dataclasses

import torch

from .solvers import Minima

__all__ = ("Solution",)


@dataclasses.dataclass
class Solution:
    """Where a stage of a reconstruction ended, for all runs of all images.

    The rows of a batch are the runs of the first image, then those of the second, ...

    Parameters
    ----------
    blocks : list of torch.Tensor
        Variables of the problem, ``[x, z]`` or, in the range, ``[z]``, each
        ``(batch, ...)``.
    images : torch.Tensor
        The images ``(batch, *X.shape)``.
    values : torch.Tensor
        Objective of the stage for each run, ``(batch,)``.
    trace : list of torch.Tensor
        Objectives ``(batch,)`` along the iterations.
    converged : torch.Tensor
        Which runs met the stopping rule, ``(batch,)``, bool.
    solver : str
        What was run.
    count : int
        Number of images.
    interrupted : bool
        Whether the user interrupted it.
    """

    blocks: list[torch.Tensor]
    images: torch.Tensor
    values: torch.Tensor
    trace: list[torch.Tensor]
    converged: torch.Tensor
    solver: str
    count: int
    interrupted: bool = False

    @classmethod
    def of(cls, minima: Minima, blocks, images, solver: str, count: int):
        """Return the solution of a solver that runs a batch."""
        return cls(
            blocks,
            images,
            minima.values,
            minima.trace,
            minima.converged,
            solver,
            count,
            minima.interrupted,
        )

    @classmethod
    def joined(cls, parts):
        """Return the solutions of single images, one run each, as one."""
        length = max(len(part.trace) for part in parts)
        padded = [
            part.trace + part.trace[-1:] * (length - len(part.trace)) for part in parts
        ]
        return cls(
            [
                torch.cat(blocks)
                for blocks in zip(*(p.blocks for p in parts), strict=True)
            ],
            torch.cat([part.images for part in parts]),
            torch.cat([part.values for part in parts]),
            [torch.cat(values) for values in zip(*padded, strict=True)],
            torch.cat([part.converged for part in parts]),
            parts[0].solver,
            len(parts),
            parts[-1].interrupted,
        )

    def by_image(self, values: torch.Tensor) -> torch.Tensor:
        """Arrange something of each run, ``(batch,)``, as ``(count, runs)``."""
        return values.reshape(self.count, -1)

    @property
    def best(self) -> torch.Tensor:
        """Row of the least objective of each image; NaN counts as infinite."""
        values = self.by_image(self.values.nan_to_num(nan=torch.inf, posinf=torch.inf))
        runs = values.shape[1]
        first = runs * torch.arange(self.count, device=values.device)
        return first + values.argmin(1)

    def history(self, image: int) -> list[float]:
        """Least objective of an image along the iterations."""
        return [
            float(
                self.by_image(values.nan_to_num(nan=torch.inf, posinf=torch.inf))[
                    image
                ].min()
            )
            for values in self.trace
        ]
