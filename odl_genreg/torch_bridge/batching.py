# SPDX-License-Identifier: MPL-2.0
"""Which linear operators take a whole batch in one product."""

import functools

import odl
from odl.core.operator.operator import (
    OperatorComp,
    OperatorLeftScalarMult,
    OperatorRightScalarMult,
)

from .linear_map import batch_products

__all__ = ("takes_batches",)


@functools.singledispatch
def takes_batches(operator) -> bool:
    """Tell whether `batch_products` of an operator take a batch in one product.

    A generic function like `batch_products`, for classes of which only some do.
    """
    rule = batch_products.dispatch(type(operator))
    return rule is not batch_products.dispatch(object)


@takes_batches.register
def _(operator: odl.MatrixOperator) -> bool:
    return len(operator.domain.shape) == 1


@takes_batches.register(OperatorLeftScalarMult)
@takes_batches.register(OperatorRightScalarMult)
def _(operator) -> bool:
    return takes_batches(operator.operator)


@takes_batches.register
def _(operator: OperatorComp) -> bool:
    return takes_batches(operator.left) and takes_batches(operator.right)
