# SPDX-License-Identifier: MPL-2.0
"""A torch function of batches as an ODL functional."""

import functools

import odl
import torch
from odl import Operator
from odl.functionals.functional import Functional

from .elements import as_element, as_tensor, weight
from .functional_map import batch_value

__all__ = ("TorchFunctional",)


class TorchFunctional(Functional):
    """Functional on a space of tensors, or a product of them, by a torch function.

        ``f(x) = batch(x)``,    ``grad f(x) = (1 / w) batch'(x)``,

    ``w`` the weight of each space. Subclasses define `batch`.

    Notes
    -----
    The forward pass of the last point is kept: value and gradient at one point cost
    one forward and one backward pass.
    """

    def __init__(self, domain, tensors=()):
        """Initialize a new instance.

        Parameters
        ----------
        domain : `TensorSpace`, `DiscretizedSpace` or `ProductSpace`
            Space or product of spaces with constant weightings.
        tensors : sequence of torch.Tensor, optional
            What `batch` depends on, such as the parameters of a network. Changes in
            place are noticed, except through ``.data``.
        """
        super().__init__(domain)
        product = isinstance(domain, odl.ProductSpace)
        self.spaces = tuple(domain) if product else (domain,)
        self._tensors, self._pass = tuple(tensors), None

    def batch(self, *points: torch.Tensor) -> torch.Tensor:
        """Values ``(batch,)`` of points ``(batch, *space.shape)`` of each space."""
        raise NotImplementedError

    def forward_pass(self, x) -> tuple[list[torch.Tensor], torch.Tensor]:
        """Return the parts of ``x`` as leaves and the value with its graph."""
        points = [as_tensor(part) for part in (x if len(self.spaces) > 1 else [x])]
        versions, last = [tensor._version for tensor in self._tensors], self._pass
        if (
            last is None
            or last[0] != versions
            or not all(map(torch.equal, (leaf[0] for leaf in last[1]), points))
        ):
            leaves = [point.detach().clone()[None].requires_grad_() for point in points]
            with torch.enable_grad():
                last = self._pass = (versions, leaves, self.batch(*leaves))
        return last[1:]

    def _call(self, x):
        _, value = self.forward_pass(x)
        return value.item()

    @functools.cached_property
    def gradient(self):
        """Gradient in the inner products of the spaces, by one backward pass."""
        return TorchFunctionalGradient(self)


class TorchFunctionalGradient(Operator):
    """Gradient of a `TorchFunctional`."""

    def __init__(self, functional: TorchFunctional):
        """Initialize a new instance: the gradient of ``functional``."""
        super().__init__(functional.domain, functional.domain)
        self.functional = functional
        self._weights = [weight(space) for space in functional.spaces]

    def _call(self, x):
        leaves, value = self.functional.forward_pass(x)
        gradients = torch.autograd.grad(
            value, leaves, retain_graph=True, materialize_grads=True
        )
        parts = [
            as_element(space, gradient[0] / w)
            for space, gradient, w in zip(
                self.functional.spaces, gradients, self._weights, strict=True
            )
        ]
        return self.range.element(parts) if len(parts) > 1 else parts[0]


@batch_value.register
def _(functional: TorchFunctional):
    return functional.batch
