# SPDX-License-Identifier: MPL-2.0
"""The processes that train one network together."""

import contextlib

import torch

__all__ = ("Team",)


class Team:
    """The processes of an ``accelerate.Accelerator``, or this one alone."""

    def __init__(self, accelerator, batch_size: int):
        """Initialize a new instance.

        Parameters
        ----------
        accelerator : ``accelerate.Accelerator`` or None
            What connects the processes.
        batch_size : int
            Number of images in a step of all of them.

        Raises
        ------
        ValueError
            If the precision is not known, or the batch cannot be shared equally.
        """
        self._accelerator = accelerator
        alone = accelerator is None
        #: Number of processes, and the precision of their products.
        self.size = 1 if alone else accelerator.num_processes
        self.precision = "no" if alone else accelerator.mixed_precision
        self._rank = 0 if alone else accelerator.process_index
        if self.precision not in ("no", "bf16"):
            raise ValueError(
                "`accelerator` must have the mixed precision 'no' or 'bf16', got "
                f"{self.precision!r}; gradients of other types would need scaling."
            )
        if batch_size % self.size:
            raise ValueError(
                f"`batch_size` must be a multiple of the number {self.size} of "
                f"processes, got {batch_size}; change it."
            )

    @property
    def is_first(self) -> bool:
        """Whether this process writes and shows."""
        return self._rank == 0

    def share(self, batch: torch.Tensor) -> torch.Tensor:
        """Return the part of a batch that is this process's."""
        return batch[self._rank :: self.size]

    def noise(self, source: torch.Generator) -> torch.Generator:
        """Return a source of noise for a step, another one for each process.

        ``source`` is in one state in all processes, and stays so.
        """
        if self.size == 1:
            return source
        seed = int(torch.randint(2**62, (), generator=source))
        return torch.Generator().manual_seed(seed + self._rank)

    def precise(self):
        """Return the context in which a step is computed."""
        if self._accelerator is None:
            return contextlib.nullcontext()
        return self._accelerator.autocast()
