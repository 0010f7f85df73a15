# SPDX-License-Identifier: MPL-2.0
"""Distances between an image and the true one, as they are usually reported."""

import math

import numpy as np
import torch

__all__ = ("psnr", "ssim")


def psnr(x, reference, data_range: float = 1.0) -> float:
    """Return the peak signal-to-noise ratio of an image in dB.

        ``10 log10(data_range^2 / mean_i (x_i - reference_i)^2)``

    Parameters
    ----------
    x, reference : `LinearSpaceElement`, `array-like` or torch.Tensor
        Image and true image of one shape.
    data_range : positive float, optional
        Largest minus smallest value that an image can have; it is never taken from
        the images.

    Raises
    ------
    ValueError
        If the shapes differ or ``data_range`` is not positive.

    Examples
    --------
    >>> psnr = ogr.evaluation.psnr
    >>> float(round(psnr([0.5, 0.5], [0.6, 0.4]), 6))
    20.0
    >>> psnr([1.0, 0.0], [1.0, 0.0])
    inf
    """
    x, reference = _arrays(x, reference, data_range)
    error = float(np.mean((x - reference) ** 2))
    return 10 * math.log10(data_range**2 / error) if error else math.inf


def ssim(x, reference, data_range: float = 1.0) -> float:
    """Return the structural similarity of an image in two dimensions.

        ``mean_i l_i c_i s_i``,  luminance, contrast, structure around pixel ``i``

    Windows of 7 x 7 equal weights and the sample covariance: the default of
    `skimage.metrics.structural_similarity`. It is 1 for equal images.

    Parameters
    ----------
    x, reference : `LinearSpaceElement`, `array-like` or torch.Tensor
        Image and true image of one shape, with at least 7 pixels in each direction.
    data_range : positive float, optional
        Largest minus smallest value that an image can have.

    Raises
    ------
    ImportError
        If scikit-image is not installed.
    ValueError
        If the shapes differ or are too small, or ``data_range`` is not positive.

    References
    ----------
    [WBSS2004] Wang Z, Bovik A C, Sheikh H R, and Simoncelli E P. *Image quality
    assessment: from error visibility to structural similarity.* IEEE Transactions on
    Image Processing, 2004.

    Examples
    --------
    >>> x = np.eye(8)
    >>> float(round(ogr.evaluation.ssim(x, x), 6))
    1.0
    """
    x, reference = _arrays(x, reference, data_range)
    if x.ndim != 2 or min(x.shape) < 7:
        raise ValueError(
            "`x` must have 2 dimensions of at least 7 pixels for `ssim`, got shape "
            f"{x.shape}; use `psnr`."
        )
    try:
        from skimage.metrics import structural_similarity
    except ImportError as error:
        raise ImportError(
            "`skimage` must be installed for `ssim`, got an ImportError; "
            "use `pip install odl_genreg[demo]`."
        ) from error
    return float(structural_similarity(x, reference, data_range=data_range))


def _arrays(x, reference, data_range):
    x, reference = _array(x), _array(reference)
    if x.shape != reference.shape:
        raise ValueError(
            f"`x` must have the shape {reference.shape} of `reference`, got "
            f"{x.shape}; compare images of one space."
        )
    if not 0 < data_range < math.inf:
        raise ValueError(
            f"`data_range` must be positive and finite, got {data_range}; use the "
            "largest minus the smallest possible value."
        )
    return x, reference


def _array(x):
    x = getattr(x, "data", x) if hasattr(x, "space") else x
    if isinstance(x, torch.Tensor):
        x = x.detach().cpu().numpy()
    return np.asarray(x, dtype="float64")
