# SPDX-License-Identifier: MPL-2.0
"""Proximals of ODL functionals as batched torch functions."""

import functools
import math

import odl
import torch
from odl.functionals.functional import FunctionalLeftScalarMult

from .elements import as_element, as_tensor

__all__ = ("batch_proximal",)


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
        # Over so few components `norm` is many times slower.
        norm = (x * x).sum(1, keepdim=True).sqrt()
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
