# SPDX-License-Identifier: MPL-2.0
"""A: the restriction to the pixels that are known."""

import math

import numpy as np

from .sampled_transform import SampledTransform

__all__ = ("inpainting", "random_mask")


def inpainting(image_space, mask) -> SampledTransform:
    """Return the operator ``A : X -> R^m`` that keeps the known pixels.

        ``A x = x[mask]``

    Parameters
    ----------
    image_space : `DiscretizedSpace`
        Space ``X`` in two dimensions, float32 or float64.
    mask : array-like of bool
        Array of the shape of the images, True for the pixels that are known.

    Notes
    -----
    `odl.SamplingOperator` does the same, but the adjoint of that one holds only if
    ``X`` is weighted by the cell volume; this one holds for any constant.

    Examples
    --------
    >>> X = odl.uniform_discr([0, 0], [1, 1], (2, 2))
    >>> A = ogr.inpainting(X, [[True, False], [False, True]])
    >>> A([[1.0, 2.0], [3.0, 4.0]])
    rn(2).element([ 1.,  4.])
    >>> A.adjoint([1.0, 4.0]).asarray()
    array([[  4.,   0.],
           [  0.,  16.]])
    """
    return SampledTransform(image_space, mask)


def random_mask(shape, fraction: float, seed: int = 0) -> np.ndarray:
    """Return a mask of pixels chosen at random, the nearest number to a fraction.

        ``sum(mask) = round(fraction * mask.size)``

    Parameters
    ----------
    shape : sequence of int
        Shape of the images.
    fraction : float
        Fraction of the pixels to keep, in (0, 1].
    seed : int, optional
        Seed of the random choice.

    Examples
    --------
    >>> mask = ogr.forward_operators.random_mask((2, 10), fraction=0.25)
    >>> mask.shape, mask.dtype, int(mask.sum())
    ((2, 10), dtype('bool'), 5)
    """
    size = math.prod(shape)
    if not 0 < fraction <= 1 or round(fraction * size) == 0:
        raise ValueError(
            f"`fraction` must be in (0, 1] and keep one pixel of {size}, got "
            f"{fraction!r}; give the part that is known."
        )
    mask = np.zeros(size, dtype=bool)
    kept = round(fraction * size)
    mask[np.random.default_rng(seed).choice(size, kept, replace=False)] = True
    return mask.reshape(shape)
