# SPDX-License-Identifier: MPL-2.0
"""The sum of the wavelet coefficients' sizes, as an ODL functional."""

import odl
from odl import Operator
from odl.functionals import Functional

from ..torch_bridge import (
    as_element,
    as_tensor,
    batch_proximal,
    batch_value,
    torch_device,
    weight,
)
from .periodic_wavelets import PeriodicWavelets

__all__ = ("WaveletL1",)


class WaveletL1(Functional):
    r"""Functional ``f(x) = w_X sum_i |(W x)_i|`` over the wavelet details of images.

    ``W`` is orthonormal in plain sums, of images that go on periodically. The averages
    that the last level leaves are free, as usual: an offset costs nothing.

    Notes
    -----
    With the weight ``w_X`` of the inner product of ``X``, as in ``L1Norm(X)``, the
    threshold of the proximal is its step, whatever the cells:

    .. math::
        \text{prox}_{\sigma f}(x) = W^T S_\sigma(W x), \qquad
        S_\sigma(c) = \text{sign}(c) \max(|c| - \sigma, 0)

    and ``S_sigma(c) = c`` for the averages. `batch_value` and `batch_proximal` take a
    batch at once.

    Examples
    --------
    The mean and the difference of a pair, ``(x_1 -+ x_2) / sqrt(2)``:

    >>> X = odl.uniform_discr(0, 1, 2)
    >>> f = ogr.evaluation.WaveletL1(X, "haar")
    >>> round(f([1, 3]), 6)  # w_X |1 - 3| / sqrt(2)
    0.707107
    >>> f.proximal(0.5**0.5)([1, 3])  # each moves by sigma / sqrt(2)
    uniform_discr(0.0, 1.0, 2).element([ 1.5,  2.5])
    """

    def __init__(self, space, wavelet: str = "db4", level: int | None = None):
        """Initialize a new instance.

        Parameters
        ----------
        space : `DiscretizedSpace`
            Space ``X`` of real images.
        wavelet : str, optional
            Name of an orthogonal wavelet of PyWavelets.
        level : positive int, optional
            Number of levels; all sizes are multiples of ``2^level``. Default: the
            largest of these for which no size falls below the length of the filter,
            at least 1.

        Raises
        ------
        ImportError
            If PyWavelets is not installed.
        TypeError
            If ``space`` is not a real space of tensors.
        ValueError
            If the wavelet is not orthogonal, or the sizes do not suit the level.
        """
        if isinstance(space, odl.ProductSpace) or not space.is_real:
            raise TypeError(
                f"`space` must be a real space of images, got {space!r}; take real and "
                "imaginary part one by one."
            )
        super().__init__(space)
        self.wavelets = PeriodicWavelets(
            space.shape, wavelet, level, torch_device(space)
        )

    @property
    def wavelet(self) -> str:
        """Name of the wavelet."""
        return self.wavelets.wavelet

    @property
    def level(self) -> int:
        """Number of levels."""
        return self.wavelets.level

    def _call(self, x):
        return batch_value(self)(as_tensor(x)[None]).item()

    @property
    def proximal(self):
        """Factory of the operators ``x -> prox_{sigma f}(x)``."""
        return lambda sigma: WaveletSoftThresholding(self, sigma)

    def __repr__(self):
        """Return what builds the functional."""
        return f"WaveletL1({self.domain!r}, {self.wavelet!r}, level={self.level})"


class WaveletSoftThresholding(Operator):
    """Proximal of a `WaveletL1`."""

    def __init__(self, functional: WaveletL1, sigma: float):
        """Initialize a new instance: the proximal of ``sigma * functional``."""
        super().__init__(functional.domain, functional.domain)
        self.functional, self.sigma = functional, float(sigma)

    def _call(self, x):
        rows = batch_proximal(self.functional)(self.sigma, as_tensor(x)[None])
        return as_element(self.range, rows[0])


@batch_value.register
def _(functional: WaveletL1):
    W, w = functional.wavelets, weight(functional.domain)
    return lambda x: w * W.details(W.forward(x)).abs().flatten(1).sum(1)


@batch_proximal.register
def _(functional: WaveletL1):
    W = functional.wavelets

    def shrink(step, x):
        """Take from the image the part of its details that the threshold cuts off."""
        details = W.details(W.forward(x.detach()))
        return x - W.inverse(details.clamp(-step, step))

    return shrink
