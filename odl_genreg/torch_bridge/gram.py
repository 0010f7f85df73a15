# SPDX-License-Identifier: MPL-2.0
"""``A A^T`` and ``A^T A`` of a linear operator as matrices."""

import functools

import torch
from odl.core.operator.operator import (
    OperatorLeftScalarMult,
    OperatorRightScalarMult,
)

from .elements import torch_device, torch_dtype
from .linear_map import LinearMap

__all__ = ("gram_matrix",)

# Unit vectors that go through the operator at once.
_CHUNK = 512


@functools.singledispatch
def gram_matrix(operator, transposed: bool = False) -> torch.Tensor:
    """Return the matrix ``A A^T`` in plain sums, ``A^T A`` if ``transposed``.

    A generic function (`functools.singledispatch`): register the class of an operator
    that knows its matrix. All others are applied to unit vectors.

    Parameters
    ----------
    operator : linear `Operator`
        Operator ``A : X -> Y`` between spaces with constant weightings.
    transposed : bool, optional
        Whether the matrix is that on ``X``, ``(X.size, X.size)``, rather than that on
        ``Y``.

    Examples
    --------
    >>> A = odl.MatrixOperator([[1.0, 2.0]])
    >>> ogr.torch_bridge.gram_matrix(A)
    tensor([[5.]], dtype=torch.float64)
    >>> ogr.torch_bridge.gram_matrix(A, transposed=True)
    tensor([[1., 2.],
            [2., 4.]], dtype=torch.float64)
    """
    first = LinearMap(operator)
    first = first if transposed else first.T
    space, n = first.domain, first.domain.size
    eye = torch.eye(n, dtype=torch_dtype(space), device=torch_device(space))
    gram = torch.empty_like(eye)
    for rows, unit_vectors in zip(gram.split(_CHUNK), eye.split(_CHUNK), strict=True):
        product = first.T(first(unit_vectors.reshape(-1, *space.shape)))
        rows.copy_(product.reshape(-1, n))
    return (gram + gram.T) / 2


@gram_matrix.register(OperatorLeftScalarMult)
@gram_matrix.register(OperatorRightScalarMult)
def _(operator, transposed: bool = False):
    return float(operator.scalar) ** 2 * gram_matrix(operator.operator, transposed)
