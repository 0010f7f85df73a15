# SPDX-License-Identifier: MPL-2.0
"""A linear ODL operator as a batched torch function."""

import functools
import math

import odl
import torch
from odl.core.operator.operator import (
    OperatorComp,
    OperatorLeftScalarMult,
    OperatorRightScalarMult,
)

from .elements import as_element, as_tensor, torch_device, torch_dtype, weight

__all__ = ("LinearMap", "batch_products")


@functools.singledispatch
def batch_products(operator):
    """Return the functions ``x -> A x`` and ``y -> A^T y`` of a linear operator.

    A generic function (`functools.singledispatch`): register the class of an
    operator that takes a whole batch at once. All others go through ODL one by one.

    Parameters
    ----------
    operator : linear `Operator`
        Operator ``A : X -> Y`` between spaces with constant weightings.

    Returns
    -------
    forward, transpose : callable
        Functions of tensors ``(batch, X.size)`` and ``(batch, Y.size)``, each other's
        transpose in plain sums: ``A^T = (w_X / w_Y) A^*``.
    """
    X, Y = operator.domain, operator.range
    ratio = weight(X) / weight(Y)

    def forward(x):
        return _one_by_one(operator, x)

    def transpose(y):
        return ratio * _one_by_one(operator.adjoint, y)

    return forward, transpose


def _one_by_one(operator, batch):
    X, Y = operator.domain, operator.range
    result = batch.new_empty(len(batch), Y.size)
    for x, y in zip(batch, result, strict=True):
        y.copy_(as_tensor(operator(as_element(X, x.reshape(X.shape)))).reshape(-1))
    return result


@batch_products.register
def _(operator: odl.IdentityOperator):
    return torch.clone, torch.clone


@batch_products.register
def _(operator: odl.MatrixOperator):
    if len(operator.domain.shape) > 1:
        return batch_products.dispatch(object)(operator)
    matrix = torch.as_tensor(operator.matrix, device=torch_device(operator.range))
    return (lambda x: x @ matrix.T), (lambda y: y @ matrix)


@batch_products.register(OperatorLeftScalarMult)
@batch_products.register(OperatorRightScalarMult)
def _(operator):
    forward, transpose = batch_products(operator.operator)
    scalar = float(operator.scalar)
    return (lambda x: scalar * forward(x)), (lambda y: scalar * transpose(y))


@batch_products.register
def _(operator: OperatorComp):
    left, left_transpose = batch_products(operator.left)
    right, right_transpose = batch_products(operator.right)
    return (lambda x: left(right(x))), (lambda y: right_transpose(left_transpose(y)))


@batch_products.register
def _(operator: odl.Gradient):
    """Forward differences with a last one of 0 (symmetric) or to 0 (constant)."""
    X, zero_outside = operator.domain, operator.pad_mode == "constant"
    known = zero_outside and operator.pad_const == 0
    known |= operator.pad_mode == "symmetric"
    if operator.method != "forward" or not known:
        return batch_products.dispatch(object)(operator)
    axes = [(axis + 1, float(side)) for axis, side in enumerate(X.cell_sides)]

    def forward(x):
        x = x.reshape(-1, *X.shape)
        parts = []
        for axis, side in axes:
            last = x.narrow(axis, x.shape[axis] - 1, 1)
            last = torch.zeros_like(last) if zero_outside else last
            parts.append(torch.diff(x, dim=axis, append=last) / side)
        return torch.stack(parts, dim=1).flatten(1)

    def transpose(y):
        y = y.reshape(-1, len(axes), *X.shape)
        total = 0
        for (axis, side), part in zip(axes, y.unbind(1), strict=True):
            zero = torch.zeros_like(part.narrow(axis, 0, 1))
            if not zero_outside:
                part = torch.cat(
                    [part.narrow(axis, 0, X.shape[axis - 1] - 1), zero], axis
                )
            total = total - torch.diff(part, dim=axis, prepend=zero) / side
        return total.flatten(1)

    return forward, transpose


