# SPDX-License-Identifier: MPL-2.0
"""How a family of networks learns: what the training loop asks of each."""

from collections.abc import Iterable

import torch

__all__ = ("Recipe",)


class Recipe:
    """Steps of one family of networks.

    Subclasses set `family`, `learning_rate` and, in ``__init__``, `parts`; they define
    `step`, and `loss` unless they define `validate`.
    """

    #: Name of the family.
    family: str
    #: Largest learning rate that suits it.
    learning_rate: float
    #: What has a ``state_dict`` that belongs to the state of the training.
    parts: dict

    def __init__(self, network: torch.nn.Module):
        """Initialize a new instance.

        Parameters
        ----------
        network : torch.nn.Module
            Network to train, in place and on its device.
        """
        self.network = network
        #: An ``accelerate.Accelerator`` where several processes train together.
        self.accelerator = None

    def step(
        self, batch: torch.Tensor, rate: float, source: torch.Generator, index: int
    ) -> float:
        """Take the step number ``index`` with a learning rate; return the loss."""
        raise NotImplementedError

    def loss(self, batch: torch.Tensor, source: torch.Generator) -> torch.Tensor:
        """Return the loss, a mean over images."""
        raise NotImplementedError

    @torch.no_grad()
    def validate(self, images: torch.Tensor, batch_size: int) -> float:
        """Return the loss of other images, with the same noise at each call."""
        source = torch.Generator().manual_seed(0)
        return sum(
            len(batch) / len(images) * self.loss(batch.to(self.device), source).item()
            for batch in images.split(batch_size)
        )

    def weights(self) -> dict[str, torch.Tensor]:
        """Return the state of the network that belongs to the last validation."""
        return self.network.state_dict()

    @property
    def device(self) -> torch.device:
        """Device of the network."""
        return next(self.network.parameters()).device

    def backward(self, loss: torch.Tensor, parameters: Iterable[torch.nn.Parameter]):
        """Compute the gradient in some parameters, a mean over all processes."""
        if self.accelerator is None:
            loss.backward()
            return
        self.accelerator.backward(loss)
        for parameter in parameters:
            if parameter.grad is not None:
                mean = self.accelerator.reduce(parameter.grad, reduction="mean")
                parameter.grad.copy_(mean)
