# SPDX-License-Identifier: MPL-2.0
"""Which points of k-space are sampled: masks with the zero frequency in the center."""

import math
from collections.abc import Sequence

import numpy as np

__all__ = (
    "equispaced_mask",
    "radial_mask",
    "radial_trajectory",
    "variable_density_mask",
)


def radial_mask(shape: Sequence[int], num_lines: int) -> np.ndarray:
    """Return the grid points nearest to equispaced lines through the center.

    Line ``j`` has the angle ``j pi / num_lines`` from the first axis; the points
    nearest to steps of one grid point along it are sampled.

    Parameters
    ----------
    shape : pair of positive int
        Shape of the images.
    num_lines : positive int
        Number of lines.

    Returns
    -------
    mask : numpy.ndarray
        Boolean, of the given shape, the zero frequency at ``shape // 2``.

    Examples
    --------
    >>> ogr.forward_operators.radial_mask((4, 4), 2).astype(int)
    array([[0, 0, 1, 0],
           [0, 0, 1, 0],
           [1, 1, 1, 1],
           [0, 0, 1, 0]])
    """
    shape = _checked_shape(shape)
    points = radial_trajectory(shape, _positive("num_lines", num_lines))
    # From rad per pixel to grid points about the center.
    steps = points / (2 * math.pi) * np.array(shape)
    index = np.rint(steps).astype(int) + np.array(shape) // 2
    mask = np.zeros(shape, dtype=bool)
    inside = ((index >= 0) & (index < np.array(shape))).all(axis=1)
    mask[tuple(index[inside].T)] = True
    return mask


def radial_trajectory(
    shape: Sequence[int], num_lines: int, num_samples: int | None = None
) -> np.ndarray:
    """Return the points of equispaced lines through the center of k-space.

        ``omega_jk = 2 pi t_k (cos(phi_j), sin(phi_j))``,  ``phi_j = j pi / num_lines``

    in rad per pixel, with ``t_k = k / num_samples - 1/2``: the half-open interval
    ``[-1/2, 1/2)``, which holds the zero frequency for an even number of samples.

    Parameters
    ----------
    shape : pair of positive int
        Shape of the images.
    num_lines : positive int
        Number of lines.
    num_samples : positive int, optional
        Number of points on each. Default: the larger side of the images, the even
        number at or above it.

    Returns
    -------
    points : numpy.ndarray
        Points ``(num_lines * num_samples, 2)``, float64.

    Examples
    --------
    >>> points = ogr.forward_operators.radial_trajectory((2, 2), 1)
    >>> points.tolist() == [[-np.pi, 0.0], [0.0, 0.0]]
    True
    """
    shape = _checked_shape(shape)
    if num_samples is None:
        num_samples = max(shape) + max(shape) % 2
    num_samples = _positive("num_samples", num_samples)
    angles = np.arange(_positive("num_lines", num_lines)) * math.pi / num_lines
    radii = 2 * math.pi * (np.arange(num_samples) / num_samples - 0.5)
    directions = np.stack([np.cos(angles), np.sin(angles)], axis=1)
    return (directions[:, None, :] * radii[None, :, None]).reshape(-1, 2)


