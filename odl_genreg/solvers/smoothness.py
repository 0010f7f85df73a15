# SPDX-License-Identifier: MPL-2.0
"""Which ODL functionals have a gradient, mathematically."""

import functools

from odl import functionals
from odl.functionals.functional import (
    FunctionalComp,
    FunctionalLeftScalarMult,
    FunctionalRightScalarMult,
    FunctionalSum,
    FunctionalTranslation,
)

__all__ = ("is_smooth",)


@functools.singledispatch
def is_smooth(functional) -> bool:
    """Tell whether a functional is differentiable.

    ODL's norms hand out a subgradient as their gradient. A generic function
    (`functools.singledispatch`): of what is not registered, the `gradient` is believed.

    Examples
    --------
    >>> X = odl.rn(2)
    >>> ogr.solvers.is_smooth(odl.functionals.L2NormSquared(X))
    True
    >>> ogr.solvers.is_smooth(3 * odl.functionals.L1Norm(X))
    False
    """
    try:
        _ = functional.gradient
    except NotImplementedError:
        return False
    return True


@is_smooth.register(functionals.LpNorm)
@is_smooth.register(functionals.GroupL1Norm)
@is_smooth.register(functionals.NuclearNorm)
@is_smooth.register(functionals.IndicatorZero)
@is_smooth.register(functionals.IndicatorBox)
@is_smooth.register(functionals.IndicatorLpUnitBall)
def _(functional) -> bool:
    return False


@is_smooth.register(FunctionalLeftScalarMult)
@is_smooth.register(FunctionalRightScalarMult)
@is_smooth.register(FunctionalTranslation)
def _(functional) -> bool:
    return is_smooth(functional.functional)


@is_smooth.register
def _(functional: FunctionalSum) -> bool:
    return is_smooth(functional.left) and is_smooth(functional.right)


@is_smooth.register
def _(functional: FunctionalComp) -> bool:
    return is_smooth(functional.left)


@is_smooth.register
def _(functional: functionals.SeparableSum) -> bool:
    return all(is_smooth(part) for part in functional.functionals)
