# SPDX-License-Identifier: MPL-2.0
"""ODL functionals and their proximals as batched torch functions."""

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

__all__ = ("batch_proximal", "batch_value")


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


@functools.singledispatch
def batch_proximal(functional):
    """Return the function ``(step, (x_1, ..., x_B)) -> (prox_{step f}(x_b))``.

    A generic function like `batch_value`. The result carries no graph.

    Parameters
    ----------
    functional : `Functional`
        Functional ``f`` with a proximal.

    Returns
    -------
    proximal : callable
        Function of a positive float and a tensor ``(batch, *X.shape)``.

    Examples
    --------
    >>> proximal = ogr.torch_bridge.batch_proximal(odl.functionals.L1Norm(odl.rn(2)))
    >>> proximal(0.5, torch.tensor([[1.0, -2.0]]))
    tensor([[ 0.5000, -1.5000]])
    """

    def proximal(step, x):
        operator, X = functional.proximal(float(step)), functional.domain
        rows = [as_tensor(operator(as_element(X, row.contiguous()))) for row in x]
        return torch.stack([row.clone() for row in rows])

    return proximal


class _Value(torch.autograd.Function):
    """Values of any ODL functional, on one space or on a product."""

    @staticmethod
    def forward(ctx, functional, *parts):
        X = functional.domain
        ctx.spaces = X if isinstance(X, odl.ProductSpace) else (X,)
        elements = [
            [as_element(space, row.contiguous()) for row in part.detach()]
            for space, part in zip(ctx.spaces, parts, strict=True)
        ]
        points = list(zip(*elements, strict=True))
        ctx.functional = functional
        ctx.points = [X.element(p) if X is ctx.spaces else p[0] for p in points]
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


@batch_value.register
def _(functional: odl.functionals.L2NormSquared):
    w = weight(functional.domain)
    return lambda x: w * _sum(x**2)


@batch_value.register
def _(functional: odl.functionals.L1Norm):
    w = weight(functional.domain)
    return lambda x: w * _sum(x.abs())


@batch_value.register
def _(functional: odl.functionals.GroupL1Norm):
    if functional.pointwise_norm.exponent != 2:
        return batch_value.dispatch(object)(functional)
    w = weight(functional.domain)
    return lambda x: w * _sum(x.norm(dim=1))


@batch_value.register
def _(functional: odl.functionals.ZeroFunctional):
    return lambda x: 0 * _sum(x)


@batch_value.register
def _(functional: odl.functionals.IndicatorZero):
    return lambda x: torch.where(x.flatten(1).any(1), math.inf, 0 * _sum(x.detach()))


@batch_value.register
def _(functional: odl.functionals.KullbackLeibler):
    if functional.prior is None:
        return batch_value.dispatch(object)(functional)
    w, counts = weight(functional.domain), as_tensor(functional.prior)

    def value(x):
        terms = x - counts + torch.xlogy(counts, counts) - torch.xlogy(counts, x)
        outside = (x < 0) | ((x == 0) & (counts > 0))
        return w * _sum(torch.where(outside, math.inf, terms))

    return value


@batch_value.register
def _(functional: FunctionalLeftScalarMult):
    value, scalar = batch_value(functional.functional), float(functional.scalar)
    return lambda x: scalar * value(x)


@batch_value.register
def _(functional: FunctionalRightScalarMult):
    value, scalar = batch_value(functional.functional), float(functional.scalar)
    return lambda x: value(scalar * x)


@batch_value.register
def _(functional: FunctionalTranslation):
    value = batch_value(functional.functional)
    translation = as_tensor(functional.translation)
    return lambda x: value(x - translation)


@batch_value.register
def _(functional: FunctionalSum):
    left, right = batch_value(functional.left), batch_value(functional.right)
    return lambda x: left(x) + right(x)


@batch_value.register
def _(functional: FunctionalComp):
    if not functional.right.is_linear:
        return batch_value.dispatch(object)(functional)
    value, linear_map = batch_value(functional.left), LinearMap(functional.right)
    return lambda x: value(linear_map(x))


@batch_proximal.register
def _(functional: odl.functionals.L2NormSquared):
    return lambda step, x: x / (1 + 2 * step)


@batch_proximal.register
def _(functional: odl.functionals.L1Norm):
    return lambda step, x: torch.nn.functional.softshrink(x, float(step))


@batch_proximal.register
def _(functional: odl.functionals.GroupL1Norm):
    if functional.pointwise_norm.exponent != 2:
        return batch_proximal.dispatch(object)(functional)

    def shrink(step, x):
        norm = x.norm(dim=1, keepdim=True)
        return x * (1 - step / norm.clamp_min(step))

    return shrink


@batch_proximal.register
def _(functional: odl.functionals.IndicatorZero):
    return lambda step, x: torch.zeros_like(x)


@batch_proximal.register
def _(functional: odl.functionals.ZeroFunctional):
    return lambda step, x: x.clone()


@batch_proximal.register
def _(functional: odl.functionals.IndicatorBox):
    lower = -math.inf if functional.lower is None else functional.lower
    upper = math.inf if functional.upper is None else functional.upper
    if not all(isinstance(bound, (int, float)) for bound in (lower, upper)):
        return batch_proximal.dispatch(object)(functional)
    return lambda step, x: x.clamp(lower, upper)


@batch_proximal.register
def _(functional: FunctionalLeftScalarMult):
    proximal = batch_proximal(functional.functional)
    return lambda step, x: proximal(step * float(functional.scalar), x)