def equispaced_mask(
    shape: Sequence[int],
    acceleration: int,
    center_fraction: float = 0.08,
    *,
    offset: int = 0,
) -> np.ndarray:
    """Return every ``acceleration``-th column, and all in the center.

    The Cartesian sampling of [fastMRI]: columns are lines of phase encoding.

    Parameters
    ----------
    shape : pair of positive int
        Shape of the images.
    acceleration : positive int
        Distance of the columns.
    center_fraction : float in [0, 1], optional
        Fraction of the columns, about the zero frequency, that are all sampled.
    offset : int, optional
        First of the sampled columns.

    Returns
    -------
    mask : numpy.ndarray
        Boolean, of the given shape, the zero frequency at ``shape // 2``.

    References
    ----------
    [fastMRI] Zbontar J, et al. *fastMRI: an open dataset and benchmarks for accelerated
    MRI.* arXiv:1811.08839, 2018.

    Examples
    --------
    >>> mask = ogr.forward_operators.equispaced_mask((1, 8), 4, center_fraction=0.25)
    >>> mask.astype(int)
    array([[1, 0, 0, 1, 1, 0, 0, 0]])
    """
    rows, columns = _checked_shape(shape)
    if not 0 <= center_fraction <= 1:
        raise ValueError(
            f"`center_fraction` must be in [0, 1], got {center_fraction}; 0.08 is "
            "usual for an acceleration of 4."
        )
    line = np.zeros(columns, dtype=bool)
    line[offset % _positive("acceleration", acceleration) :: acceleration] = True
    width = round(center_fraction * columns)
    first = columns // 2 - width // 2
    line[first : first + width] = True
    return np.broadcast_to(line, (rows, columns)).copy()


def variable_density_mask(
    shape: Sequence[int], fraction: float, *, decay: float = 3.0, seed: int = 0
) -> np.ndarray:
    """Return random points whose density falls with the distance from the center.

        ``density(r) ~ (1 - r)^decay``,  ``r`` the distance over that of the corner

    A fixed number of points without repetition, the zero frequency always among them.

    Parameters
    ----------
    shape : pair of positive int
        Shape of the images.
    fraction : float in (0, 1]
        Fraction of the points that are sampled.
    decay : nonnegative float, optional
        Exponent of the density; 0 for uniform sampling.
    seed : int, optional
        Seed of the choice.

    Returns
    -------
    mask : numpy.ndarray
        Boolean, of the given shape, the zero frequency at ``shape // 2``.

    References
    ----------
    [LDP2007] Lustig M, Donoho D, and Pauly J M. *Sparse MRI: the application of
    compressed sensing for rapid MR imaging.* Magnetic Resonance in Medicine, 2007.

    Examples
    --------
    >>> mask = ogr.forward_operators.variable_density_mask((8, 8), 0.25)
    >>> int(mask.sum()), bool(mask[4, 4])
    (16, True)
    """
    shape = _checked_shape(shape)
    if not 0 < fraction <= 1:
        raise ValueError(
            f"`fraction` must be in (0, 1], got {fraction}; 0.25 samples a quarter."
        )
    if not 0 <= decay < math.inf:
        raise ValueError(
            f"`decay` must be nonnegative and finite, got {decay}; 0 gives a uniform "
            "density."
        )
    axes = [np.linspace(-1, 1, n, endpoint=False) if n > 1 else [0.0] for n in shape]
    radius = np.hypot(*np.meshgrid(*axes, indexing="ij")) / math.sqrt(2)
    # The farthest corner stays possible, so that every fraction can be reached.
    density = np.maximum(1 - radius, 1e-3).ravel() ** decay
    center = np.ravel_multi_index([n // 2 for n in shape], shape)
    number = max(1, round(fraction * density.size))
    density[center] = 0
    chosen = [center]
    if number > 1:
        source = np.random.default_rng(seed)
        chosen = source.choice(
            density.size, number - 1, replace=False, p=density / density.sum()
        )
    mask = np.zeros(density.size, dtype=bool)
    mask[center] = mask[chosen] = True
    return mask.reshape(shape)


def _checked_shape(shape):
    shape = tuple(shape)
    if len(shape) != 2 or not all(
        isinstance(n, int | np.integer) and n > 0 for n in shape
    ):
        raise ValueError(
            f"`shape` must be a pair of positive ints, got {shape}; use `X.shape`."
        )
    return tuple(map(int, shape))


def _positive(name, number):
    if not isinstance(number, int | np.integer) or number < 1:
        raise ValueError(
            f"`{name}` must be a positive int, got {number!r}; use 30 for example."
        )
    return int(number)