class LinearMap:
    """Linear operator as a torch function of batches, ``(x_1, ..., x_B) -> (A x_b)``.

    Differentiable any number of times and under `torch.func`:

        ``d/dx <g, A x> = A^T g``    in plain sums, ``A^T = (w_X / w_Y) A^*``.
    """

    def __init__(self, operator):
        """Initialize a new instance.

        Parameters
        ----------
        operator : linear `Operator`
            Operator ``A : X -> Y`` between spaces of tensors.

        Raises
        ------
        TypeError
            If ``operator`` is not linear, or not between real spaces.

        Examples
        --------
        >>> A = odl.MatrixOperator([[1.0, 2.0]])
        >>> linear_map = ogr.torch_bridge.LinearMap(A)
        >>> x = torch.tensor([[1.0, 1.0], [0.0, 1.0]], dtype=torch.float64)
        >>> linear_map(x)
        tensor([[3.],
                [2.]], dtype=torch.float64)
        >>> linear_map.T(linear_map(x))
        tensor([[3., 6.],
                [2., 4.]], dtype=torch.float64)
        """
        if not operator.is_linear:
            raise TypeError(
                f"`operator` must be linear, got {operator!r}; "
                "linearize it with `operator.derivative(x)`."
            )
        for space in (operator.domain, operator.range):
            if torch_dtype(space).is_complex:
                raise TypeError(
                    f"`operator` must map between real spaces, got {space!r}; "
                    "take real and imaginary part as two components."
                )
        self.operator = operator
        self.domain, self.range = operator.domain, operator.range
        self._forward, self._transpose = batch_products(operator)
        self._expected, self._given = _signature(self.domain), _signature(self.range)

    def __call__(self, x: torch.Tensor) -> torch.Tensor:
        """Map ``(..., *domain.shape)`` to ``(..., *range.shape)``.

        Raises
        ------
        ValueError
            If shape, dtype or device of ``x`` are not those of the domain.
        """
        expected = self._expected
        received = (tuple(x.shape[x.ndim - len(expected[0]) :]), x.dtype, x.device)
        if received != expected:
            raise ValueError(
                f"`x` must have trailing shape, dtype and device {expected} of the "
                f"domain, got {received}; convert it with `reshape` and `to`."
            )
        return _Product.apply(x, self)

    @functools.cached_property
    def T(self) -> "LinearMap":
        """The transpose in plain sums, ``A^T = (w_X / w_Y) A^*``."""
        transposed = object.__new__(LinearMap)
        transposed.operator = self.operator.adjoint
        transposed.domain, transposed.range = self.range, self.domain
        transposed._forward, transposed._transpose = self._transpose, self._forward
        transposed._expected, transposed._given = self._given, self._expected
        return transposed

    def product(self, x: torch.Tensor) -> torch.Tensor:
        """Return the same without derivatives and checks, for inner loops."""
        shape = self._expected[0]
        leading = x.shape[: x.ndim - len(shape)]
        y = self._forward(x.detach().reshape(-1, math.prod(shape)))
        return y.reshape(*leading, *self._given[0])


def _signature(space):
    """Shape, dtype and device of tensors; a space needs long to tell them."""
    return space.shape, torch_dtype(space), torch_device(space)


class _Product(torch.autograd.Function):
    """The product ``A x``, for autograd and `torch.func`."""

    @staticmethod
    def forward(x, linear_map):
        return linear_map.product(x)

    @staticmethod
    def setup_context(ctx, inputs, output):
        ctx.linear_map = inputs[1]

    @staticmethod
    def backward(ctx, gradient):
        return ctx.linear_map.T(gradient), None

    @staticmethod
    def jvp(ctx, tangent, _):
        return ctx.linear_map(tangent)

    @staticmethod
    def vmap(info, in_dims, x, linear_map):
        return linear_map(x.movedim(in_dims[0], 0)), 0
