# SPDX-License-Identifier: MPL-2.0
"""Linear operators that are given by a function of batches and its transpose."""

import torch
from odl import Operator

from ..torch_bridge import as_element, as_tensor, batch_products, weight

__all__ = ("BatchOperator",)


class BatchOperator(Operator):
    """Linear operator ``A : X -> Y`` of torch functions, with an exact adjoint.

        ``A^* y = (w_Y / w_X) A^T y``

    with the constant weights ``w`` of the two spaces. Subclasses define `batch` and
    `batch_transpose`, which map whole batches and are each other's transpose in plain
    sums. What they need lies on the device of the spaces.
    """

    def __init__(self, domain, range):
        """Initialize a new instance.

        Parameters
        ----------
        domain, range : `TensorSpace`, `DiscretizedSpace` or a power of one
            Spaces ``X`` and ``Y`` of real tensors with constant weightings.

        Examples
        --------
        A subclass that doubles, from a space with cells of length 1/4:

        >>> class Twice(ogr.forward_operators.BatchOperator):
        ...     def batch(self, x):
        ...         return 2 * x
        ...     batch_transpose = batch
        >>> A = Twice(odl.uniform_discr(0, 1, 4), odl.rn(4))
        >>> A.adjoint([1.0, 0.0, 0.0, 0.0]).asarray()
        array([ 8.,  0.,  0.,  0.])
        """
        super().__init__(domain, range, linear=True)

    def batch(self, x: torch.Tensor) -> torch.Tensor:
        """Map images ``(batch, *X.shape)`` to data ``(batch, *Y.shape)``."""
        raise NotImplementedError

    def batch_transpose(self, y: torch.Tensor) -> torch.Tensor:
        """Map data ``(batch, *Y.shape)`` to images ``(batch, *X.shape)``."""
        raise NotImplementedError

    def _call(self, x):
        return as_element(self.range, self.batch(as_tensor(x)[None])[0])

    @property
    def adjoint(self) -> Operator:
        """Adjoint in the inner products of ``X`` and ``Y``."""
        return BatchAdjoint(self)


class BatchAdjoint(Operator):
    """Adjoint ``A^* = (w_Y / w_X) A^T`` of a `BatchOperator`."""

    def __init__(self, operator: BatchOperator):
        """Initialize a new instance: the adjoint of ``operator``."""
        super().__init__(operator.range, operator.domain, linear=True)
        self._operator = operator
        self._ratio = weight(operator.range) / weight(operator.domain)

    def _call(self, y):
        x = self._ratio * self._operator.batch_transpose(as_tensor(y)[None])[0]
        return as_element(self.range, x)

    @property
    def adjoint(self) -> BatchOperator:
        """The operator itself."""
        return self._operator


@batch_products.register
def _(operator: BatchOperator):
    X, Y = operator.domain, operator.range

    def forward(x):
        return operator.batch(x.reshape(-1, *X.shape)).flatten(1)

    def transpose(y):
        return operator.batch_transpose(y.reshape(-1, *Y.shape)).flatten(1)

    return forward, transpose
