# SPDX-License-Identifier: MPL-2.0
"""A: some of the coefficients of images in an orthonormal basis."""

from collections.abc import Callable

import numpy as np
import torch

from ..torch_bridge import NormalSpectrum, normal_spectrum, torch_device, torch_dtype
from .batch_operator import BatchOperator
from .image_space import check_image_space, vector_space

__all__ = ("SampledTransform",)


class SampledTransform(BatchOperator):
    """Samples ``A : X -> R^m`` of an orthonormal transform ``U`` of images.

        ``A x = (U x)[mask]``,    ``A^T A = U^T diag(mask) U``

    with the ``m`` coefficients where the mask is True, row by row. In plain sums its
    norm is 1.
    """

    def __init__(
        self,
        image_space,
        mask,
        forward: Callable = torch.clone,
        backward: Callable = torch.clone,
    ):
        """Initialize a new instance.

        Parameters
        ----------
        image_space : `DiscretizedSpace`
            Space ``X`` in two dimensions, float32 or float64.
        mask : array-like of bool
            Array of the shape of the images, True for what is measured.
        forward, backward : callable, optional
            ``U`` and ``U^T``, functions of images ``(batch, *X.shape)`` on the device
            of ``X``; the identity unless given.

        Raises
        ------
        TypeError, ValueError
            If something above does not hold.

        Examples
        --------
        Every second coefficient of images that are turned upside down:

        >>> X = odl.uniform_discr([0, 0], [1, 1], (2, 2))
        >>> def flip(x):
        ...     return x.flip(1)
        >>> mask = [[True, False], [True, False]]
        >>> A = ogr.forward_operators.SampledTransform(X, mask, flip, flip)
        >>> A([[1.0, 2.0], [3.0, 4.0]])
        rn(2).element([ 3.,  1.])
        """
        check_image_space(image_space)
        mask = _checked_mask(mask, image_space.shape)
        _check_orthonormal(forward, backward, image_space)
        super().__init__(image_space, vector_space(image_space, mask.sum()))
        self._mask = mask
        self._indices = torch.from_numpy(np.flatnonzero(mask)).to(
            torch_device(image_space)
        )
        self.forward, self.backward = forward, backward

    @property
    def mask(self) -> np.ndarray:
        """A copy of the mask."""
        return self._mask.copy()

    def batch(self, x: torch.Tensor) -> torch.Tensor:
        """Map images ``(batch, *X.shape)`` to samples ``(batch, m)``."""
        return self.forward(x).flatten(1)[:, self._indices]

    def batch_transpose(self, y: torch.Tensor) -> torch.Tensor:
        """Map samples to the images that have them, and 0 elsewhere."""
        coefficients = y.new_zeros(len(y), self.domain.size)
        coefficients[:, self._indices] = y
        return self.backward(coefficients.reshape(-1, *self.domain.shape))


@normal_spectrum.register
def _(operator: SampledTransform):
    X = operator.domain
    eigenvalues = torch.from_numpy(operator.mask).to(torch_device(X), torch_dtype(X))
    return NormalSpectrum(operator.forward, operator.backward, eigenvalues)


def _checked_mask(mask, shape):
    mask = np.array(mask)
    if mask.dtype != bool or mask.shape != tuple(shape):
        raise ValueError(
            f"`mask` must be a boolean array of shape {tuple(shape)}, that of the "
            f"images, got {mask.dtype} of shape {mask.shape}; use `random_mask`, or "
            "compare with 0."
        )
    if not mask.any():
        raise ValueError(
            "`mask` must keep at least one entry, got none; True means measured."
        )
    return mask


def _check_orthonormal(forward, backward, X):
    """Try the transform on one image of noise."""
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(1, *X.shape, generator=generator, dtype=torch.float64)
    x = x.to(torch_device(X), torch_dtype(X))
    coefficients = forward(x)
    error = "another shape"
    if coefficients.shape == x.shape:
        gain = float(coefficients.norm() / x.norm())
        loss = float((backward(coefficients) - x).norm() / x.norm())
        if abs(gain - 1) < 1e-4 and loss < 1e-4:
            return
        error = f"|U x| / |x| = {gain:.4g} and |U^T U x - x| / |x| = {loss:.4g}"
    raise ValueError(
        "`forward` must be orthonormal with the inverse `backward`, got "
        f"{error}; scale the transform (norm='ortho' of a fast one)."
    )
