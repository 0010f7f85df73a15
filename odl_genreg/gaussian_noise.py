# SPDX-License-Identifier: MPL-2.0
"""D of data with Gaussian noise: half the squared residual."""

import functools
import math

import torch
from odl import Operator
from odl.functionals import L2NormSquared
from odl.functionals.functional import FunctionalComp

from .data_fidelity import DataFidelity, checked_data
from .image_quadratic import ImageQuadratic
from .torch_bridge import LinearMap, as_element, as_tensor, batch_value, weight

__all__ = ("SquaredL2", "squared_l2")


class SquaredL2(DataFidelity):
    """Data fidelity ``D(x) = sum_i |(A x - y)_i|^2 / (2 noise_std^2)``."""

    def __init__(self, operator, data, noise_std: float = 1.0):
        """Initialize a new instance; see `squared_l2`."""
        noise_std = float(noise_std)
        if not 0 < noise_std < math.inf:
            raise ValueError(
                f"`noise_std` must be positive and finite, got {noise_std}; give the "
                "standard deviation of one datum, or 1.0 for plain least squares."
            )
        Y = operator.range
        data = checked_data(data, Y)
        scale = 1 / (2 * noise_std**2 * weight(Y))
        on_data = scale * L2NormSquared(Y).translated(data)
        rebuild = functools.partial(SquaredL2, operator, noise_std=noise_std)
        super().__init__(operator, data, on_data, noise_std, rebuild)
        self._last = None

    @functools.cached_property
    def quadratic(self) -> ImageQuadratic | None:
        """``D`` as a torch function of images and data; None if ``A`` is nonlinear."""
        if not self.operator.is_linear:
            return None
        return ImageQuadratic(LinearMap(self.operator), self.noise_std)

    def _call(self, x):
        if self.quadratic is None:
            return super()._call(x)
        value, _ = self.evaluate(x)
        return value.item()

    def evaluate(self, x):
        """Return ``D(x)`` and a function for ``A^T (A x - y) / noise_std^2``.

        Those of the last point are kept: value and gradient share ``A x``.
        """
        x, y = as_tensor(x)[None], as_tensor(self.data)
        last = self._last
        if last is None or not (torch.equal(last[0], x) and torch.equal(last[1], y)):
            last = (x.clone(), y.clone(), *self.quadratic.evaluate(x, y))
            self._last = last
        return last[2:]

    @functools.cached_property
    def gradient(self):
        """Gradient ``x -> A^*(A x - y) / (noise_std^2 w_Y)``, by ODL's chain rule."""
        if self.quadratic is None:
            return super().gradient
        return SquaredL2Gradient(self)

    @property
    def expected_residual(self) -> float:
        """Expectation ``m noise_std^2`` of ``sum_i |(A x - y)_i|^2`` at the truth."""
        return self.operator.range.size * self.noise_std**2


class SquaredL2Gradient(Operator):
    """Gradient of a `SquaredL2` with a linear operator."""

    def __init__(self, functional: SquaredL2):
        """Initialize a new instance: the gradient of ``functional``."""
        super().__init__(functional.domain, functional.domain)
        self.functional, self._weight = functional, weight(functional.domain)

    def _call(self, x):
        _, gradient = self.functional.evaluate(x)
        return as_element(self.range, gradient()[0] / self._weight)

    def derivative(self, x):
        """Return the linear operator ``h -> A^* A h / (noise_std^2 w_Y)``."""
        A, variance = self.functional.operator, self.functional.noise_std**2
        return (1 / (variance * weight(A.range))) * (A.adjoint @ A)


@batch_value.register
def _(functional: SquaredL2):
    if functional.quadratic is None:
        return batch_value.dispatch(FunctionalComp)(functional)
    data = as_tensor(functional.data)
    return lambda x: functional.quadratic(x, data)


def squared_l2(operator, data, noise_std: float = 1.0) -> SquaredL2:
    """Return ``D(x) = sum_i |(A x - y)_i|^2 / (2 noise_std^2)``, for Gaussian noise.

    Plain sums, ``||A x - y||_Y^2 / (2 noise_std^2 w_Y)`` in the norm of ``Y``: the term
    grows with the number of data, and a weight ``lam`` of the regularizer means the
    same for every operator.

    Parameters
    ----------
    operator : `Operator`
        Forward operator ``A : X -> Y``.
    data : ``operator.range`` `element-like`
        Data ``y``.
    noise_std : positive float, optional
        Standard deviation of the noise of each datum.

    Raises
    ------
    ValueError
        If ``noise_std`` is not positive, or ``data`` has a wrong shape or a value that
        is not finite.

    Examples
    --------
    >>> A = odl.IdentityOperator(odl.uniform_discr(0, 1, 4))
    >>> D = ogr.squared_l2(A, [0, 0, 0, 0], noise_std=0.5)
    >>> round(D([1, 1, 1, 1]), 12)
    8.0
    """
    return SquaredL2(operator, data, noise_std)
