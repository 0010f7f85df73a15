# SPDX-License-Identifier: MPL-2.0
"""ODL functionals as batched torch functions."""

import functools
import math

import odl
import torch
from odl.functionals.functional import (
    FunctionalComp,
    FunctionalLeftScalarMult,
    FunctionalRightScalarMult,
    FunctionalSum,
    FunctionalTranslation,
)

from .elements import as_element, as_tensor, weight
from .linear_map import LinearMap

__all__ = ("batch_value",)


@functools.singledispatch
def batch_value(functional):
    """Return the function ``(x_1, ..., x_B) -> (f(x_b))`` of a functional.

    A generic function (`functools.singledispatch`): register the class of a
    functional that takes a whole batch at once. All others go through ODL one by
    one, with the gradient ``w_X * f.gradient(x)`` in plain sums, and can be
    differentiated once.

    Parameters
    ----------
    functional : `Functional`
        Functional ``f`` on a space of tensors with constant weighting, or on a
        product of such spaces.

    Returns
    -------
    value : callable
        Function of a tensor ``(batch, *X.shape)``, or of one for each factor of a
        product, with values of shape ``(batch,)``.

    Examples
    --------
    >>> value = ogr.torch_bridge.batch_value(odl.functionals.L1Norm(odl.rn(2)))
    >>> value(torch.tensor([[1.0, -2.0], [0.0, 4.0]]))
    tensor([3., 4.])
    """
    return functools.partial(_Value.apply, functional)


class _Value(torch.autograd.Function):
    """Values of any ODL functional, on one space or on a product."""

    @staticmethod
    def forward(ctx, functional, *parts):
        X = functional.domain
        ctx.spaces = (X,) if len(parts) == 1 else X
        elements = [
            [as_element(space, row.contiguous()) for row in part.detach()]
            for space, part in zip(ctx.spaces, parts, strict=True)
        ]
        points = list(zip(*elements, strict=True))
        ctx.functional = functional
        ctx.points = [X.element(p) if len(parts) > 1 else p[0] for p in points]
        return parts[0].new_tensor([float(functional(point)) for point in ctx.points])

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx, gradient):
        operator, product = ctx.functional.gradient, len(ctx.spaces) > 1
        rows = [operator(point) for point in ctx.points]
        rows = [row if product else (row,) for row in rows]
        parts = []
        for space, part in zip(ctx.spaces, zip(*rows, strict=True), strict=True):
            stack = torch.stack([as_tensor(row).clone() for row in part])
            scale = gradient.reshape(-1, *[1] * (stack.ndim - 1))
            parts.append(weight(space) * stack * scale)
        return None, *parts


def _sum(x):
    return x.flatten(1).sum(1)


def _on_tensors(rule):
    """Keep a rule to functionals of one tensor; stack the factors of a power."""

    def restricted(functional):
        X = functional.domain
        if isinstance(X, odl.ProductSpace) and not X.is_power_space:
            return batch_value.dispatch(object)(functional)
        value = rule(functional)
        return lambda x, *more: value(torch.stack([x, *more], 1) if more else x)

    return restricted


@batch_value.register(odl.functionals.L2NormSquared)
@_on_tensors
def _(functional):
    w = weight(functional.domain)
    return lambda x: w * _sum(x**2)


@batch_value.register(odl.functionals.L1Norm)
@_on_tensors
def _(functional):
    w = weight(functional.domain)
    return lambda x: w * _sum(x.abs())


@batch_value.register(odl.functionals.GroupL1Norm)
@_on_tensors
def _(functional):
    if functional.pointwise_norm.exponent != 2:
        return batch_value.dispatch(object)(functional)
    w = weight(functional.domain)
    return lambda x: w * _sum(x.norm(dim=1))


@batch_value.register(odl.functionals.ZeroFunctional)
@_on_tensors
def _(functional):
    return lambda x: 0 * _sum(x)


@batch_value.register(odl.functionals.IndicatorZero)
@_on_tensors
def _(functional):
    return lambda x: torch.where(x.flatten(1).any(1), math.inf, 0 * _sum(x.detach()))


@batch_value.register(odl.functionals.KullbackLeibler)
@_on_tensors
def _(functional):
    if functional.prior is None:
        return batch_value.dispatch(object)(functional)
    w, counts = weight(functional.domain), as_tensor(functional.prior)
    counted = counts > 0

    def value(x):
        # 0 log 0 = 0; masked before the logarithm, for the sake of the gradient
        ratio = torch.where(counted, counts, 1) / torch.where(counted & (x > 0), x, 1)
        terms = x - counts + counts * ratio.log()
        inside = (x > 0) | ((x == 0) & ~counted)
        return w * _sum(torch.where(inside, terms, math.inf))

    return value


@batch_value.register
def _(functional: FunctionalLeftScalarMult):
    value, scalar = batch_value(functional.functional), float(functional.scalar)
    return lambda *x: scalar * value(*x)


@batch_value.register
def _(functional: FunctionalRightScalarMult):
    value, scalar = batch_value(functional.functional), float(functional.scalar)
    return lambda *x: value(*(scalar * part for part in x))


@batch_value.register(FunctionalTranslation)
@_on_tensors
def _(functional):
    value = batch_value(functional.functional)
    translation = as_tensor(functional.translation)
    return lambda x: value(x - translation)


@batch_value.register
def _(functional: FunctionalSum):
    left, right = batch_value(functional.left), batch_value(functional.right)
    return lambda *x: left(*x) + right(*x)


@batch_value.register(FunctionalComp)
@_on_tensors
def _(functional):
    if not functional.right.is_linear:
        return batch_value.dispatch(object)(functional)
    value, linear_map = batch_value(functional.left), LinearMap(functional.right)
    return lambda x: value(linear_map(x))
