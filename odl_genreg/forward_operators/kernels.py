# SPDX-License-Identifier: MPL-2.0
"""Kernels of blur, for `Convolution`."""

import math

import numpy as np

__all__ = ("gaussian_kernel", "motion_kernel")

# Where the Gaussian ends, in standard deviations.
_REACH = 4


def gaussian_kernel(std: float | tuple[float, float]) -> np.ndarray:
    """Return a Gaussian kernel, the blur of a lens out of focus or a turbid medium.

        ``k_j = exp(-j_0^2 / (2 std_0^2) - j_1^2 / (2 std_1^2)) / c``,
        ``sum_j k_j = 1``

    Parameters
    ----------
    std : positive float or pair of them
        Standard deviation in pixels, for both axes or one for each.

    Returns
    -------
    kernel : numpy.ndarray
        Array of odd sides ``2 ceil(4 std) + 1``.

    Examples
    --------
    >>> kernel = ogr.forward_operators.gaussian_kernel((1, 0.5))
    >>> kernel.shape
    (9, 5)
    >>> round(float(kernel.sum()), 12)
    1.0
    >>> round(float(kernel[5, 2] / kernel[4, 2] / np.exp(-1 / 2)), 12)
    1.0
    """
    stds = np.asarray(std, dtype="float64")
    if stds.shape not in ((), (2,)) or not (np.isfinite(stds) & (stds > 0)).all():
        raise ValueError(
            f"`std` must be a positive number or a pair of them, got {std!r}; "
            "give it in pixels."
        )
    rows, columns = (_gaussian(float(s)) for s in np.broadcast_to(stds, 2))
    return np.outer(rows, columns)


def motion_kernel(length: float, angle: float) -> np.ndarray:
    """Return the kernel of a motion along a line during the exposure.

        ``(k * x)_i = 1 / length int x(i - t theta) dt``,  ``|t| <= length / 2``,
        ``theta = (cos(angle), sin(angle))``

    with ``x`` interpolated linearly between the pixels along both axes, which makes the
    line smooth; the integral is exact.

    Parameters
    ----------
    length : positive float
        Length of the line in pixels.
    angle : float
        Angle in radians; 0 is along the first axis, ``pi / 2`` along the second.

    Returns
    -------
    kernel : numpy.ndarray
        Array of odd sides, as small as can be, of sum 1.

    Examples
    --------
    >>> ogr.forward_operators.motion_kernel(2, angle=np.pi / 2).round(12)
    array([[ 0.25,  0.5 ,  0.25]])
    """
    if not math.isfinite(length) or length <= 0:
        raise ValueError(
            f"`length` must be a positive number, got {length!r}; give it in pixels."
        )
    if not math.isfinite(angle):
        raise ValueError(
            f"`angle` must be a finite number, got {angle!r}; give it in radians."
        )
    # Rounded, for a line along an axis to stay in it.
    theta = np.round([math.cos(angle), math.sin(angle)], 12)
    t, weights = _quadrature(length / 2, theta)
    radii = [math.ceil(length / 2 * abs(c) - 1e-9) for c in theta]
    hats = [
        np.maximum(1 - np.abs(c * t - np.arange(-r, r + 1)[:, None]), 0)
        for c, r in zip(theta, radii, strict=True)
    ]
    kernel = np.einsum("it,jt,t->ij", *hats, weights)
    return kernel / kernel.sum()


def _gaussian(std):
    radius = math.ceil(_REACH * std)
    values = np.exp(-(np.arange(-radius, radius + 1) ** 2) / (2 * std**2))
    return values / values.sum()


def _quadrature(half, theta):
    """Nodes and weights on ``[-half, half]``: Gauss between the lines of the grid.

    There the interpolation is a polynomial of order 2, and two nodes are exact.
    """
    cuts = [np.array([-half, half])]
    for c in theta[theta != 0]:
        most = math.floor(half * abs(c))
        cuts.append(np.arange(-most, most + 1) / c)
    cuts = np.unique(np.concatenate(cuts))
    middle, step = (cuts[1:] + cuts[:-1]) / 2, np.diff(cuts) / 2
    nodes = [middle - step / math.sqrt(3), middle + step / math.sqrt(3)]
    return np.concatenate(nodes), np.concatenate([step, step])
