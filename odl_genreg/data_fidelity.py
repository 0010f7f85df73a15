# SPDX-License-Identifier: MPL-2.0
"""D: how well an image explains the data, as ODL functionals."""

import functools
import math

import numpy as np
import odl
import torch
from odl import Operator
from odl.functionals import KullbackLeibler, L2NormSquared
from odl.functionals.functional import FunctionalComp

from .torch_bridge import as_element, as_tensor, batch_value, torch_dtype, weight

__all__ = (
    "CountDivergence",
    "DataFidelity",
    "SquaredL2",
    "checked_data",
    "kullback_leibler",
    "squared_l2",
)


class DataFidelity(FunctionalComp):
    """Data fidelity ``D(x) = on_data(A x)``, a negative log-likelihood.

    A `FunctionalComp` that remembers its parts: `operator` ``A``, `data` ``y``,
    `noise_std`, and `on_data`, the functional on ``Y`` that primal-dual solvers take.
    """

    def __init__(
        self, operator, data, on_data, noise_std: float | None = None, rebuild=None
    ):
        """Initialize a new instance.

        Parameters
        ----------
        operator : `Operator`
            Forward operator ``A : X -> Y``.
        data : `LinearSpaceElement`
            Element of ``operator.range``.
        on_data : `Functional`
            Functional on ``operator.range``.
        noise_std : positive float, optional
            Standard deviation of the noise of each real datum, where it is Gaussian.
        rebuild : callable, optional
            Function that returns the data fidelity of other data, for `with_data`.
        """
        super().__init__(on_data, operator)
        self._rebuild = rebuild
        self.operator = operator
        self.data = data
        self.on_data = on_data
        self.noise_std = noise_std

    def with_data(self, data):
        """Return the same data fidelity for other data, an element of ``Y``.

        Raises
        ------
        NotImplementedError
            If it was built without `rebuild`.
        """
        if self._rebuild is None:
            raise NotImplementedError(
                "`rebuild` must be given to exchange the data, got a "
                f"{type(self).__name__} without; build one for each data."
            )
        return self._rebuild(data)


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

    @property
    def expected_residual(self) -> float:
        """Expectation ``m noise_std^2`` of ``sum_i |(A x - y)_i|^2`` at the truth."""
        return self.operator.range.size * self.noise_std**2


class CountDivergence(KullbackLeibler):
    """ODL's Kullback-Leibler divergence of counts, with ``0 log 0 = 0``.

        ``f(v) = w_Y sum_i v_i - y_i + y_i log(y_i / v_i)``,  ``grad f(v) = 1 - y / v``

    Where there are no counts ODL's is infinite at 0, a ray that misses everything,
    and finite below.
    """

    def _call(self, v):
        return float(batch_value(self)(as_tensor(v)[None]))

    @property
    def gradient(self):
        """Gradient ``v -> 1 - y / v``, 1 where there are no counts."""
        functional = self

        class Gradient(Operator):
            """The gradient of a divergence of counts."""

            def __init__(self):
                super().__init__(functional.domain, functional.domain)

            def _call(self, v):
                counts, v = as_tensor(functional.prior), as_tensor(v)
                ratio = torch.where(counts > 0, counts / v, 0)
                return as_element(self.range, 1 - ratio)

        return Gradient()


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
    >>> D([1, 1, 1, 1])
    8.0
    """
    return SquaredL2(operator, data, noise_std)


def kullback_leibler(operator, counts, background: float = 0.0) -> DataFidelity:
    """Return ``D(x) = sum_i v_i - y_i + y_i log(y_i / v_i)``, for Poisson counts.

    Here ``v = A x + background``, in plain sums; ``D`` is infinite where a ``v_i`` is
    negative, or 0 with counts.

    Parameters
    ----------
    operator : `Operator`
        Forward operator ``A : X -> Y``.
    counts : ``operator.range`` `element-like`
        Nonnegative counts ``y``.
    background : nonnegative float, optional
        Expected counts without an object.

    Raises
    ------
    ValueError
        If ``counts`` has a negative value, a wrong shape or a value that is not
        finite, or if ``background`` is negative.

    Examples
    --------
    >>> A = odl.IdentityOperator(odl.rn(2))
    >>> D = ogr.kullback_leibler(A, [1, 0])
    >>> D([1, 3])
    3.0
    """
    Y = operator.range
    counts = checked_data(counts, Y)
    if float(as_tensor(counts).min()) < 0:
        raise ValueError(
            "`counts` must be nonnegative, got a negative value; "
            "use `squared_l2` for data with Gaussian noise."
        )
    if not 0 <= background < math.inf:
        raise ValueError(
            f"`background` must be nonnegative and finite, got {background}; "
            "use 0.0 for none."
        )
    divergence = (1 / weight(Y)) * CountDivergence(Y, prior=counts)
    if background:
        divergence = divergence.translated(-float(background) * Y.one())
    rebuild = functools.partial(kullback_leibler, operator, background=background)
    return DataFidelity(operator, counts, divergence, rebuild=rebuild)


def checked_data(data, data_space):
    """Return ``data`` as an element of ``Y`` after a look at shape and values."""
    if torch_dtype(data_space).is_complex:
        raise ValueError(
            f"`operator.range` must be real, got {data_space!r}; take real and "
            "imaginary part as two components."
        )
    if isinstance(data, odl.core.set.space.LinearSpaceElement):
        if data not in data_space:
            raise ValueError(
                f"`data` must be an element of `operator.range` {data_space!r}, "
                f"got one of {data.space!r}; use `operator.range.element(data)`."
            )
    else:
        if tuple(np.shape(data)) != data_space.shape:
            raise ValueError(
                f"`data` must have the shape {data_space.shape} of `operator.range`, "
                f"got {tuple(np.shape(data))}; reshape it."
            )
        data = data_space.element(data)
    if not bool(as_tensor(data).isfinite().all()):
        raise ValueError(
            "`data` must be finite, got NaN or inf; remove or mask those values."
        )
    return data
