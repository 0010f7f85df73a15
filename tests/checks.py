# SPDX-License-Identifier: MPL-2.0
"""Checks of operators and functionals that many tests share."""

import math

from generators import random_element


def taylor_order(f, x, direction, steps=(1e-1, 1e-2, 1e-3)):
    """Least order in e of ``|f(x + e h) - f(x) - e <grad f(x), h>|``; 2 if right.

    A gradient that is wrong by a factor, a forgotten weight, gives 1.
    """
    value, slope = f(x), f.gradient(x).inner(direction)
    remainders = [abs(f(x + e * direction) - value - e * slope) for e in steps]
    assert remainders[0] > 1e-8 * abs(value), "nothing to see along this direction"
    return order(remainders, steps)


def order(remainders, steps):
    """Least slope of ``log remainders`` over ``log steps``."""
    return min(
        math.log(r / s) / math.log(d / e)
        for r, s, d, e in zip(
            remainders, remainders[1:], steps, steps[1:], strict=False
        )
    )


def derivative_order(operator, x, direction, steps=(1e-1, 1e-2, 1e-3)):
    """Least order in e of ``||A(x + e h) - A(x) - e A'(x) h||``."""
    value, tangent = operator(x), operator.derivative(x)(direction)
    return order(
        [(operator(x + e * direction) - value - e * tangent).norm() for e in steps],
        steps,
    )


def adjoint_error(operator, seed=0):
    """``|<A x, y> - <x, A^* y>| / (||A x|| ||y||)``."""
    x, y = (
        random_element(operator.domain, seed),
        random_element(operator.range, seed + 1),
    )
    Ax = operator(x)
    assert Ax.norm() > 0
    difference = abs(Ax.inner(y) - x.inner(operator.adjoint(y)))
    return difference / (Ax.norm() * y.norm())


def finite_difference_error(f, x, direction, step=1e-2):
    """Relative error of ``<grad f(x), h>`` against a central difference."""
    difference = (f(x + step * direction) - f(x - step * direction)) / (2 * step)
    return abs(f.gradient(x).inner(direction) - difference) / abs(difference)
